"""What a switch has to tell at its end."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from pmp_gateway.control_schema import HoldCounts
from pmpctl.errors import PmpctlError
from pmpctl.operations.preflight import Preflight
from pmpctl.operations.smoke import SmokeReport
from pmpctl.operations.switch_scene import Scene
from pmpctl.operations.switch_steps import Timing
from pmpctl.planning.plan import Plan

Change = Literal["kept", "switched", "started"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SwitchResult:
    """`previous` is the profile that ran before. Without a hold there was no gap, and nothing is counted.

    Of the requests that came in the gap `held` had to wait, `released` went to the new model, and `refused` were told
    to come again; of those under way before it `finished` did so, and `cancelled` took longer than the drain.
    `smoke` is None where no checks were made at the end.
    """

    profile: str
    previous: str | None
    change: Change
    model: str
    runtime: str
    base_url: str
    served_names: tuple[str, ...]
    max_model_len: int | None
    seconds: float
    gap_seconds: float | None = None
    held: int = 0
    released: int = 0
    finished: int = 0
    cancelled: int = 0
    refused: int = 0
    phases: Mapping[str, float] = field(default_factory=dict)
    smoke: SmokeReport | None = None


@dataclass(frozen=True, slots=True)
class PlannedSwitch:
    """`steps` are words for people; `checks` is None where nothing has to be done."""

    plan: Plan
    previous: str | None
    change: Change
    steps: tuple[str, ...]
    checks: Preflight | None

    @property
    def refusal(self) -> PmpctlError | None:
        return self.checks.fit.refusal if self.checks is not None else None


def switch_result(
    scene: Scene,
    change: Change,
    seconds: float,
    counts: HoldCounts | None = None,
    timing: Timing | None = None,
) -> SwitchResult:
    plan, engine = scene.plan, scene.engine
    counts = counts or HoldCounts()
    timing = timing or Timing()
    return SwitchResult(
        profile=plan.profile,
        previous=engine.profile if engine is not None else None,
        change=change,
        model=plan.model,
        runtime=plan.runtime,
        base_url=plan.base_url,
        served_names=plan.served_names,
        max_model_len=plan.max_model_len,
        seconds=seconds,
        gap_seconds=timing.gap_seconds,
        held=counts.held,
        released=counts.released,
        finished=counts.finished,
        cancelled=counts.cancelled,
        refused=counts.refused,
        phases=timing.seconds,
    )
