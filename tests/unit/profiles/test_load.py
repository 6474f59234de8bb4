"""A profile file as people write it: what it means, and what is said when it is wrong."""

from pathlib import Path

import pytest

from pmpctl.errors import ProfileFileInvalid, ProfileFileMissing, ProfileUnknown
from pmpctl.profiles.load import load
from tests.unit.profiles.files import complaint, loaded, problems, profile, said, written


def test_a_profile_takes_its_own_keys_before_its_parents_and_those_before_the_defaults(tmp_path: Path) -> None:
    file = loaded(
        tmp_path,
        """
        [defaults]
        dtype = "half"
        max_num_seqs = 8
        start_timeout = 60

        [profiles.parent]
        model = "acme/coder"
        max_num_seqs = 16
        max_model_len = 1000

        [profiles.child]
        extends = "parent"
        max_model_len = 2000

        [profiles.grandchild]
        extends = "child"
        dtype = "bfloat16"
        """,
    )
    child, grandchild = file.profile("child"), file.profile("grandchild")
    assert (child.name, child.model, child.dtype) == ("child", "acme/coder", "half")
    assert (child.max_num_seqs, child.max_model_len, child.start_timeout) == (16, 2000, 60)
    assert (grandchild.max_num_seqs, grandchild.max_model_len, grandchild.dtype) == (16, 2000, "bfloat16")
    assert file.profile("parent").max_model_len == 1000


def test_what_nobody_sets_has_the_documented_defaults(tmp_path: Path) -> None:
    file = loaded(tmp_path, '[profiles.it]\nmodel = "acme/coder"\n')
    it = file.profile("it")
    assert (it.device, it.gpu_memory_utilization, it.kv_cache_dtype, it.quantization) == ("cuda", 0.90, "auto", None)
    assert (it.enforce_eager, it.tensor_parallel_size, it.shm_size_gib, it.start_timeout) == (True, 1, 8, 600)
    assert (it.trust_remote_code, list(it.extra_args), it.max_model_len, it.image) == (False, [], None, None)
    assert (file.gateway.listen, file.gateway.allow_open) == ("127.0.0.1:8000", False)
    assert (file.gateway.unknown_model, file.gateway.max_body_mib) == ("serve", 64)
    assert (file.host.engine_port, file.host.runtime, file.host.gpus) == (8002, "auto", "all")
    assert (file.host.models_dir, file.host.memlock, file.host.vram_budget_gib) == ("./models", None, None)


def test_quantization_of_a_parent_can_be_left_to_the_model_again(tmp_path: Path) -> None:
    file = loaded(
        tmp_path,
        '[profiles.a]\nmodel = "acme/a"\nquantization = "awq"\n[profiles.b]\nextends = "a"\nquantization = "auto"\n',
    )
    assert file.profile("b").quantization is None


def test_model_profile_in_the_environment_goes_before_the_files_default(tmp_path: Path) -> None:
    path = written(tmp_path, 'default = "a"\n[profiles.a]\nmodel = "x/a"\n[profiles.b]\nmodel = "x/b"\n')
    assert load(path, {}).default == "a"
    assert load(path, {"MODEL_PROFILE": "b"}).default == "b"
    assert load(path, {"MODEL_PROFILE": ""}).default == "a"


def test_a_stale_model_profile_does_not_keep_other_profiles_from_running(tmp_path: Path) -> None:
    path = written(tmp_path, '[profiles.a]\nmodel = "x/a"\n')
    assert load(path, {"MODEL_PROFILE": "gone"}).profile("a").model == "x/a"


def test_an_unknown_profile_is_answered_with_the_nearest_name_and_all_names(tmp_path: Path) -> None:
    file = loaded(tmp_path, '[profiles.coding]\nmodel = "x/a"\n[profiles.chat]\nmodel = "x/b"\n')
    with pytest.raises(ProfileUnknown) as caught:
        file.profile("codign")
    assert '"codign"' in caught.value.message
    assert caught.value.cure == 'Did you mean "coding"? It has coding, chat.'


def test_a_typo_in_a_key_names_file_line_table_key_and_the_likely_key(tmp_path: Path) -> None:
    text = "\n" * 12 + '[profiles.coding]\nmax_model_length = 32768\nmodel = "acme/coder"\n'
    path = tmp_path / "profiles.toml"
    path.write_text(text)
    with pytest.raises(ProfileFileInvalid) as caught:
        load(path, {})
    assert caught.value.message == f'{path}:14: [profiles.coding] unknown key "max_model_length"'
    assert caught.value.cure == 'Did you mean "max_model_len"?'


def test_a_file_below_the_current_folder_is_named_as_one_would_type_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = written(tmp_path, "[profiles.coding]\n")
    with pytest.raises(ProfileFileInvalid) as caught:
        load(path, {})
    assert caught.value.message == "profiles.toml:1: [profiles.coding] has no model"


