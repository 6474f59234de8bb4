"""Starts a unit's supervisor, and waits until it has executed the program or failed to."""

import errno
import json
import os
import secrets
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pmpctl.errors import RuntimeFailed
from pmpctl.planning.card_claim import claim_of
from pmpctl.planning.plan import LABEL_PLAN, LABEL_PROFILE, Unit
from pmpctl.runtime.process_check import program_missing
from pmpctl.runtime.process_record import BackOff, Launch, UnitRecord
from pmpctl.runtime.process_tree import CARD_MARKER, MARKER, boot_id, end_all, members
from pmpctl.workspace import Workspace

HANDSHAKE_SECONDS = 60.0

# fmt: off
INHERITED = (
    "PATH", "HOME", "USER", "LOGNAME", "LANG", "LANGUAGE", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "LD_PRELOAD",
    "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "CUDA_HOME", "CUDA_PATH",
    "CUDA_DEVICE_ORDER", "CUDA_VISIBLE_DEVICES",
)
# fmt: on
"""What a unit gets of the shell's environment: the rest may hold secrets, or change what the plan says."""

PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
"""For the engine only, which talks to the hub; the gateway talks to this machine."""


def unit_environment(unit: Unit, shell: Mapping[str, str]) -> dict[str, str]:
    env = {name: value for name, value in shell.items() if _is_inherited(name, unit)}
    if unit.gpu and unit.gpu.devices != ("all",):
        env["CUDA_VISIBLE_DEVICES"] = ",".join(unit.gpu.devices)
    if (claim := claim_of(unit)) is not None:
        env[CARD_MARKER] = str(claim)
    # vLLM's processes give themselves titles, which without this overwrites the marker that the kernel shows.
    return {**env, **unit.env, "SPT_NOENV": "1"}


def _is_inherited(name: str, unit: Unit) -> bool:
    return name in INHERITED or name.startswith(("LC_", "XDG_")) or (unit.role == "engine" and name.upper() in PROXIES)


def launch(workspace: Workspace, unit: Unit, path: Path, back_off: BackOff) -> UnitRecord:
    """Returns the record, kept at `path`, once the program was executed; on any error nothing of it is left."""
    record = UnitRecord(
        workspace=workspace.id,
        role=unit.role,
        name=unit.name,
        profile=unit.labels.get(LABEL_PROFILE, ""),
        plan_hash=unit.labels.get(LABEL_PLAN, ""),
        program=unit.argv[0],
        start_id=secrets.token_hex(6),
        boot_id=boot_id(),
    )
    order = Launch(
        record=record,
        argv=unit.argv,
        env=unit_environment(unit, os.environ) | {MARKER: record.marker},
        working_dir=unit.working_dir or str(workspace.root),
        restart=unit.restart,
        stop_timeout_seconds=unit.stop_timeout_seconds,
        log_path=str(workspace.logs_dir / f"{unit.role}.log"),
        log_max_size_bytes=unit.log_max_size_bytes,
        log_max_files=unit.log_max_files,
        back_off=back_off,
    )
    try:
        record.write(path)
        _supervise(unit, order, path)
        return UnitRecord.from_data(json.loads(path.read_text()))
    except BaseException as error:
        end_all(lambda: members(record.marker), grace_seconds=0)
        path.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise _failed(unit, str(error)) from error
        raise


def _supervise(unit: Unit, order: Launch, path: Path) -> None:
    answer = _answer(_spawn(order, path))
    if answer["started"]:
        return
    if answer["errno"] in (errno.ENOENT, errno.EACCES):
        raise program_missing(unit)
    raise _failed(unit, answer["error"])


def _failed(unit: Unit, reason: str) -> RuntimeFailed:
    return RuntimeFailed(
        f"the {unit.role} could not be started: {reason}",
        cure="Mend what the system complains about, then run the command again.",
    )


def _spawn(order: Launch, path: Path) -> str:
    """Returns what the supervisor said until it closed its standard output."""
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "pmpctl.runtime.supervisor", str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd="/",
        env=_supervisor_environment(order.record),
        start_new_session=True,
        umask=0o077,
        text=True,
    )
    with process:
        try:
            return process.communicate(order.to_json(), timeout=HANDSHAKE_SECONDS)[0]
        except subprocess.TimeoutExpired as error:
            raise RuntimeFailed(
                f"the supervisor of the {order.record.role} did not answer within {HANDSHAKE_SECONDS:g} s",
                cure="The machine is very busy or its disk hangs; try again when it answers.",
            ) from error
        finally:
            process.kill()


def _supervisor_environment(record: UnitRecord) -> dict[str, str]:
    kept = ("PATH", "HOME", "LANG", "LC_ALL", "PYTHONPATH")
    return {name: os.environ[name] for name in kept if name in os.environ} | {MARKER: record.marker}


def _answer(output: str) -> dict[str, Any]:
    try:
        answer: dict[str, Any] = json.loads(output)
    except ValueError as error:
        raise RuntimeFailed(
            "the supervisor ended before it had started anything",
            cure="Install pmpctl again; if that does not help, report it with the details.",
            details=output.splitlines()[-20:],
        ) from error
    return answer
