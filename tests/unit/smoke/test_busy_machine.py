"""What happens once, as on a machine that is busy, is no fault of the API: the checks that measure time look again."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from pmpctl.smoke.api import Api
from pmpctl.smoke.check import Verdict, make_check
from pmpctl.smoke.quick import QUICK
from pmpctl.smoke.target import Target
from tests.unit.smoke.zoo.api import TOKEN, WellBehaved
from tests.unit.smoke.zoo.exchange import Exchange
from tests.unit.smoke.zoo.faults_of_streams import LumpedStream
from tests.unit.smoke.zoo.serving import served


class LumpsTheFirstStream(LumpedStream):
    lumped = False

    async def paced(self, events: list[bytes]) -> AsyncIterator[bytes]:
        paced = WellBehaved.paced(self, events) if self.lumped else super().paced(events)
        self.lumped = True
        async for part in paced:
            yield part


class SlowOnce(WellBehaved):
    """The third request, which is the answer after the client that left, comes when the machine is busy."""

    asked = 0

    async def chat(self, exchange: Exchange) -> None:
        self.asked += 1
        if self.asked == 3:
            await asyncio.sleep(2)
        await super().chat(exchange)


@pytest.mark.parametrize(("server", "name"), [(LumpsTheFirstStream, "stream"), (SlowOnce, "cancel")])
def test_what_happens_once_is_no_fault(server: type[WellBehaved], name: str) -> None:
    check = next(check for check in QUICK if check.name == name)
    with served(server()) as url, Api(Target(url, TOKEN, max_model_len=4096, timeout_seconds=30)) as api:
        result = make_check(check, api)

    assert result.verdict is Verdict.PASS, result.detail
