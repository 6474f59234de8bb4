"""Switches of every kind, with everything that may go wrong at every act: they end where the model says.

The model is `expected_end`. What it foretells is exact where a switch leaves from a model that serves and nothing comes
between; after a mishap it is one of few ends, and the next command has its way.
"""

import contextlib
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from pmp_gateway.control_schema import MAX_DEADLINE_SECONDS, Phase, Reason
from pmp_gateway.phases import SENTENCES
from pmpctl.errors import DiskFull, ExitStatus, PmpctlError
from pmpctl.operations import gateway_control, gateway_hold, journal, state_files, switch_steps
from pmpctl.operations.engine_api import EngineApi
from pmpctl.operations.environment import Environment
from pmpctl.operations.events import Operation
from pmpctl.operations.journal import Journal, Step, read_journal
from pmpctl.operations.switch import SwitchOptions, switch
from pmpctl.operations.up import up
from pmpctl.workspace import Workspace
from tests.switching.conftest import MODELS
from tests.switching.scripted import ENGINE_WAIT_SECONDS, Behaviour, Killed, Mishap, World
from tests.switching.scripted_runtime import ScriptedControl, ScriptedRuntime
from tests.unit.hub.checkpoints import one_file, write_cache

PROFILES = """
[host]
runtime = "process"
warm_page_cache = false

[profiles.coding]
model = "acme/coder"
device = "cpu"

[profiles.chat]
model = "acme/chat"
device = "cpu"
"""

# No hold lasts longer, and whom it lets go then may wait for an engine that is away.
LONGER_THAN_ANY_HOLD_SECONDS = MAX_DEADLINE_SECONDS + 20 * ENGINE_WAIT_SECONDS

OWN_EXIT_STATUS: dict[Behaviour, ExitStatus] = {
    "ends": ExitStatus.ENGINE_FAILED,
    "wrong-model": ExitStatus.ENGINE_FAILED,
    "no-token": ExitStatus.ENGINE_FAILED,
    "does-not-start": ExitStatus.HOST_NOT_READY,
}

PROFILE = st.sampled_from(sorted(MODELS))
BEHAVIOUR: st.SearchStrategy[Behaviour] = st.sampled_from(
    ["serves", "serves", "ends", "wrong-model", "no-token", "does-not-start"]
)
MISHAP: st.SearchStrategy[tuple[Mishap, int] | None] = st.none() | st.tuples(
    st.sampled_from(["killed-before", "killed-after", "interrupted", "refused"]), st.integers(1, 40)
)
ASKS_AT = st.frozensets(st.integers(1, 30), max_size=3)


@dataclass(frozen=True)
class End:
    """`serves` is the profile that gets the requests, None where the gateway refuses them."""

    exit_status: ExitStatus | None
    serves: str | None


def expected_end(
    before: str, profile: str, first: Behaviour, second: Behaviour, *, restart: bool, rollback: bool
) -> End:
    """Of a switch from `before`, which serves; `first` and `second` are the engines that start in it.

    The way back of `--restart` is to the same plan, which is tried once more: if it fails again, that is exit 6.
    """
    if profile == before and not restart:
        return End(ExitStatus.DONE, before)
    if first == "serves":
        return End(ExitStatus.DONE, profile)
    if not rollback:
        return End(OWN_EXIT_STATUS[first], None)
    if second == "serves":
        return End(ExitStatus.SWITCH_ROLLED_BACK, before)
    return End(ExitStatus.SWITCH_FAILED, None)