def test_every_problem_of_a_file_is_told_at_once_in_the_order_of_the_lines(tmp_path: Path) -> None:
    found = said(
        tmp_path,
        """
        default = "codign"
        port = 8000

        [host]
        listen = "0.0.0.0:8000"

        [defaults]
        extends = "coding"

        [profiles.coding]
        model = "acme/coder"
        max_model_len = "32768"
        enforce_eager = 1
        extra_args = ["--port", "1", "--host", "0.0.0.0"]

        [profiles.other]
        extends = "codin"

        [profiles.empty]
        description = "nothing"
        """,
    )
    assert [message for message, _ in found] == [
        'profiles.toml:1: "default" names no profile of this file',
        'profiles.toml:2: unknown key "port"',
        'profiles.toml:5: [host] unknown key "listen"',
        'profiles.toml:8: [defaults] unknown key "extends"',
        'profiles.toml:12: [profiles.coding] "max_model_len" must be a whole number, not "32768"',
        'profiles.toml:13: [profiles.coding] "enforce_eager" must be true or false, not 1',
        'profiles.toml:14: [profiles.coding] "extra_args": "--port" is not allowed: '
        "pmpctl sets the engine's address, and the gateway is the only way in",
        'profiles.toml:14: [profiles.coding] "extra_args": "--host" is not allowed: '
        "pmpctl sets the engine's address, and the gateway is the only way in",
        'profiles.toml:17: [profiles.other] extends "codin", which is no profile',
        "profiles.toml:19: [profiles.empty] has no model",
    ]
    cures = dict(found)
    assert cures['profiles.toml:5: [host] unknown key "listen"'] == '"listen" belongs under [gateway].'
    assert cures['profiles.toml:17: [profiles.other] extends "codin", which is no profile'] == 'Did you mean "coding"?'
    assert all(cure for _, cure in found)


def test_each_kind_of_problem_has_a_code_of_its_own(tmp_path: Path) -> None:
    found = problems(
        tmp_path,
        """
        default = "x"
        typo = 1
        [host]
        engine_port = "1"
        gpus = []
        [profiles.llm]
        model = "a/b"
        extra_args = ["--uds", "x"]
        [profiles.b]
        extends = "b"
        [profiles.c]
        extends = "nowhere"
        [profiles.d]
        """,
    )
    assert {problem.code for problem in found} == {
        "default_unknown",
        "unknown_key",
        "wrong_type",
        "wrong_value",
        "bad_name",
        "extra_args",
        "extends_cycle",
        "extends_unknown",
        "model_missing",
    }


def test_a_mistake_in_a_parent_is_told_once_where_it_stands(tmp_path: Path) -> None:
    text = '[profiles.a]\nmodel = "x/a"\nmax_model_len = 0\n' + "".join(
        f'[profiles.b{n}]\nextends = "a"\n' for n in range(3)
    )
    assert said(tmp_path, text) == [
        (
            'profiles.toml:3: [profiles.a] "max_model_len" must be above 0, not 0',
            "Write it like this: max_model_len = 32768.",
        )
    ]


@pytest.mark.parametrize(
    ("keys", "message", "cure"),
    [
        (
            "gpu_memory_utilization = 1.5",
            '"gpu_memory_utilization" must be at most 1.0, not 1.5',
            "Write it like this: gpu_memory_utilization = 0.9.",
        ),
        (
            "max_model_len = true",
            '"max_model_len" must be a whole number, not true',
            "Write it like this: max_model_len = 32768.",
        ),
        (
            "max_model_len = 32768.0",
            '"max_model_len" must be a whole number, not 32768.0',
            "Write it like this: max_model_len = 32768.",
        ),
        (
            'enforce_eager = "false"',
            '"enforce_eager" must be true or false, not "false"',
            "Write it without quotes: enforce_eager = false.",
        ),
        ("revision = 1", '"revision" must be text in quotes, not 1', 'Write it like this: revision = "main".'),
        ('quantization = ""', '"quantization" is empty', 'Remove "quantization", or give it a value.'),
        (
            'extra_args = "--seed 1"',
            '"extra_args" must be a list of texts, not "--seed 1"',
            'Write it like this: extra_args = ["--seed", "1", "--enable-prefix-caching"].',
        ),
        (
            'extra_args = ["--seed", 1]',
            'item 2 of "extra_args" must be text in quotes, not 1',
            'Write it like this: extra_args = ["--seed", "1", "--enable-prefix-caching"].',
        ),
        ('device = "gpu"', '"device" cannot be "gpu"', "Write one of cuda, cpu."),
        ("name = 'x'", 'unknown key "name"', None),
        ("vram_budget_gib = 24", 'unknown key "vram_budget_gib"', '"vram_budget_gib" belongs under [host].'),
        ("max-model-len = 1", 'unknown key "max-model-len"', 'Did you mean "max_model_len"?'),
        ("context_length = 1", 'unknown key "context_length"', 'Did you mean "max_model_len"?'),
    ],
)
def test_a_wrong_value_is_told_with_what_to_write_instead(
    keys: str, message: str, cure: str | None, tmp_path: Path
) -> None:
    told, told_cure = complaint(tmp_path, keys)
    assert told == message
    assert cure is None or told_cure == cure


