"""What a process leaves to the next one: holds with their deadlines, drains, the policy."""

import pytest

from pmp_gateway.control_schema import MAX_DEADLINE_SECONDS, Phase, Reason
from pmp_gateway.request_policy import RequestPolicy
from pmp_gateway.state import GatewayState
from pmp_gateway.waiting import HoldLimits
from tests.unit.gateway.fake_effects import FakeEffects
from tests.unit.gateway.state.acts import flying, hold, ignore, waiting

OURS = frozenset({"ours"})


def test_a_gateway_killed_in_a_hold_comes_back_in_it_and_keeps_its_deadline(
    state: GatewayState, effects: FakeEffects
) -> None:
    state.open(policy=RequestPolicy(max_n=1), models=OURS)
    hold(state, 100)
    effects.advance(40)

    again = GatewayState(effects, HoldLimits(), effects.saved)
    assert (again.phase, again.door().reason, again.policy) == (Phase.HOLDING, Reason.SWITCH, RequestPolicy(max_n=1))
    waiting(again)
    again.open(hold_id="mine")
    effects.advance()
    assert again.in_flight == 1


def test_a_policy_that_nobody_told_is_that_of_the_next_process(effects: FakeEffects) -> None:
    hold(GatewayState(effects, HoldLimits(), policy=RequestPolicy(max_n=1)))
    again = GatewayState(effects, HoldLimits(), effects.saved, RequestPolicy(max_n=2))
    assert again.policy == RequestPolicy(max_n=2)

    again.open(policy=RequestPolicy(max_n=3), hold_id="mine")
    assert GatewayState(effects, HoldLimits(), effects.saved).policy == RequestPolicy(max_n=3)


@pytest.mark.parametrize(("away_seconds", "asked"), [(99, 0), (100, 1), (10_000, 1)])
def test_a_deadline_passes_also_while_no_gateway_runs(
    state: GatewayState, effects: FakeEffects, away_seconds: float, asked: int
) -> None:
    hold(state, 100)
    later = FakeEffects(wall_seconds=effects.now() + away_seconds)
    GatewayState(later, HoldLimits(), effects.saved)
    later.advance()

    assert len(later.questions) == asked


def test_a_clock_that_was_put_back_makes_no_hold_last_for_ever(state: GatewayState, effects: FakeEffects) -> None:
    hold(state, 100)
    earlier = FakeEffects(wall_seconds=effects.now() - 1e8)
    GatewayState(earlier, HoldLimits(), effects.saved)
    earlier.advance(MAX_DEADLINE_SECONDS)

    assert len(earlier.questions) == 1


def test_a_gateway_killed_in_a_drain_has_nothing_left_to_drain(state: GatewayState, effects: FakeEffects) -> None:
    flying(state)
    state.begin_drain(30, ignore)
    assert GatewayState(effects, HoldLimits(), effects.saved).phase is Phase.CLOSED

    hold(state)
    assert GatewayState(effects, HoldLimits(), effects.saved).phase is Phase.HOLDING
