"""A plan as a file keeps it: exactly what ran, so that it can run again whatever the profile file says by then."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from pydantic import TypeAdapter, ValidationError

from pmpctl.planning.plan import LABEL_PLAN, Plan, as_data

SCHEMA = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class FitFigures:
    """What was known of the memory; `needed_gpu_bytes` is what each GPU must have free before the engine starts."""

    verdict: str
    card: str
    needed_gpu_bytes: int
    kv_available_gib: float
    kv_needed_gib: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedPlan:
    """All that a way back needs. It holds no secret: those reach engine and gateway as files that the plan mounts."""

    plan: Plan
    fit: FitFigures | None = None

    @property
    def profile(self) -> str:
        return self.plan.profile

    @property
    def engine_hash(self) -> str:
        """What stands in the label of its engine, also if a later pmpctl would hash the same plan differently."""
        return self.plan.engine.labels[LABEL_PLAN]


def plan_data(recorded: RecordedPlan) -> dict[str, Any]:
    """JSON-ready."""
    return {"schema": SCHEMA, **as_data(recorded)}


def plan_from_data(data: Any) -> RecordedPlan:
    """Raises ValueError for what no pmpctl of this schema has written."""
    if not isinstance(data, Mapping) or data.get("schema") != SCHEMA:
        raise ValueError(f"it is no plan of schema {SCHEMA}")
    members = {key: value for key, value in data.items() if key != "schema"}
    try:
        recorded = _adapter().validate_python(members)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise ValueError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    if LABEL_PLAN not in recorded.plan.engine.labels:
        raise ValueError("its engine has no label that names its plan")
    if not _survived(members, as_data(recorded)):
        raise ValueError("it holds more than this pmpctl understands")
    return recorded


def _survived(written: Any, read: Any) -> bool:
    """Whether all that was written has been read, unchanged; a plan that lost a word would not be what ran."""
    if isinstance(written, Mapping):
        return isinstance(read, Mapping) and all(
            key in read and _survived(value, read[key]) for key, value in written.items()
        )
    if isinstance(written, list):
        same_length = isinstance(read, list) and len(written) == len(read)
        return same_length and all(_survived(*pair) for pair in zip(written, read, strict=True))
    return isinstance(written, bool) is isinstance(read, bool) and bool(written == read)


@cache
def _adapter() -> TypeAdapter[RecordedPlan]:
    return TypeAdapter(RecordedPlan)
