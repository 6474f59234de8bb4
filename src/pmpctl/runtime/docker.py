"""Units as containers of a Docker engine. The containers' labels are all the state there is."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from docker.errors import APIError, NotFound

from pmpctl.errors import GpuNotAvailable, RuntimeFailed
from pmpctl.planning.plan import LABEL_ROLE, LABEL_WORKSPACE, GpuMethod, RuntimeKind, Unit
from pmpctl.runtime.base import LogLine, LogQuery, Progress, RunningEngine, RuntimeInfo, TrialRun, UnitState, Usage
from pmpctl.runtime.docker_conflicts import find_by_name, refuse_foreign_port
from pmpctl.runtime.docker_connect import EngineClient, connect
from pmpctl.runtime.docker_context import Endpoint, find_endpoint
from pmpctl.runtime.docker_create import create_body
from pmpctl.runtime.docker_errors import UNKNOWN_CURE, engine_errors
from pmpctl.runtime.docker_gpu import INSTALL_TOOLKIT, find_hook, offered_methods
from pmpctl.runtime.docker_images import ensure_image
from pmpctl.runtime.docker_logs import container_log, read_frames
from pmpctl.runtime.docker_network import ensure_network, find_network, remove_networks
from pmpctl.runtime.docker_state import unit_state, usage_in
from pmpctl.runtime.docker_trial import image_id, remove_trials, run_trial
from pmpctl.runtime.neighbours import engine_in_container, engines_in_processes
from pmpctl.runtime.process_tree import ProcessId, processes_in, wait_until
from pmpctl.workspace import Workspace

REMOVAL_SECONDS = 30
CONFLICT = 409
EXECUTE_SILENCE_SECONDS = 60
EXECUTE_END_SECONDS = 10


@dataclass(frozen=True, slots=True)
class DockerRuntime:
    """Implements `Runtime`. Only containers that carry the workspace's label are ever stopped or removed."""

    client: EngineClient
    endpoint: Endpoint
    workspace_id: str
    environment: Mapping[str, str]

    @classmethod
    def connect(cls, workspace: Workspace, docker_host: str | None, environment: Mapping[str, str]) -> Self:
        """Raises DockerNotAvailable; `docker_host` wins over DOCKER_HOST, DOCKER_CONTEXT and the current context."""
        endpoint = find_endpoint(docker_host, environment)
        return cls(connect(endpoint, environment), endpoint, workspace.id, environment)

    def close(self) -> None:
        self.client.close()

    @property
    def kind(self) -> RuntimeKind:
        return "docker"

    @property
    def on_this_machine(self) -> bool:
        return self.endpoint.is_local

    def info(self) -> RuntimeInfo:
        with engine_errors("tell its version"):
            version = self.client.version()["Version"]
        return RuntimeInfo("docker", version, self.endpoint.url, self.endpoint.why)

    def gpu_methods(self) -> tuple[GpuMethod, ...]:
        """The ways in which this engine hands out GPUs, best first; how they are found out: `offered_methods`."""
        with engine_errors("tell what it offers"):
            info = self.client.info()
        return offered_methods(info, hook_found=self.endpoint.is_local and find_hook(self.environment))

    def units(self) -> Sequence[UnitState]:
        with engine_errors("list its containers"):
            found = self.client.containers(all=True, filters={"label": f"{LABEL_WORKSPACE}={self.workspace_id}"})
        states = [state for one in found if (state := self.state(one["Id"])) is not None]
        return tuple(sorted(states, key=lambda state: (state.role, state.name)))

    def state(self, unit_id: str) -> UnitState | None:
        container = self._own(unit_id)
        return None if container is None else unit_state(container)

    def check(self, unit: Unit) -> None:
        find_by_name(self.client, self.workspace_id, unit.name)
        if unit.network:
            find_network(self.client, self.workspace_id, unit.network)
        for port in unit.ports:
            refuse_foreign_port(self.client, self.workspace_id, unit.role, port, is_local=self.endpoint.is_local)
        if unit.gpu is not None and not self._may_offer(unit.gpu.method):
            raise GpuNotAvailable(f"this Docker engine hands out no GPU by {unit.gpu.method}", cure=INSTALL_TOOLKIT)

    def prepare(self, unit: Unit) -> Iterator[Progress]:
        return ensure_image(self.client, unit)

    def software(self, unit: Unit) -> str | None:
        return image_id(self.client, unit.image)

    def try_python(self, unit: Unit, source: str, argv: Sequence[str], timeout_seconds: float) -> TrialRun | None:
        return run_trial(self.client, self.workspace_id, unit, source, tuple(argv), timeout_seconds)

    def start(self, unit: Unit) -> UnitState:
        if (leftover := find_by_name(self.client, self.workspace_id, unit.name)) is not None:
            self._remove(leftover)
        network = ensure_network(self.client, self.workspace_id, unit.network) if unit.network else ""
        doing = f"start {unit.name}"
        with engine_errors(doing):
            body = create_body(unit, network)
            created = self.client.create_container_from_config(body, unit.name)["Id"]  # type: ignore[no-untyped-call]
        try:
            with engine_errors(doing):
                self.client.start(created)
        except BaseException:
            self._remove(created)
            raise
        if (state := self.state(created)) is None:
            raise RuntimeFailed(f"{unit.name} was removed while it started", cure="Run the command again.")
        return state

    def stop(self, state: UnitState, timeout_seconds: float) -> None:
        """Asks the program to end, kills it after the timeout; nothing brings it back, not even a restart of Docker."""
        if self._own(state.id) is None:
            return
        with engine_errors(f"stop {state.name}"):
            try:
                self.client.stop(state.id, timeout=math.ceil(timeout_seconds))
                # Not before: a command that ends in between must leave a running unit with its policy.
                self.client.update_container(state.id, restart_policy={"Name": "no"})  # type: ignore[arg-type]
            except NotFound:
                return

    def remove(self, state: UnitState) -> None:
        if self._own(state.id) is not None:
            self._remove(state.id)

    def clean(self) -> Sequence[str]:
        removed = []
        remove_trials(self.client, self.workspace_id)
        for state in self.units():
            if not state.alive:
                self._remove(state.id)
                removed.append(state.name)
        return (*removed, *remove_networks(self.client, self.workspace_id))

    def processes(self, unit_id: str) -> frozenset[ProcessId]:
        return frozenset(processes_in(unit_id)) if self.endpoint.is_local else frozenset()

    def engines(self) -> Sequence[RunningEngine]:
        with engine_errors("list its containers"):
            listed = self.client.containers(filters={"label": [LABEL_WORKSPACE, f"{LABEL_ROLE}=engine"]})
        running = [container for one in listed if (container := self._inspect(one["Id"])) is not None]
        is_local = self.endpoint.is_local
        found = [each for one in running if (each := engine_in_container(one, is_local=is_local)) is not None]
        return (*found, *(engines_in_processes() if is_local else ()))

    def logs(self, state: UnitState, query: LogQuery) -> Iterator[LogLine]:
        return container_log(self.client, state.id, query)

    def usage(self, state: UnitState) -> Usage | None:
        with engine_errors(f"measure {state.name}"):
            try:
                return usage_in(self.client.stats(state.id, stream=False, one_shot=True))
            except NotFound:
                return None

    def execute(self, state: UnitState, argv: Sequence[str]) -> tuple[int, str]:
        with engine_errors(f"run {argv[0]} in {state.name}"):
            command = self.client.exec_create(state.id, list(argv))["Id"]
            # docker-py would wait for ever on a command that says nothing.
            answer = self.client.raw_stream(
                "POST", f"/exec/{command}/start", EXECUTE_SILENCE_SECONDS, json={"Detach": False, "Tty": False}
            )
            output = b"".join(frame.content for frame in read_frames(answer))
            # The output may end a moment before the engine knows the status.
            if not wait_until(lambda: not self.client.exec_inspect(command)["Running"], EXECUTE_END_SECONDS):
                raise RuntimeFailed(f"{argv[0]} in {state.name} closed its output, but goes on", cure=UNKNOWN_CURE)
            return int(self.client.exec_inspect(command)["ExitCode"]), output.decode(errors="replace")

    def _may_offer(self, method: GpuMethod) -> bool:
        """Where we cannot look for NVIDIA's hook, only a start tells whether device requests work."""
        return method in self.gpu_methods() or (method == "device-requests" and not self.endpoint.is_local)

    def _own(self, container_id: str) -> dict[str, Any] | None:
        container = self._inspect(container_id)
        if container is None:
            return None
        labels = container["Config"]["Labels"] or {}
        return container if labels.get(LABEL_WORKSPACE) == self.workspace_id else None

    def _inspect(self, container_id: str) -> dict[str, Any] | None:
        with engine_errors("inspect a container"):
            try:
                container: dict[str, Any] = self.client.inspect_container(container_id)
            except NotFound:
                return None
        return container

    def _remove(self, container_id: str) -> None:
        """Returns when it is gone, with its anonymous volumes; named ones stay."""
        with engine_errors("remove a container"):
            try:
                self.client.remove_container(container_id, force=True, v=True)
            except NotFound:
                return
            except APIError as error:
                if error.status_code != CONFLICT:
                    raise
                # Somebody else is removing it.
                if not wait_until(lambda: self._own(container_id) is None, REMOVAL_SECONDS):
                    raise