class Switches(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.folder = TemporaryDirectory()
        self.patch = pytest.MonkeyPatch()
        self.workspace = Workspace(Path(self.folder.name))
        (self.workspace.root / "profiles.toml").write_text(PROFILES)
        for model in MODELS.values():
            write_cache(self.workspace.root / "models", model, one_file())
        self.environment = Environment(self.workspace, None, "process", {"HF_HUB_OFFLINE": "1"})
        self.runtime = ScriptedRuntime(self.world)
        self._install()

    def _install(self) -> None:
        world = self.world
        for module in ("switch_scene", "up"):
            self.patch.setattr(f"pmpctl.operations.{module}.choose_runtime", lambda *_: self.runtime.chosen())
        self.patch.setattr(gateway_control, "_client", lambda *_: contextlib.nullcontext(ScriptedControl(world)))
        self.patch.setattr(gateway_hold, "_PATIENCE_SECONDS", 0.0)
        self.patch.setattr(switch_steps, "_RELEASE_SECONDS", 0.0)
        self.patch.setattr("pmpctl.operations.readiness.POLL_SECONDS", 0.0)

        transport = httpx.MockTransport(world.answer_engine)

        def connect(api: EngineApi, url: str) -> None:
            api._client = httpx.Client(base_url=url, transport=transport, trust_env=False)

        self.patch.setattr(EngineApi, "__init__", connect)
        keep, remove = state_files.keep_state, journal.remove_journal
        full = DiskFull("no space left", cure="None.")

        def keep_state(*arguments: Any) -> None:
            with world.act(full):
                keep(*arguments)

        def remove_journal(workspace: Workspace) -> None:
            with world.act(full):
                remove(workspace)

        for module in ("journal", "unit_records"):
            self.patch.setattr(f"pmpctl.operations.{module}.keep_state", keep_state)
        for module in ("journal", "mending"):
            self.patch.setattr(f"pmpctl.operations.{module}.remove_journal", remove_journal)

    def run(
        self, operation: Operation[Any], mishap: tuple[Mishap, int] | None = None, asks_at: Collection[int] = ()
    ) -> ExitStatus | None:
        """How the command ended; None if it was killed."""
        world = self.world
        world.acts, (world.mishap, world.mishap_at), world.asks_at = 0, mishap or (None, 0), asks_at
        try:
            for _ in operation:
                pass
        except PmpctlError as error:
            return error.exit_status
        except KeyboardInterrupt:
            return ExitStatus.INTERRUPTED
        except Killed:
            return None
        finally:
            world.is_dead, world.mishap, world.asks_at = False, None, ()
            self.runtime.next_engines.clear()
            world.settle()
        return ExitStatus.DONE

    @property
    def served(self) -> str | None:
        """The profile that gets the requests."""
        is_open = self.world.has_gateway and self.world.gateway.phase is Phase.OPEN
        return self.world.serving if is_open else None

    @property
    def journal(self) -> Journal | None:
        found = read_journal(self.workspace)
        assert found is None or isinstance(found, Journal)
        return found

    def assert_serves(self, profile: str | None) -> None:
        """That profile serves, everybody may come in, nobody waits, and no journal tells of trouble."""
        assert profile is not None
        assert self.served == profile
        assert self.journal is None
        self.assert_nobody_waits()

    def assert_nobody_waits(self) -> None:
        assert all(request.is_over for request in self.world.requests)

    @initialize(profile=PROFILE)
    def begin(self, profile: str) -> None:
        assert self.run(up(self.environment, profile)) is ExitStatus.DONE
        self.assert_serves(profile)

    @rule(
        profile=PROFILE,
        first=BEHAVIOUR,
        second=BEHAVIOUR,
        mishap=MISHAP,
        asks_at=ASKS_AT,
        restart=st.booleans(),
        rollback=st.sampled_from([True, True, True, False]),
    )
    def switches(
        self,
        profile: str,
        first: Behaviour,
        second: Behaviour,
        mishap: tuple[Mishap, int] | None,
        asks_at: frozenset[int],
        *,
        restart: bool,
        rollback: bool,
    ) -> None:
        is_well = self.served is not None and not self.world.is_broken and self.journal is None
        before = self.served if is_well else None
        requests_before = len(self.world.requests)
        is_broken = self.world.is_broken
        self.runtime.next_engines[:] = [first, second]

        options = SwitchOptions(restart=restart, rollback=rollback)
        ended = self.run(switch(self.environment, profile, options), mishap, asks_at)

        asked = self.world.requests[requests_before:]
        if ended is ExitStatus.DONE:
            self.assert_serves(profile)
        elif ended is ExitStatus.SWITCH_ROLLED_BACK:
            assert rollback
            self.assert_serves(before or self.world.serving)
        elif ended is ExitStatus.SWITCH_FAILED:
            assert rollback
            assert self.served is None
        if mishap is None:
            if ended is ExitStatus.SWITCH_FAILED:
                self.assert_closed_with_its_reason()
            if first == "serves" and not is_broken:
                assert ended is ExitStatus.DONE
            if before is not None:
                end = expected_end(before, profile, first, second, restart=restart, rollback=rollback)
                assert End(ended, self.served) == end
                if end.serves is not None:
                    answered_by = {self.world.profile_of(engine) for each in asked for engine in each.answered_by}
                    assert answered_by <= {before, end.serves}
                    assert not any(each.refusals for each in asked)
        elif before is not None and ended is None:
            # No crash goes unnoticed.
            assert self.journal is not None or self.served in (before, profile)
        elif before is not None and rollback and (first, second) == ("serves", "serves"):
            assert self.served in (before, profile)

    def assert_closed_with_its_reason(self) -> None:
        gateway = self.world.gateway
        assert (gateway.phase, gateway.door().reason) == (Phase.CLOSED, Reason.SWITCH_FAILED)
        assert self.journal is not None
        assert self.journal.step is Step.CLOSE
        self.assert_nobody_waits()
        self.world.ask()
        assert [str(error) for error in self.world.requests[-1].refusals] == [SENTENCES[Reason.SWITCH_FAILED]]

    @rule(profile=PROFILE | st.none(), behaviour=BEHAVIOUR, mishap=MISHAP, asks_at=ASKS_AT, restart=st.booleans())
    def comes_up(
        self,
        profile: str | None,
        behaviour: Behaviour,
        mishap: tuple[Mishap, int] | None,
        asks_at: frozenset[int],
        *,
        restart: bool,
    ) -> None:
        engine = self.world.unit("engine")
        # What runs as planned is left alone, and found out.
        keeps_broken = self.world.is_broken and not restart and engine is not None and profile in (None, engine.profile)
        self.runtime.next_engines[:] = [behaviour]

        ended = self.run(up(self.environment, profile, restart=restart), mishap, asks_at)

        if ended is ExitStatus.DONE:
            self.assert_serves(profile or self.world.serving)
        elif mishap is None:
            assert behaviour != "serves" or keeps_broken

    @rule()
    def a_client_asks(self) -> None:
        self.world.ask()

    @rule()
    def the_engine_dies(self) -> None:
        if (engine := self.world.unit("engine")) is not None and engine.alive:
            self.world.change(engine.id, phase="exited", exit_code=0)

    @precondition(lambda self: self.world.has_gateway)
    @rule()
    def the_gateway_is_killed_and_restarted(self) -> None:
        self.world.restart_gateway()

    @rule(seconds=st.sampled_from([1.0, 100.0]))
    def time_passes(self, seconds: float) -> None:
        self.world.pass_time(seconds)

    @rule()
    def so_much_time_passes_that_no_hold_lasts(self) -> None:
        self.world.pass_time(LONGER_THAN_ANY_HOLD_SECONDS)
        assert self.world.gateway.phase in (Phase.OPEN, Phase.CLOSED)
        self.assert_nobody_waits()

    @invariant()
    def nobody_is_answered_wrongly_or_twice(self) -> None:
        assert self.world.faults == []
        for request in self.world.requests:
            assert len(request.answered_by) + len(request.refusals) <= 1

    def teardown(self) -> None:
        """Whatever has happened: nobody waits for ever, and the next command has its way."""
        try:
            self.so_much_time_passes_that_no_hold_lasts()
            assert self.run(up(self.environment, "coding", restart=self.world.is_broken)) is ExitStatus.DONE
            self.assert_serves("coding")
            assert self.run(switch(self.environment, "chat", SwitchOptions())) is ExitStatus.DONE
            self.assert_serves("chat")
        finally:
            self.patch.undo()
            self.world.close()
            self.folder.cleanup()


Switches.TestCase.settings = settings(
    max_examples=50, stateful_step_count=12, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)
TestSwitches = pytest.mark.slow(pytest.mark.timeout(900)(Switches.TestCase))
