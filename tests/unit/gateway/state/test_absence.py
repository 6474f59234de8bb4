"""An engine that is away, by itself: who waits for it, for how long, and in which order."""

import pytest

from pmp_gateway.control_schema import Phase, Reason
from pmp_gateway.failures import BackendAway
from pmp_gateway.state import GatewayState
from pmp_gateway.waiting import HoldLimits
from tests.unit.gateway.fake_effects import Client, FakeEffects
from tests.unit.gateway.state.acts import flying, hold, ignore, waiting

OURS = frozenset({"ours"})


def test_a_request_that_finds_no_engine_waits_until_it_answers(state: GatewayState, effects: FakeEffects) -> None:
    lost, other = flying(state), flying(state)
    assert state.engine_away(lost)
    behind = waiting(state)
    assert state.door().engine_away_since == effects.now()
    effects.advance(0.25)
    effects.answer(None)
    effects.advance(0.5)
    effects.answer(OURS)
    effects.advance()

    assert (lost.went, behind.went, other.went) == (1, 1, 0)
    assert state.door().engine_away_since is None
    flying(state)


def test_who_was_in_flight_first_goes_first_again(state: GatewayState, effects: FakeEffects) -> None:
    order: list[str] = []
    clients = [Client(name, does_on_go=lambda client: order.append(client.name)) for name in "abc"]
    for client in clients:
        assert state.admit(client)
    for client in reversed(clients):
        assert state.engine_away(client)
    effects.advance(0.25)
    effects.answer(OURS)
    effects.advance()

    assert order == ["a", "b", "c"]


def test_an_engine_that_stays_away_is_not_waited_for_any_longer(state: GatewayState, effects: FakeEffects) -> None:
    lost = flying(state)
    state.engine_away(lost)
    for _ in range(19):
        effects.advance(1)
        effects.answer(None)
    assert lost.errors == []
    effects.advance(1)
    assert [type(error) for error in lost.errors] == [BackendAway]

    late = flying(state)
    assert not state.engine_away(late)
    state.leave(late)
    assert state.door().engine_away_since is not None
    effects.answer(None)
    effects.advance(10)
    effects.answer(OURS)
    assert state.door().engine_away_since is None


def test_an_engine_that_comes_and_goes_keeps_no_request_longer_than_that(
    state: GatewayState, effects: FakeEffects
) -> None:
    lost = flying(state)
    for _ in range(4):
        assert state.engine_away(lost)
        effects.advance(5)
        effects.answer(OURS)
        effects.advance()
    assert lost.went == 4

    assert not state.engine_away(lost)


def test_another_engine_in_its_place_is_not_it(state: GatewayState, effects: FakeEffects) -> None:
    state.open(models=OURS)
    lost = flying(state)
    state.engine_away(lost)
    effects.advance(1)
    effects.answer(frozenset({"other"}))
    effects.advance()

    assert lost.went == 0


def test_the_wait_for_an_engine_can_be_switched_off(effects: FakeEffects) -> None:
    state = GatewayState(effects, HoldLimits(engine_wait_seconds=0))
    assert not state.engine_away(flying(state))


def test_a_request_that_loses_its_engine_in_a_hold_is_held_too(state: GatewayState, effects: FakeEffects) -> None:
    lost = flying(state)
    hold(state)
    later = waiting(state)
    order: list[Client] = []
    lost.does_on_go = later.does_on_go = order.append
    ends: list[bool] = []
    state.begin_drain(30, ends.append, hold_id="mine")
    assert state.engine_away(lost)
    assert (ends, state.held) == ([True], 2)
    effects.advance(25)
    state.open(hold_id="mine")
    effects.advance()

    assert order == [lost, later]


@pytest.mark.parametrize("phase", [Phase.CLOSED, Phase.DRAINING])
def test_who_loses_the_engine_where_nobody_may_wait_is_told_so(state: GatewayState, phase: Phase) -> None:
    lost = flying(state)
    if phase is Phase.CLOSED:
        state.close(Reason.STOP)
    else:
        state.begin_drain(30, ignore)
    assert not state.engine_away(lost)
