"""Whatever one value of an answer is, each check ends in a verdict with words, and a failure has a cure."""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pmpctl.smoke.api import Api
from pmpctl.smoke.check import Verdict, make_check
from pmpctl.smoke.quick import QUICK
from pmpctl.smoke.target import Target
from pmpctl.smoke.tools import TOOLS
from tests.unit.smoke.zoo.api import TOKEN
from tests.unit.smoke.zoo.odd import ABSENT, Odd
from tests.unit.smoke.zoo.serving import served

KINDS = [ABSENT, None, True, -1, 10**12, 1e308, "", "9", [], {}, [[]], [{}], [None], {"a": [1]}]


@pytest.fixture(scope="module")
def odd() -> Iterator[tuple[Odd, str]]:
    server = Odd()
    with served(server) as url:
        yield server, url


@pytest.mark.slow
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(nth=st.integers(0, 30), value=st.sampled_from(KINDS))
def test_no_check_crashes_on_a_value_of_another_kind(odd: tuple[Odd, str], nth: int, value: Any) -> None:
    server, url = odd
    server.nth, server.value = nth, value
    with Api(Target(url, TOKEN, tool_call_parser="hermes", timeout_seconds=10)) as api:
        for check in (*QUICK, *TOOLS):
            result = make_check(check, api)
            assert result.verdict is not Verdict.FAIL or (result.detail and result.cure), result
