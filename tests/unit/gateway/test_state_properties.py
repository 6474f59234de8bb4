"""Whatever operators, clients, the engine and the clock do in whatever order: the state's promises hold."""

from collections.abc import Callable

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from pmp_gateway.control_schema import MAX_DEADLINE_SECONDS, Phase, Reason
from pmp_gateway.failures import GatewayError
from pmp_gateway.phases import TRANSITIONS, VerbRefused
from pmp_gateway.state import GatewayState
from pmp_gateway.waiting import HoldLimits
from tests.unit.gateway.fake_effects import Client, FakeEffects

LIMITS = HoldLimits(max_requests=4, max_bytes=1000, timeout_seconds=60, engine_wait_seconds=20)
OURS, OTHERS = frozenset({"ours", "llm"}), frozenset({"other"})

STEPS_SECONDS = st.sampled_from([0.0, 0.3, 5.0, 19.0, 31.0, 61.0])
DEADLINES_SECONDS = st.sampled_from([0.0, 30.0, 700.0])
HOLD_IDS = st.sampled_from(["a", "b"])
SIZES_BYTES = st.lists(st.sampled_from([0, 100, 400, 1001]), min_size=1, max_size=3)
REASONS = st.sampled_from(Reason)
# Floats of this size are that coarse.
CLOCK_ERROR_SECONDS = 1e-3
SOME = st.integers(min_value=0, max_value=100)


