"""What starts of this workspace measured: one record for each model, card, engine and set of settings."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from pydantic import TypeAdapter

from pmpctl.diagnosis.figures import EngineFigures
from pmpctl.host.files import make_folder, save
from pmpctl.operations.environment import Environment, engine_program, owner_of
from pmpctl.planning.images import engine_image
from pmpctl.profiles.model import Profile, ProfileFile
from pmpctl.vram.cards import Card
from pmpctl.vram.estimate import estimate, residual
from pmpctl.vram.facts import ModelFacts
from pmpctl.vram.layers import Architecture
from pmpctl.vram.settings import EngineSettings
from pmpctl.vram.shares import Evidence, Measured, Weights
from pmpctl.workspace import Workspace

_VLLM_VERSION = re.compile(r"vllm-(?P<version>\d[^-]*)\.dist-info")


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """All that decides about an engine's memory: two equal ones take the same."""

    engine: str
    """The image; without Docker the program and its release."""
    card: str
    card_total_gib: float
    model: str
    revision: str | None
    extra_args: tuple[str, ...]
    settings: EngineSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class StartRecord:
    start: Start
    profile: str
    recorded_at: float
    """Seconds since the epoch."""
    figures: EngineFigures

    @property
    def measured(self) -> Measured:
        figures = self.figures
        day = datetime.fromtimestamp(self.recorded_at, UTC).date().isoformat()
        return Measured(
            available_kv_gib=figures.kv_gib or 0.0,
            weights_gib=figures.weights_gib,
            # What was taken off the budget decided about the cache, not what the graphs took in the end.
            graphs_gib=figures.graphs_gib if figures.graphs_estimated_gib is None else figures.graphs_estimated_gib,
            source=f"vLLM's log of {self.profile}, started on {day}",
        )


@dataclass(frozen=True, slots=True)
class Calibration:
    """The records that may tell something about a profile."""

    profile: Profile
    engines: tuple[str, ...]
    """Under which its engine may be recorded, with Docker and without."""
    records: Sequence[StartRecord]
    """The newest first."""
    damaged: tuple[Path, ...]

    @property
    def notes(self) -> tuple[str, ...]:
        return tuple(f"{path} is no record of a start, and is ignored." for path in self.damaged)

    def evidence(
        self, facts: ModelFacts, model: Architecture, weights: Weights, card: Card, settings: EngineSettings
    ) -> Evidence | None:
        """What the same settings measured; else what the nearest related settings teach; else nothing."""
        wanted = [start_of(self.profile, engine, card, settings) for engine in self.engines]
        if same := next((record for record in self.records if record.start in wanted), None):
            return same.measured
        related = [record for record in self.records if any(_is_related(record.start, start) for start in wanted)]
        if not related:
            return None
        nearest = min(related, key=lambda record: _differences(record.start.settings, settings))
        return residual(nearest.measured, estimate(facts, model, weights, card, nearest.start.settings))


def read_calibration(environment: Environment, file: ProfileFile, profile: Profile) -> Calibration:
    records, damaged = [], []
    for path in sorted(environment.workspace.calibration_dir.glob("*.json")):
        try:
            records.append(_adapter().validate_json(path.read_bytes()))
        except (OSError, ValueError):
            damaged.append(path)
    records = [record for record in records if record.start.model == profile.model]
    records.sort(key=lambda record: -record.recorded_at)
    engines = (engine_image(profile, file.host), program_identity(engine_program(environment, file)))
    return Calibration(profile, engines, records, tuple(damaged))


def keep(workspace: Workspace, record: StartRecord) -> None:
    """Replaces what was recorded of an equal start; raises what a user can mend."""
    uid, gid = owner_of(workspace)
    make_folder(workspace.calibration_dir, uid=uid, gid=gid)
    key = hashlib.sha256(TypeAdapter(Start).dump_json(record.start)).hexdigest()[:16]
    save(workspace.calibration_dir / f"{key}.json", _adapter().dump_json(record, indent=2).decode(), mode=0o644)


def start_of(profile: Profile, engine: str, card: Card, settings: EngineSettings) -> Start:
    return Start(
        engine=engine,
        card=card.name,
        card_total_gib=round(card.total_gib, 1),
        model=profile.model,
        revision=profile.revision,
        extra_args=tuple(profile.extra_args),
        settings=settings,
    )


def program_identity(program: Path) -> str:
    """A program and the release of vLLM that is installed with it, as an upgrade leaves the path as it is."""
    installed = sorted(program.resolve().parent.parent.glob("lib/python3*/site-packages/vllm-*.dist-info"))
    version = next((match["version"] for path in installed if (match := _VLLM_VERSION.match(path.name))), "")
    return f"{program} {version}".rstrip()


def _is_related(recorded: Start, wanted: Start) -> bool:
    """Whether nothing differs but settings that the formulas follow; a cache of a given size teaches nothing."""
    if recorded.settings.kv_cache_memory_bytes is not None:
        return False
    same = replace(
        recorded.settings,
        max_model_len=wanted.settings.max_model_len,
        gpu_memory_utilization=wanted.settings.gpu_memory_utilization,
        kv_cache_dtype=wanted.settings.kv_cache_dtype,
        max_num_seqs=wanted.settings.max_num_seqs,
        max_num_batched_tokens=wanted.settings.max_num_batched_tokens,
        enforce_eager=wanted.settings.enforce_eager,
    )
    return replace(recorded, settings=same) == wanted


def _differences(one: EngineSettings, other: EngineSettings) -> int:
    return sum(getattr(one, field.name) != getattr(other, field.name) for field in fields(EngineSettings))


@cache
def _adapter() -> TypeAdapter[StartRecord]:
    return TypeAdapter(StartRecord)
