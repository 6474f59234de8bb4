"""One fault fails one check: what cannot be judged after it is skipped, with the reason."""

import asyncio
from typing import Any

import pytest

from pmpctl.smoke.api import Api
from pmpctl.smoke.check import CheckResult, Verdict
from pmpctl.smoke.quick import QUICK
from pmpctl.smoke.sequence import make_checks
from pmpctl.smoke.target import Target
from tests.support import find_free_port
from tests.unit.smoke.zoo.api import TOKEN, Refusal, WellBehaved
from tests.unit.smoke.zoo.exchange import Exchange
from tests.unit.smoke.zoo.faults_of_streams import EmptyAnswer
from tests.unit.smoke.zoo.mind import Reply
from tests.unit.smoke.zoo.serving import served


def made(target: Target, *, silence: str | None = None) -> list[CheckResult]:
    with Api(target) as api:
        return list(make_checks(api, QUICK, silence=silence))


def failed(results: list[CheckResult]) -> list[str]:
    return [result.name for result in results if result.verdict is Verdict.FAIL]


def after(name: str, results: list[CheckResult]) -> list[CheckResult]:
    names = [result.name for result in results]
    return results[names.index(name) + 1 :]


def test_every_check_has_a_result_whatever_fails() -> None:
    results = made(Target(f"http://127.0.0.1:{find_free_port()}"), silence="the API does not answer")
    assert [result.name for result in results] == [check.name for check in QUICK]


def test_an_api_that_cannot_be_reached_fails_the_first_check_alone() -> None:
    results = made(Target(f"http://127.0.0.1:{find_free_port()}"), silence="the API does not answer")
    assert failed(results) == ["health"]
    assert {(result.verdict, result.detail) for result in results[1:]} == {(Verdict.SKIPPED, "the API does not answer")}


def test_a_token_that_is_refused_fails_the_list_of_models_alone() -> None:
    with served(WellBehaved()) as url:
        results = made(Target(url, "not-this-one", auth=True))
    assert failed(results) == ["models"]
    assert "401" in next(result.detail for result in results if result.name == "models")
    assert {result.verdict for result in after("models", results)} == {Verdict.SKIPPED}


def test_a_token_that_is_missing_fails_the_list_of_models_alone() -> None:
    with served(WellBehaved()) as url:
        results = made(Target(url))
    assert failed(results) == ["models"]


def test_a_model_that_is_not_there_is_told_with_those_that_are() -> None:
    with served(WellBehaved()) as url:
        results = made(Target(url, TOKEN, model="another"))
    assert failed(results) == ["models"]
    assert "'another', but llm" in next(result.detail for result in results if result.name == "models")


def test_an_api_without_answers_is_not_asked_for_streams() -> None:
    with served(EmptyAnswer()) as url:
        results = made(Target(url, TOKEN))
    assert failed(results) == ["answer"]
    assert {result.detail for result in after("answer", results)} == {"since answer failed"}


class _Broken(WellBehaved):
    """Broken since some request, as an engine that died of it."""

    async def route(self, exchange: Exchange) -> None:
        if self.is_broken:
            await self.break_off(exchange)
        else:
            await super().route(exchange)

    is_broken = False

    async def break_off(self, exchange: Exchange) -> None:
        await exchange.answer_bytes(502, b"", {"content-type": "text/plain"})

    def too_long(self, tokens: int) -> None:
        self.is_broken = True
        raise Refusal(500, "EngineDeadError", "InternalServerError")


class _Hangs(_Broken):
    async def break_off(self, exchange: Exchange) -> None:
        async with exchange.until_gone():
            await asyncio.Event().wait()


@pytest.mark.parametrize("server", [_Broken, _Hangs])
def test_an_engine_that_dies_of_a_check_fails_that_check_alone(server: type[WellBehaved]) -> None:
    with served(server()) as url:
        results = made(Target(url, TOKEN, timeout_seconds=5))
    assert failed(results) == ["too-long"]
    assert {(result.verdict, result.detail) for result in after("too-long", results)} == {
        (Verdict.SKIPPED, "the API does not answer any more since too-long")
    }


class _StreamsHang(WellBehaved):
    async def stream(self, exchange: Exchange, reply: Reply, body: dict[str, Any]) -> None:
        await asyncio.Event().wait()


def test_streams_that_hang_are_waited_for_twice_and_no_more() -> None:
    with served(_StreamsHang()) as url:
        results = made(Target(url, TOKEN, timeout_seconds=3))
    assert failed(results) == ["stream", "first-token"]
    assert {result.detail for result in after("first-token", results)} == {
        "since stream and first-token got no answer in time"
    }


def test_at_most_two_wrong_tokens_are_presented() -> None:
    presented: list[str | None] = []

    class Counts(WellBehaved):
        def knows(self, presented_token: str | None) -> bool:
            presented.append(presented_token)
            return super().knows(presented_token)

    with served(Counts()) as url:
        assert failed(made(Target(url, TOKEN))) == []
    assert len([token for token in presented if token not in (None, TOKEN)]) <= 2
