"""Checks of the turns after a call: results reach the model, by ids of any usual length, and the talk goes on."""

from pmpctl.smoke import prompts
from pmpctl.smoke.answer import excerpt
from pmpctl.smoke.api import Api
from pmpctl.smoke.check import Check, Failed, Group, Passed, Skipped
from pmpctl.smoke.tool_calling import TEMPLATE_CURE, ask, tools

LONG_ID = "call_Q3vX8mZr5TnB2kLd7WyHs9Pa"
SHORT_ID = "1"


def _round(api: Api) -> Passed:
    return _uses_results(api, ("Paris",), prompts.ONE_CITY)


def _round_of_two(api: Api) -> Passed:
    try:
        return _uses_results(api, prompts.CITIES, prompts.TWO_CITIES)
    except Failed:
        _skip_without_results(api)
        raise


def _skip_without_results(api: Api) -> None:
    try:
        _round(api)
    except Failed as found:
        raise Skipped("not even one result reaches the model") from found


def _uses_results(api: Api, cities: tuple[str, ...], question: str) -> Passed:
    answer = ask(api, prompts.tool_round(cities, prompts.CALL_IDS[: len(cities)], question), tools=tools())
    missing = [city for city in cities if prompts.SKIES[city] not in answer.text.lower()]
    if missing:
        said = answer.text or "calls the tool again" if answer.tool_calls else answer.text
        raise Failed(
            f"the answer does not use the tool's result for {' and '.join(missing)}: {excerpt(said.encode())!r}",
            f"The chat template drops tool results, or the model does not read them. {TEMPLATE_CURE}",
        )
    return Passed(excerpt(answer.text.encode()))


def _next_question(api: Api) -> Passed:
    talk = [
        *prompts.tool_round(("Paris",), prompts.CALL_IDS[:1]),
        {"role": "assistant", "content": "It is foggy in Paris."},
        prompts.user(prompts.SHAPE_QUESTION),
    ]
    ask(api, talk, tools=tools())
    return Passed()


def _long_ids(api: Api) -> Passed:
    ask(api, prompts.tool_round(("Paris",), (LONG_ID,)), tools=tools())
    return Passed(f"{len(LONG_ID)} characters")


def _short_ids(api: Api) -> Passed:
    target = api.target
    messages = prompts.tool_round(("Paris",), (SHORT_ID,))
    body = {"model": target.model, "messages": messages, "tools": tools(), "max_tokens": 16, "temperature": 0}
    answer = api.request("POST", "/v1/chat/completions", json=body)
    of_mistral = "mistral" in (target.tokenizer_mode, target.tool_call_parser)
    if answer.status == 200:
        return Passed("accepted")
    if answer.status == 400 and answer.error is not None and (of_mistral or target.tool_call_parser is None):
        return Passed("refused with HTTP 400, as Mistral's format wants")
    if answer.status == 400 and answer.error is not None:
        raise Failed(f"an id of one character is refused: {answer.error.message}", TEMPLATE_CURE)
    raise Failed(
        f"an id of one character is answered with HTTP {answer.status}, not with a clear 400",
        "Clients repeat what fails with such a status without end. " + TEMPLATE_CURE,
    )


ROUNDS: tuple[Check, ...] = (
    Check("tool-round", Group.TOOLS, "An answer from a tool's result", _round),
    Check("tool-round-parallel", Group.TOOLS, "An answer from two results by id", _round_of_two),
    Check("tool-round-next", Group.TOOLS, "A new question after a tool's answer", _next_question),
    Check("tool-ids-long", Group.TOOLS, "Call ids as long as OpenAI's", _long_ids),
    Check("tool-ids-short", Group.TOOLS, "Call ids that are too short", _short_ids),
)
