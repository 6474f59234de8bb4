import re
from pathlib import Path

from pmpctl import errors
from pmpctl.errors import ExitStatus, PmpctlError

ERRORS_MD = Path(__file__).parents[2] / "docs" / "errors.md"
FROM_THE_UI = {"bug": 1, "interrupted": 130}


def error_classes() -> list[type[PmpctlError]]:
    found = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, PmpctlError)]
    return [each for each in found if each is not PmpctlError]


def documented(section: str) -> list[list[str]]:
    """The cells of the rows of a section's table."""
    text = ERRORS_MD.read_text().split(f"\n## {section}\n")[1].split("\n## ")[0]
    rows = [[cell.strip(" `") for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]
    return rows[2:]


def test_every_error_code_belongs_to_one_class() -> None:
    codes = [each.code for each in error_classes()]

    assert sorted(codes) == sorted(set(codes))
    assert all(re.fullmatch(r"[a-z]+(_[a-z]+)*", code) for code in codes)


def test_the_documented_codes_are_those_that_exist_with_their_exit_status() -> None:
    expected = {each.code: int(each.exit_status) for each in error_classes()} | FROM_THE_UI

    assert {code: int(status) for code, status, *_ in documented("Codes")} == expected
    assert all(what and cure for _, _, what, cure in documented("Codes"))


def test_the_documented_exit_statuses_are_those_that_exist() -> None:
    assert [int(status) for status, _ in documented("Exit statuses")] == [int(status) for status in ExitStatus]


def test_every_error_class_lives_where_the_others_do() -> None:
    source = Path(errors.__file__).parent
    bases = "|".join(["PmpctlError", *(each.__name__ for each in error_classes())])
    pattern = re.compile(rf"^class \w+\((?:errors\.)?(?:{bases})\)", re.MULTILINE)
    elsewhere = [path for path in source.rglob("*.py") if path.name != "errors.py" and pattern.search(path.read_text())]

    assert elsewhere == []
