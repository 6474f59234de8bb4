"""The next weights are read into memory ahead of time; the kernel itself is asked what it holds."""

import os
from pathlib import Path

import psutil
import pytest

from pmpctl.operations.environment import Environment
from pmpctl.operations.events import Event, Operation, PhaseProgress, PhaseStarted
from pmpctl.operations.page_cache import Warmed, room_bytes, warm_page_cache
from pmpctl.runtime.process import ProcessRuntime
from pmpctl.workspace import Workspace
from tests.cards import engine_of, plan_of, run_operation
from tests.support import eventually
from tests.unit.hub.checkpoints import SHARDS, two_shards, write_cache

MODEL = "owner/model"


@pytest.fixture
def snapshot(workspace: Workspace) -> Path:
    """A model of 6 MiB on the disk, and not in memory."""
    folder = write_cache(workspace.root / "models", MODEL, two_shards())
    for name in SHARDS:
        with (folder / name).open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return folder


def operation(workspace: Workspace, host: str = "") -> Operation[Warmed]:
    (workspace.root / "profiles.toml").write_text(f'[host]\n{host}\n[profiles.next]\nmodel = "{MODEL}"\n')
    environment = Environment(workspace, None, "process", {})
    plan = plan_of(workspace, engine_of("vllm", gpu=False))
    return warm_page_cache(environment, environment.profile_file(), ProcessRuntime(workspace), plan)


@pytest.fixture
def roomy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pmpctl.operations.page_cache.room_bytes", lambda: 1 << 40)


def cached_bytes(path: Path) -> int:
    """What of the file can be read without going to the disk."""
    with path.open("rb", buffering=0) as file:
        buffer = bytearray(path.stat().st_size)
        try:
            return os.preadv(file.fileno(), [buffer], 0, os.RWF_NOWAIT)
        except BlockingIOError:
            return 0
        except OSError as error:
            pytest.skip(f"this file system does not tell what it has cached: {error}")


def weights_bytes(snapshot: Path) -> int:
    return sum((snapshot / name).stat().st_size for name in SHARDS)


def test_all_weights_are_in_memory_afterwards(workspace: Workspace, snapshot: Path, roomy: None) -> None:
    assert sum(cached_bytes(snapshot / name) for name in SHARDS) < weights_bytes(snapshot)
    seen: list[Event] = []

    warmed = run_operation(operation(workspace), seen.append)

    assert (warmed.bytes_cached, warmed.why_not) == (weights_bytes(snapshot), "")
    assert warmed.bytes_total == weights_bytes(snapshot)
    assert [cached_bytes(snapshot / name) for name in SHARDS] == [(snapshot / name).stat().st_size for name in SHARDS]
    assert [event.done for event in seen if isinstance(event, PhaseProgress)][-1] == weights_bytes(snapshot)


def test_no_more_is_read_than_the_host_has_memory_to_spare_for(
    workspace: Workspace, snapshot: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = (snapshot / SHARDS[0]).stat().st_size
    monkeypatch.setattr("pmpctl.operations.page_cache.room_bytes", lambda: first)

    warmed = run_operation(operation(workspace))

    assert warmed.bytes_cached == first
    assert "memory to spare" in warmed.why_not


def test_on_a_host_without_memory_to_spare_nothing_is_read(
    workspace: Workspace, snapshot: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pmpctl.operations.page_cache.room_bytes", lambda: -1)
    seen: list[Event] = []

    warmed = run_operation(operation(workspace), seen.append)

    assert warmed.bytes_cached == 0
    assert seen == []


def test_memory_is_left_for_the_engine_that_starts() -> None:
    assert room_bytes() <= psutil.virtual_memory().total - 4 * 1024**3


def test_the_setting_turns_it_off(workspace: Workspace, snapshot: Path, roomy: None) -> None:
    seen: list[Event] = []

    warmed = run_operation(operation(workspace, "warm_page_cache = false"), seen.append)

    assert "`warm_page_cache`" in warmed.why_not
    assert seen == []


def test_a_model_that_is_not_here_is_no_error(workspace: Workspace, roomy: None) -> None:
    assert run_operation(operation(workspace)).why_not == "no weights are on this machine"


def test_a_file_that_cannot_be_read_ends_the_reading_and_not_the_switch(
    workspace: Workspace, snapshot: Path, roomy: None
) -> None:
    running = operation(workspace)
    assert isinstance(next(running), PhaseStarted)
    (snapshot / SHARDS[0]).unlink()

    warmed = run_operation(running)

    assert warmed.bytes_cached < warmed.bytes_total
    assert "FileNotFoundError" in warmed.why_not


def test_closing_it_ends_the_reading_at_once(
    workspace: Workspace, snapshot: Path, roomy: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A hundred bytes a second, of six million.
    monkeypatch.setattr("pmpctl.operations.page_cache.BYTES_PER_SECOND", 100)
    running = operation(workspace)
    next(running)
    next(running)
    [reader] = [child for child in psutil.Process().children() if "pmpctl.host.page_cache" in child.cmdline()]
    eventually(lambda: reader.nice() > 0)

    running.close()

    assert not reader.is_running()
