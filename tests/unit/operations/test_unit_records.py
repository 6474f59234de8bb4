"""What is remembered of engines that ran: exactly, privately, and not for ever."""

import os
from pathlib import Path

import pytest

from pmpctl.errors import RecordUnreadable
from pmpctl.operations.unit_records import KEPT_RECORDS, prune_records, read_record, save_record
from pmpctl.planning.recorded import RecordedPlan
from pmpctl.workspace import Workspace
from tests.unit.operations.recorded import recorded


def path_of(workspace: Workspace, plan: RecordedPlan) -> Path:
    return workspace.plans_dir / f"{plan.engine_hash}.json"


def test_a_record_is_found_by_the_hash_in_the_engines_label(workspace: Workspace) -> None:
    coding, chat = recorded(workspace, "coding"), recorded(workspace, "chat")
    save_record(workspace, coding)
    save_record(workspace, chat)

    assert read_record(workspace, coding.engine_hash) == coding
    assert read_record(workspace, chat.engine_hash) == chat


@pytest.mark.parametrize("unknown", ["", "0123456789abcdef", "../journal", "/etc/passwd"])
def test_nothing_is_recorded_of_an_engine_that_nobody_started_here(workspace: Workspace, unknown: str) -> None:
    workspace.state_dir.mkdir()
    (workspace.state_dir / "journal.json").write_text("{}")

    assert read_record(workspace, unknown) is None


def test_only_the_owner_reads_a_record(workspace: Workspace) -> None:
    coding = recorded(workspace, "coding")
    save_record(workspace, coding)

    assert path_of(workspace, coding).stat().st_mode & 0o777 == 0o600
    assert workspace.plans_dir.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema": 99}', "[" * 100_000], ids=len)
def test_a_damaged_record_is_named_with_its_cure(workspace: Workspace, text: str) -> None:
    coding = recorded(workspace, "coding")
    save_record(workspace, coding)
    path_of(workspace, coding).write_text(text)

    with pytest.raises(RecordUnreadable) as caught:
        read_record(workspace, coding.engine_hash)
    assert str(path_of(workspace, coding)) in caught.value.message
    assert "Remove it" in caught.value.cure


def test_a_record_of_another_engine_or_workspace_is_not_taken_for_this_one(
    workspace: Workspace, tmp_path: Path
) -> None:
    coding, chat = recorded(workspace, "coding"), recorded(workspace, "chat")
    save_record(workspace, coding)
    path_of(workspace, coding).rename(path_of(workspace, chat))
    with pytest.raises(RecordUnreadable, match="another engine"):
        read_record(workspace, chat.engine_hash)

    foreign = recorded(Workspace(tmp_path), "coding")
    save_record(workspace, foreign)
    with pytest.raises(RecordUnreadable, match="another workspace"):
        read_record(workspace, foreign.engine_hash)


def test_old_records_go_but_for_what_runs_or_is_in_a_journal(workspace: Workspace) -> None:
    plans = [recorded(workspace, f"profile-{number}") for number in range(KEPT_RECORDS + 4)]
    for age, plan in enumerate(plans):
        save_record(workspace, plan)
        os.utime(path_of(workspace, plan), (1_000_000 - age, 1_000_000 - age))
    *_, one, running, other = plans

    prune_records(workspace, keep={running.engine_hash})

    left = {path.stem for path in workspace.plans_dir.iterdir()}
    assert left == {plan.engine_hash for plan in plans[:KEPT_RECORDS]} | {running.engine_hash}
    assert {one.engine_hash, other.engine_hash}.isdisjoint(left)


def test_what_is_saved_again_counts_as_new(workspace: Workspace) -> None:
    plans = [recorded(workspace, f"profile-{number}") for number in range(KEPT_RECORDS + 1)]
    for age, plan in enumerate(plans):
        save_record(workspace, plan)
        os.utime(path_of(workspace, plan), (1_000_000 - age, 1_000_000 - age))
    save_record(workspace, plans[-1])

    prune_records(workspace, keep=())

    assert read_record(workspace, plans[-1].engine_hash) == plans[-1]
    assert read_record(workspace, plans[-2].engine_hash) is None
