"""Where benchmarks write their tables."""

from pathlib import Path

import pytest
from bench.tables import write_between_markers


def test_only_what_stands_between_the_benchmarks_own_markers_is_written_anew(tmp_path: Path) -> None:
    others = "between\n<!-- bench/two: begin -->\nkept\n<!-- bench/two: end -->\nafter\n"
    document = tmp_path / "performance.md"
    document.write_text(f"before\n<!-- bench/one: begin -->\nold\n<!-- bench/one: end -->\n{others}")
    write_between_markers(document, "bench/one", "new")
    assert document.read_text() == (f"before\n<!-- bench/one: begin -->\nnew\n<!-- bench/one: end -->\n{others}")


def test_a_document_without_markers_is_left_alone(tmp_path: Path) -> None:
    document = tmp_path / "performance.md"
    document.write_text("text\n")
    with pytest.raises(ValueError, match="has no lines"):
        write_between_markers(document, "bench/one", "new")
    assert document.read_text() == "text\n"
