"""What values must look like: each wrong one is told, each right one is taken as it is."""

from pathlib import Path

import pytest

from pmpctl.profiles.model import ProfileFile
from tests.unit.profiles.files import complaint, loaded, profile, said

PROFILE = '[profiles.it]\nmodel = "acme/coder"\n'


def settings(folder: Path, table: str, keys: str) -> ProfileFile:
    return loaded(folder, f"{PROFILE}[{table}]\n{keys}\n")


def settings_complaint(folder: Path, table: str, keys: str) -> tuple[str, str]:
    ((message, cure),) = said(folder, f"{PROFILE}[{table}]\n{keys}\n")
    assert message.startswith(f"profiles.toml:4: [{table}] ")
    return message.removeprefix(f"profiles.toml:4: [{table}] "), cure


@pytest.mark.parametrize(
    "model", ["Qwen/Qwen2.5-32B-Instruct-AWQ", "a/b", "/srv/models/x", "./x", "../models/x y", "builtin:demo"]
)
def test_a_model_is_a_repository_a_folder_or_the_demo(model: str, tmp_path: Path) -> None:
    assert loaded(tmp_path, f'[profiles.it]\nmodel = "{model}"\n').profile("it").model == model


@pytest.mark.parametrize("model", ["Qwen", "a/b/c", "~/x", "-a/b", "builtin:dmo", "https://host/a/b", "a/b --host x"])
def test_anything_else_is_no_model(model: str, tmp_path: Path) -> None:
    ((message, cure),) = said(tmp_path, f'[profiles.it]\nmodel = "{model}"\n')
    assert message == f'profiles.toml:2: [profiles.it] "model" names no model: "{model}"'
    assert '"owner/name"' in cure


@pytest.mark.parametrize(
    "image",
    [
        "vllm/vllm-openai:v0.32.0",
        "vllm:0.32",
        "127.0.0.1:5000/vllm/x:1",
        f"registry.example:443/x@sha256:{'a' * 64}",
        f"x:latest@sha256:{'0' * 64}",
    ],
)
def test_an_image_names_its_release(image: str, tmp_path: Path) -> None:
    assert profile(tmp_path, f'image = "{image}"').image == image


@pytest.mark.parametrize("image", ["vllm/vllm-openai:latest", "vllm/vllm-openai", "127.0.0.1:5000/vllm"])
def test_an_image_that_may_change_under_ones_feet_is_refused(image: str, tmp_path: Path) -> None:
    message, cure = complaint(tmp_path, f'image = "{image}"')
    assert message == f'"image" names no fixed release: "{image}"'
    assert cure.startswith("Pin a release")


@pytest.mark.parametrize(
    ("table", "key"), [("host", "cpu_image"), ("host", "cuda_image"), ("gateway", "base_image"), ("gateway", "image")]
)
def test_every_image_must_be_pinned(table: str, key: str, tmp_path: Path) -> None:
    assert settings_complaint(tmp_path, table, f'{key} = "x/y:latest"')[1].startswith("Pin a release")


@pytest.mark.parametrize("image", ["--privileged", "a b:1", "UPPER/case:1", "x:y:z"])
def test_what_is_no_image_reference_is_told(image: str, tmp_path: Path) -> None:
    assert complaint(tmp_path, f'image = "{image}"')[0] == f'"image" is no image reference: "{image}"'


@pytest.mark.parametrize("key", ["tool_call_parser", "reasoning_parser", "revision", "load_format", "backend_model_id"])
def test_no_word_can_smuggle_in_an_argument(key: str, tmp_path: Path) -> None:
    assert complaint(tmp_path, f'{key} = "--host"')[0] == f'"{key}" is no plain word: "--host"'
    assert complaint(tmp_path, f'{key} = "a b"')[0] == f'"{key}" is no plain word: "a b"'


def test_a_template_of_ours_must_exist_and_a_file_may_be_named_freely(tmp_path: Path) -> None:
    assert profile(tmp_path, 'chat_template = "builtin:devstral"').chat_template == "builtin:devstral"
    assert profile(tmp_path, 'chat_template = "../my.jinja"').chat_template == "../my.jinja"
    assert complaint(tmp_path, 'chat_template = "builtin:devstrall"') == (
        '"chat_template" names no template of ours: "builtin:devstrall"',
        'Did you mean "builtin:devstral"?',
    )


@pytest.mark.parametrize("listen", ["127.0.0.1:8000", "0.0.0.0:1", "localhost:65535", "[::1]:8000", "[::]:8000"])
def test_an_address_to_listen_on_is_an_ip_address_and_a_port(listen: str, tmp_path: Path) -> None:
    assert settings(tmp_path, "gateway", f'listen = "{listen}"').gateway.listen == listen


