"""An engine that goes on for a client that left is told by its own count, also where it has room for others."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from pmpctl.smoke.api import Api
from pmpctl.smoke.check import CheckResult, Verdict, make_check
from pmpctl.smoke.quick import QUICK
from pmpctl.smoke.target import Target
from tests.unit.smoke.zoo.api import TOKEN, WellBehaved
from tests.unit.smoke.zoo.exchange import Exchange
from tests.unit.smoke.zoo.faults_of_streams import KeepsGenerating
from tests.unit.smoke.zoo.serving import served

(CANCEL,) = (check for check in QUICK if check.name == "cancel")


class Counts(WellBehaved):
    """Tells its metrics to everybody, as vLLM does."""

    others = 0
    running = 0

    async def route(self, exchange: Exchange) -> None:
        if exchange.path == "/metrics":
            count = self.running + self.others
            text = f'vllm:num_requests_running{{model_name="llm"}} {count}.0\nvllm:num_requests_waiting 0.0\n'
            await exchange.answer_bytes(200, text.encode(), {"content-type": "text/plain"})
        else:
            await super().route(exchange)

    async def chat(self, exchange: Exchange) -> None:
        self.running += 1
        try:
            await super().chat(exchange)
        finally:
            self.running -= 1


class GoesOn(Counts, KeepsGenerating):
    """Long enough for whoever looks."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.slots = WellBehaved().slots

    async def paced(self, events: list[bytes]) -> AsyncIterator[bytes]:
        for event in events:
            await asyncio.sleep(0.05)
            yield event


@pytest.fixture
def gateway() -> Iterator[str]:
    """Has no metrics."""
    with served(WellBehaved()) as url:
        yield url


def cancelled(url: str, **known: Any) -> CheckResult:
    with Api(Target(url, TOKEN, max_model_len=4096, timeout_seconds=30, **known)) as api:
        return make_check(CANCEL, api)


def test_an_engine_that_goes_on_is_told_though_the_next_answer_is_quick() -> None:
    with served(GoesOn()) as url:
        result = cancelled(url)
    assert result.verdict is Verdict.FAIL
    assert "one request more is in work: 2 by now" in result.detail


def test_an_engine_that_is_freed_is_told_as_free() -> None:
    with served(Counts()) as url:
        result = cancelled(url)
    assert (result.verdict, "no request in work" in result.detail) == (Verdict.PASS, True), result


def test_requests_of_others_are_held_against_nobody() -> None:
    server = GoesOn()
    server.others = 2
    with served(server) as url:
        assert cancelled(url).verdict is Verdict.PASS


def test_a_workspaces_engine_is_asked_beside_its_gateway(gateway: str) -> None:
    with served(Counts()) as engine:
        assert "no request in work" in cancelled(gateway, engine_url=engine).detail


def test_without_metrics_the_next_answer_alone_tells(gateway: str) -> None:
    result = cancelled(gateway)
    assert (result.verdict, "in work" in result.detail) == (Verdict.PASS, False)
