"""What `up` makes of the fit: a refusal before anything is touched, a warning, or a word on why nobody can tell."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from pmpctl.errors import DoesNotFit, PmpctlError
from pmpctl.operations.background import in_background
from pmpctl.operations.environment import Environment
from pmpctl.operations.events import Notice, Operation
from pmpctl.operations.fit import Assessment, assess
from pmpctl.operations.fit_inputs import FitOptions
from pmpctl.profiles.model import ProfileFile
from pmpctl.runtime.base import Runtime
from pmpctl.vram.estimate import Verdict

T = TypeVar("T")

PATIENCE_SECONDS = 10.0
"""For the hub, where it alone knows the model: the engine needs it too, but may have to wait for it."""


@dataclass(frozen=True, slots=True)
class FitOutcome:
    """`assessment` is None where nothing could be said; `why_not` then says why."""

    assessment: Assessment | None
    why_not: str = ""

    @property
    def refusal(self) -> DoesNotFit | None:
        """Names what is missing, the longest context that fits, and the cheapest change."""
        found = self.assessment
        if found is None or (refusal := found.refusal()) is None:
            return None
        longest = (
            f"the largest context that fits is {found.safe_context:,} tokens"
            if found.safe_context
            else "no context fits with these settings"
        )
        return DoesNotFit(
            f"{refusal.message}; {-found.margin_gib:.2f} GiB are missing",
            cure=f"{refusal.cure} `pmpctl vram-check {found.profile}` shows each share; `--force` starts it even so.",
            details=(longest, *found.reasons[1:]),
        )

    def __str__(self) -> str:
        found = self.assessment
        if found is None:
            return f"not checked: {self.why_not}"
        return (
            f"{found.verdict}, {found.card.name} ({found.basis}): {found.kv_available_gib:.2f} GiB for the KV cache, "
            f"{found.kv_needed_gib:.2f} needed"
        )


def find_fit(
    environment: Environment, file: ProfileFile, runtime: Runtime, profile_name: str, *, offline: bool
) -> FitOutcome:
    """Never raises for what cannot be known, nor waits long for it: the engine will say the rest itself."""
    if file.profile(profile_name).device != "cuda":
        return FitOutcome(None, "the profile runs on the CPU")
    try:
        options = FitOptions(offline=offline)
        found = _within(PATIENCE_SECONDS, partial(assess, environment, file, profile_name, options, runtime))
    except PmpctlError as error:
        return FitOutcome(None, error.message)
    return FitOutcome(found, "" if found else f"the model hub did not answer within {PATIENCE_SECONDS:.0f} s")


def require_fit(
    environment: Environment, file: ProfileFile, runtime: Runtime, profile_name: str, *, force: bool
) -> Operation[FitOutcome]:
    """Raises DoesNotFit unless `force`; what our own running engine holds counts as free."""
    outcome = find_fit(environment, file, runtime, profile_name, offline=False)
    found = outcome.assessment
    if found is None:
        if file.profile(profile_name).device == "cuda":
            yield Notice("warning", f"whether the model fits was {outcome}")
        return outcome
    for note in found.notes:
        yield Notice("info", note)
    if (refusal := outcome.refusal) is not None:
        if not force:
            raise refusal
        yield Notice("warning", f"{refusal.message}; it is started even so (--force)")
    elif found.verdict is Verdict.TIGHT:
        reason = "; ".join(found.reasons)
        yield Notice("warning", f"{profile_name} is tight on {found.card.name}: {reason}. It may not start.")
    return outcome


def _within(seconds: float, call: Callable[[], T]) -> T | None:
    """None if it takes longer; what is under way then ends with the command."""
    try:
        return in_background(call, "fit").result(seconds)
    except TimeoutError:
        return None
