"""The tools checks: a good server passes each; each fault is told by the checks that name it, and by no other."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from pmpctl.smoke.check import Verdict
from pmpctl.smoke.tools import TOOLS
from pmpctl.smoke.tools_shapes import recorded_shapes
from tests.unit.smoke.zoo import faults_of_streams as streams
from tests.unit.smoke.zoo import faults_of_tools as faults
from tests.unit.smoke.zoo.api import Refusal, WellBehaved
from tests.unit.smoke.zoo.mind import Reply, say
from tests.unit.smoke.zoo.serving import served
from tests.unit.smoke.zoo.specimens import GOOD_SERVERS, Specimen, caught, not_passed, results_of, target

STREAMED = "tool-call-streamed tools-parallel-streamed"
PARALLEL = "tools-parallel tools-parallel-streamed"
CALLS = f"tool-call tools-parallel {STREAMED}"

SPECIMENS = (
    caught(faults.CallsAsText, f"{CALLS} tool-named tool-required", "came as text: '<tool_call>", "hermes"),
    caught(faults.CallsAsTextInStream, STREAMED, "came as text", "hermes"),
    caught(faults.ArgumentsBroken, CALLS, "arguments are no JSON", "tool_call_parser"),
    caught(faults.ArgumentsBrokenInStream, STREAMED, "arguments are no JSON", "tool_call_parser"),
    caught(faults.NoIds, CALLS, "no id", "tool_call_parser"),
    caught(faults.SameIds, PARALLEL, "same id", "tool_call_parser"),
    caught(faults.SameIndexInStream, "tools-parallel-streamed", "more than once"),
    caught(faults.SecondCallLost, PARALLEL, "1 of 2 calls", "one call at a time"),
    caught(faults.CallsFinishWithStop, CALLS, "finish_reason is stop", "without making the call"),
    caught(streams.NoFinishReasonInStream, STREAMED, "finish_reason is None", "without making the call"),
    caught(faults.NamedChoiceIgnored, "tool-named", "tool_choice of a named tool", "newer vLLM"),
    caught(faults.RequiredIgnored, "tool-required", "tool_choice required", "newer vLLM"),
    caught(faults.NoneIgnored, "tool-none", "tool_choice none, but a call came", "newer vLLM"),
    caught(faults.ResultsDropped, "tool-round", "does not use the tool's result", "drops tool results.*chat_template"),
    caught(faults.ResultsForgotten, "tool-round", "does not use the tool's result", "drops tool.*chat_template"),
    caught(faults.LongIdsRefused, "tool-ids-long", "HTTP 400: Tool call id was.*length of 9", "chat_template"),
    caught(faults.ShortIdsFail, "tool-ids-short", "HTTP 500, not with a clear 400", "without end"),
    caught(faults.NullContentFails, "content-null", "missing or empty: .*HTTP 500", "chat_template"),
    caught(faults.PartsRefused, "content-parts", "content as a list of parts: .*HTTP 400", "chat_template"),
    caught(faults.SystemRefused, "system-message", "a system message: .*System role", "chat_template"),
    caught(faults.UsersMustAlternate, "users-in-a-row", "two user messages in a row: .*alternate", "chat_template"),
    caught(faults.SchemaIgnored, "schema", "does not obey the schema", "response_format"),
    caught(faults.SchemaRefused, "schema", "json_schema is not supported"),
)


@pytest.mark.parametrize("server", GOOD_SERVERS, ids=lambda server: server.__name__)
def test_a_good_server_passes_each_check_and_skips_only_the_reasoning(server: Callable[[], WellBehaved]) -> None:
    with served(server()) as url:
        found = results_of(TOOLS, target(url))
    assert {name for name, result in found.items() if result.verdict is not Verdict.PASS} == {"reasoning"}
    reasoning = found["reasoning"]
    assert (reasoning.verdict, reasoning.detail) == (Verdict.SKIPPED, "no reasoning_parser is set")


@pytest.mark.parametrize("specimen", SPECIMENS, ids=lambda specimen: specimen.name)
def test_a_fault_is_told_by_the_checks_that_name_it_and_no_other(specimen: Specimen) -> None:
    with served(specimen.server()) as url:
        found = not_passed(TOOLS, target(url))
    assert found.keys() == specimen.caught_by
    assert [result for result in found.values() if not specimen.is_told_by(result)] == []


def test_an_engine_without_a_tool_parser_is_told_to_have_one() -> None:
    with served(faults.ToolsRefused()) as url:
        found = not_passed(TOOLS, target(url))["tool-call"]

    assert "--enable-auto-tool-choice" in found.detail
    assert "Set `tool_call_parser`" in found.cure


@pytest.mark.parametrize(
    ("text", "parser"),
    [
        ('[TOOL_CALLS]get_weather[ARGS]{"city": "Paris"}', "mistral"),
        ('<|python_tag|>{"name": "get_weather"}', "llama3_json"),
        ("<tool_call><function=get_weather><parameter=city>Paris</parameter></function></tool_call>", "qwen3_xml"),
        ('[get_weather(city="Paris")]', "pythonic"),
    ],
)
def test_calls_in_a_text_name_the_parser_that_reads_them(text: str, parser: str) -> None:
    class Leaking(WellBehaved):
        def shape(self, reply: Reply, body: dict[str, object]) -> Reply:
            return replace(say(text), prompt_tokens=reply.prompt_tokens) if reply.calls else reply

    with served(Leaking()) as url:
        found = not_passed(TOOLS, target(url))["tool-call"]

    assert found.cure == (
        f"The tool-call parser 'hermes' does not match the model: set tool_call_parser = \"{parser}\" in the profile."
    )


@pytest.mark.parametrize("of_mistral", [{"tool_call_parser": "mistral"}, {"tokenizer_mode": "mistral"}])
def test_a_mistral_profile_may_refuse_short_ids_and_others_may_not(of_mistral: dict[str, Any]) -> None:
    with served(WellBehaved(strict_ids=True)) as url:
        for_mistral = results_of(TOOLS, replace(target(url), **of_mistral))
        for_others = not_passed(TOOLS, target(url))

    assert for_mistral["tool-ids-short"].detail == "refused with HTTP 400, as Mistral's format wants"
    assert {result.verdict for result in for_mistral.values()} == {Verdict.PASS, Verdict.SKIPPED}
    assert {name: result.verdict for name, result in for_others.items()} == {"tool-ids-short": Verdict.FAIL}


def test_a_server_that_thinks_passes_with_its_reasoning_parser() -> None:
    with served(WellBehaved(thinks=True)) as url:
        found = results_of(TOOLS, replace(target(url), reasoning_parser="qwen3"))

    assert {result.verdict for result in found.values()} == {Verdict.PASS}


def test_thoughts_in_an_answer_are_told_with_the_parser_that_does_not_fit() -> None:
    with served(streams.ThinksAloud()) as url:
        found = not_passed(TOOLS, replace(target(url), reasoning_parser="qwen3"))["reasoning"]

    assert found.verdict is Verdict.FAIL
    assert "the reasoning stands in the answer" in found.detail
    assert "'qwen3' does not match" in found.cure


class Babbles(WellBehaved):
    """A model whose weights are damaged, and that opens brackets without end."""

    def shape(self, reply: Reply, body: dict[str, Any]) -> Reply:
        babble = "[" * 2_000
        return replace(
            reply,
            words=("" if reply.calls else babble,),
            calls=tuple(replace(c, arguments=babble) for c in reply.calls),
        )


def test_a_model_that_babbles_is_no_crash() -> None:
    with served(Babbles()) as url:
        found = not_passed(TOOLS, target(url))

    assert "arguments are no JSON" in found["tool-call"].detail
    assert "does not obey the schema" in found["schema"].detail


def test_a_system_message_at_the_end_that_is_refused_fails_the_client_that_sends_it() -> None:
    class NoSystemAtTheEnd(WellBehaved):
        def check(self, body: dict[str, object]) -> None:
            super().check(body)
            messages = body["messages"]
            assert isinstance(messages, list)
            if len(messages) > 1 and messages[-1]["role"] == "system":
                raise Refusal(400, "Unexpected role 'system' after role 'user'")

    with served(NoSystemAtTheEnd()) as url:
        found = not_passed(TOOLS, target(url))

    assert found.keys() == {"client-aider"}
    assert found["client-aider"].detail.startswith("Aider, a system message at the end: ")


def test_every_recorded_shape_tells_where_it_is_from() -> None:
    shapes = recorded_shapes()

    assert {shape.client for shape in shapes} == {"OpenHands", "Cline", "Aider", "Continue", "Open WebUI"}
    for shape in shapes:
        assert shape.source["repository"]
        assert shape.source["path"]
        assert shape.source.get("commit") or shape.source.get("release")
        assert len(json.dumps(shape.requests)) < 5000
