"""What of the GPUs is free for an engine of ours, beside the engines of other workspaces."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from pmpctl.errors import CardTaken, PmpctlError
from pmpctl.host.gpus import Gpu, GpuProcess, list_gpus, select_gpus
from pmpctl.operations.environment import Environment, connect_docker
from pmpctl.operations.events import Notice, Operation
from pmpctl.planning.card_claim import CardClaim, claim_of
from pmpctl.planning.plan import Plan
from pmpctl.profiles.model import ProfileFile
from pmpctl.runtime.base import RunningEngine, Runtime, Tenant
from pmpctl.runtime.process_tree import container_of
from pmpctl.vram.cards import BYTES_PER_GIB, card_of_host


@dataclass(frozen=True, slots=True)
class NeighbourUse:
    """`claimed_bytes` is what an engine holds once it has started; until then it holds less."""

    tenant: Tenant
    held_bytes: int
    claimed_bytes: int

    @property
    def bytes(self) -> int:
        return max(self.held_bytes, self.claimed_bytes)

    def __str__(self) -> str:
        return f"{self.tenant} has {gib(self.bytes)}"


@dataclass(frozen=True, slots=True)
class CardUse:
    """One GPU: `leaving_bytes` are held by the engine of ours that ends before another starts."""

    gpu: Gpu
    leaving_bytes: int = 0
    neighbours: tuple[NeighbourUse, ...] = ()
    others: tuple[GpuProcess, ...] = ()

    @property
    def free_bytes(self) -> int:
        """Now, without what neighbours are still to take."""
        return max(0, self.gpu.free_bytes - sum(each.bytes - each.held_bytes for each in self.neighbours))

    @property
    def available_bytes(self) -> int:
        """Once our own engine has ended."""
        return self.free_bytes + self.leaving_bytes

    @property
    def with_all_gone_bytes(self) -> int:
        """Once everybody else has ended, too."""
        return self.available_bytes + sum(each.bytes for each in self.neighbours) + self._others_bytes

    @property
    def _others_bytes(self) -> int:
        return sum(each.used_bytes for each in self.others)

    @property
    def holders(self) -> tuple[str, ...]:
        """Who else has some of it, in words, the largest first."""
        largest_first = sorted(self.others, key=lambda each: -each.used_bytes)
        return (*map(str, self.neighbours), *map(describe_holder, largest_first))

    @property
    def cure(self) -> str:
        """What would end the largest of them, as the beginning of a sentence; empty where nobody is known."""
        if self.neighbours:
            return max(self.neighbours, key=lambda each: each.bytes).tenant.stop
        if not self.others:
            return ""
        largest = max(self.others, key=lambda each: each.used_bytes)
        container = container_of(largest.pid)
        return f"End it with `{f'docker stop {container[:12]}' if container else f'kill {largest.pid}'}`"


def gib(size_bytes: int) -> str:
    return f"{size_bytes / BYTES_PER_GIB:.2f} GiB"


def needed_bytes(claim: CardClaim, gpu: Gpu) -> int:
    """What vLLM asks for at its start: a share of what CUDA calls the whole (request_memory)."""
    return int(claim.share * card_of_host(gpu.name, gpu.total_bytes).total_gib * BYTES_PER_GIB)


def find_uses(
    environment: Environment, file: ProfileFile, runtime: Runtime, devices: Sequence[str], count: int
) -> tuple[CardUse, ...]:
    """Of the GPUs that an engine of this workspace will get; empty where none of them can be seen from here."""
    gpus = list_gpus() if runtime.on_this_machine else ()
    chosen = select_gpus(gpus, devices, count)
    if not chosen:
        return ()
    engines = (*runtime.engines(), *_engines_in_docker(environment, file, runtime, chosen))
    own = [state.id for state in runtime.units() if state.role == "engine"]
    own_pids = frozenset(process.pid for unit_id in own for process in runtime.processes(unit_id))
    return tuple(use_of(gpu, gpus, engines, environment.workspace.id, own_pids) for gpu in chosen)


def _engines_in_docker(
    environment: Environment, file: ProfileFile, runtime: Runtime, gpus: Sequence[Gpu]
) -> Sequence[RunningEngine]:
    """Asks Docker only where a container holds a GPU and this workspace itself does without Docker."""
    if runtime.kind == "docker" or not any(container_of(each.pid) for gpu in gpus for each in gpu.processes):
        return ()
    try:
        return connect_docker(environment, file).engines()
    except PmpctlError:
        return ()


def use_of(
    gpu: Gpu, gpus: Sequence[Gpu], engines: Collection[RunningEngine], workspace_id: str, own_pids: frozenset[int]
) -> CardUse:
    """`gpus` are all of the machine, which say what an engine's claim means; `own_pids` leave in any case."""
    leaving, neighbours = gpu.held_by(own_pids), []
    known = set(own_pids)
    for engine in engines:
        claim, pids = engine.claim, {process.pid for process in engine.processes}
        known |= pids
        claimed = needed_bytes(claim, gpu) if claim and gpu in select_gpus(gpus, claim.devices, claim.count) else 0
        held = gpu.held_by(pids)
        if not any(process.used_bytes for process in gpu.processes):
            # The driver does not tell who holds what (WSL, a container).
            held = min(claimed, gpu.total_bytes - gpu.free_bytes)
        if engine.tenant.workspace == workspace_id:
            leaving = max(leaving, held)
        elif held or claimed:
            neighbours.append(NeighbourUse(engine.tenant, held, claimed))
    others = tuple(process for process in gpu.processes if process.pid not in known)
    return CardUse(gpu, leaving, tuple(neighbours), others)


def refuse_taken_card(
    environment: Environment, file: ProfileFile, runtime: Runtime, plan: Plan, *, force: bool
) -> Operation[None]:
    """Raises CardTaken where only others, workspaces or programs, stand between the plan and what it asks for."""
    claim = claim_of(plan.engine)
    if claim is None:
        return
    for use in find_uses(environment, file, runtime, claim.devices, claim.count):
        needed = needed_bytes(claim, use.gpu)
        if use.available_bytes < needed <= use.with_all_gone_bytes:
            error = CardTaken(
                f"{plan.profile} asks for {gib(needed)} of {use.gpu.name}, of which {gib(use.available_bytes)} "
                f"are left: {'; '.join(use.holders)}",
                cure=f"{use.cure}, or lower `gpu_memory_utilization` so that all fit together.",
            )
            if not force:
                raise error
            yield Notice("warning", f"{error.message}; it is started even so (--force)")


def describe_holder(process: GpuProcess) -> str:
    container = container_of(process.pid)
    where = f", container {container[:12]}" if container else ""
    size = gib(process.used_bytes) if process.used_bytes else "an unknown amount"
    return f"{process.name} (pid {process.pid}{where}) holds {size}"
