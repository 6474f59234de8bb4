"""What is written before each step of a switch, and what a reader makes of it."""

import os
from pathlib import Path

import pytest

from pmpctl.operations.events import Notice
from pmpctl.operations.history import note_served, previous_profile
from pmpctl.operations.journal import (
    DamagedJournal,
    Journal,
    JournalKeeper,
    Step,
    journaled,
    read_journal,
    take_journal,
)
from pmpctl.workspace import Workspace
from tests.support import result_of
from tests.unit.operations.recorded import recorded


class Crash(Exception):
    pass


def written(workspace: Workspace) -> Journal:
    found = read_journal(workspace)
    assert isinstance(found, Journal)
    return found


def a_switch(workspace: Workspace) -> JournalKeeper:
    """One that was interrupted before its first step was done."""
    with (
        pytest.raises(Crash),
        journaled(
            workspace, "switch chat", source=recorded(workspace, "coding"), target=recorded(workspace, "chat")
        ) as journal,
    ):
        journal.enter(Step.HOLD)
        raise Crash
    return journal


def test_a_step_is_on_disk_before_it_is_taken(workspace: Workspace) -> None:
    coding, chat = recorded(workspace, "coding"), recorded(workspace, "chat", max_model_len=1024)
    with journaled(workspace, "switch chat", source=coding, target=chat) as journal:
        assert read_journal(workspace) is None
        for step in Step:
            journal.enter(step)
            found = written(workspace)
            assert (found.step, found.source, found.target) == (step, coding, chat)
            assert found == journal.journal
    assert read_journal(workspace) is None


def test_a_switch_with_nothing_before_it_has_no_source(workspace: Workspace) -> None:
    with journaled(workspace, "switch chat", source=None, target=recorded(workspace, "chat")) as journal:
        journal.enter(Step.START)
        assert written(workspace).source is None


def test_why_the_way_back_was_taken_is_kept_to_the_end(workspace: Workspace) -> None:
    journal = a_switch(workspace)
    journal.enter(Step.ROLLBACK_STOP, failure="the engine of 'chat' ended before it answered")
    journal.enter(Step.ROLLBACK_REMOVE)

    assert written(workspace).failure == "the engine of 'chat' ended before it answered"


def test_a_crash_leaves_the_journal_and_a_way_back_that_was_found_does_not(workspace: Workspace) -> None:
    a_switch(workspace)
    assert written(workspace).step is Step.HOLD

    with (
        pytest.raises(Crash),
        journaled(workspace, "switch chat", source=None, target=recorded(workspace, "chat")) as journal,
    ):
        journal.enter(Step.ROLLBACK_OPEN, failure="no")
        journal.settled()
        raise Crash
    assert read_journal(workspace) is None


def test_a_switch_that_goes_on_after_another_keeps_its_hold(workspace: Workspace) -> None:
    interrupted = a_switch(workspace).journal

    with journaled(
        workspace, "switch chat", source=interrupted.source, target=interrupted.target, resumed=interrupted
    ) as journal:
        assert journal.journal.id == interrupted.id
    assert read_journal(workspace) is None


def test_each_switch_has_an_id_of_its_own(workspace: Workspace) -> None:
    assert a_switch(workspace).journal.id != a_switch(workspace).journal.id


def test_only_the_owner_reads_the_journal(workspace: Workspace) -> None:
    a_switch(workspace)

    assert workspace.journal_file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"schema": 1}', '{"schema": 2, "step": "leap"}', "[" * 100_000], ids=len
)
def test_a_damaged_journal_is_set_aside_and_the_user_is_told(workspace: Workspace, text: str) -> None:
    a_switch(workspace)
    workspace.journal_file.write_text(text)
    assert isinstance(read_journal(workspace), DamagedJournal)

    found, events = result_of(take_journal(workspace))

    assert found is None
    assert [type(event) for event in events] == [Notice]
    assert "journal.json.damaged" in str(events[0])
    assert (workspace.state_dir / "journal.json.damaged").read_text() == text
    assert read_journal(workspace) is None


def test_half_a_journal_is_damaged(workspace: Workspace) -> None:
    a_switch(workspace)
    text = workspace.journal_file.read_text()
    for length in range(1, len(text) - 1, 97):
        workspace.journal_file.write_text(text[:length])
        assert isinstance(read_journal(workspace), DamagedJournal)


def test_the_journal_of_a_copied_workspace_tells_nothing_about_the_copy(workspace: Workspace, tmp_path: Path) -> None:
    a_switch(workspace)
    copy = Workspace(tmp_path / "copy")
    copy.state_dir.mkdir(parents=True)
    copy.journal_file.write_bytes(workspace.journal_file.read_bytes())

    found = read_journal(copy)

    assert isinstance(found, DamagedJournal)
    assert "another workspace" in found.why


def test_a_file_that_may_not_be_read_is_no_crash(workspace: Workspace) -> None:
    workspace.state_dir.mkdir()
    workspace.journal_file.mkdir()

    found = read_journal(workspace)

    assert isinstance(found, DamagedJournal)
    assert found.why == os.strerror(21)


def test_the_previous_profile_is_the_one_that_served_before(workspace: Workspace) -> None:
    assert previous_profile(workspace, "coding") is None
    for name in ("coding", "chat", "chat"):
        note_served(workspace, recorded(workspace, name))
    assert previous_profile(workspace, "chat") == "coding"
    assert previous_profile(workspace, "coding") == "chat"

    note_served(workspace, recorded(workspace, "coding"))
    assert previous_profile(workspace, "coding") == "chat"


def test_where_nothing_runs_the_previous_profile_is_the_last_one(workspace: Workspace) -> None:
    for name in ("coding", "chat"):
        note_served(workspace, recorded(workspace, name))

    assert previous_profile(workspace, None) == "chat"


def test_a_changed_profile_of_the_same_name_is_no_other_profile(workspace: Workspace) -> None:
    note_served(workspace, recorded(workspace, "chat"))
    note_served(workspace, recorded(workspace, "coding"))
    note_served(workspace, recorded(workspace, "coding", max_model_len=1024))

    assert previous_profile(workspace, "coding") == "chat"


@pytest.mark.parametrize("text", ["", "[]", '{"schema": 1, "served": [3]}', '{"schema": 9, "served": []}'])
def test_a_damaged_history_is_forgotten(workspace: Workspace, text: str) -> None:
    note_served(workspace, recorded(workspace, "chat"))
    workspace.history_file.write_text(text)
    assert previous_profile(workspace, "coding") is None

    note_served(workspace, recorded(workspace, "chat"))
    assert previous_profile(workspace, "coding") == "chat"
