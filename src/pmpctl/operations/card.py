"""Proof that the GPU is free: after the old engine was removed, before the next one starts."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pmpctl.operations.events import Operation
from pmpctl.planning.plan import Plan
from pmpctl.runtime.base import Runtime, UnitState
from pmpctl.runtime.process_tree import ProcessId


@dataclass(frozen=True, slots=True)
class EngineTrace:
    """What an engine is known by once it is gone; taken before it is stopped."""

    unit_id: str
    name: str
    processes: frozenset[ProcessId] = frozenset()


@dataclass(frozen=True, slots=True)
class CardProof:
    """`how` is who says so: the driver, or the runtime alone where no driver can be asked.

    `enough` is false where the free memory stayed below what the plan asks for, and nobody insisted.
    """

    how: Literal["driver", "runtime"]
    seconds: float
    enough: bool = True
    free_bytes: int | None = None
    needed_bytes: int | None = None
    ended: tuple[str, ...] = ()
    """The orphans that had to be ended, in words."""


def trace_engine(runtime: Runtime, engine: UnitState) -> EngineTrace:
    """To be called while the engine, or what is left of it, is still there."""
    raise NotImplementedError


def prove_free(
    runtime: Runtime, plan: Plan, left: Sequence[EngineTrace], *, timeout_seconds: float, insist: bool = True
) -> Operation[CardProof]:
    """Returns once nothing of the engines in `left` runs, and the plan's GPUs have the memory that it asks for.

    What is provably theirs and does not end is ended. Raises CardNotFree at the deadline, naming who holds the card;
    without `insist` (a start with --force, a way back) only for processes of ours that cannot be ended.
    """
    raise NotImplementedError