@pytest.mark.parametrize(
    "listen",
    ["localhost", "8000", ":8000", "127.0.0.1:0", "127.0.0.1:65536", "host:80", "::1:80", "[1.2.3.4]:80", "1.2.3:80"],
)
def test_other_addresses_are_told_with_examples(listen: str, tmp_path: Path) -> None:
    message, cure = settings_complaint(tmp_path, "gateway", f'listen = "{listen}"')
    assert message == f'"listen" is no address and port: "{listen}"'
    assert '"127.0.0.1:8000"' in cure


@pytest.mark.parametrize(
    "origin", ["*", "https://chat.example", "http://localhost:3000", "http://[::1]:3000", "app://obsidian.md"]
)
def test_an_origin_is_what_browsers_send(origin: str, tmp_path: Path) -> None:
    assert list(settings(tmp_path, "gateway", f'cors_origins = ["{origin}"]').gateway.cors_origins) == [origin]


@pytest.mark.parametrize(
    "origin",
    [
        "chat.example",
        "https://chat.example/",
        "https://Chat.example",
        "https://chat.example:443",
        "http://a:80",
        "null",
    ],
)
def test_other_origins_are_told_with_an_example(origin: str, tmp_path: Path) -> None:
    message, cure = settings_complaint(tmp_path, "gateway", f'cors_origins = ["{origin}"]')
    assert message == f'item 1 of "cors_origins" holds no origin of web pages: "{origin}"'
    assert '"https://chat.example"' in cure


def test_a_host_name_stands_alone(tmp_path: Path) -> None:
    names = settings(tmp_path, "gateway", 'allowed_hosts = ["gpu.example.com", "GPU_1"]').gateway.allowed_hosts
    assert list(names) == ["gpu.example.com", "GPU_1"]
    for wrong in ("gpu.example.com:8000", "http://gpu", "*", ""):
        message, cure = settings_complaint(tmp_path, "gateway", f'allowed_hosts = ["{wrong}"]')
        assert message.startswith('item 1 of "allowed_hosts"')
        assert cure


def test_headers_that_hold_secrets_stay_out_of_the_log(tmp_path: Path) -> None:
    assert list(settings(tmp_path, "gateway", 'log_headers = ["X-Id"]').gateway.log_headers) == ["X-Id"]
    assert list(settings(tmp_path, "gateway", "log_headers = []").gateway.log_headers) == []
    message, cure = settings_complaint(tmp_path, "gateway", 'log_headers = ["X-Id", "AUTHORIZATION"]')
    assert message == 'item 2 of "log_headers" would write secrets into the log: "AUTHORIZATION"'
    assert cure == "Remove that header."
    assert settings_complaint(tmp_path, "gateway", 'log_headers = ["a b"]')[0].endswith('holds no header name: "a b"')


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ('"all"', "all"),
        ("[0, 1]", (0, 1)),
        ('["0:1"]', ("0:1",)),
        (
            '["GPU-3a23c669-1f69-c64e-cf85-44e9b07e7a2a", "MIG-GPU-3a23c669/1/0"]',
            ("GPU-3a23c669-1f69-c64e-cf85-44e9b07e7a2a", "MIG-GPU-3a23c669/1/0"),
        ),
    ],
)
def test_gpus_are_all_or_some_by_index_or_identifier(written: str, meant: object, tmp_path: Path) -> None:
    assert settings(tmp_path, "host", f"gpus = {written}").host.gpus == meant


@pytest.mark.parametrize("gpus", ["[]", "[true]", "[-1]", "0", '["first"]', '"0"', '["--all"]'])
def test_what_names_no_gpu_is_told(gpus: str, tmp_path: Path) -> None:
    message, cure = settings_complaint(tmp_path, "host", f"gpus = {gpus}")
    assert message == f'"gpus" names no GPUs: {gpus}'
    assert cure.startswith('Write "all", or a list')


def test_memory_locks_are_unlimited_or_a_number_of_bytes(tmp_path: Path) -> None:
    assert settings(tmp_path, "host", 'memlock = "unlimited"').host.memlock == "unlimited"
    assert settings(tmp_path, "host", "memlock = 1024").host.memlock == 1024
    for wrong in ('"1g"', "0", "true", "1.5"):
        assert settings_complaint(tmp_path, "host", f"memlock = {wrong}")[0] == f'"memlock" is no limit: {wrong}'


def test_a_docker_address_is_told_without_being_shown(tmp_path: Path) -> None:
    assert settings(tmp_path, "host", 'docker_host = "unix:///x"').host.docker_host == "unix:///x"
    message, _ = settings_complaint(tmp_path, "host", 'docker_host = "user:secret@host"')
    assert message == '"docker_host" is no Docker address'


def test_ports_are_ports(tmp_path: Path) -> None:
    assert settings(tmp_path, "host", "engine_port = 65535").host.engine_port == 65535
    assert (
        settings_complaint(tmp_path, "host", "engine_port = 65536")[0] == '"engine_port" must be below 65536, not 65536'
    )
    assert settings_complaint(tmp_path, "host", "engine_port = 0")[0] == '"engine_port" must be above 0, not 0'
