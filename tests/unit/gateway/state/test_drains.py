"""Drains by themselves: what fits is finished, the rest is ended, and what comes meanwhile."""

import pytest

from pmp_gateway.control_schema import HoldCounts, Phase, Reason
from pmp_gateway.failures import Closed, CutShort
from pmp_gateway.state import GatewayState
from tests.unit.gateway.fake_effects import Client, FakeEffects
from tests.unit.gateway.state.acts import flying, hold, ignore, phase_of, waiting


def test_a_drain_lets_finish_what_fits_and_ends_the_rest(state: GatewayState, effects: FakeEffects) -> None:
    quick, slow = flying(state), flying(state)
    hold(state)
    ends: list[bool] = []
    state.begin_drain(30, ends.append, hold_id="mine")
    held = waiting(state)
    effects.advance(29)
    state.leave(quick)
    assert (ends, slow.errors) == ([], [])
    effects.advance(1)

    assert ends == [True]
    assert [type(error) for error in slow.errors] == [CutShort]
    assert (state.phase, state.in_flight, held.errors) == (Phase.HOLDING, 0, [])
    assert state.door().counts == HoldCounts(held=1, finished=1, cancelled=1)


def test_a_drain_of_nothing_is_done_at_once(state: GatewayState) -> None:
    ends: list[bool] = []
    hold(state)
    state.begin_drain(30, ends.append, hold_id="mine")

    assert (ends, state.phase) == ([True], Phase.HOLDING)


def test_a_drain_without_a_hold_refuses_who_comes_and_ends_closed(state: GatewayState) -> None:
    last = flying(state)
    state.begin_drain(30, ignore)
    with pytest.raises(Closed):
        state.admit(Client())
    assert phase_of(state) is Phase.DRAINING
    state.leave(last)

    assert (state.phase, state.door().reason) == (Phase.CLOSED, Reason.STOP)


def test_a_second_drain_joins_the_first_and_moves_its_deadline(state: GatewayState, effects: FakeEffects) -> None:
    slow = flying(state)
    ends: list[str] = []
    state.begin_drain(30, lambda _: ends.append("first"))
    effects.advance(20)
    state.begin_drain(30, lambda _: ends.append("second"))
    effects.advance(29)
    assert (ends, slow.errors) == ([], [])
    effects.advance(1)

    assert ends == ["first", "second"]


def test_a_drain_can_be_called_off(state: GatewayState, effects: FakeEffects) -> None:
    slow = flying(state)
    hold(state)
    ends: list[bool] = []
    state.begin_drain(30, ends.append, hold_id="mine")
    state.open(hold_id="mine")
    effects.advance(60)

    assert (ends, slow.errors, state.in_flight) == ([False], [], 1)


def test_a_hold_asked_for_during_a_drain_takes_over_when_it_is_done(state: GatewayState) -> None:
    last = flying(state)
    state.begin_drain(30, ignore)
    hold(state)
    held = waiting(state)
    state.leave(last)

    assert (state.phase, held.errors) == (Phase.HOLDING, [])


def test_the_deadline_of_a_hold_counts_after_a_drain_that_outlasts_it(
    state: GatewayState, effects: FakeEffects
) -> None:
    slow = flying(state)
    hold(state, 10)
    state.begin_drain(30, ignore, hold_id="mine")
    effects.advance(20)
    assert phase_of(state) is Phase.DRAINING
    state.leave(slow)
    effects.advance()
    effects.answer(None)

    assert phase_of(state) is Phase.CLOSED
