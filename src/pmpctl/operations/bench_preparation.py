"""What a measurement is made of: what was asked for, and what must be learned of the API before."""

import itertools
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

from pmpctl.errors import ApiFailed, UsageError
from pmpctl.load.filler import Filler, NotCounted, PromptTooShort, learn_words, make_filler, uncounted_filler
from pmpctl.load.probe import Fields, TokenCounter, engine_version, find_fields, list_models
from pmpctl.load.sample import Level
from pmpctl.operations.api_target import KnownApi
from pmpctl.operations.events import Operation, PhaseFinished, PhaseStarted
from pmpctl.smoke.api import Api
from pmpctl.smoke.check import Failed
from pmpctl.smoke.target import Target

MOST_AT_A_TIME = 256
FEWEST_REQUESTS = 16
REQUESTS_EACH = 4
"""At a time and level, where nobody says how many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Each concurrency is measured with each length of prompt and each length of answer."""

    concurrency: tuple[int, ...]
    prompt_tokens: tuple[int, ...]
    output_tokens: tuple[int, ...]
    requests: int | None = None
    seconds: float | None = None
    shared_prefix: bool = False
    model: str | None = None

    def levels(self) -> tuple[Level, ...]:
        return tuple(
            Level(
                concurrency=concurrency,
                prompt_tokens=prompt,
                output_tokens=output,
                requests=self._requests(concurrency),
                seconds=self.seconds,
            )
            for prompt, output, concurrency in itertools.product(
                self.prompt_tokens, self.output_tokens, self.concurrency
            )
        )

    def _requests(self, concurrency: int) -> int | None:
        if self.requests is None and self.seconds is None:
            return max(FEWEST_REQUESTS, REQUESTS_EACH * concurrency)
        return self.requests


@dataclass(frozen=True, slots=True)
class Prepared:
    target: Target
    model_id: str
    max_model_len: int | None
    engine: str | None
    fields: Fields
    fillers: dict[int, Filler]
    notes: tuple[str, ...]


def prepare(known: KnownApi, wanted: Wanted) -> Operation[Prepared]:
    """Raises ApiFailed for an API that cannot be measured, UsageError for lengths that it cannot have."""
    yield PhaseStarted("prepare", "Learning how the API counts tokens")
    began = time.monotonic()
    try:
        with Api(known.target) as api:
            models = list_models(api)
            target, model_id, length = _choose(known.target, wanted.model, {m.id: m.max_model_len for m in models})
            _require_room(wanted, length)
        with Api(target) as api:
            engine = None if known.engine else engine_version(api)
            fields = find_fields(api)
            counted, fillers = _make_fillers(TokenCounter(api, fields), wanted)
    except Failed as failed:
        raise ApiFailed(failed.what, cure=failed.cure) from failed
    except PromptTooShort as error:
        raise UsageError(str(error), cure="Choose longer prompts with --prompt-tokens.") from error
    yield PhaseFinished("prepare", time.monotonic() - began, f"{model_id}, prompts counted by {counted or 'nobody'}")
    return Prepared(
        target, model_id, length, f"vLLM {engine}" if engine else None, fields, fillers, tuple(_notes(fields, counted))
    )


def _make_fillers(count: TokenCounter, wanted: Wanted) -> tuple[str | None, dict[int, Filler]]:
    """For each length, and what counted the tokens; raises PromptTooShort."""
    shared = wanted.shared_prefix
    try:
        costs = learn_words(count)
        fillers = {tokens: make_filler(count, costs, tokens, shared_prefix=shared) for tokens in wanted.prompt_tokens}
    except NotCounted:
        return None, {tokens: uncounted_filler(tokens, shared_prefix=shared) for tokens in wanted.prompt_tokens}
    return "/tokenize" if count.by_tokenize else "usage", fillers


def _notes(fields: Fields, counted: str | None) -> Iterator[str]:
    if not fields.exact:
        yield "the API does not take ignore_eos: answers may be shorter than asked for"
    if counted is None:
        yield "the API does not count the tokens of prompts: they have that many words instead"


def _choose(target: Target, wanted: str | None, lengths: dict[str, int | None]) -> tuple[Target, str, int | None]:
    """The model that is asked, as what it is listed, and its context; raises UsageError where it must be named."""
    model = wanted or (target.model if target.model in lengths else next(iter(lengths)))
    if wanted is None and model != target.model and len(lengths) > 1:
        names = ", ".join(list(lengths)[:8])
        raise UsageError("the API has several models", cure=f"Choose one with --model: {names}.")
    # A gateway may serve names that it does not list.
    listed = model if model in lengths else next(iter(lengths))
    length = lengths[listed] if model in lengths or len(lengths) == 1 else None
    return replace(target, model=model), listed, length or target.max_model_len


def _require_room(wanted: Wanted, max_model_len: int | None) -> None:
    longest = max(wanted.prompt_tokens) + max(wanted.output_tokens)
    if max_model_len is not None and longest > max_model_len:
        raise UsageError(
            f"{max(wanted.prompt_tokens)} + {max(wanted.output_tokens)} tokens are more than the context of "
            f"{max_model_len}",
            cure="Choose shorter lengths with --prompt-tokens and --output-tokens.",
        )