class Gateway(RuleBasedStateMachine):
    """The model knows only what a client can know: whether it passed, waits, or is through."""

    def __init__(self) -> None:
        super().__init__()
        self.effects = FakeEffects()
        self.begin(GatewayState(self.effects, LIMITS))

    def begin(self, state: GatewayState) -> None:
        self.state = state
        self.in_flight: list[Client] = []
        # In the order in which they came, with the time since when they have been waiting.
        self.waiting: dict[Client, float] = {}
        self.ordinals: dict[Client, int] = {}
        # What went wrong inside a call from the state, which lets nothing out.
        self.violations: list[str] = []
        self.ended_drains = 0
        self.begun_drains = 0
        self.drain_deadline = 0.0
        self.open_since = self.effects.clock_seconds
        self.phases = [state.phase]
        state.on_phase = self.phase_changes

    def phase_changes(self, phase: Phase) -> None:
        self.phases.append(phase)
        self.open_since = self.effects.clock_seconds

    # Clients.

    @rule(sizes_bytes=SIZES_BYTES, on_go=st.sampled_from(["stay", "leave", "lose", "raise"]))
    def requests_come(self, sizes_bytes: list[int], on_go: str) -> None:
        for size_bytes in sizes_bytes:
            self.request_comes(size_bytes, on_go)

    def request_comes(self, size_bytes: int, on_go: str) -> None:
        client = Watched(self, on_go)
        client.size_bytes = size_bytes
        self.ordinals[client] = len(self.ordinals)
        nobody_waits = not self.waiting and self.state.door().engine_away_since is None
        try:
            passes = self.state.admit(client)
        except GatewayError:
            assert self.state.phase is not Phase.OPEN or not nobody_waits
            return
        if passes:
            assert self.state.phase is Phase.OPEN
            assert not self.waiting
            self.in_flight.append(client)
        else:
            assert self.state.phase is not Phase.OPEN or not nobody_waits
            self.waiting[client] = self.effects.clock_seconds

    @precondition(lambda self: self.in_flight)
    @rule(which=SOME)
    def a_request_ends(self, which: int) -> None:
        client = self.in_flight.pop(which % len(self.in_flight))
        self.state.leave(client)
        self.state.leave(client)

    @precondition(lambda self: self.waiting)
    @rule(which=SOME)
    def a_waiting_client_goes_away(self, which: int) -> None:
        client = list(self.waiting)[which % len(self.waiting)]
        del self.waiting[client]
        self.state.leave(client)

    @precondition(lambda self: self.in_flight)
    @rule(which=SOME)
    def a_request_finds_no_engine(self, which: int) -> None:
        self.lose_engine(self.in_flight[which % len(self.in_flight)])

    def lose_engine(self, client: Client) -> None:
        self.in_flight.remove(client)
        self.waiting[client] = self.effects.clock_seconds
        if not self.state.engine_away(client):
            del self.waiting[client]
            self.state.leave(client)

    # Operators.

    def verb(self, act: Callable[[], None], hold_id: str | None, force: bool) -> None:
        """Only the hold's owner may act, or who uses force; a verb that is refused changes nothing."""
        before = (self.state.phase, self.state.door(), self.effects.saved)
        owner = self.state.door().hold_id
        try:
            act()
        except VerbRefused:
            assert (self.state.phase, self.state.door(), self.effects.saved) == before
        else:
            assert force or owner in (None, hold_id)

    @rule(hold_id=HOLD_IDS, seconds=DEADLINES_SECONDS, reason=REASONS, force=st.booleans())
    def hold(self, hold_id: str, seconds: float, reason: Reason, force: bool) -> None:
        self.verb(lambda: self.state.hold(hold_id, seconds, reason, force=force), hold_id, force)

    @rule(hold_id=st.none() | HOLD_IDS, seconds=DEADLINES_SECONDS, force=st.booleans())
    def drain(self, hold_id: str | None, seconds: float, force: bool) -> None:
        def ended(empty: bool) -> None:
            self.ended_drains += 1
            assert empty == (not self.in_flight)

        def begin() -> None:
            deadline = self.effects.clock_seconds + seconds
            self.state.begin_drain(seconds, ended, hold_id=hold_id, force=force)
            self.begun_drains += 1
            self.drain_deadline = deadline

        self.verb(begin, hold_id, force)

    @rule(hold_id=HOLD_IDS, seconds=DEADLINES_SECONDS, models=st.sampled_from([(), OURS]), force=st.booleans())
    def opening(self, hold_id: str, seconds: float, models: frozenset[str], force: bool) -> None:
        self.verb(lambda: self.state.opening(hold_id, seconds, models=models, force=force), hold_id, force)

    @rule(hold_id=st.none() | HOLD_IDS, models=st.sampled_from([(), OURS]), force=st.booleans())
    def open(self, hold_id: str | None, models: frozenset[str], force: bool) -> None:
        self.verb(lambda: self.state.open(hold_id=hold_id, models=models, force=force), hold_id, force)

    @rule(hold_id=st.none() | HOLD_IDS, reason=REASONS, force=st.booleans())
    def close(self, hold_id: str | None, reason: Reason, force: bool) -> None:
        self.verb(lambda: self.state.close(reason, hold_id=hold_id, force=force), hold_id, force)

    # The world.

    @rule(seconds=STEPS_SECONDS)
    def time_passes(self, seconds: float) -> None:
        self.effects.advance(seconds)
        if self.state.phase is Phase.OPEN:
            away_since = self.state.door().engine_away_since
            assert not self.waiting or away_since is not None
            assert all(self.without_engine_seconds(client) < LIMITS.engine_wait_seconds for client in self.waiting)

    def without_engine_seconds(self, client: Client) -> float:
        return self.effects.clock_seconds - max(self.waiting[client], self.open_since)

    @rule(models=st.sampled_from([None, OURS, OTHERS]))
    def the_engine_answers_or_not(self, models: frozenset[str] | None) -> None:
        phase, deadline = self.state.phase, self.state.door().deadline
        self.effects.answer(models)
        if deadline is not None and deadline > self.effects.wall_seconds:
            assert self.state.phase is phase

    @rule()
    def the_gateway_is_killed_and_starts_again(self) -> None:
        phase, door, policy = self.state.phase, self.state.door(), self.state.policy
        saved = self.effects.saved
        self.effects = FakeEffects(self.effects.clock_seconds, self.effects.wall_seconds, saved)
        self.begin(GatewayState(self.effects, LIMITS, saved))
        again = self.state.door()
        if phase is Phase.DRAINING:
            phase = Phase.CLOSED if door.hold_id is None else Phase.HOLDING
        assert self.state.phase is phase
        assert (again.reason, again.hold_id, again.deadline) == (door.reason, door.hold_id, door.deadline)
        assert self.state.policy == policy
        self.effects.advance()

    def teardown(self) -> None:
        """No controller ever comes back, and the engine is gone."""
        for _ in range(4):
            self.effects.advance(MAX_DEADLINE_SECONDS)
            self.effects.answer(None)
        self.effects.advance()
        assert self.state.phase in (Phase.OPEN, Phase.CLOSED)
        assert self.state.held == 0
        assert self.violations == []

    # Promises.

    @invariant()
    def each_hears_once_and_in_its_turn(self) -> None:
        assert self.violations == []

    @invariant()
    def it_knows_who_is_in_flight_and_who_waits(self) -> None:
        assert self.state.in_flight == len(self.in_flight)
        assert self.state.held == len(self.waiting)
        assert self.state.door().held_bytes == sum(client.size_bytes for client in self.waiting)

    @invariant()
    def what_waits_is_bounded(self) -> None:
        assert self.state.held <= LIMITS.max_requests
        assert self.state.door().held_bytes <= LIMITS.max_bytes
        now = self.effects.clock_seconds
        assert all(now - since <= LIMITS.timeout_seconds for since in self.waiting.values())

    @invariant()
    def nobody_waits_for_nothing(self) -> None:
        if self.state.phase is Phase.CLOSED:
            assert not self.waiting
        if self.state.phase is not Phase.OPEN:
            assert self.state.door().engine_away_since is None

    @invariant()
    def a_hold_ends_with_its_deadline(self) -> None:
        deadline = self.state.door().deadline
        if self.state.phase in (Phase.HOLDING, Phase.OPENING):
            assert deadline is not None
            assert deadline >= self.effects.wall_seconds - CLOCK_ERROR_SECONDS or self.effects.is_busy
        else:
            assert deadline is None or self.state.phase is Phase.DRAINING

    @invariant()
    def a_drain_ends_with_its_deadline_and_says_so_once(self) -> None:
        if self.state.phase is Phase.DRAINING:
            assert self.in_flight
            assert self.effects.clock_seconds <= self.drain_deadline
            assert self.ended_drains < self.begun_drains
        else:
            assert self.ended_drains == self.begun_drains

    @invariant()
    def each_phase_follows_one_that_it_may_follow(self) -> None:
        assert all(after in TRANSITIONS[before] for before, after in zip(self.phases, self.phases[1:], strict=False))

    @invariant()
    def what_is_saved_is_what_is_so(self) -> None:
        if self.effects.saved is not None:
            phase = self.state.phase
            if phase is Phase.DRAINING:
                phase = Phase.CLOSED if self.state.door().hold_id is None else Phase.HOLDING
            assert self.effects.saved.phase is phase
            assert self.effects.saved.reason is self.state.door().reason

    @invariant()
    def the_counts_add_up(self) -> None:
        counts = self.state.door().counts
        assert counts.held == counts.released + counts.refused + counts.left + self.state.held


