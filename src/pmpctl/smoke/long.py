"""Fills the context step by step and has the model answer at each: what starts well may still die of a long prompt."""

from dataclasses import dataclass, replace
from functools import partial
from weakref import WeakKeyDictionary

from pmpctl.smoke import prompts
from pmpctl.smoke.api import Api
from pmpctl.smoke.check import Check, Failed, Group, Passed, Skipped
from pmpctl.smoke.long_prompt import LongPrompt, PromptMaker
from pmpctl.smoke.models import max_model_len

STEPS_PERCENT = (25, 50, 75, 100)
ANSWER_TOKENS = 32

# A hundred thousand tokens on a slow card, with others before it in the queue.
_PATIENCE_SECONDS = 900.0
_MOST_SHRINKS = 3
_SHRINK = 0.95


@dataclass(slots=True)
class _Filling:
    """What the steps of one run know of each other."""

    context: int
    maker: PromptMaker
    worked_tokens: int = 0
    failed_tokens: int | None = None


# A check has nothing but the API; what it belongs to ends with it.
_fillings: WeakKeyDictionary[Api, _Filling] = WeakKeyDictionary()


def fill(api: Api, percent: int) -> Passed:
    filling = _filling(api, percent)
    room = filling.context - ANSWER_TOKENS
    wanted = min(filling.context * percent // 100, room)
    with Api(replace(api.target, timeout_seconds=max(api.target.timeout_seconds, _PATIENCE_SECONDS))) as patient:
        for shrinks in range(_MOST_SHRINKS + 1):
            prompt = filling.maker.make(round(wanted * _SHRINK**shrinks))
            try:
                return _answered(patient, filling, prompt, shrinks)
            except Failed as failed:
                if not _is_refused(failed) or shrinks == _MOST_SHRINKS:
                    filling.failed_tokens = prompt.tokens
                    raise _explained(api, filling, failed) from failed
    raise AssertionError


def answer_afterwards(api: Api) -> Passed:
    """A short one, which also waits for an engine that is being started again."""
    answer = api.chat([prompts.user(prompts.SAY_OK)], max_tokens=ANSWER_TOKENS, temperature=0)
    return Passed(figures={"answer_ms": round(answer.seconds * 1000, 1)})


def _filling(api: Api, percent: int) -> _Filling:
    if percent == STEPS_PERCENT[0]:
        _fillings[api] = _Filling(max_model_len(api), PromptMaker(api))
    if (filling := _fillings.get(api)) is None:
        raise Skipped("the first step did not begin")
    if filling.failed_tokens is not None:
        raise Skipped(f"{filling.failed_tokens} tokens failed already")
    return filling


def _answered(patient: Api, filling: _Filling, prompt: LongPrompt, shrinks: int) -> Passed:
    options = {"max_tokens": ANSWER_TOKENS, "temperature": 0, "stream_options": {"include_usage": True}}
    with patient.stream_chat(prompt.messages, **options) as stream:
        stream.read_all()
    tokens = int((stream.usage or {}).get("prompt_tokens") or prompt.tokens)
    first_token_seconds = stream.first_token_seconds or 0.0
    filling.worked_tokens = max(filling.worked_tokens, tokens)
    per_second = tokens / first_token_seconds if first_token_seconds else 0.0
    shrunk = ", fewer than planned as the API refused more" if shrinks else ""
    return Passed(
        f"{tokens} tokens{shrunk}: first token after {first_token_seconds:.2f} s, {per_second:.0f} tokens/s",
        {
            "prompt_tokens": tokens,
            "first_token_ms": round(first_token_seconds * 1000, 1),
            "prompt_tokens_per_second": round(per_second, 1),
        },
    )


def _is_refused(failed: Failed) -> bool:
    """The API takes no prompt of that length; the engine is none the worse for it."""
    return failed.status in (400, 413, 422)


def _explained(api: Api, filling: _Filling, failed: Failed) -> Failed:
    worked = f"{filling.worked_tokens} tokens worked" if filling.worked_tokens else "no step before worked"
    what = f"{worked}, {filling.failed_tokens} did not: {failed.what}"
    if _is_refused(failed):
        return Failed(
            f"{what}; the API says it has a context of {filling.context}",
            "Have the API tell the context that it takes (max_model_len), as clients fill what they are told.",
        )
    limit = f"max_model_len to {filling.worked_tokens} or less" if filling.worked_tokens else "max_model_len"
    cure = (
        f"Lower {limit}, or max_num_batched_tokens or gpu_memory_utilization, so that a long prompt finds memory; "
        "`pmpctl logs engine` shows the engine's first error."
    )
    return Failed(f"{what}; {_state_afterwards(api)}", cure)


def _state_afterwards(api: Api) -> str:
    try:
        answer_afterwards(api)
    except Failed as failed:
        return f"the API is dead since then ({failed.what})"
    return "the API answers short prompts again"


LONG = (
    *(
        Check(f"long-{percent}", Group.LONG, f"{percent} % of the context filled", partial(fill, percent=percent))
        for percent in STEPS_PERCENT
    ),
    Check("long-afterwards", Group.LONG, "A short answer after the long prompts", answer_afterwards),
)
