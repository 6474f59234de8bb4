from pathlib import Path

import pytest

from pmpctl.hub.settings import HubSettings, read_settings
from pmpctl.workspace import Workspace


def settings(home: Path, **environment: str) -> HubSettings:
    return read_settings({"HOME": str(home), **environment}, Workspace(home / "workspace"), offline=False)


def write_token(path: Path, value: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(value)
    return path


def test_without_any_token_there_is_none(tmp_path: Path) -> None:
    assert settings(tmp_path).token is None


def test_the_nearest_token_is_taken_and_its_origin_known(tmp_path: Path) -> None:
    origins = {
        "HF_TOKEN": {"HF_TOKEN": "one"},
        "HUGGING_FACE_HUB_TOKEN": {"HUGGING_FACE_HUB_TOKEN": "two"},
        str(tmp_path / "told"): {"HF_TOKEN_PATH": str(write_token(tmp_path / "told", "three\n"))},
        str(tmp_path / "hf-home/token"): {"HF_HOME": str(write_token(tmp_path / "hf-home/token", "four").parent)},
    }
    for origin in origins:
        environment = {
            name: value
            for each in list(origins)[list(origins).index(origin) :]
            for name, value in origins[each].items()
        }
        token = settings(tmp_path, **environment).token
        assert token is not None
        assert token.origin == origin

    in_workspace = write_token(tmp_path / "workspace/.pmpctl/secrets/hf_token", "six")
    assert [token.value for token in (settings(tmp_path).token,) if token] == ["six"]
    at_home = write_token(tmp_path / ".cache/huggingface/token", " five \n")
    found = settings(tmp_path).token
    assert found is not None
    assert (found.value, found.origin) == ("five", str(at_home))
    assert in_workspace.exists()


@pytest.mark.parametrize("content", [b"", b"\n", b"\xff\xfe"])
def test_a_token_file_without_a_token_is_passed_over(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "empty").write_bytes(content)

    assert settings(tmp_path, HF_TOKEN="", HF_TOKEN_PATH=str(tmp_path / "empty")).token is None


def test_a_token_does_not_show_where_settings_are_printed(tmp_path: Path) -> None:
    assert "hf_secret" not in repr(settings(tmp_path, HF_TOKEN="hf_secret"))


@pytest.mark.parametrize(("value", "forbidden"), [("1", True), ("true", True), ("ON", True), ("0", False), ("", False)])
def test_the_variable_forbids_the_network_as_it_does_for_the_hubs_own_library(
    tmp_path: Path, value: str, forbidden: bool
) -> None:
    assert (settings(tmp_path, HF_HUB_OFFLINE=value).offline_because == "HF_HUB_OFFLINE") is forbidden


def test_the_hub_is_the_usual_one_unless_told(tmp_path: Path) -> None:
    assert settings(tmp_path, HF_ENDPOINT="").endpoint == "https://huggingface.co"
    assert settings(tmp_path, HF_ENDPOINT="https://mirror/hf/").endpoint == "https://mirror/hf"
