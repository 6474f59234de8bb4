"""Arguments added by hand: only those that are harmless, however they are spelled."""

from pathlib import Path

import pytest

from pmpctl.profiles.model import Profile
from pmpctl.profiles.vllm_flags import LISTS, REFUSED, SWITCHES, VALUES
from tests.unit.profiles.files import loaded, profile, said


def complaints(folder: Path, *args: str) -> list[tuple[str, str]]:
    listed = ", ".join(f"'{arg}'" for arg in args)
    start = 'profiles.toml:3: [profiles.it] "extra_args": '
    found = said(folder, f'[profiles.it]\nmodel = "acme/coder"\nextra_args = [{listed}]\n')
    assert all(message.startswith(start) for message, _ in found)
    return [(message.removeprefix(start), cure) for message, cure in found]


@pytest.mark.parametrize(
    "args",
    [
        ["--seed", "1"],
        ["--seed=1"],
        ["--seed", "-1"],
        ["--enable-prefix-caching", "--block-size", "32"],
        ["--no-enable-prefix-caching"],
        ["--enable_prefix_caching"],
        ["--limit-mm-per-prompt", '{"image": 0}'],
        ["--limit-mm-per-prompt.image", "0"],
        ["--hf-overrides", '{"rope_parameters": {"rope_type": "yarn", "factor": 2.0}}'],
        ["--cudagraph-capture-sizes", "1", "2", "4"],
        ["--speculative-config", '{"method": "ngram", "num_speculative_tokens": 3}'],
        ["--spec-model", "acme/draft"],
        [],
    ],
)
def test_arguments_that_tune_the_engine_are_taken_as_they_are(args: list[str], tmp_path: Path) -> None:
    listed = ", ".join(f"'{arg}'" for arg in args)
    assert list(profile(tmp_path, f"extra_args = [{listed}]").extra_args) == args


@pytest.mark.parametrize(
    "flag",
    [
        "--host",
        "--port",
        "--api-key",
        "--uds",
        "--ssl-keyfile",
        "--ssl-certfile",
        "--root-path",
        "--allowed-local-media-path",
        "--download-dir",
        "--served-model-name",
        "--middleware",
        "--config",
        "--hf-token",
        "--data-parallel-size",
        "--enable-prompt-embeds",
        "--allowed-origins",
    ],
)
def test_what_opens_the_engine_or_leaves_its_mounts_is_refused_in_every_spelling(flag: str, tmp_path: Path) -> None:
    underscored = "--" + flag.removeprefix("--").replace("-", "_")
    for args in ([flag, "x"], [f"{flag}=x"], [underscored, "x"], [f"{underscored}=x"], [f"{flag}.x", "y"]):
        ((message, cure),) = complaints(tmp_path, *args)
        assert "is not allowed: " in message
        assert "not on the list" not in message
        assert cure


@pytest.mark.parametrize(
    ("short", "meant"), [("--hos", "--host"), ("--api", "--api-key"), ("--served", "--served-model-name")]
)
def test_an_abbreviation_is_refused_for_what_vllm_would_read(short: str, meant: str, tmp_path: Path) -> None:
    for args in ([short, "x"], [f"{short}=x"]):
        ((message, _),) = complaints(tmp_path, *args)
        assert f'"{short}" is not allowed: it is short for {meant}, and ' in message


@pytest.mark.parametrize("field", sorted(Profile.model_fields.keys() - {"name"}))
def test_what_has_a_field_of_its_own_is_set_there(field: str, tmp_path: Path) -> None:
    for flag in (f"--{field}", f"--{field.replace('_', '-')}", f"--{field}=1"):
        ((message, cure),) = complaints(tmp_path, flag)
        assert message.endswith(f'it is the field "{field}"')
        assert cure == "Set that field."


def test_a_secret_is_refused_without_being_repeated(tmp_path: Path) -> None:
    for args in (["--api-key", "sk-very-secret"], ["--api-key=sk-very-secret"], ["--hf-token", "sk-very-secret"]):
        ((message, cure),) = complaints(tmp_path, *args)
        assert "sk-very-secret" not in message + cure


def test_a_typo_is_answered_with_the_nearest_argument(tmp_path: Path) -> None:
    ((message, cure),) = complaints(tmp_path, "--enable-prefix-cashing")
    assert message == '"--enable-prefix-cashing" is not allowed: it is not on the list'
    assert cure.startswith('Did you mean "--enable-prefix-caching"? ')
    ((_, cure),) = complaints(tmp_path, "--enable-prefix")
    assert cure.startswith('Did you mean "--enable-prefix-caching"? ')
    ((_, cure),) = complaints(tmp_path, "--xyzzy")
    assert "docs/profiles.md" in cure


@pytest.mark.parametrize("word", ["-tp", "-O3", "--", "-cc.mode=3"])
def test_short_forms_are_refused(word: str, tmp_path: Path) -> None:
    ((message, cure),) = complaints(tmp_path, word)
    assert message.endswith("only long forms are checked")
    assert cure == "Write the long form, such as --seed."


def test_values_that_are_missing_too_many_or_out_of_place_are_told(tmp_path: Path) -> None:
    assert complaints(tmp_path, "--seed")[0][0] == '"--seed" lacks its value'
    assert complaints(tmp_path, "--seed", "1", "2")[0][0] == '"--seed" takes one value, not 2'
    assert complaints(tmp_path, "--enable-prefix-caching", "true")[0][0] == '"--enable-prefix-caching" takes no value'
    assert complaints(tmp_path, "--enable-prefix-caching=true")[0][0] == '"--enable-prefix-caching" takes no value'
    assert complaints(tmp_path, "other/model", "--seed", "1")[0][0] == '"other/model" follows no argument'
    assert complaints(tmp_path, "--seed=1", "other/model")[0][0] == '"other/model" follows no argument'


@pytest.mark.parametrize(
    "value",
    [
        "/etc/passwd",
        "../outside",
        "a/../../outside",
        "~/.ssh",
        "file:///etc/passwd",
        '{"model": "/etc/passwd"}',
        '{"a": {"b": ["ok", "../x"]}}',
        '["/x"]',
        "ok,/etc",
        '{"model": "\\u002fetc"}',
    ],
)
def test_no_value_reaches_outside_the_mounts(value: str, tmp_path: Path) -> None:
    for args in (
        ["--generation-config", value],
        [f"--generation-config={value}"],
        ["--speculative-config.model", value],
    ):
        ((message, cure),) = complaints(tmp_path, *args)
        assert "names a path outside the mounts" in message
        assert "`models_dir`" in cure


def test_each_wrong_argument_is_told(tmp_path: Path) -> None:
    found = complaints(
        tmp_path, "--host", "0.0.0.0", "--seed", "1", "--max-num-seqs=4", "--logits-processors", "mine:Evil"
    )
    assert [message.split('"')[1] for message, _ in found] == ["--host", "--max-num-seqs", "--logits-processors"]


def test_no_argument_stands_on_two_lists() -> None:
    lists = [SWITCHES, VALUES, LISTS, frozenset(REFUSED)]
    assert len(frozenset().union(*lists)) == sum(map(len, lists))


def test_a_child_replaces_the_arguments_of_its_parent(tmp_path: Path) -> None:
    file = loaded(
        tmp_path,
        """
        [profiles.parent]
        model = "acme/coder"
        extra_args = ["--seed", "1"]

        [profiles.child]
        extends = "parent"
        extra_args = ["--block-size", "32"]
        """,
    )
    assert list(file.profile("child").extra_args) == ["--block-size", "32"]
