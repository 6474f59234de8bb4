"""An engine that serves, has children of its own and fails as vLLM does."""

import sys
import urllib.error
import urllib.request
from contextlib import closing
from pathlib import Path
from socket import create_server

import pytest

from pmpctl.planning.plan import PortBinding, Unit
from pmpctl.runtime.base import LogQuery
from pmpctl.runtime.process import ProcessRuntime
from tests.support import eventually
from tests.unit.runtime.process.conftest import MakeUnit

STUB_ENGINE = Path(__file__).parents[3] / "world" / "stub_engine.py"


@pytest.fixture
def port() -> int:
    with closing(create_server(("127.0.0.1", 0))) as server:
        number: int = server.getsockname()[1]
        return number


def engine(make_unit: MakeUnit, port: int, **faults: str) -> Unit:
    arguments = ("serve", "stub", "--host", "127.0.0.1", "--port", str(port))
    ports = (PortBinding("127.0.0.1", port, port),)
    return make_unit("", argv=(sys.executable, str(STUB_ENGINE), *arguments), env=faults, ports=ports)


def answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, ConnectionError):
        return False


def test_an_engine_serves_and_gives_up_its_port_and_children_when_it_is_stopped(
    runtime: ProcessRuntime, make_unit: MakeUnit, port: int
) -> None:
    unit = engine(make_unit, port, STUB_CHILDREN="3")
    runtime.check(unit)
    state = runtime.start(unit)
    eventually(lambda: answers(port))
    usage = runtime.usage(state)
    assert usage is not None
    assert usage.pids == 4
    runtime.check(unit)
    runtime.stop(state, timeout_seconds=10)
    assert runtime.usage(state) is None
    assert not answers(port)
    runtime.remove(state)
    runtime.check(unit)


def test_the_first_error_of_an_engine_that_will_not_start_outlives_its_restarts(
    runtime: ProcessRuntime, make_unit: MakeUnit, port: int
) -> None:
    state = runtime.start(engine(make_unit, port, STUB_EXIT_CODE="1"))
    eventually(lambda: (now := runtime.state(state.id)) and now.phase == "dead")
    errors = [line.text for line in runtime.logs(state, LogQuery()) if line.stream == "stderr"]
    assert "EngineCore failed to start." in errors[0]
    assert len(errors) == 15
