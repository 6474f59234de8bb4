"""`python -m pmp_gateway.control VERB`: ask a running gateway over its control socket; the standard library alone."""

import argparse
import http.client
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pmp_gateway.control_schema import (
    DEFAULT_DRAIN_SECONDS,
    DEFAULT_HOLD_SECONDS,
    OPERATOR,
    VERBS,
    Reason,
    Verb,
)
from pmp_gateway.unix_socket import connect

_SOCKET_VARIABLE = "PMP_GATEWAY_CONTROL_SOCKET"
_TIMEOUT_SECONDS = 10.0
# The one answer that is no JSON: it is for Prometheus, and for eyes.
_METRICS = Verb("GET", "/metrics")
# What of the command line is not for the gateway.
_OWN_OPTIONS = ("verb", "socket")


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout_seconds: float) -> None:
        super().__init__("gateway", timeout=timeout_seconds)
        self._path = path
        self._timeout_seconds = timeout_seconds

    def connect(self) -> None:
        self.sock = connect(self._path, self._timeout_seconds)


def ask(socket_path: Path, verb: Verb, body: Mapping[str, Any]) -> tuple[bool, Any]:
    """Whether the gateway did what the verb says, and its answer; OSError or ValueError if it gave none."""
    ok, answer = _fetch(socket_path, verb, body)
    return ok, json.loads(answer)


def _fetch(socket_path: Path, verb: Verb, body: Mapping[str, Any]) -> tuple[bool, bytes]:
    # A drain is answered when it is over.
    connection = _UnixConnection(socket_path, _TIMEOUT_SECONDS + float(body.get("deadline_seconds", 0)))
    try:
        content = json.dumps(body) if body else None
        connection.request(verb.method, verb.path, content, {"content-type": "application/json"} if body else {})
        response = connection.getresponse()
        return response.status == 200, response.read()
    finally:
        connection.close()


def main(argv: Sequence[str] | None = None) -> int:
    given = _parser().parse_args(argv)
    body = {name: value for name, value in vars(given).items() if name not in _OWN_OPTIONS and value is not None}
    try:
        if given.verb == "metrics":
            ok, page = _fetch(given.socket, _METRICS, {})
            sys.stdout.write(page.decode())
            return 0 if ok else 1
        ok, answer = ask(given.socket, VERBS[given.verb], body)
    except (OSError, ValueError, http.client.HTTPException) as error:
        sys.stderr.write(f"no answer from the gateway at {given.socket}: {error}\n")
        return 1
    sys.stdout.write(json.dumps(answer) + "\n")
    return 0 if ok else 1


def _parser() -> argparse.ArgumentParser:
    socket = os.environ.get(_SOCKET_VARIABLE)
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--socket", type=Path, default=socket or None, required=not socket, help=_SOCKET_VARIABLE)
    owned = argparse.ArgumentParser(add_help=False)
    owned.add_argument("--hold-id", default=OPERATOR, help="whose hold it is (default: %(default)s)")
    owned.add_argument("--force", action="store_true", default=None, help="even if somebody else holds the gateway")

    parser = argparse.ArgumentParser(prog="python -m pmp_gateway.control", description="Ask a running gateway.")
    verbs = parser.add_subparsers(dest="verb", required=True)

    def add(verb: str, text: str, *parents: argparse.ArgumentParser) -> argparse.ArgumentParser:
        return verbs.add_parser(verb, help=text, parents=[common, *parents])

    add("status", "what it is doing")
    add("metrics", "what it counted, for Prometheus")
    add("reload", "read the token file again")
    hold = add("hold", "let new requests wait", owned)
    drain = add("drain", "let finish what is in flight, and end the rest", owned)
    opening = add("opening", "let requests wait for an engine that starts", owned)
    open_ = add("open", "let requests go to the engine, those that wait first", owned)
    close = add("close", "refuse what waits and what comes", owned)
    for command, seconds in (
        (hold, DEFAULT_HOLD_SECONDS),
        (drain, DEFAULT_DRAIN_SECONDS),
        (opening, DEFAULT_HOLD_SECONDS),
    ):
        command.add_argument(
            "--deadline", dest="deadline_seconds", metavar="SECONDS", type=float, default=seconds, help="%(default)g"
        )
    for command in (hold, close):
        command.add_argument("--reason", choices=tuple(Reason), default=Reason.MAINTENANCE, help="told to clients")
    for command in (opening, open_):
        command.add_argument("--expect-models", nargs="+", metavar="NAME", help="what the engine has to serve")
        command.add_argument("--policy", type=json.loads, metavar="JSON", help="what requests may ask for from now on")
    return parser


if __name__ == "__main__":
    sys.exit(main())
