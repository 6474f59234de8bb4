from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pmpctl.hub.facts import find_facts
from pmpctl.vram.facts import ModelFacts
from pmpctl.workspace import Workspace
from tests.unit.hub.stub_hub import StubHub, running_hub

Find = Callable[..., ModelFacts]


@pytest.fixture
def hub() -> Iterator[StubHub]:
    with running_hub() as stub:
        yield stub


@pytest.fixture
def find(hub: StubHub, tmp_path: Path) -> Find:
    """`find_facts` in a workspace of its own, with the stub as the hub; keywords are environment variables."""

    def ask(model: str, revision: str | None = None, *, offline: bool = False, **environment: str) -> ModelFacts:
        return find_facts(
            model,
            revision=revision,
            models_dir=tmp_path / "models",
            workspace=Workspace(tmp_path),
            profile_folder=tmp_path,
            offline=offline,
            environment={"HOME": str(tmp_path), "HF_ENDPOINT": hub.url, **environment},
        )

    return ask


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **options: object) -> None:
        raise AssertionError(f"the network was touched: {args}")

    for name in ("socket.socket.connect", "socket.getaddrinfo", "socket.create_connection"):
        monkeypatch.setattr(name, refuse)
