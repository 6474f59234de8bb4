"""The state by itself: phases, the line, deadlines and drains, in a world whose clock the test moves."""

from collections.abc import Callable

import pytest

from pmp_gateway.control_schema import MAX_DEADLINE_SECONDS, HoldCounts, Phase, Reason, Refusal
from pmp_gateway.failures import BackendAway, Closed, CutShort, HoldFull, HoldTimedOut, Stopping
from pmp_gateway.phases import SENTENCES, VerbRefused
from pmp_gateway.request_policy import RequestPolicy
from pmp_gateway.state import GatewayState
from pmp_gateway.traffic import RELEASE_BATCH
from pmp_gateway.waiting import HoldLimits
from tests.unit.gateway.fake_effects import Client, FakeEffects

OURS = frozenset({"ours"})


@pytest.fixture
def effects() -> FakeEffects:
    return FakeEffects()


@pytest.fixture
def state(effects: FakeEffects) -> GatewayState:
    return GatewayState(effects, HoldLimits(max_requests=40))


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


def ignore(_empty: bool) -> None: ...


def phase_of(state: GatewayState) -> Phase:
    """Spares mypy the belief that a phase stays what it was asserted to be."""
    return state.phase


def refusal_of(act: Callable[[], None]) -> Refusal:
    with pytest.raises(VerbRefused) as caught:
        act()
    return caught.value.refusal


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


def test_each_change_of_phase_is_told_once(state: GatewayState) -> None:
    told: list[Phase] = []
    state.on_phase = told.append
    hold(state)
    hold(state)
    state.open(hold_id="mine")
    state.open()

    assert told == [Phase.HOLDING, Phase.OPEN]
