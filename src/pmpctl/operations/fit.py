"""Whether a profile fits a card, before anything starts: no GPU, no Docker, and for shipped profiles no network."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial

from pmpctl.errors import DoesNotFit, PmpctlError, Problem
from pmpctl.operations.environment import Environment
from pmpctl.operations.fit_inputs import FitInputs, FitOptions, gather_inputs
from pmpctl.operations.fit_lines import Line, lines_of
from pmpctl.profiles.model import Profile, ProfileFile
from pmpctl.runtime.base import Runtime
from pmpctl.vram.advice import Change, advise
from pmpctl.vram.cards import Card
from pmpctl.vram.estimate import Basis, Estimate, Verdict, estimate, residual
from pmpctl.vram.production import production_evidence
from pmpctl.vram.settings import EngineSettings
from pmpctl.vram.shares import Evidence, Measured, Residual

ROUNDS_TO_FIT = 8
"""A longer context may itself take memory on old engines, so what fits is looked for again."""


CURED = {Verdict.FITS: "fits", Verdict.TIGHT: "is tight"}


@dataclass(frozen=True, slots=True)
class Advice:
    """A change of the profile, how much nearer it comes to fitting, and what the verdict is then."""

    change: str
    gained_gib: float
    verdict: Verdict
    safe_context: int


@dataclass(frozen=True, slots=True)
class Concurrency:
    tokens: int
    requests: float | None
    """None where there is no bound: a model that caches nothing."""


@dataclass(frozen=True, slots=True)
class ByFormulas:
    """What would be said if no start had been measured."""

    weights_gib: float
    kv_available_gib: float
    verdict: Verdict
    safe_context: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Assessment:
    """All sizes are of one GPU; of each one where there are several."""

    profile: str
    profile_why: str
    """Why it is this profile; empty where it was named."""
    model: str
    revision: str | None
    facts_source: str
    architecture: str
    architecture_known: bool
    card: Card
    card_why: str
    free_gib: float | None
    settings: EngineSettings
    what_if: dict[str, object]
    verdict: Verdict
    reasons: tuple[str, ...]
    margin_gib: float
    band_gib: float
    basis: Basis
    evidence: str
    by_formulas: ByFormulas
    lines: tuple[Line, ...]
    budget_gib: float
    kv_available_gib: float
    kv_needed_gib: float
    largest_context: int
    safe_context: int
    model_context: int | None
    concurrency: tuple[Concurrency, ...]
    """At the profile's own context first, then at usual lengths below it."""
    advice: tuple[Advice, ...]
    notes: tuple[str, ...]

    def refusal(self) -> DoesNotFit | None:
        if self.verdict is not Verdict.DOES_NOT_FIT:
            return None
        helpful = [each for wanted in (Verdict.FITS, Verdict.TIGHT) for each in self.advice if each.verdict is wanted]
        return DoesNotFit(
            f"{self.profile} does not fit {self.card.name}: {self.reasons[0]}",
            cure=f"Set {helpful[0].change}, with which it {CURED[helpful[0].verdict]}."
            if helpful
            else "No change of its settings is enough: choose a smaller model, or a larger card.",
        )


@dataclass(frozen=True, slots=True)
class NotAssessed:
    """A profile of which nothing can be said, and why."""

    profile: str
    problem: Problem


@dataclass(frozen=True, slots=True)
class Fitted:
    """A profile with the longest context that fits, as it would stand in the file."""

    profile: Profile
    assessment: Assessment


def assess(
    environment: Environment,
    file: ProfileFile,
    profile_name: str | None,
    options: FitOptions,
    runtime: Runtime | None = None,
) -> Assessment:
    inputs = gather_inputs(environment, file, profile_name, options, runtime)
    return _assessed(inputs, options)


def assess_all(
    environment: Environment, file: ProfileFile, options: FitOptions
) -> tuple[Assessment | NotAssessed, ...]:
    """Every profile of the file in its order; one that cannot be assessed stops no other."""

    def one(name: str) -> Assessment | NotAssessed:
        try:
            return assess(environment, file, name, options)
        except PmpctlError as error:
            return NotAssessed(name, error.problems[0])

    return tuple(one(name) for name in file.profiles)


