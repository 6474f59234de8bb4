"""The check of a client that leaves before the real vLLM: its metrics tell that it is free again."""

import pytest

from pmpctl.smoke.api import Api
from pmpctl.smoke.check import Verdict, make_check
from pmpctl.smoke.quick import QUICK
from pmpctl.smoke.target import Target
from tests.e2e.conftest import TOKEN
from tests.e2e.engine import Engine
from tests.unit.gateway.gateway_process import GatewayProcess

pytestmark = [pytest.mark.vllm, pytest.mark.slow, pytest.mark.timeout(600)]


def test_an_engine_that_a_client_left_counts_no_request_in_work(
    guarded_gateway: GatewayProcess, engine: Engine
) -> None:
    (cancel,) = (check for check in QUICK if check.name == "cancel")
    with Api(Target(guarded_gateway.url, TOKEN, auth=True, engine_url=engine.url)) as api:
        result = make_check(cancel, api)
    assert result.verdict is Verdict.PASS, result
    assert "no request in work" in result.detail
