"""What an engine is handed stays as it was when the plan was made, for as long as a plan may run again."""

from dataclasses import replace
from pathlib import Path

import pytest

from pmpctl.errors import PlanInvalid
from pmpctl.operations.kept_files import as_kept, keep_files, prune_files
from pmpctl.operations.unit_records import save_record
from pmpctl.planning.host import LocalFile
from pmpctl.planning.recorded import RecordedPlan
from pmpctl.workspace import Workspace
from tests.unit.operations.recorded import recorded


def keep(workspace: Workspace, name: str, digest: str, content: bytes) -> Path:
    source = workspace.root / name
    source.write_bytes(content)
    files = {name: LocalFile(source, digest)}
    keep_files(workspace, files, uid=-1, gid=-1)
    return as_kept(workspace, files)[name].path


def test_the_copy_has_the_content_of_then_to_the_byte(workspace: Workspace) -> None:
    before = keep(workspace, "my.jinja", "aaaa", b"old\r\n")
    after = keep(workspace, "my.jinja", "bbbb", b"new\n")

    assert before.read_bytes() == b"old\r\n"
    assert after.read_bytes() == b"new\n"
    assert before.suffix == ".jinja"


def test_a_models_folder_stays_where_it_is(workspace: Workspace) -> None:
    folder = workspace.root / "model"
    folder.mkdir()
    files = {"./model": LocalFile(folder, "")}

    keep_files(workspace, files, uid=-1, gid=-1)

    assert as_kept(workspace, files)["./model"].path == folder


def test_what_is_no_text_is_refused(workspace: Workspace) -> None:
    with pytest.raises(PlanInvalid, match=r"my\.jinja"):
        keep(workspace, "my.jinja", "aaaa", b"\xff\xfe\xff")


def test_copies_go_with_the_last_record_that_names_them(workspace: Workspace) -> None:
    unused = keep(workspace, "my.jinja", "aaaa", b"old")
    used = keep(workspace, "my.jinja", "bbbb", b"new")
    plan = recorded(workspace, "coding").plan
    engine = replace(plan.engine, argv=(*plan.engine.argv, "--chat-template", str(used)))
    save_record(workspace, RecordedPlan(plan=replace(plan, engine=engine)))

    prune_files(workspace)

    assert not unused.exists()
    assert used.exists()
