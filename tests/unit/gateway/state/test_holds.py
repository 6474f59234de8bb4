"""Holds and closed doors by themselves: whose they are, when they end, and what is out of place."""

from collections.abc import Callable

import pytest

from pmp_gateway.control_schema import MAX_DEADLINE_SECONDS, Phase, Reason, Refusal
from pmp_gateway.failures import Closed, Stopping
from pmp_gateway.phases import SENTENCES, VerbRefused
from pmp_gateway.request_policy import RequestPolicy
from pmp_gateway.state import GatewayState
from tests.unit.gateway.fake_effects import Client, FakeEffects
from tests.unit.gateway.state.acts import flying, hold, ignore, phase_of, waiting

OURS = frozenset({"ours"})


def refusal_of(act: Callable[[], None]) -> Refusal:
    with pytest.raises(VerbRefused) as caught:
        act()
    return caught.value.refusal


@pytest.mark.parametrize(
    ("models", "phase"), [(OURS, Phase.OPEN), (frozenset({"other"}), Phase.CLOSED), (None, Phase.CLOSED)]
)
def test_a_hold_that_nobody_ends_opens_to_the_engine_that_served_before_and_to_no_other(
    state: GatewayState, effects: FakeEffects, models: frozenset[str] | None, phase: Phase
) -> None:
    state.open(models=OURS)
    hold(state, 30)
    client = waiting(state)
    effects.advance(29)
    assert effects.questions == []
    effects.advance(1)
    assert phase_of(state) is Phase.HOLDING
    effects.answer(models)
    effects.advance()

    assert phase_of(state) is phase
    assert client.went == (phase is Phase.OPEN)
    if phase is Phase.CLOSED:
        assert state.door().reason is Reason.HOLD_EXPIRED
        assert [error.args for error in client.errors] == [(SENTENCES[Reason.HOLD_EXPIRED],)]
        with pytest.raises(Closed):
            state.admit(Client())


def test_repeating_a_hold_moves_its_deadline(state: GatewayState, effects: FakeEffects) -> None:
    hold(state, 30)
    effects.advance(20)
    hold(state, 30)
    effects.advance(20)
    assert effects.questions == []
    effects.advance(10)
    assert len(effects.questions) == 1


def test_a_controller_that_comes_back_in_the_last_moment_wins(state: GatewayState, effects: FakeEffects) -> None:
    hold(state, 30)
    effects.advance(30)
    hold(state, 30)
    effects.answer(None)

    assert phase_of(state) is Phase.HOLDING


def test_no_hold_lasts_longer_than_the_longest(state: GatewayState, effects: FakeEffects) -> None:
    hold(state, 1e9)
    effects.advance(MAX_DEADLINE_SECONDS)

    assert len(effects.questions) == 1


def test_a_hold_belongs_to_who_asked_for_it(state: GatewayState) -> None:
    hold(state, hold_id="mine")

    for act in (
        lambda: state.hold("yours", 1, Reason.SWITCH),
        lambda: state.open(hold_id="yours"),
        lambda: state.open(),
        lambda: state.close(Reason.STOP, hold_id="yours"),
        lambda: state.opening("yours", 1),
        lambda: state.begin_drain(1, ignore, hold_id="yours"),
    ):
        assert refusal_of(act) is Refusal.HELD_BY_ANOTHER
    assert (state.phase, state.door().hold_id) == (Phase.HOLDING, "mine")

    state.hold("yours", 1, Reason.SWITCH, force=True)
    assert state.door().hold_id == "yours"


def test_a_verb_out_of_its_phase_changes_nothing(state: GatewayState) -> None:
    assert refusal_of(lambda: state.opening("mine", 1)) is Refusal.WRONG_PHASE
    assert phase_of(state) is Phase.OPEN
    state.close(Reason.STOP)
    state.opening("mine", 600)
    assert refusal_of(lambda: state.begin_drain(1, ignore, hold_id="mine")) is Refusal.WRONG_PHASE
    assert phase_of(state) is Phase.OPENING


def test_while_an_engine_starts_requests_wait_for_it(state: GatewayState, effects: FakeEffects) -> None:
    hold(state)
    old = waiting(state)
    state.opening("mine", 60, policy=RequestPolicy(max_n=1), models=OURS)
    new = waiting(state)
    assert (old.went, state.policy) == (0, RequestPolicy(max_n=1))

    effects.advance(60)
    effects.answer(OURS)
    effects.advance()
    assert (old.went, new.went, state.phase) == (1, 1, Phase.OPEN)


def test_a_closed_gateway_says_why_and_refuses_who_waits(state: GatewayState) -> None:
    hold(state)
    client = waiting(state)
    state.close(Reason.SWITCH_FAILED, hold_id="mine")

    assert [type(error) for error in client.errors] == [Closed]
    assert client.errors[0].message == SENTENCES[Reason.SWITCH_FAILED]
    with pytest.raises(Closed) as caught:
        state.admit(Client())
    assert caught.value.message == SENTENCES[Reason.SWITCH_FAILED]


def test_every_reason_has_a_sentence() -> None:
    assert set(SENTENCES) == set(Reason)


def test_stopping_ends_the_wait_and_lets_finish_what_is_in_flight(state: GatewayState, effects: FakeEffects) -> None:
    last = flying(state)
    hold(state, 30)
    held = waiting(state)
    saved = effects.saved
    state.stop()
    state.stop()
    effects.advance(60)
    effects.answer(OURS)

    assert [type(error) for error in held.errors] == [Stopping]
    assert (state.phase, state.in_flight, last.errors) == (Phase.DRAINING, 1, [])
    with pytest.raises(Stopping):
        state.admit(Client())
    assert refusal_of(lambda: state.open(force=True)) is Refusal.STOPPING
    assert effects.saved is saved
    state.end_all()
    assert [type(error) for error in last.errors] == [Stopping]
    assert state.in_flight == 0


def test_each_change_of_phase_is_told_once(state: GatewayState) -> None:
    told: list[Phase] = []
    state.on_phase = told.append
    hold(state)
    hold(state)
    state.open(hold_id="mine")
    state.open()

    assert told == [Phase.HOLDING, Phase.OPEN]
