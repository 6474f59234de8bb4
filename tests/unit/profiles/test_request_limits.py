"""`[profiles.NAME.requests]`: a table within a table."""

from pathlib import Path

import pytest

from pmpctl.profiles.load import load
from pmpctl.profiles.model import RequestLimits
from pmpctl.profiles.write import add_profiles
from tests.unit.profiles.files import loaded, profile, said, written

GUIDE = Path(__file__).parents[3] / "docs" / "profiles.md"


def complaint(folder: Path, keys: str) -> tuple[str, str]:
    """What is said of the last line of a table of limits, without the place."""
    ((message, cure),) = said(folder, f'[profiles.it]\nmodel = "acme/coder"\n\n[profiles.it.requests]\n{keys}\n')
    start = "profiles.toml:5: [profiles.it.requests] "
    assert message.startswith(start)
    return message.removeprefix(start), cure


def test_every_limit_is_inherited_on_its_own(tmp_path: Path) -> None:
    file = loaded(
        tmp_path,
        """
        [defaults.requests]
        max_tokens = 100
        max_n = 2

        [profiles.parent]
        model = "acme/coder"
        requests = { max_n = 3, deny_fields = ["tools"] }

        [profiles.child]
        extends = "parent"

        [profiles.child.requests]
        deny_fields = []
        """,
    )
    parent, child = file.profile("parent").requests, file.profile("child").requests
    assert (parent.max_tokens, parent.max_n, parent.deny_fields) == (100, 3, ["tools"])
    assert (child.max_tokens, child.max_n, child.deny_fields) == (100, 3, [])


@pytest.mark.parametrize(
    ("keys", "message", "cure"),
    [
        ("max_token = 5", 'unknown key "max_token"', 'Did you mean "max_tokens"?'),
        ("max_model_len = 5", 'unknown key "max_model_len"', '"max_model_len" belongs under [profiles.NAME].'),
        ('max_n = "5"', '"max_n" must be a whole number, not "5"', "Write it without quotes: max_n = 5."),
        ("max_n = 0", '"max_n" must be above 0, not 0', "Write it like this: max_n = 16."),
        ("max_logprobs = -1", '"max_logprobs" must be at least 0, not -1', "Write it like this: max_logprobs = 20."),
        (
            'allow_fields = ["chat_templat"]',
            'item 1 of "allow_fields" names no field that can be allowed: "chat_templat"',
            'Did you mean "chat_template"?',
        ),
        (
            'media_domains = ["https://a.example"]',
            'item 1 of "media_domains" is no host name: "https://a.example"',
            'Write the host alone and in lower case, such as "upload.wikimedia.org".',
        ),
    ],
)
def test_a_mistake_in_the_limits_is_told_with_its_line_and_cure(
    keys: str, message: str, cure: str, tmp_path: Path
) -> None:
    assert complaint(tmp_path, keys) == (message, cure)


def test_no_profile_can_allow_tensors(tmp_path: Path) -> None:
    message, _ = complaint(tmp_path, 'allow_fields = ["prompt_embeds"]')
    assert "names no field that can be allowed" in message


def test_a_limit_outside_its_table_is_told_where_it_belongs(tmp_path: Path) -> None:
    ((message, cure),) = said(tmp_path, '[profiles.it]\nmodel = "acme/coder"\nmax_n = 4\n')
    assert message == 'profiles.toml:3: [profiles.it] unknown key "max_n"'
    assert cure == '"max_n" belongs under [profiles.NAME.requests].'


def test_limits_that_are_no_table_are_told(tmp_path: Path) -> None:
    ((message, cure),) = said(tmp_path, '[profiles.it]\nmodel = "acme/coder"\nrequests = 4\n')
    assert message == 'profiles.toml:3: [profiles.it] "requests" must be a table'
    assert cure == "Put its keys into a table of its own."


def test_a_profile_with_limits_is_replaced_without_touching_the_keys_around_it(tmp_path: Path) -> None:
    path = written(tmp_path, '[profiles.it]\nmodel = "acme/coder"\ndtype = "half"\n')
    table = {"model": "acme/coder", "requests": {"max_n": 2}, "max_num_seqs": 4}
    add_profiles(path, {"it": table}, replace=True)
    replaced = load(path, {}).profile("it")
    assert (replaced.dtype, replaced.requests.max_n, replaced.max_num_seqs) == ("auto", 2, 4)


def test_a_profile_says_nothing_of_requests_unless_it_is_told(tmp_path: Path) -> None:
    assert profile(tmp_path, "").requests == RequestLimits()


def test_the_guide_explains_every_limit() -> None:
    guide = GUIDE.read_text()
    assert [key for key in RequestLimits.model_fields if f"| `{key}` |" not in guide] == []
