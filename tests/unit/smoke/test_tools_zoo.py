"""Each server of the zoo that spoils tool calls is caught by the checks that name its fault, and by no other."""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest

from pmpctl.smoke.api import Api
from pmpctl.smoke.check import CheckResult, Verdict, make_check
from pmpctl.smoke.target import Target
from pmpctl.smoke.tools import TOOLS
from tests.unit.smoke.zoo import faults_of_service as service
from tests.unit.smoke.zoo import faults_of_streams as streams
from tests.unit.smoke.zoo import faults_of_tools as tools
from tests.unit.smoke.zoo.api import TOKEN, WellBehaved
from tests.unit.smoke.zoo.mind import Reply
from tests.unit.smoke.zoo.serving import served

CALLS = frozenset({"tool-call", "tool-call-streamed", "tools-parallel", "tools-parallel-streamed"})
PARALLEL = frozenset({"tools-parallel", "tools-parallel-streamed"})
STREAMED_CALLS = frozenset({"tool-call-streamed", "tools-parallel-streamed"})


@dataclass(frozen=True, slots=True)
class Specimen:
    """`words` stand in what each of the checks says, `cure` in what it advises."""

    server: Callable[[], WellBehaved]
    caught_by: frozenset[str]
    words: str
    cure: str = "."

    @property
    def name(self) -> str:
        return getattr(self.server, "__name__", "server")


def caught(server: Callable[[], WellBehaved], by: str, words: str, cure: str = ".") -> Specimen:
    return Specimen(server, frozenset(by.split()), words, cure)


SPECIMENS = (
    caught(tools.LongIdsRefused, "tool-ids-long", "HTTP 400: Tool call id was", "chat_template"),
    caught(tools.ShortIdsFail, "tool-ids-short", "HTTP 500"),
    caught(tools.ResultsDropped, "tool-round", "result", "chat_template"),
    caught(tools.ResultsForgotten, "tool-round", "result", "chat_template"),
    Specimen(tools.CallsAsText, CALLS | {"tool-named", "tool-required"}, "call", "tool_call_parser"),
    Specimen(tools.CallsAsTextInStream, STREAMED_CALLS, "call", "tool_call_parser"),
    Specimen(tools.ArgumentsBroken, CALLS, "arguments are no JSON", "tool_call_parser"),
    Specimen(tools.ArgumentsBrokenInStream, STREAMED_CALLS, "arguments are no JSON", "tool_call_parser"),
    Specimen(tools.SecondCallLost, PARALLEL, "1 of 2 calls"),
    Specimen(tools.SameIndexInStream, frozenset({"tools-parallel-streamed"}), "more than once"),
    Specimen(tools.SameIds, PARALLEL, "same id"),
    Specimen(tools.NoIds, CALLS, "no id"),
    Specimen(tools.CallsFinishWithStop, CALLS, "finish_reason is stop"),
    caught(tools.NamedChoiceIgnored, "tool-named", "tool_choice"),
    caught(tools.RequiredIgnored, "tool-required", "tool_choice"),
    caught(tools.NoneIgnored, "tool-none", "tool_choice"),
    caught(tools.PartsRefused, "content-parts", "content as a list of parts", "chat_template"),
    caught(tools.SystemRefused, "system-message", "system message", "chat_template"),
    caught(tools.UsersMustAlternate, "users-in-a-row", "two user messages in a row", "chat_template"),
    caught(tools.SchemaIgnored, "schema", "schema"),
    caught(tools.SchemaRefused, "schema", "json_schema"),
)


def target(url: str) -> Target:
    return Target(url, TOKEN, auth=True, max_model_len=4096, tool_call_parser="hermes", timeout_seconds=20)


def not_passed(wanted: Target) -> dict[str, CheckResult]:
    with Api(wanted) as api:
        results = [make_check(check, api) for check in TOOLS]
    return {result.name: result for result in results if result.verdict in (Verdict.WARN, Verdict.FAIL)}


@pytest.mark.parametrize(
    "server", [WellBehaved, service.JsonNamedText, service.Gzipped], ids=lambda server: server.__name__
)
def test_a_good_server_passes_every_check(server: Callable[[], WellBehaved]) -> None:
    with served(server()) as url:
        assert not_passed(target(url)) == {}


@pytest.mark.parametrize("specimen", SPECIMENS, ids=lambda specimen: specimen.name)
def test_a_fault_is_caught_by_the_checks_that_name_it_and_no_other(specimen: Specimen) -> None:
    with served(specimen.server()) as url:
        found = not_passed(target(url))
    assert found.keys() == specimen.caught_by
    for result in found.values():
        assert re.search(specimen.words, result.detail), result
        assert re.search(specimen.cure, result.cure), result


def test_thoughts_in_an_answer_are_told_with_the_parser_that_does_not_fit() -> None:
    with served(streams.ThinksAloud()) as url:
        found = not_passed(replace(target(url), reasoning_parser="qwen3"))
    assert "reasoning stands in the answer" in found["reasoning"].detail
    assert "'qwen3'" in found["reasoning"].cure


def test_a_server_that_thinks_passes_with_its_reasoning_parser() -> None:
    with served(WellBehaved(thinks=True)) as url:
        assert not_passed(replace(target(url), reasoning_parser="qwen3")) == {}


def test_a_template_of_mistrals_kind_may_refuse_short_ids_clearly() -> None:
    with served(WellBehaved(strict_ids=True)) as url:
        assert not_passed(replace(target(url), tool_call_parser="mistral", tokenizer_mode="mistral")) == {}


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
        found = not_passed(target(url))
    assert "arguments are no JSON" in found["tool-call"].detail
    assert "does not obey the schema" in found["schema"].detail
