import pytest

from pmpctl.cli.app import command
from pmpctl.cli.globals_first import globals_first


@pytest.mark.parametrize(
    ("typed", "parsed"),
    [
        ("up demo", "up demo"),
        ("up demo --json", "--json up demo"),
        ("up --json demo --debug", "--json --debug up demo"),
        ("up demo -c FILE", "-c FILE up demo"),
        ("up -cFILE demo", "-cFILE up demo"),
        ("up demo --config FILE -q", "--config FILE -q up demo"),
        ("up demo --config=FILE", "--config=FILE up demo"),
        ("status --runtime process --workspace DIR", "--runtime process --workspace DIR status"),
        ("--json up demo --quiet", "--json --quiet up demo"),
        ("logs engine -f --tail 5 --no-color", "--no-color logs engine -f --tail 5"),
        ("up -- --json", "up -- --json"),
        ("up demo --version --help", "up demo --version --help"),
        ("up demo --json=yes", "up demo --json=yes"),
        ("up demo --jsonish -quiet", "up demo --jsonish -quiet"),
        ("up demo --config", "--config up demo"),
        ("", ""),
    ],
)
def test_global_options_move_to_the_front_and_nothing_else_moves(typed: str, parsed: str) -> None:
    assert globals_first(typed.split(), command().params) == parsed.split()