def test_a_word_outside_a_fixed_set_is_told_with_the_nearest_and_all(tmp_path: Path) -> None:
    message, cure = complaint(tmp_path, 'kv_cache_dtype = "fp8_e5m3"')
    assert message == '"kv_cache_dtype" cannot be "fp8_e5m3"'
    assert cure.startswith('Did you mean "fp8_e5m2"? Write one of auto, ')


def test_whole_numbers_are_numbers_and_not_a_number_is_none(tmp_path: Path) -> None:
    assert profile(tmp_path, "gpu_memory_utilization = 1").gpu_memory_utilization == 1.0
    assert complaint(tmp_path, "shm_size_gib = nan")[0].startswith('"shm_size_gib" must be')
    assert complaint(tmp_path, "shm_size_gib = inf")[0].startswith('"shm_size_gib" must be')


@pytest.mark.parametrize(
    ("text", "message", "cure"),
    [
        ("[profiles.a]\nmodel = acme\n[x]", "profiles.toml:2: invalid value", "Put text in quotes, "),
        ("a b = 1\n", "profiles.toml:1: expected '=' after a key", "Mend that line"),
        ('[profiles.a]\nmodel = """x\n', "profiles.toml:2: ", "Close the quote or bracket"),
        ("[profiles.a]\nx = [1,\n2\n", "profiles.toml:3: ", "Close the quote or bracket"),
        ("[profiles.a]\n[profiles.a]\n", "profiles.toml:2: cannot declare", "Mend that line"),
    ],
)
def test_broken_toml_is_told_with_its_line(text: str, message: str, cure: str, tmp_path: Path) -> None:
    ((told, told_cure),) = said(tmp_path, text)
    assert told.startswith(message)
    assert told_cure.startswith(cure)


@pytest.mark.parametrize("text", ["", "# nothing\n", "[host]\n", "[profiles]\n"])
def test_a_file_without_profiles_says_how_to_write_one(text: str, tmp_path: Path) -> None:
    ((message, cure),) = said(tmp_path, text)
    assert message.endswith("no profiles")
    assert "[profiles.NAME]" in cure


@pytest.mark.parametrize("text", ["profiles = 1", 'host = "x"\n[profiles.a]\nmodel = "a/b"', "[profiles]\na = 1"])
def test_a_value_where_a_table_belongs_is_told(text: str, tmp_path: Path) -> None:
    messages = [message for message, _ in said(tmp_path, text)]
    assert any(message.endswith(("must be a table", "no profiles")) for message in messages)


@pytest.mark.parametrize("name", ["Coding", "a b", "-a", ".a", "ä", "a" * 64, ""])
def test_a_name_that_no_container_or_model_could_bear_is_refused(name: str, tmp_path: Path) -> None:
    ((message, cure),) = said(tmp_path, f'[profiles."{name}"]\nmodel = "a/b"\n')
    assert message.startswith("profiles.toml:1: [profiles.")
    assert message.endswith("is no name for a profile")
    assert "small letters" in cure


@pytest.mark.parametrize("name", ["a", "0", "qwen2.5-coder_7b", "a" * 63])
def test_a_plain_name_is_fine(name: str, tmp_path: Path) -> None:
    assert loaded(tmp_path, f'[profiles."{name}"]\nmodel = "a/b"\n').profile(name).name == name


def test_the_name_that_every_model_answers_to_is_reserved(tmp_path: Path) -> None:
    ((message, cure),) = said(tmp_path, '[profiles.llm]\nmodel = "a/b"\n')
    assert message == 'profiles.toml:1: [profiles.llm] the name "llm" is reserved'
    assert cure.startswith("Choose another name")


def test_a_circle_is_told_once_with_the_way_around(tmp_path: Path) -> None:
    found = said(
        tmp_path,
        """
        [profiles.into]
        extends = "a"
        [profiles.a]
        extends = "b"
        [profiles.b]
        extends = "c"
        [profiles.c]
        extends = "a"
        """,
    )
    assert found == [
        (
            "profiles.toml:4: [profiles.a] extends in a circle: a -> b -> c -> a",
            'Remove one "extends" of the circle.',
        )
    ]


def test_a_profile_that_extends_itself_is_told(tmp_path: Path) -> None:
    ((message, _),) = said(tmp_path, '[profiles.a]\nextends = "a"\n')
    assert message == "profiles.toml:2: [profiles.a] extends itself"


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ProfileFileMissing) as caught:
        load(tmp_path / "gone.toml", {})
    assert "gone.toml" in caught.value.message
    assert "--config" in caught.value.cure


def test_a_folder_in_place_of_the_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(ProfileFileMissing, match="Is a directory"):
        load(tmp_path, {})


def test_text_in_another_encoding_is_told_and_a_byte_order_mark_is_not(tmp_path: Path) -> None:
    path = tmp_path / "profiles.toml"
    path.write_bytes('[profiles.a]\nmodel = "a/b"\ndescription = "ä"\n'.encode("latin-1"))
    with pytest.raises(ProfileFileInvalid, match="is not UTF-8 text"):
        load(path, {})
    path.write_bytes('[profiles.a]\nmodel = "a/b"\ndescription = "ä"\n'.encode("utf-8-sig"))
    assert load(path, {}).profile("a").description == "ä"
