"""A state in a world whose clock the test moves."""

import pytest

from pmp_gateway.state import GatewayState
from pmp_gateway.waiting import HoldLimits
from tests.unit.gateway.fake_effects import FakeEffects


@pytest.fixture
def effects() -> FakeEffects:
    return FakeEffects()


@pytest.fixture
def state(effects: FakeEffects) -> GatewayState:
    return GatewayState(effects, HoldLimits(max_requests=40))
