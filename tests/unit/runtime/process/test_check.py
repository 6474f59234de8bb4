"""What is refused before anything is touched."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from pmpctl.errors import EngineProgramMissing, PortTaken, RuntimeFailed, WorkspaceNotWritable
from pmpctl.planning.plan import PortBinding
from pmpctl.runtime.base import LogQuery
from pmpctl.runtime.process import ProcessRuntime
from pmpctl.workspace import Workspace
from tests.support import eventually
from tests.unit.runtime.process.conftest import MakeUnit

LISTENS = """
    import socket, sys, time
    server = socket.create_server(("127.0.0.1", int(sys.argv[1])))
    print("listening", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        number: int = server.getsockname()[1]
        return number


@pytest.fixture
def holder(port: int) -> Iterator[subprocess.Popen[str]]:
    code = f"import sys; sys.argv[1] = '{port}'\n" + "\n".join(line.strip() for line in LISTENS.splitlines())
    argv = [sys.executable, "-ISc", code, "--api-key=sk-secret"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "listening\n"
        yield process
        process.kill()


def test_a_unit_that_can_run_is_let_pass(runtime: ProcessRuntime, make_unit: MakeUnit, port: int) -> None:
    runtime.check(make_unit("", ports=(PortBinding("127.0.0.1", port, port),)))
    assert list(runtime.prepare(make_unit(""))) == []


@pytest.mark.parametrize("host_ip", ["127.0.0.1", "0.0.0.0"])
def test_a_port_that_another_holds_is_refused_with_its_pid_and_program_but_not_its_arguments(
    runtime: ProcessRuntime, make_unit: MakeUnit, port: int, holder: subprocess.Popen[str], host_ip: str
) -> None:
    with pytest.raises(PortTaken) as caught:
        runtime.check(make_unit("", ports=(PortBinding(host_ip, port, port),)))
    program = Path(f"/proc/{holder.pid}/comm").read_text().strip()
    assert caught.value.message == f"port {host_ip}:{port} is already in use by {program} (pid {holder.pid})"
    assert f"kill {holder.pid}" in caught.value.cure
    assert "secret" not in caught.value.message + caught.value.cure


def test_a_port_that_our_own_unit_of_that_role_holds_is_no_obstacle(
    runtime: ProcessRuntime, workspace: Workspace, make_unit: MakeUnit, port: int, tmp_path: Path
) -> None:
    unit = make_unit(LISTENS, ports=(PortBinding("127.0.0.1", port, port),))
    listening = make_unit("", argv=(*unit.argv, str(port)), ports=unit.ports)
    state = runtime.start(listening)
    eventually(lambda: [line.text for line in runtime.logs(state, LogQuery())] == ["listening"])
    runtime.check(listening)
    neighbour = tmp_path / "neighbour"
    neighbour.mkdir()
    with pytest.raises(PortTaken, match=f"the engine of the workspace {workspace.root}") as caught:
        ProcessRuntime(Workspace(neighbour)).check(listening)
    assert f"`pmpctl --workspace {workspace.root} down`" in caught.value.cure
    with pytest.raises(PortTaken):
        runtime.check(make_unit("", role="gateway", ports=unit.ports))


def test_an_address_that_this_machine_has_not_is_refused(runtime: ProcessRuntime, make_unit: MakeUnit) -> None:
    with pytest.raises(RuntimeFailed, match=r"nothing can listen on 203\.0\.113\.1:8000"):
        runtime.check(make_unit("", ports=(PortBinding("203.0.113.1", 8000, 8000),)))


def test_an_engine_that_is_not_installed_is_refused_with_the_way_to_get_it(
    runtime: ProcessRuntime, make_unit: MakeUnit, tmp_path: Path
) -> None:
    not_executable = tmp_path / "vllm"
    not_executable.touch()
    for program in (str(not_executable), str(tmp_path / "nothing"), "no-such-vllm"):
        with pytest.raises(EngineProgramMissing, match=program) as caught:
            runtime.check(make_unit("", argv=(program, "serve")))
        assert "scripts/start.sh" in caught.value.cure
        assert "engine_program" in caught.value.cure


def test_a_program_is_looked_for_where_the_unit_will_run(
    runtime: ProcessRuntime, make_unit: MakeUnit, workspace: Workspace
) -> None:
    program = workspace.root / "engine.sh"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    runtime.check(make_unit("", argv=("./engine.sh",)))
    runtime.check(make_unit("", argv=("engine.sh",), env={"PATH": str(workspace.root)}))
    with pytest.raises(RuntimeFailed, match="which is not a folder"):
        runtime.check(make_unit("", working_dir=str(workspace.root / "nothing")))


def test_a_workspace_that_cannot_be_written_is_refused(
    runtime: ProcessRuntime, make_unit: MakeUnit, workspace: Workspace
) -> None:
    workspace.state_dir.mkdir()
    workspace.logs_dir.touch()
    with pytest.raises(WorkspaceNotWritable, match="cannot be written") as caught:
        runtime.check(make_unit(""))
    assert "--workspace" in caught.value.cure
