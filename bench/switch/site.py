"""A workspace of its own with trivial engines in containers, driven by the real command line."""

import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pmpctl.operations.unit_records import read_record
from pmpctl.planning.plan import Unit
from pmpctl.workspace import Workspace
from tests import needs
from tests.conftest import STUB_ENGINE, remove_all_of
from tests.stack import Stack
from tests.switching.conftest import MODELS
from tests.unit.hub.checkpoints import one_file, write_cache


@dataclass(frozen=True, slots=True)
class Site:
    stack: Stack
    docker_host: str

    def docker_version(self) -> str:
        with needs.client(self.docker_host) as client:
            return str(client.version()["Version"])

    def start(self, profile: str) -> None:
        self.stack.json("up", profile)

    def switch(self, profile: str) -> dict[str, float]:
        """Seconds: of the gap, of the whole command as its caller sees it, and of each step."""
        began = time.monotonic()
        result = self.stack.json("switch", profile)["data"]
        whole_seconds = time.monotonic() - began
        return {"gap": result["gap_seconds"], "whole": whole_seconds, **result["phases"]}

    def engines(self) -> Mapping[str, Unit]:
        """What ran here so far, by profile."""
        workspace = self.stack.workspace
        records = (read_record(workspace, path.stem) for path in workspace.plans_dir.glob("*.json"))
        return {record.profile: record.plan.engine for record in records if record is not None}


@contextmanager
def site() -> Iterator[Site]:
    """Raises Missing where there is no Docker engine, or an image is not there."""
    docker_host, stub_image, base_image = needs.docker_host(), needs.stub_image(), needs.base_image()
    with tempfile.TemporaryDirectory(prefix="pmpctl-bench-") as folder:
        workspace = Workspace(Path(folder) / "bench-switch")
        for model in MODELS.values():
            write_cache(workspace.root / "models", model, one_file())
        environment = {"HF_HUB_OFFLINE": "1", "DOCKER_HOST": docker_host}
        stack = Stack(workspace, STUB_ENGINE, runtime="docker", environment=environment)
        stack.write(gateway=f'base_image = "{base_image}"', host=f'cpu_image = "{stub_image}"')
        try:
            yield Site(stack, docker_host)
        finally:
            with needs.client(docker_host) as client:
                remove_all_of(workspace, client)
