"""A gateway with a control socket of its own."""

import pytest

from tests.unit.gateway.conftest import StartGateway
from tests.unit.gateway.control import Control
from tests.unit.gateway.holding.acts import StartHere


@pytest.fixture
def start(start_gateway: StartGateway, control: Control) -> StartHere:
    return lambda **env: start_gateway(PMP_GATEWAY_CONTROL_SOCKET=str(control.socket_path), **env)