class Watched(Client):
    """Checks, whenever it hears of the state, that it was its turn and that it waited for it."""

    def __init__(self, gateway: Gateway, on_go: str) -> None:
        super().__init__()
        self.gateway = gateway
        self.on_go = on_go

    def go(self) -> None:
        gateway = self.gateway
        if self is not min(gateway.waiting, key=gateway.ordinals.__getitem__, default=None):
            gateway.violations.append("went before its turn")
        gateway.waiting.pop(self, None)
        gateway.in_flight.append(self)
        if self.on_go == "leave":
            gateway.in_flight.remove(self)
            gateway.state.leave(self)
        elif self.on_go == "lose":
            gateway.lose_engine(self)
        elif self.on_go == "raise":
            raise RuntimeError("the request's own trouble")

    def refuse(self, error: GatewayError) -> None:
        gateway = self.gateway
        if self in gateway.waiting:
            del gateway.waiting[self]
        elif self in gateway.in_flight and gateway.state.phase is Phase.DRAINING:
            gateway.in_flight.remove(self)
            if gateway.effects.clock_seconds < gateway.drain_deadline:
                gateway.violations.append("was cut short before the drain's deadline")
        else:
            gateway.violations.append(f"refused twice, or out of the blue, by {error!r}")
        gateway.state.leave(self)


Gateway.TestCase.settings = settings(max_examples=300, stateful_step_count=40, deadline=None)
TestGateway = Gateway.TestCase
