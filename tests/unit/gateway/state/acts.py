"""What the tests do to a state again and again."""

from pmp_gateway.control_schema import Phase, Reason
from pmp_gateway.state import GatewayState
from tests.unit.gateway.fake_effects import Client


def hold(state: GatewayState, seconds: float = 600, hold_id: str = "mine") -> None:
    state.hold(hold_id, seconds, Reason.SWITCH)


def flying(state: GatewayState) -> Client:
    client = Client()
    assert state.admit(client)
    return client


def waiting(state: GatewayState) -> Client:
    client = Client()
    assert not state.admit(client)
    return client


def phase_of(state: GatewayState) -> Phase:
    """Spares mypy the belief that a phase stays what it was asserted to be."""
    return state.phase


def ignore(_empty: bool) -> None:
    """For drains whose end is not asked for."""
