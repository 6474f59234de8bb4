"""What is bound to fail, found before a unit is started without Docker."""

import errno
import os
import shutil
import tempfile
from collections.abc import Collection
from pathlib import Path

from pmpctl.errors import DiskFull, EngineProgramMissing, PmpctlError, PortTaken, RuntimeFailed, WorkspaceNotWritable
from pmpctl.planning.plan import PortBinding, Unit
from pmpctl.runtime.neighbours import tenant_of_process
from pmpctl.runtime.ports import port_holder
from pmpctl.workspace import Workspace


def check_port(port: PortBinding, own_pids: Collection[int]) -> None:
    address = f"{port.host_ip}:{port.host_port}"
    try:
        holder = port_holder(port.host_ip, port.host_port)
    except OSError as error:
        raise RuntimeFailed(
            f"nothing can listen on {address}: {error.strerror}",
            cure="Choose an address that this machine has and a port above 1023 in the profile file.",
        ) from error
    if holder is None or holder.pid in own_pids:
        return
    tenant = tenant_of_process(holder.pid) if holder.pid else None
    if tenant is not None:
        raise PortTaken(
            f"port {address} is already in use by {tenant} ({holder})",
            cure=f"{tenant.stop}, or choose another port in the profile file.",
        )
    how = f"`kill {holder.pid}`" if holder.pid else "`sudo ss -ltnp` tells what it is"
    raise PortTaken(
        f"port {address} is already in use by {holder}",
        cure=f"Stop it ({how}), or choose another port in the profile file.",
    )


def check_program(unit: Unit, workspace: Workspace) -> None:
    folder = Path(unit.working_dir or workspace.root)
    if not folder.is_dir():
        raise RuntimeFailed(
            f"the {unit.role} shall run in {folder}, which is not a folder",
            cure="Create that folder, or run pmpctl in another --workspace.",
        )
    program = unit.argv[0]
    path = str(folder / program) if "/" in program else program
    if shutil.which(path, path=unit.env.get("PATH", os.environ.get("PATH"))) is None:
        raise program_missing(unit)


def program_missing(unit: Unit) -> PmpctlError:
    message = f"the {unit.role} cannot be started: {unit.argv[0]} is not there or not executable"
    if unit.role == "engine":
        return EngineProgramMissing(
            message,
            cure="Run scripts/start.sh, which installs vLLM, or set [host] engine_program to a vllm executable.",
        )
    return RuntimeFailed(message, cure="Install pmpctl again: the gateway runs with the Python that pmpctl has.")


def check_writable(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b" " * 4096)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFull(
                f"no space left to write in {folder}", cure="Free some space on that disk and try again."
            ) from error
        raise WorkspaceNotWritable(
            f"{folder} cannot be written: {error.strerror}",
            cure="Make the folder writable, or choose another --workspace.",
        ) from error
