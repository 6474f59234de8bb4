"""`pmpctl token` by the real console script, with and without a running gateway."""

import hashlib
import json
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from pmpctl.workspace import Workspace
from tests.cli import PMPCTL, pmpctl
from tests.support import eventually
from tests.unit.gateway.gateway_process import GatewayProcess

CANARY = "own-canary-0123456789-abcdef"
PROFILES = '[profiles.coding]\nmodel = "a/b"\n'


@pytest.fixture
def root(workspace: Workspace) -> Path:
    (workspace.root / "profiles.toml").write_text(PROFILES)
    return workspace.root


def run(root: Path, *argv: str) -> "subprocess.CompletedProcess[str]":
    return pmpctl("--workspace", str(root), "token", *argv)


def data_of(root: Path, *argv: str) -> Any:
    done = run(root, *argv, "--json")
    envelope = json.loads(done.stdout.splitlines()[-1])
    assert (done.returncode, envelope["ok"]) == (0, True), envelope
    return envelope["data"]


def add(root: Path, name: str, *options: str) -> str:
    """The new token."""
    token: str = data_of(root, "add", name, *options)["token"]
    return token


def test_a_new_token_is_shown_once_and_only_its_hash_is_kept(root: Path) -> None:
    done = run(root, "add", "laptop")

    assert done.returncode == 0, done.stderr
    (shown,) = (line.strip() for line in done.stdout.splitlines() if "pmp-" in line)
    assert len(shown) == len("pmp-") + 43
    (entry,) = json.loads((root / "config/auth.json").read_text())["tokens"]
    assert entry["sha256"] == hashlib.sha256(shown.encode()).hexdigest()
    assert entry.keys() == {"name", "sha256", "created"}
    assert shown not in done.stderr
    for path in root.rglob("*"):
        assert not path.is_file() or shown not in path.read_text()
    for argv in (("list",), ("list", "--json"), ("revoke", "laptop", "--allow-open")):
        later = run(root, *argv)
        assert shown not in later.stdout + later.stderr
        assert entry["sha256"] not in later.stdout + later.stderr


def test_a_secret_from_the_environment_stays_masked_beside_the_new_token(root: Path) -> None:
    done = pmpctl("--workspace", str(root), "token", "add", "name-canary", "--json", HF_TOKEN="name-canary")

    assert json.loads(done.stdout.splitlines()[-1])["data"]["token"].startswith("pmp-")
    assert "name-canary" not in done.stdout


def test_the_list_shows_ends_and_limits_and_marks_what_can_be_read_in_the_file(root: Path) -> None:
    expired = {"name": "old", "sha256": "0" * 64, "expires": "2020-01-01T00:00:00Z"}
    (root / "config").mkdir()
    (root / "config/auth.json").write_text(json.dumps({"tokens": ["plain-canary", expired]}))
    add(root, "ci", "--expires", "30d", "--requests-per-minute", "60", "--max-concurrent", "0")

    _, old, ci = data_of(root, "list")["tokens"]
    ends = datetime.fromisoformat(ci["expires"])
    assert timedelta(days=29, hours=23) < ends - datetime.now(UTC) < timedelta(days=30, minutes=1)
    assert (ci["name"], ci["requests_per_minute"], ci["max_concurrent"], ci["expired"]) == ("ci", 60, 0, False)
    assert (old["expired"], old["requests_per_minute"]) == (True, None)

    table = run(root, "list").stdout
    assert "token-1 (plain)" in table
    assert "2020-01-01 00:00 UTC (expired)" in table
    assert f"{ci['expires'][:10]} {ci['expires'][11:16]} UTC" in table
    assert "60 requests a minute, any number at a time" in table
    assert "plain-canary" not in table


@pytest.mark.parametrize("source", ["file", "stdin"])
def test_ones_own_token_is_taken_from_a_file_or_stdin_and_never_repeated(source: str, root: Path) -> None:
    file = root / "mine"
    file.write_text(f"{CANARY}\n")
    named = "-" if source == "stdin" else str(file)
    argv = [str(PMPCTL), "--workspace", str(root), "token", "add", "mine", "--token-file", named, "--debug"]

    # The second time it is there already.
    for status in (0, 2):
        with file.open() as stdin:
            done = subprocess.run(argv, stdin=stdin, capture_output=True, text=True, check=False)
        assert CANARY not in done.stdout + done.stderr
        assert done.returncode == status, done.stderr
    (entry,) = json.loads((root / "config/auth.json").read_text())["tokens"]
    assert entry["sha256"] == hashlib.sha256(CANARY.encode()).hexdigest()


@pytest.mark.parametrize("content", [b"canary", b"\xff" * 20, b"canary" * 1000, None])
def test_a_file_without_a_token_is_refused_without_repeating_it(content: bytes | None, root: Path) -> None:
    file = root / "mine"
    if content is not None:
        file.write_bytes(content)

    done = run(root, "add", "mine", "--token-file", str(file))

    assert done.returncode == 2
    assert "cure: " in done.stderr
    assert "canary" not in done.stderr


