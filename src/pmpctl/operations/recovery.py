"""What becomes of a switch that was interrupted: decided from what runs and what the journal says, and nothing else.

docs/switch.md has the same as a table; a test compares the two.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from pmpctl.operations.journal import Journal, Step
from pmpctl.planning.recorded import RecordedPlan


class Who(StrEnum):
    """Whose engine the runtime shows."""

    NOBODY = "nobody"
    SOURCE = "source"
    TARGET = "target"
    ANOTHER = "another"


class Door(StrEnum):
    """What the gateway does with requests."""

    GONE = "gone"
    CLOSED = "closed"
    OPEN = "open"
    HELD = "held"
    HELD_BY_HAND = "held-by-hand"


class Action(StrEnum):
    NOTHING = "nothing"
    """There is nothing to mend."""
    FINISH = "finish"
    """The target runs: requests go to it."""
    UNDO = "undo"
    """The source runs: requests go to it again."""
    ADOPT = "adopt"
    """Something else runs, which was started later: requests go to it."""
    START_OVER = "start-over"
    """Nothing runs that helps: what is asked for is started."""
    TAKE_DOWN = "take-down"
    """Nothing shall run."""


@dataclass(frozen=True, slots=True)
class EngineView:
    """An engine that the runtime shows; `answers` says that it serves models, whichever they are."""

    profile: str
    plan_hash: str
    alive: bool
    answers: bool


@dataclass(frozen=True, slots=True)
class Situation:
    journal: Journal | None
    engine: EngineView | None
    door: Door


@dataclass(frozen=True, slots=True)
class Asked:
    """`plan_hash` is that of the engine that the profile means now; empty for `down` and `status`."""

    command: Literal["up", "switch", "down", "status"]
    profile: str = ""
    plan_hash: str = ""


@dataclass(frozen=True, slots=True)
class Decision:
    """`found` and `remedy` are for the user: what was interrupted, and what is done or can be done about it.

    `opens`: the gateway is opened to the engine that runs before the command goes on with its own work.
    `clears`: the engine that runs is about to end, and is waited for and removed first.
    `rollback_to` is what a switch that starts over goes back to if it fails.
    `profile` is the one that `up` goes on with if none is named.
    """

    action: Action
    found: str = ""
    remedy: str = ""
    opens: bool = False
    clears: bool = False
    rollback_to: RecordedPlan | None = None
    profile: str = ""

    def __str__(self) -> str:
        return f"{self.found}; {self.remedy}"


NOTHING_TO_MEND = Decision(Action.NOTHING)

_KEEPS = {Who.SOURCE: Action.UNDO, Who.TARGET: Action.FINISH, Who.ANOTHER: Action.ADOPT}
_STOPPING_ON_THE_WAY_BACK = frozenset({Step.ROLLBACK_STOP, Step.ROLLBACK_REMOVE})
_STOPPING = {
    Who.SOURCE: _STOPPING_ON_THE_WAY_BACK | {Step.STOP, Step.REMOVE},
    Who.TARGET: _STOPPING_ON_THE_WAY_BACK,
}


def decide(situation: Situation, asked: Asked) -> Decision:
    journal, engine = situation.journal, situation.engine
    if journal is None:
        return _without_journal(situation, asked)
    who = who_runs(journal, engine)
    found = _found(journal, situation, who)
    if asked.command == "down":
        return Decision(Action.TAKE_DOWN, found, "it is given up, and all of it is removed")
    ends, helps = _ends(journal, engine, who), _helps(journal, engine, who)
    profile = _profile_to_go_on_with(journal, engine if helps and not ends else None)
    if asked.command == "status":
        return Decision(_KEEPS.get(who, Action.START_OVER), found, _advice(journal, profile), profile=profile)
    is_asked = engine is not None and engine.plan_hash == asked.plan_hash
    answers = engine is not None and engine.answers
    if who is not Who.NOBODY and not ends and (is_asked or (helps and answers)):
        action, opens = _KEEPS[who], answers and not is_asked and situation.door not in (Door.OPEN, Door.GONE)
        return Decision(action, found, _kept(action, engine, is_asked=is_asked), opens=opens, profile=profile)
    source = journal.source
    return Decision(
        Action.START_OVER,
        found,
        f"{asked.profile} is started",
        clears=ends,
        rollback_to=source if source is not None and source.engine_hash != asked.plan_hash else None,
        profile=profile,
    )


def who_runs(journal: Journal, engine: EngineView | None) -> Who:
    if engine is None or not engine.alive:
        return Who.NOBODY
    is_source = journal.source is not None and engine.plan_hash == journal.source.engine_hash
    is_target = engine.plan_hash == journal.target.engine_hash
    if is_source and is_target:
        # A restart of the same plan: the step tells the old engine from the new one.
        return Who.TARGET if Step.START.number <= journal.step.number < Step.ROLLBACK_PROVE.number else Who.SOURCE
    return Who.SOURCE if is_source else Who.TARGET if is_target else Who.ANOTHER


def _without_journal(situation: Situation, asked: Asked) -> Decision:
    engine = situation.engine
    if situation.door is not Door.HELD or engine is None or not engine.answers or asked.command == "down":
        return NOTHING_TO_MEND
    is_asked = engine.plan_hash == asked.plan_hash
    remedy = f"`pmpctl up {engine.profile}` lets them go on"
    if asked.command != "status":
        remedy = _kept(Action.ADOPT, engine, is_asked=is_asked)
    return Decision(
        Action.ADOPT,
        f"requests wait for a command that is gone, and {engine.profile} runs",
        remedy,
        opens=asked.command != "status" and not is_asked,
        profile=engine.profile,
    )


def _ends(journal: Journal, engine: EngineView | None, who: Who) -> bool:
    """Whether the interrupted command has told the engine to stop: an engine that stops answers nobody new."""
    return engine is not None and not engine.answers and journal.step in _STOPPING.get(who, ())


def _helps(journal: Journal, engine: EngineView | None, who: Who) -> bool:
    """Whether the engine may serve without being asked for by name: a target that was to be taken back may not."""
    return engine is not None and engine.alive and not (who is Who.TARGET and journal.step.is_way_back)


def _profile_to_go_on_with(journal: Journal, engine: EngineView | None) -> str:
    if engine is not None:
        return engine.profile
    goes_back = journal.step.is_way_back and journal.source is not None
    return journal.source.profile if goes_back and journal.source is not None else journal.target.profile


def _found(journal: Journal, situation: Situation, who: Who) -> str:
    way = f"the switch to {journal.target.profile}"
    if journal.source is not None:
        way = f"the switch from {journal.source.profile} to {journal.target.profile}"
    failure = f" ({journal.failure})" if journal.failure else ""
    if journal.step is Step.CLOSE:
        happened = f"{way} failed{failure}"
    elif journal.step.is_way_back:
        happened = f"{way} failed{failure}, and its way back was interrupted at `{journal.step}`"
    else:
        happened = f"{way} was interrupted at `{journal.step}`"
    return f"{happened}; {_now(situation, who)}"


def _now(situation: Situation, who: Who) -> str:
    engine = situation.engine
    if engine is None or who is Who.NOBODY:
        runs = "no engine runs"
    else:
        runs = f"{engine.profile} {'runs' if engine.answers else 'does not answer yet'}"
    waits = {
        Door.GONE: "no gateway runs",
        Door.CLOSED: "requests are refused",
        Door.OPEN: "the gateway is open",
        Door.HELD: "requests wait",
        Door.HELD_BY_HAND: "requests wait, as somebody said by hand",
    }
    return f"{runs}, {waits[situation.door]}"


def _kept(action: Action, engine: EngineView | None, *, is_asked: bool) -> str:
    name = engine.profile if engine is not None else ""
    how = {Action.FINISH: "it is finished", Action.UNDO: "it is undone", Action.ADOPT: "what runs is kept"}[action]
    then = "" if is_asked else " before anything else is done"
    return f"{how}: requests go to {name}{then}"


def _advice(journal: Journal, profile: str) -> str:
    ways = dict.fromkeys(
        [profile, journal.target.profile, *([journal.source.profile] if journal.source is not None else [])]
    )
    first, *others = [f"`pmpctl up {name}`" for name in ways]
    return f"{first} mends it" + (f" (or {', '.join(others)}, to have that instead)" if others else "")
