"""A model of a switch that is killed at any step, of what happens then, and of the command that follows."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from itertools import product

import pytest

from pmpctl.operations.journal import Step
from pmpctl.operations.recovery import Action, Asked, Decision, Door, EngineView, Situation, decide
from pmpctl.planning.recorded import RecordedPlan
from tests.unit.operations.test_recovery import CHAT, CODING, DEVSTRAL, asked, journal


@dataclass(frozen=True)
class Engine:
    """`birth` is another for every start; one that is `told_to_stop` is not brought back by a reboot."""

    plan: RecordedPlan
    birth: int
    alive: bool = True
    answers: bool = False
    told_to_stop: bool = False


@dataclass(frozen=True)
class World:
    engine: Engine | None
    door: Door
    step: Step | None = None
    source: RecordedPlan | None = CODING
    target: RecordedPlan = CHAT
    births: int = 0

    def with_engine(self, **changes: object) -> "World":
        return replace(self, engine=replace(self.engine, **changes)) if self.engine is not None else self  # type: ignore[arg-type]

    def starting(self, plan: RecordedPlan) -> "World":
        return replace(self, engine=Engine(plan, self.births + 1), births=self.births + 1)


def same(world: World) -> World:
    return world


def stop(world: World) -> World:
    return world.with_engine(alive=False, answers=False, told_to_stop=True)


def remove(world: World) -> World:
    return replace(world, engine=None)


def answer(world: World) -> World:
    return world.with_engine(answers=True)


def hold(world: World) -> World:
    return replace(world, door=Door.HELD)


def open_door(world: World) -> World:
    return replace(world, door=Door.OPEN)


EFFECTS: dict[Step, Callable[[World], World]] = {
    Step.HOLD: hold,
    Step.DRAIN: same,
    Step.STOP: stop,
    Step.REMOVE: remove,
    Step.PROVE: same,
    Step.START: lambda world: world.starting(world.target),
    Step.WAIT: answer,
    Step.VERIFY: same,
    Step.OPEN: open_door,
    Step.ROLLBACK_STOP: stop,
    Step.ROLLBACK_REMOVE: remove,
    Step.ROLLBACK_PROVE: same,
    Step.ROLLBACK_START: lambda world: world.starting(world.source) if world.source else world,
    Step.ROLLBACK_WAIT: answer,
    Step.ROLLBACK_VERIFY: same,
    Step.ROLLBACK_OPEN: open_door,
    Step.CLOSE: lambda world: replace(world, door=Door.CLOSED),
}

FORWARD: list[Step] = [step for step in Step if not step.is_way_back]
BACK: list[Step] = [step for step in Step if step.is_way_back and step is not Step.CLOSE]


def courses() -> Iterator[list[Step]]:
    """What a switch goes through: to its end, or to the step that fails and back, or to both failures."""
    yield FORWARD
    for failed in FORWARD:
        there = FORWARD[: FORWARD.index(failed) + 1]
        # Before anything was stopped, the way back is to open again.
        back = BACK if failed.number >= Step.STOP.number else [Step.ROLLBACK_OPEN]
        yield there + back
        for failed_too in range(len(back)):
            yield [*there, *back[: failed_too + 1], Step.CLOSE]


def kills(start: World) -> Iterator[World]:
    """The world as a kill leaves it: the step is written, and not, half or wholly done."""
    for course in courses():
        world = start
        for step in course:
            world = replace(world, step=step)
            yield world
            if step in (Step.STOP, Step.ROLLBACK_STOP):
                yield world.with_engine(answers=False, told_to_stop=True)
            world = EFFECTS[step](world)
            yield world


def reboot_with_docker(world: World) -> World:
    back = world.engine is not None and world.engine.alive and not world.engine.told_to_stop
    return world.with_engine(alive=back, answers=False)


def reboot_without_docker(world: World) -> World:
    return replace(world.with_engine(alive=False, answers=False), door=Door.GONE)


def wait_a_while(world: World) -> World:
    """What was told to stop has ended, what starts answers, and the hold has passed its deadline."""
    if world.engine is not None and world.engine.told_to_stop:
        world = stop(world)
    elif world.engine is not None and world.engine.alive:
        world = answer(world)
    if world.door is not Door.HELD:
        return world
    serves = world.engine is not None and world.engine.answers
    return replace(world, door=Door.OPEN if serves else Door.CLOSED)


def lose_the_gateway(world: World) -> World:
    return replace(world, door=Door.GONE)


BETWEEN: list[Callable[[World], World]] = [
    same,
    wait_a_while,
    reboot_with_docker,
    lambda world: wait_a_while(reboot_with_docker(world)),
    reboot_without_docker,
    lose_the_gateway,
]

WORLDS = [World(Engine(CODING, 0, answers=True), Door.OPEN)]
RESTART = [World(Engine(CODING, 0, answers=True), Door.OPEN, target=CODING)]
FROM_NOTHING = [World(None, Door.CLOSED, source=None)]


@cache
def interrupted() -> tuple[World, ...]:
    """Each state once."""
    found: dict[tuple[object, ...], World] = {}
    for start in (*WORLDS, *RESTART, *FROM_NOTHING):
        for world, between in product(kills(start), BETWEEN):
            left = between(world)
            found[(*plain(left.engine), left.step, left.door, start.source is None, start.target.profile)] = left
    return tuple(found.values())


def plain(engine: Engine | None) -> tuple[object, ...]:
    if engine is None:
        return ()
    return (engine.plan.profile, engine.birth, engine.alive, engine.answers, engine.told_to_stop)


def decide_in(world: World, wish: Asked) -> Decision:
    found = world.engine
    view = None
    if found is not None:
        view = EngineView(found.plan.profile, found.plan.engine_hash, alive=found.alive, answers=found.answers)
    left = journal(world.step, source=world.source, target=world.target) if world.step is not None else None
    return decide(Situation(left, view, world.door), wish)


def mended(world: World, decision: Decision) -> World:
    """What is done before the command's own work."""
    if decision.opens:
        assert world.engine is not None
        assert world.engine.answers
        world = open_door(world)
    return remove(world) if decision.clears else world


