"""Asks the very vLLM that shall run whether it understands its arguments, before anything is stopped for it."""

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pmpctl.errors import ArgumentsRefused, PmpctlError
from pmpctl.files import write_atomically
from pmpctl.operations.events import Operation, PhaseFinished, PhaseStarted
from pmpctl.planning.plan import Plan
from pmpctl.runtime.base import Runtime
from pmpctl.workspace import Workspace

PHASE = "arguments"
TIMEOUT_SECONDS = 180.0
"""vLLM alone takes 10 to 20 seconds to load on an idle machine."""
MARK = "pmpctl-arguments:"

SOURCE = f"""
import contextlib, io, json, sys

def say(verdict, words=""):
    print("\\n{MARK}" + json.dumps({{"verdict": verdict, "words": words.strip()}}), flush=True)
    sys.exit(0)

class Refused(Exception):
    pass

@contextlib.contextmanager
def checked():
    try:
        yield
    except Exception as error:
        # vLLM's own classes, and those that its checks raise; anything else may be the machine's fault.
        if isinstance(error, (ValueError, TypeError, KeyError)) or type(error).__module__.startswith("vllm"):
            raise Refused(str(error.args[0] if error.args else error)) from error
        raise

try:
    from vllm.entrypoints.cli import main as cli
    from vllm.entrypoints.cli.serve import ServeSubcommand
except ModuleNotFoundError as error:
    say("absent" if (error.name or "").split(".")[0] == "vllm" else "unknown", str(error))
except Exception as error:
    say("unknown", repr(error))

validate = ServeSubcommand.validate

def validate_checked(self, args):
    with checked():
        validate(self, args)

def accept(args):
    try:
        from vllm.entrypoints.launchers.launcher import validate_api_server_args
    except ImportError:
        try:
            from vllm.entrypoints.openai.api_server import validate_api_server_args
        except ImportError:
            return
    if not getattr(args, "tool_parser_plugin", None):
        with checked():
            validate_api_server_args(args)

ServeSubcommand.validate, ServeSubcommand.cmd = validate_checked, staticmethod(accept)
sys.argv = ["vllm", *sys.argv[1:]]
errors = io.StringIO()
try:
    with contextlib.redirect_stderr(errors):
        cli.main()
except Refused as error:
    say("refused", str(error))
except SystemExit as end:
    words = [line for line in errors.getvalue().splitlines() if "error:" in line]
    say(*(("refused", words[-1]) if end.code == 2 and words else ("unknown", errors.getvalue()[-500:])))
except BaseException as error:
    say("unknown", repr(error))
say("accepted")
"""
"""Runs vLLM's own command line to the point where the server would start."""

Verdict = Literal["accepted", "refused", "absent", "unknown"]


@dataclass(frozen=True, slots=True)
class ArgumentVerdict:
    """`absent`: there is no vLLM to ask; `unknown`: the check itself did not work. Neither is a reason to stop."""

    verdict: Verdict
    words: str = ""

    def __str__(self) -> str:
        match self.verdict:
            case "accepted":
                return "accepted by that vLLM"
            case "refused":
                return f"refused: {self.words}"
            case "absent":
                return "not checked: there is no vLLM to ask"
            case "unknown":
                return f"not checked: {self.words}"


def check_arguments(workspace: Workspace, runtime: Runtime, plan: Plan) -> Operation[ArgumentVerdict]:
    """Raises ArgumentsRefused with vLLM's own words; the same vLLM is not asked the same twice."""
    software = runtime.software(plan.engine)
    kept = workspace.cache_dir / "arguments" / f"{_key(software, plan)}.json"
    found = _read(kept)
    if found is None:
        yield PhaseStarted(PHASE, "Asking vLLM about its arguments")
        began = time.monotonic()
        found = _ask(runtime, plan)
        yield PhaseFinished(PHASE, time.monotonic() - began, str(found))
        if software is not None and found.verdict != "unknown":
            _keep(kept, found)
    if found.verdict == "refused":
        raise ArgumentsRefused(
            f"the vLLM of {plan.engine.image or plan.engine.argv[0]} refuses the arguments of {plan.profile!r}: "
            f"{found.words}",
            cure="Correct the profile; or choose an `image` with a vLLM that knows them.",
        )
    return found


def _ask(runtime: Runtime, plan: Plan) -> ArgumentVerdict:
    try:
        ended = runtime.try_python(plan.engine, SOURCE, plan.engine.argv[1:], TIMEOUT_SECONDS)
    except PmpctlError as error:
        return ArgumentVerdict("unknown", error.message)
    if ended is None:
        return ArgumentVerdict("unknown", "it could not be run, or did not end in time")
    for line in reversed(ended.output):
        if line.startswith(MARK):
            return _verdict(json.loads(line.removeprefix(MARK)))
    return ArgumentVerdict("unknown", f"it ended with exit status {ended.exit_status} and no verdict")


def _verdict(data: Mapping[str, Any]) -> ArgumentVerdict:
    return ArgumentVerdict(data["verdict"], " ".join(str(data["words"]).split()))


def _key(software: str | None, plan: Plan) -> str:
    return hashlib.sha256("\0".join((software or "", SOURCE, *plan.engine.argv)).encode()).hexdigest()[:32]


def _read(path: Path) -> ArgumentVerdict | None:
    try:
        return _verdict(json.loads(path.read_text()))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _keep(path: Path, found: ArgumentVerdict) -> None:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_atomically(path, json.dumps({"verdict": found.verdict, "words": found.words}))
    except OSError:
        # Then it is asked again.
        return
