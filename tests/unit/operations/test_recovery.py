"""What becomes of an interrupted switch, in every state that it can leave."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import pytest

from pmpctl.operations.journal import Journal, Step
from pmpctl.operations.recovery import Action, Asked, Decision, Door, EngineView, Situation, decide
from pmpctl.planning.recorded import RecordedPlan
from pmpctl.workspace import Workspace
from tests.unit.operations.recorded import recorded

SWITCH_MD = Path(__file__).parents[3] / "docs" / "switch.md"

WORKSPACE = Workspace(Path("/srv/llm"))
CODING, CHAT, DEVSTRAL = (recorded(WORKSPACE, name) for name in ("coding", "chat", "devstral"))
PLANS = {"source": CODING, "target": CHAT, "another": DEVSTRAL}
STATES = {"answers": True, "starts": False}
REMEDIES = {Action.UNDO: "undo", Action.FINISH: "finish", Action.ADOPT: "adopt", Action.START_OVER: "start over"}


def journal(step: Step, source: RecordedPlan | None = CODING, target: RecordedPlan = CHAT) -> Journal:
    failure = "the engine of 'chat' ended" if step.is_way_back else ""
    return Journal(
        id="switch-1",
        command="switch chat",
        started_at=1.0,
        source=source,
        target=target,
        step=step,
        step_at=2.0,
        failure=failure,
    )


def engine(plan: RecordedPlan, *, answers: bool, alive: bool = True) -> EngineView:
    return EngineView(plan.profile, plan.engine_hash, alive=alive, answers=answers)


def asked(command: str, plan: RecordedPlan) -> Asked:
    return Asked(command, plan.profile, plan.engine_hash)  # type: ignore[arg-type]


def is_asked(situation: Situation, wish: Asked) -> bool:
    return situation.engine is not None and situation.engine.plan_hash == wish.plan_hash


ENGINES = [
    None,
    *(engine(plan, answers=answers) for plan, answers in product(PLANS.values(), (True, False))),
    *(engine(plan, answers=False, alive=False) for plan in PLANS.values()),
]
JOURNALS = [
    None,
    *(journal(step) for step in Step),
    *(journal(step, source=None) for step in Step),
    *(journal(step, source=CHAT) for step in Step),
]
WISHES = [
    *(asked(command, plan) for command, plan in product(("up", "switch"), PLANS.values())),
    Asked("down"),
    Asked("status"),
]
SITUATIONS = [Situation(*each) for each in product(JOURNALS, ENGINES, Door)]


def every_case() -> Iterator[tuple[Situation, Asked, Decision]]:
    for situation, wish in product(SITUATIONS, WISHES):
        yield situation, wish, decide(situation, wish)


def test_every_state_has_a_decision_that_is_explained() -> None:
    for situation, _, decision in every_case():
        if decision.action is not Action.NOTHING:
            assert decision.found
            assert decision.remedy
        if situation.journal is not None:
            assert decision.action is not Action.NOTHING
            assert situation.journal.target.profile in decision.found


def test_down_takes_everything_away_whatever_was_interrupted() -> None:
    for situation, wish, decision in every_case():
        if wish.command == "down" and situation.journal is not None:
            assert decision.action is Action.TAKE_DOWN
            assert not decision.opens


def test_status_touches_nothing_and_names_a_command_that_mends() -> None:
    for _, wish, decision in every_case():
        if wish.command == "status":
            assert not decision.opens
            assert not decision.clears
            if decision.action is not Action.NOTHING:
                assert f"`pmpctl up {decision.profile}`" in decision.remedy


def test_nothing_is_stopped_that_is_what_was_asked_for() -> None:
    """But for an engine that the interrupted command had told to stop."""
    for situation, wish, decision in every_case():
        found, step = situation.engine, situation.journal.step if situation.journal else None
        if found is None or not found.alive or not is_asked(situation, wish) or wish.command == "down":
            continue
        stops = {Step.STOP, Step.REMOVE, Step.ROLLBACK_STOP, Step.ROLLBACK_REMOVE}
        if found.answers or step not in stops:
            assert decision.action not in (Action.START_OVER, Action.TAKE_DOWN)
            assert not decision.clears


def test_only_an_engine_that_answers_is_opened_to_and_never_a_target_that_was_taken_back() -> None:
    for situation, _, decision in every_case():
        if decision.opens:
            assert situation.engine is not None
            assert situation.engine.answers
            assert situation.door not in (Door.OPEN, Door.GONE)
            if situation.journal is not None and situation.journal.step.is_way_back:
                source = situation.journal.source
                target = situation.journal.target
                assert situation.engine.plan_hash != target.engine_hash or target == source


def test_requests_do_not_wait_while_an_engine_serves_that_they_may_go_to() -> None:
    """A command that may still fail early, or takes long to prepare, is not what they should wait for."""
    for situation, wish, decision in every_case():
        found, left = situation.engine, situation.journal
        if found is None or not found.answers or is_asked(situation, wish) or situation.door is not Door.HELD:
            continue
        taken_back = left is not None and left.step.is_way_back and found.plan_hash == left.target.engine_hash
        if not taken_back and wish.command in ("up", "switch"):
            assert decision.opens


def test_a_switch_that_starts_over_goes_back_to_what_ran_before_unless_that_is_what_it_starts() -> None:
    for situation, wish, decision in every_case():
        if decision.action is Action.START_OVER and wish.command in ("up", "switch"):
            assert situation.journal is not None
            source = situation.journal.source
            same = source is not None and source.engine_hash == wish.plan_hash
            assert decision.rollback_to == (None if same else source)


def test_without_a_journal_only_a_hold_that_nobody_ends_is_mended() -> None:
    for situation, wish, decision in every_case():
        if situation.journal is None and decision.action is not Action.NOTHING:
            assert situation.door is Door.HELD
            assert wish.command != "down"
            assert decision.action is Action.ADOPT


def test_the_sentence_names_both_profiles_the_step_and_the_failure() -> None:
    found = decide(Situation(journal(Step.ROLLBACK_START), None, Door.HELD), Asked("status")).found

    for word in ("from coding to chat", "rollback-start", "the engine of 'chat' ended", "requests wait"):
        assert word in found


@dataclass(frozen=True)
class Row:
    """A row of the table in docs/switch.md."""

    steps: tuple[Step, ...]
    engine: EngineView | None
    if_asked: str
    else_: str
    goes_on_with: str


def steps_in(cell: str) -> tuple[Step, ...]:
    if cell == "any step":
        return tuple(Step)
    found: list[Step] = []
    for part in cell.split(", "):
        first, *last = map(Step, re.findall(r"`([a-z-]+)`", part))
        found += [step for step in Step if first.number <= step.number <= (last[0] if last else first).number]
    return tuple(found)


def rows() -> list[Row]:
    _, _, text = SWITCH_MD.read_text().partition("## A switch that was interrupted")
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    table = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if "interrupted at" not in line]
    found = []
    for steps, runs, if_asked, else_, goes_on_with in table:
        who, _, state = runs.partition(", ")
        view = engine(PLANS[who], answers=STATES[state]) if who in PLANS else None
        found.append(Row(steps_in(steps), view, if_asked, else_, goes_on_with))
    return found


def in_words(decision: Decision) -> str:
    words = REMEDIES[decision.action]
    return words + ", then go on" * decision.opens + ", once it has ended" * decision.clears


def test_the_documented_table_has_each_state_once() -> None:
    documented = [(step, row.engine) for row in rows() for step in row.steps]

    assert len(documented) == len(set(documented))
    assert set(documented) == {(step, view) for step in Step for view in ENGINES if view is None or view.alive}


@pytest.mark.parametrize("command", ["up", "switch"])
def test_the_documented_table_is_what_is_decided(command: str) -> None:
    for row in rows():
        for step, wish in product(row.steps, (asked(command, plan) for plan in PLANS.values())):
            situation = Situation(journal(step), row.engine, Door.HELD)
            decision = decide(situation, wish)
            wanted = row.if_asked if is_asked(situation, wish) else row.else_
            assert in_words(decision) == wanted, (step, row)
            assert decision.profile == PLANS[row.goes_on_with].profile