@pytest.mark.parametrize(
    "argv",
    [
        ("add", "ci", "--expires", "2020-01-01"),
        ("add", "ci", "--expires", ""),
        ("add", "ci", "--requests-per-minute=-1"),
        ("add", "ci", "--max-concurrent=1000001"),
        ("revoke", "nobody"),
        ("revoke",),
    ],
)
def test_what_makes_no_sense_is_refused_and_makes_no_token_file(argv: tuple[str, ...], root: Path) -> None:
    done = run(root, *argv, "--json")

    assert done.returncode == 2
    assert json.loads(done.stdout)["errors"][0]["cure"]
    assert not (root / "config").exists()


def test_a_dry_run_says_what_would_be_done(root: Path) -> None:
    done = run(root, "add", "laptop", "--max-concurrent", "2", "--dry-run")

    assert done.returncode == 0
    assert "Would add laptop" in done.stdout
    assert "2 at a time" in done.stdout
    assert "pmp-" not in done.stdout
    assert sorted(path.name for path in root.iterdir()) == ["profiles.toml"]


class Api:
    """A gateway of the workspace's own, without an engine: 503 means that the token was good."""

    def __init__(self, workspace: Workspace, folder: Path) -> None:
        workspace.control_dir.mkdir(parents=True)
        self.process = GatewayProcess(
            folder,
            "http://127.0.0.1:9",
            {
                "AUTH_CONFIG_PATH": str(workspace.root / "config/auth.json"),
                "PMP_GATEWAY_CONTROL_SOCKET": str(workspace.control_dir / "gateway.sock"),
            },
        )

    def ask(self, token: str | None = None) -> tuple[int, str]:
        headers = {"authorization": f"Bearer {token}"} if token else {}
        response = httpx.get(f"{self.process.url}/v1/models", headers=headers, trust_env=False)
        return response.status_code, response.json()["error"]["code"]


@pytest.fixture
def api(workspace: Workspace, root: Path, tmp_path: Path) -> Iterator[Api]:
    api = Api(workspace, tmp_path / "gateway")
    try:
        api.process.wait_until_listening()
        yield api
    finally:
        api.process.kill()


def test_a_running_gateway_takes_every_change_before_the_command_ends(api: Api, root: Path) -> None:
    assert api.ask()[0] == 503

    first = data_of(root, "add", "first")
    assert first["gateway"] == "reloaded"
    assert api.ask() == (401, "invalid_api_key")
    assert api.ask(first["token"])[0] == 503

    second = add(root, "second")
    assert data_of(root, "revoke", "first")["gateway"] == "reloaded"
    assert api.ask(first["token"]) == (401, "invalid_api_key")
    assert api.ask(second)[0] == 503

    assert run(root, "revoke", "second", "--allow-open").returncode == 0
    assert api.ask()[0] == 503


def test_the_gateway_lets_a_token_expire_by_itself(api: Api, root: Path) -> None:
    token = add(root, "short", "--expires", "2s")

    eventually(lambda: api.ask(token) == (401, "token_expired"))
    assert api.ask() == (401, "invalid_api_key")


def test_a_gateway_of_another_token_file_is_told_apart(api: Api, root: Path) -> None:
    (root / "profiles.toml").write_text(f'[gateway]\nauth_config = "elsewhere/auth.json"\n{PROFILES}')

    done = run(root, "add", "laptop")

    assert done.returncode == 0
    assert "reads another token file" in done.stderr
    assert api.ask()[0] == 503


def test_a_change_that_the_gateway_does_not_take_is_said(api: Api, root: Path) -> None:
    # Readable for who runs the command and gone for the gateway: as in a container whose mount broke.
    add(root, "laptop")
    (root / "config").rename(root / "moved")
    (root / "profiles.toml").write_text(f'[gateway]\nauth_config = "moved/auth.json"\n{PROFILES}')

    done = run(root, "add", "second")

    assert "the running gateway keeps its old tokens" in done.stderr
    assert data_of(root, "add", "third")["gateway"] == "refused"


def test_a_token_shows_up_in_no_output_log_or_process_list(api: Api, root: Path, tmp_path: Path) -> None:
    file = tmp_path / "mine"
    file.write_text(CANARY)
    said = [run(root, "add", "mine", "--token-file", str(file), "--max-concurrent", "1")]
    assert api.ask(CANARY)[0] == 503
    for _ in range(3):
        assert api.ask(f"{CANARY}-wrong") == (401, "invalid_api_key")
    said += [run(root, "list"), run(root, "list", "--json"), run(root, "revoke", "mine", "--allow-open")]

    texts = [done.stdout + done.stderr for done in said]
    texts += [path.read_text() for path in (tmp_path / "gateway").iterdir()]
    texts += [path.read_text("latin-1") for path in root.rglob("*") if path.is_file()]
    process = psutil.Process(api.process.process.pid)
    texts += [" ".join([*process.cmdline(), *process.environ().values()])]
    assert all(CANARY not in text for text in texts)
