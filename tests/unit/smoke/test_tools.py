"""The tools checks: a good server passes each, and each fault is told by the checks that name it, with its cure."""

import json
import re
from collections.abc import Callable
from dataclasses import replace

import pytest

from pmpctl.smoke.api import Api
from pmpctl.smoke.check import Verdict, make_check
from pmpctl.smoke.target import Target
from pmpctl.smoke.tools import TOOLS
from pmpctl.smoke.tools_shapes import recorded_shapes
from tests.unit.smoke.zoo import faults_of_streams as streams
from tests.unit.smoke.zoo import faults_of_tools as faults
from tests.unit.smoke.zoo.api import TOKEN, Refusal, WellBehaved
from tests.unit.smoke.zoo.mind import Reply, say
from tests.unit.smoke.zoo.serving import served

CALLS = "tool-call tool-call-streamed tools-parallel tools-parallel-streamed"


def target(url: str) -> Target:
    return Target(url, TOKEN, auth=True, max_model_len=4096, tool_call_parser="hermes", timeout_seconds=20)


def verdicts(wanted: Target) -> dict[str, tuple[Verdict, str, str]]:
    with Api(wanted) as api:
        results = [make_check(check, api) for check in TOOLS]
    return {result.name: (result.verdict, result.detail, result.cure) for result in results}


def caught(server: WellBehaved) -> dict[str, tuple[str, str]]:
    with served(server) as url:
        found = verdicts(target(url))
    return {name: (said, cure) for name, (verdict, said, cure) in found.items() if verdict in ("fail", "warn")}


def test_a_good_server_passes_each_check_and_skips_only_the_reasoning() -> None:
    with served(WellBehaved()) as url:
        found = verdicts(target(url))
    assert {name for name, (verdict, _, _) in found.items() if verdict != Verdict.PASS} == {"reasoning"}
    assert found["reasoning"][:2] == (Verdict.SKIPPED, "no reasoning_parser is set")


@pytest.mark.parametrize(
    ("server", "names", "words", "cure"),
    [
        (faults.CallsAsText, f"{CALLS} tool-named tool-required", "came as text: '<tool_call>", "hermes"),
        (faults.CallsAsTextInStream, "tool-call-streamed tools-parallel-streamed", "came as text", "hermes"),
        (faults.ArgumentsBroken, CALLS, "arguments are no JSON", "tool_call_parser"),
        (faults.NoIds, CALLS, "no id", "tool_call_parser"),
        (faults.SameIds, "tools-parallel tools-parallel-streamed", "same id", "tool_call_parser"),
        (faults.SecondCallLost, "tools-parallel tools-parallel-streamed", "1 of 2 calls", "one call at a time"),
        (faults.CallsFinishWithStop, CALLS, "finish_reason is stop", "without making the call"),
        (faults.NamedChoiceIgnored, "tool-named", "tool_choice of a named tool", "newer vLLM"),
        (faults.RequiredIgnored, "tool-required", "tool_choice required", "newer vLLM"),
        (faults.NoneIgnored, "tool-none", "tool_choice none, but a call came", "newer vLLM"),
        (
            faults.ResultsDropped,
            "tool-round",
            "does not use the tool's result",
            "drops tool results",
        ),
        (faults.ResultsForgotten, "tool-round", "does not use the tool's result", "drops tool"),
        (faults.LongIdsRefused, "tool-ids-long", "length of 9", "chat_template"),
        (faults.ShortIdsFail, "tool-ids-short", "HTTP 500, not with a clear 400", "without end"),
        (faults.NullContentFails, "content-null", "missing or empty: .*HTTP 500", "chat_template"),
        (faults.PartsRefused, "content-parts", "content as a list of parts: .*HTTP 400", "chat_template"),
        (faults.SystemRefused, "system-message", "a system message: .*System role", "chat_template"),
        (faults.UsersMustAlternate, "users-in-a-row", "two user messages in a row: .*alternate", "chat_template"),
        (faults.SchemaIgnored, "schema", "does not obey the schema", "response_format"),
        (faults.SchemaRefused, "schema", "json_schema is not supported", "."),
        (
            streams.NoFinishReasonInStream,
            "tool-call-streamed tools-parallel-streamed",
            "finish_reason is None",
            "without making the call",
        ),
    ],
)
def test_a_fault_is_told_by_the_checks_that_name_it(
    server: Callable[[], WellBehaved], names: str, words: str, cure: str
) -> None:
    found = caught(server())

    assert found.keys() == set(names.split())
    for said, advised in found.values():
        assert re.search(words, said), said
        assert re.search(cure, advised), advised


def test_an_engine_without_a_tool_parser_is_told_to_have_one() -> None:
    said, cure = caught(faults.ToolsRefused())["tool-call"]

    assert "--enable-auto-tool-choice" in said
    assert "Set `tool_call_parser`" in cure


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

    _, cure = caught(Leaking())["tool-call"]

    assert cure == (
        f"The tool-call parser 'hermes' does not match the model: set tool_call_parser = \"{parser}\" in the profile."
    )


def test_a_mistral_profile_may_refuse_short_ids_and_others_may_not() -> None:
    with served(WellBehaved(strict_ids=True)) as url:
        for_mistral = verdicts(replace(target(url), tool_call_parser="mistral"))["tool-ids-short"]
        for_others = verdicts(target(url))["tool-ids-short"]

    assert for_mistral[:2] == (Verdict.PASS, "refused with HTTP 400, as Mistral's format wants")
    assert for_others[0] == Verdict.FAIL


def test_reasoning_passes_apart_from_the_answer_and_fails_inside_it() -> None:
    class Aloud(WellBehaved):
        def shape(self, reply: Reply, body: dict[str, object]) -> Reply:
            return replace(say("<think>17 and 25</think> 42"), prompt_tokens=reply.prompt_tokens)

    with served(WellBehaved(thinks=True)) as url:
        assert verdicts(replace(target(url), reasoning_parser="qwen3"))["reasoning"][0] == Verdict.PASS
    with served(Aloud()) as url:
        verdict, said, cure = verdicts(replace(target(url), reasoning_parser="qwen3"))["reasoning"]
    assert verdict == Verdict.FAIL
    assert "the reasoning stands in the answer" in said
    assert "'qwen3' does not match" in cure


def test_a_system_message_at_the_end_that_is_refused_fails_the_client_that_sends_it() -> None:
    class NoSystemAtTheEnd(WellBehaved):
        def check(self, body: dict[str, object]) -> None:
            super().check(body)
            messages = body["messages"]
            assert isinstance(messages, list)
            if len(messages) > 1 and messages[-1]["role"] == "system":
                raise Refusal(400, "Unexpected role 'system' after role 'user'")

    found = caught(NoSystemAtTheEnd())

    assert found.keys() == {"client-aider"}
    assert found["client-aider"][0].startswith("Aider, a system message at the end: ")


def test_every_recorded_shape_tells_where_it_is_from() -> None:
    shapes = recorded_shapes()

    assert {shape.client for shape in shapes} == {"OpenHands", "Cline", "Aider", "Continue", "Open WebUI"}
    for shape in shapes:
        assert shape.source["repository"]
        assert shape.source["path"]
        assert shape.source.get("commit") or shape.source.get("release")
        assert len(json.dumps(shape.requests)) < 5000
