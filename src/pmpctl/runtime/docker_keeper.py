"""Beside an engine in its container: counts its quick failures, so that Docker does not restart a crash loop for ever.

Docker's own `on-failure:N` counts over the whole life of a container, and takes exit status 0, with which vLLM's server
follows a dead engine core, for success. Under `on-failure` without a number this script decides by its exit status:
any but 0, and Docker starts the container again, also after a restart of its own; 0, and it stays down.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from pmpctl.runtime.crash_loop import QUICK_FAILURES, QUICK_SECONDS, crash_loop

RESTART_POLICY = "on-failure"

_NAME = "pmpctl-keeper"

# The count lies in the container's own layer, which outlives its restarts, and no others read it.
_SCRIPT = f"""\
count=/var/tmp/{_NAME} asked=
read -r up _ </proc/uptime
began=${{up%.*}}
"$@" &
child=$!
trap 'asked=1; kill -TERM "$child" 2>/dev/null' TERM INT QUIT
while wait "$child"; status=$?; kill -0 "$child" 2>/dev/null; do :; done
if [ "$asked" ]; then rm -f "$count"; exit 143; fi
read -r up _ </proc/uptime
failures=0
if [ $((${{up%.*}} - began)) -lt {QUICK_SECONDS} ]; then
  read -r failures 2>/dev/null <"$count" || failures=0
  failures=$((failures + 1))
fi
if [ "$failures" -ge {QUICK_FAILURES} ]; then
  rm -f "$count"
  echo "pmpctl: {crash_loop()}, the last time with exit status $status" >&2
  exit 0
fi
echo "$failures" >"$count"
[ "$status" -ne 0 ] || status=1
exit "$status"
"""


def kept(argv: Sequence[str]) -> list[str]:
    """The command that runs `argv` with the keeper beside it."""
    return ["sh", "-c", _SCRIPT, _NAME, *argv]


def gave_up(container: Mapping[str, Any]) -> bool:
    """`container` is the answer of `GET /containers/ID/json`."""
    state = container["State"]
    is_kept = _NAME in (container["Config"]["Cmd"] or ())
    return is_kept and state["Status"] == "exited" and state["ExitCode"] == 0
