"""`smoke --clients` before the real vLLM: both official clients get along with the demo model."""

import pytest

from pmpctl.smoke.api import Api
from pmpctl.smoke.check import Verdict, make_check
from pmpctl.smoke.clients import CLIENTS
from pmpctl.smoke.target import Target
from tests.e2e.conftest import TOKEN
from tests.unit.gateway.gateway_process import GatewayProcess

pytestmark = [pytest.mark.vllm, pytest.mark.slow, pytest.mark.timeout(600)]


def test_every_check_of_the_official_clients_passes(guarded_gateway: GatewayProcess) -> None:
    target = Target(guarded_gateway.url, TOKEN, auth=True, tool_call_parser="hermes")
    with Api(target) as api:
        results = [make_check(check, api) for check in CLIENTS]
    assert {result.verdict for result in results} == {Verdict.PASS}, results