def fit(environment: Environment, file: ProfileFile, profile_name: str | None, options: FitOptions) -> Fitted:
    """The longest context with which the verdict is "fits"; raises DoesNotFit where no context helps."""
    inputs = gather_inputs(environment, file, profile_name, options)
    found = _judge(inputs)
    limit = inputs.architecture.context_limit or found.safe_context
    context = min(found.safe_context, limit)
    for _ in range(ROUNDS_TO_FIT):
        if context < 1:
            break
        tried = replace(inputs, settings=replace(inputs.settings, max_model_len=context))
        judged = _judge(tried)
        if judged.verdict is Verdict.FITS:
            written = inputs.profile.model_copy(update={"max_model_len": context})
            return Fitted(written, _assessed(tried, options))
        context = min(context - 1, judged.safe_context)
    reason = found.reasons[0] if found.reasons else "even one token is too much at the bad end of the error band"
    raise DoesNotFit(
        f"no context of {inputs.profile.name} fits {inputs.chosen.card.name} for sure: {reason}",
        cure="See `pmpctl vram-check` without --fit: it lists what would help.",
    )


def evidence_for(inputs: FitInputs) -> Evidence | None:
    """What a real start taught about these settings: one of this workspace, else one of production."""
    known = (inputs.facts, inputs.architecture, inputs.weights, inputs.chosen.card, inputs.settings)
    return inputs.calibration.evidence(*known) or production_evidence(*known)


def _judge(inputs: FitInputs) -> Estimate:
    return _estimate(inputs, evidence_for(inputs))


def _estimate(inputs: FitInputs, evidence: Evidence | None) -> Estimate:
    return estimate(
        inputs.facts,
        inputs.architecture,
        inputs.weights,
        inputs.chosen.card,
        inputs.settings,
        free_gib=inputs.chosen.free_gib,
        evidence=evidence,
    )


def _judge_under(inputs: FitInputs, taught: Residual | None, settings: EngineSettings) -> Estimate:
    """Of other settings; where no start tells of them, what is known of the present ones holds, not the formulas alone.

    Else a change would seem to bring what is only the difference between a measured figure and an estimate.
    """
    changed = replace(inputs, settings=settings)
    return _estimate(changed, evidence_for(changed) or taught)


def _taught(inputs: FitInputs) -> Residual | None:
    evidence = evidence_for(inputs)
    return residual(evidence, _estimate(inputs, None)) if isinstance(evidence, Measured) else evidence


def _assessed(inputs: FitInputs, options: FitOptions) -> Assessment:
    found, alone = _judge(inputs), _estimate(inputs, None)
    changes = advise(inputs.architecture, found, partial(_judge_under, inputs, _taught(inputs)))
    return Assessment(
        profile=inputs.profile.name,
        profile_why=inputs.profile_why,
        model=inputs.profile.model,
        revision=inputs.facts.revision,
        facts_source=inputs.facts.source,
        architecture=inputs.architecture.name,
        architecture_known=inputs.architecture.known,
        card=found.card,
        card_why=inputs.chosen.why,
        free_gib=found.free_gib,
        settings=found.settings,
        what_if=options.profile_keys(),
        verdict=found.verdict,
        reasons=found.reasons,
        margin_gib=found.margin_gib,
        band_gib=found.band_gib,
        basis=found.basis,
        evidence=found.evidence,
        by_formulas=ByFormulas(_weights_gib(alone), alone.kv_available_gib, alone.verdict, alone.safe_context),
        lines=tuple(lines_of(inputs, found)),
        budget_gib=found.budget_gib,
        kv_available_gib=found.kv_available_gib,
        kv_needed_gib=found.kv_needed_gib,
        largest_context=found.largest_context,
        safe_context=found.safe_context,
        model_context=inputs.architecture.context_limit,
        concurrency=tuple(_concurrency(found)),
        advice=tuple(_advice(change) for change in changes),
        notes=(*found.notes, *inputs.notes),
    )


def _weights_gib(found: Estimate) -> float:
    return next(row.gib for row in found.rows if row.name == "weights")


def _concurrency(found: Estimate) -> Iterator[Concurrency]:
    lengths = {found.settings.max_model_len: found.concurrency, **found.typical_concurrency}
    for tokens, requests in lengths.items():
        yield Concurrency(tokens, requests if math.isfinite(requests) else None)


def _advice(change: Change) -> Advice:
    return Advice(change.text, change.gained_gib, change.after.verdict, change.after.safe_context)
