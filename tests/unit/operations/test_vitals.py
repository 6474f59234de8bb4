"""What a soak sees of engine and gateway, also when the runtime goes away meanwhile."""

import pytest

from pmpctl.errors import DockerNotAvailable
from pmpctl.operations.environment import Environment
from pmpctl.operations.vitals import vitals_reader
from pmpctl.runtime.process import ProcessRuntime
from pmpctl.workspace import Workspace


def test_a_runtime_that_does_not_answer_any_more_shows_nothing_and_ends_no_soak(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    (workspace.root / "profiles.toml").write_text('[profiles.chat]\nmodel = "acme/chat"\n')
    read = vitals_reader(Environment(workspace, None, "process", {}))

    def units(_: ProcessRuntime) -> None:
        raise DockerNotAvailable("it went away", cure="Start it.")

    monkeypatch.setattr(ProcessRuntime, "units", units)

    assert read() == {}
