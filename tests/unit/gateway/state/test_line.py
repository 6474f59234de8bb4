"""The line by itself: who goes when, how long it may be, and how long one may stand in it."""

import pytest

from pmp_gateway.control_schema import HoldCounts, Phase
from pmp_gateway.failures import HoldFull, HoldTimedOut
from pmp_gateway.state import GatewayState
from pmp_gateway.traffic import RELEASE_BATCH
from pmp_gateway.waiting import HoldLimits
from tests.unit.gateway.fake_effects import Client, FakeEffects
from tests.unit.gateway.state.acts import flying, hold, waiting


def test_an_open_gateway_lets_everybody_through(state: GatewayState) -> None:
    client = flying(state)

    assert (state.phase, state.in_flight) == (Phase.OPEN, 1)
    state.leave(client)
    state.leave(client)
    assert (state.in_flight, state.requests_total) == (0, 1)


def test_held_requests_go_in_the_order_in_which_they_came(state: GatewayState, effects: FakeEffects) -> None:
    hold(state)
    order: list[str] = []
    for name in "abc":
        state.admit(Client(name, does_on_go=lambda client: order.append(client.name)))
    assert state.held == 3

    state.open(hold_id="mine")
    effects.advance()

    assert order == ["a", "b", "c"]
    assert (state.held, state.in_flight) == (0, 3)


def test_a_long_line_goes_in_batches_and_who_comes_meanwhile_stands_behind_it(
    state: GatewayState, effects: FakeEffects
) -> None:
    hold(state)
    order: list[str] = []

    def went(client: Client) -> None:
        order.append(client.name)
        if client.name == "0":
            assert not state.admit(Client("late", does_on_go=went))

    for number in range(RELEASE_BATCH + 1):
        state.admit(Client(str(number), does_on_go=went))
    state.open(hold_id="mine")
    assert order == []
    effects.advance()

    assert order == [*map(str, range(RELEASE_BATCH + 1)), "late"]
    flying(state)


def test_one_request_that_fails_as_it_goes_does_not_stop_the_others(state: GatewayState, effects: FakeEffects) -> None:
    def fail(_client: Client) -> None:
        raise RuntimeError

    hold(state)
    state.admit(Client(does_on_go=fail))
    second = waiting(state)
    state.open(hold_id="mine")
    effects.advance()

    assert second.went == 1


def test_who_leaves_the_line_frees_the_place_and_is_never_called(state: GatewayState, effects: FakeEffects) -> None:
    state = GatewayState(effects, HoldLimits(max_requests=1))
    hold(state)
    gone = waiting(state)
    state.leave(gone)
    stays = waiting(state)
    state.open(hold_id="mine")
    effects.advance()

    assert (gone.went, gone.errors, stays.went) == (0, [], 1)
    assert state.door().counts == HoldCounts(held=2, released=1, left=1)


@pytest.mark.parametrize("limits", [HoldLimits(max_requests=2), HoldLimits(max_bytes=250)], ids=["count", "bytes"])
def test_the_line_is_bounded(effects: FakeEffects, limits: HoldLimits) -> None:
    state = GatewayState(effects, limits)
    hold(state)
    first = waiting(state)
    waiting(state)
    with pytest.raises(HoldFull):
        state.admit(Client())
    assert (state.held, state.door().held_bytes) == (2, 200)

    state.leave(first)
    waiting(state)


def test_nobody_waits_longer_than_one_may(effects: FakeEffects) -> None:
    state = GatewayState(effects, HoldLimits(timeout_seconds=60))
    hold(state)
    first = waiting(state)
    effects.advance(59)
    second = waiting(state)
    assert state.door().held_oldest_seconds == 59
    effects.advance(1)

    assert [type(error) for error in first.errors] == [HoldTimedOut]
    assert second.errors == []
    effects.advance(59)
    assert len(second.errors) == 1