def up(world: World, plan: RecordedPlan, wish: Asked) -> World:
    world = mended(world, decide_in(world, wish))
    found = world.engine
    if found is None or not found.alive or found.plan.engine_hash != plan.engine_hash:
        world = world.starting(plan)
    assert world.engine is not None
    assert not world.engine.told_to_stop, "it would end while it is waited for"
    return replace(open_door(answer(world)), step=None)


@pytest.mark.parametrize("plan", [CODING, CHAT, DEVSTRAL], ids=lambda plan: plan.profile)
def test_what_is_asked_for_runs_at_the_end_and_the_gateway_is_open(plan: RecordedPlan) -> None:
    for world in interrupted():
        end = up(world, plan, asked("up", plan))

        assert end.engine is not None
        assert end.engine.plan is plan
        assert (end.engine.alive, end.engine.answers, end.door, end.step) == (True, True, Door.OPEN, None)


@pytest.mark.parametrize("plan", [CODING, CHAT, DEVSTRAL], ids=lambda plan: plan.profile)
def test_an_engine_that_is_asked_for_is_not_started_again(plan: RecordedPlan) -> None:
    """But for one that does not answer where it was about to be stopped: nobody can tell whether it was."""
    stops = {Step.STOP, Step.REMOVE, Step.ROLLBACK_STOP, Step.ROLLBACK_REMOVE}
    for world in interrupted():
        before = world.engine
        if before is None or not before.alive or before.plan is not plan:
            continue
        if before.answers or world.step not in stops:
            end = up(world, plan, asked("up", plan))
            assert end.engine is not None
            assert end.engine.birth == before.birth


def test_a_command_that_fails_early_leaves_the_gateway_open_to_what_served_before() -> None:
    for world in interrupted():
        left = mended(world, decide_in(world, asked("switch", DEVSTRAL)))
        if left.engine is None or not left.engine.answers or left.door is Door.GONE:
            continue
        if left.engine.plan is left.source and left.source is not left.target:
            assert left.door is Door.OPEN


def test_the_source_is_never_lost_as_the_way_back() -> None:
    for world in interrupted():
        decision = decide_in(world, asked("switch", DEVSTRAL))
        if world.source is not None:
            keeps = decision.action in (Action.UNDO, Action.FINISH) and world.engine is not None
            assert keeps or decision.rollback_to is world.source


def test_up_without_a_name_ends_with_one_of_the_two_models() -> None:
    for world in interrupted():
        profile = decide_in(world, Asked("status")).profile
        assert profile in {plan.profile for plan in (world.source, world.target) if plan is not None}
