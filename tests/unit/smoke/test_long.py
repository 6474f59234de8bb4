"""Long prompts against small servers: the steps reach the limit, and a death on the way is told with its numbers."""

from collections.abc import Sequence
from typing import Any

from pmpctl.smoke.api import Api
from pmpctl.smoke.check import CheckResult, Verdict, make_check
from pmpctl.smoke.long import ANSWER_TOKENS, LONG
from pmpctl.smoke.target import Target
from tests.unit.smoke.zoo.api import TOKEN, Refusal, WellBehaved
from tests.unit.smoke.zoo.exchange import Exchange
from tests.unit.smoke.zoo.mind import prompt_tokens
from tests.unit.smoke.zoo.serving import served


class Remembers(WellBehaved):
    """Keeps the prompts it was sent that are longer than what calibrates."""

    def __init__(self) -> None:
        super().__init__()
        self.prompts: list[str] = []

    def check_length(self, body: dict[str, Any]) -> None:
        self.prompts.append(body["messages"][0]["content"])
        super().check_length(body)


class Tokenizes(Remembers):
    async def route(self, exchange: Exchange) -> None:
        if exchange.path != "/tokenize":
            await super().route(exchange)
            return
        self.admit(exchange)
        await exchange.answer(200, {"count": prompt_tokens((await exchange.json())["messages"])})


class DiesOfLongPrompts(Tokenizes):
    """As an engine without memory for more than half its context: it is gone from then on."""

    dead = False

    async def chat(self, exchange: Exchange) -> None:
        body = await exchange.json()
        self.dead = self.dead or prompt_tokens(body["messages"]) > self.max_model_len * 0.6
        if self.dead:
            raise Refusal(502, "The engine broke off.", "server_error")

        async def again() -> dict[str, Any]:
            return body

        exchange.json = again  # type: ignore[method-assign]
        await super().chat(exchange)


def run_long(server: WellBehaved) -> Sequence[CheckResult]:
    with served(server) as url, Api(Target(url, token=TOKEN, timeout_seconds=10)) as api:
        return [make_check(check, api) for check in LONG]


def test_the_steps_fill_the_context_to_the_answers_room() -> None:
    server = Tokenizes()
    results = run_long(server)

    assert [result.verdict for result in results] == [Verdict.PASS] * 5, results
    reached = [result.figures["prompt_tokens"] for result in results[:4]]
    assert server.max_model_len - ANSWER_TOKENS - 40 < reached[-1] <= server.max_model_len - ANSWER_TOKENS
    assert reached == sorted(reached)
    assert all(result.figures["prompt_tokens_per_second"] > 0 for result in results[:4])


def test_no_two_prompts_begin_alike() -> None:
    server = Tokenizes()
    run_long(server)

    long_ones = [prompt[:20] for prompt in server.prompts if len(prompt) > 500]
    assert len(long_ones) == len(set(long_ones)) == 4


def test_an_api_that_counts_only_in_its_answers_is_filled_too() -> None:
    server = Remembers()
    results = run_long(server)

    assert [result.verdict for result in results] == [Verdict.PASS] * 5, results
    assert results[3].figures["prompt_tokens"] > server.max_model_len * 0.9


def test_a_death_on_the_way_is_told_with_what_worked_and_what_did_not() -> None:
    results = run_long(DiesOfLongPrompts())

    assert [result.verdict for result in results] == [
        Verdict.PASS,
        Verdict.PASS,
        Verdict.FAIL,
        Verdict.SKIPPED,
        Verdict.FAIL,
    ]
    worked = results[1].figures["prompt_tokens"]
    assert f"{worked} tokens worked" in results[2].detail
    assert "dead" in results[2].detail
    assert "max_model_len" in results[2].cure
    assert "pmpctl logs engine" in results[2].cure
