"""What an operation tells while it works; the ui turns it into a progress bar, plain lines or JSON lines."""

from collections.abc import Generator
from dataclasses import dataclass
from typing import Literal, TypeVar

from pmpctl.smoke.check import Group, Verdict

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class PhaseStarted:
    """`phase` is a stable word for machines, `title` the words for people."""

    phase: str
    title: str


@dataclass(frozen=True, slots=True)
class PhaseProgress:
    phase: str
    message: str
    done: int = 0
    total: int | None = None
    unit: Literal["bytes", "percent", "steps"] = "bytes"


@dataclass(frozen=True, slots=True)
class PhaseFinished:
    phase: str
    seconds: float
    message: str = ""


@dataclass(frozen=True, slots=True)
class Notice:
    level: Literal["info", "warning"]
    message: str


@dataclass(frozen=True, slots=True)
class Setback:
    """What was under way has failed, and the operation goes on by undoing it."""

    message: str


@dataclass(frozen=True, slots=True)
class CheckMade:
    """One of the API's checks; the result holds them all once more, with what to do."""

    name: str
    group: Group
    title: str
    verdict: Verdict
    seconds: float
    detail: str


Event = PhaseStarted | PhaseProgress | PhaseFinished | Notice | Setback | CheckMade

Operation = Generator[Event, None, T]
