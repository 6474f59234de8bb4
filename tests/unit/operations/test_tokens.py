"""Adding and revoking tokens in a workspace where nothing runs."""

import hashlib
import json
import os
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import pytest

from pmpctl.errors import LastToken, PmpctlError, TokenConflict, TokenFileInvalid, TokenUnknown, UsageError
from pmpctl.operations.environment import Environment
from pmpctl.operations.events import Notice, Operation
from pmpctl.operations.tokens import (
    NewToken,
    TokenAdded,
    TokensRevoked,
    add_token,
    list_tokens,
    plan_add_token,
    plan_revoke_tokens,
    revoke_tokens,
)
from pmpctl.workspace import Workspace

OWN = "own-canary-0123456789"
HASHED = {"name": "hashed", "sha256": "0" * 64}
EXPIRED = {"name": "old", "sha256": "1" * 64, "expires": "2020-01-01T00:00:00Z"}

T = TypeVar("T")


@dataclass
class Tokens:
    """The tokens of one workspace, and what the last operation told."""

    workspace: Workspace
    told: str = ""

    @property
    def environment(self) -> Environment:
        return Environment(self.workspace, None, "auto", {})

    @property
    def path(self) -> Path:
        return self.workspace.root / "config/auth.json"

    @property
    def entries(self) -> list[Any]:
        found: list[Any] = json.loads(self.path.read_text())["tokens"]
        return found

    def write(self, *entries: object) -> None:
        self.path.parent.mkdir(exist_ok=True)
        self.path.write_text(json.dumps({"tokens": entries}))

    def run(self, operation: Operation[T]) -> T:
        said: list[str] = []
        while True:
            try:
                event = next(operation)
            except StopIteration as stop:
                self.told = "\n".join(said)
                result: T = stop.value
                return result
            assert isinstance(event, Notice)
            said.append(f"{event.level}: {event.message}")

    def add(self, name: str, secret: str | None = None, **more: Any) -> TokenAdded:
        return self.run(add_token(self.environment, NewToken(name, secret=secret, **more)))

    def revoke(self, *names: str, allow_open: bool = False) -> TokensRevoked:
        return self.run(revoke_tokens(self.environment, names, allow_open=allow_open))

    def names(self) -> list[str]:
        return [token.name for token in list_tokens(self.environment).tokens]


@pytest.fixture
def tokens(workspace: Workspace) -> Tokens:
    (workspace.root / "profiles.toml").write_text('[profiles.coding]\nmodel = "a/b"\n')
    return Tokens(workspace)


def test_a_made_up_token_is_long_new_each_time_and_kept_as_its_hash(tokens: Tokens) -> None:
    secrets = [tokens.add(f"client-{number}").secret or "" for number in range(3)]

    assert len(set(secrets)) == 3
    # 32 bytes take 43 letters.
    assert all(secret.startswith("pmp-") and len(secret) == 47 for secret in secrets)
    assert [entry["sha256"] for entry in tokens.entries] == [
        hashlib.sha256(secret.encode()).hexdigest() for secret in secrets
    ]
    assert tokens.entries[0].keys() == {"name", "sha256", "created"}


def test_a_result_that_is_printed_by_mistake_shows_no_secret(tokens: Tokens) -> None:
    result = tokens.add("laptop")

    assert result.secret
    assert result.secret not in repr(result)
    assert OWN not in repr(NewToken("mine", secret=OWN))


def test_end_and_limits_stand_in_the_file_as_the_gateway_reads_them(tokens: Tokens) -> None:
    tokens.add("ci", expires=datetime(2100, 1, 2, 3, 4, 5, tzinfo=UTC), requests_per_minute=60, max_concurrent=0)

    (entry,) = tokens.entries
    assert entry["expires"] == "2100-01-02T03:04:05Z"
    assert (entry["requests_per_minute"], entry["max_concurrent"]) == (60, 0)


@pytest.mark.parametrize("name", ["", "two words", "-x", "a/b", "läptop", "a" * 65, "token-3", "a\n", "a=b", "*"])
def test_a_bad_name_is_refused(name: str, tokens: Tokens) -> None:
    with pytest.raises(UsageError, match="no name for a token"):
        tokens.add(name)
    assert not tokens.path.exists()


@pytest.mark.parametrize(
    "secret", ["", "fifteen-letters", "two words but long enough", "x" * 513, "tab\tin-a-long-token", "tökén" * 5]
)
def test_what_cannot_be_a_token_is_refused_without_repeating_it(secret: str, tokens: Tokens) -> None:
    with pytest.raises(UsageError) as caught:
        tokens.add("mine", secret)
    assert secret == "" or secret not in caught.value.message + caught.value.cure
    assert not tokens.path.exists()


def test_ones_own_token_is_kept_as_its_hash_and_not_handed_back(tokens: Tokens) -> None:
    assert tokens.add("mine", OWN).secret is None
    assert tokens.entries[0]["sha256"] == hashlib.sha256(OWN.encode()).hexdigest()


def test_a_name_or_a_token_that_is_there_already_is_refused_and_nothing_changes(tokens: Tokens) -> None:
    tokens.write(HASHED, OWN)
    before = tokens.path.read_bytes()

    for name, secret in (("hashed", None), ("other", OWN)):
        with pytest.raises(TokenConflict):
            tokens.add(name, secret)
    assert tokens.path.read_bytes() == before


def test_other_entries_and_members_of_the_file_stay_as_they_are(tokens: Tokens) -> None:
    others = ["plain-one", HASHED, "\ud800"]
    tokens.write(*others)
    tokens.path.write_text(json.dumps({"comment": "mine", **json.loads(tokens.path.read_text())}))

    tokens.add("laptop")

    assert tokens.entries[:3] == others
    assert json.loads(tokens.path.read_text())["comment"] == "mine"
    assert tokens.names() == ["token-1", "hashed", "token-3", "laptop"]
    tokens.revoke("laptop")
    assert tokens.entries == others


@pytest.mark.parametrize(
    "act", [lambda tokens: tokens.add("laptop"), lambda tokens: tokens.revoke("token-1"), Tokens.names]
)
def test_a_file_that_the_gateway_would_refuse_is_told_and_not_touched(
    act: Callable[[Tokens], object], tokens: Tokens
) -> None:
    tokens.write("canary", "")
    before = tokens.path.read_bytes()

    with pytest.raises(TokenFileInvalid) as caught:
        act(tokens)
    assert "canary" not in caught.value.message
    assert tokens.path.read_bytes() == before


def test_revoking_takes_all_names_at_once_and_tells_what_is_called_otherwise_now(tokens: Tokens) -> None:
    tokens.write("one", HASHED, "two", "three")

    result = tokens.revoke("token-1", "hashed")

    assert ([token.name for token in result.revoked], result.left) == (["token-1", "hashed"], 2)
    assert tokens.entries == ["two", "three"]
    assert "token-3 is called token-1 now" in tokens.told
    assert "token-4 is called token-2 now" in tokens.told


def test_revoking_a_secret_that_stands_there_twice_leaves_none_of_it(tokens: Tokens) -> None:
    tokens.write("same", "other", "same")

    assert [token.name for token in tokens.revoke("token-3").revoked] == ["token-1", "token-3"]
    assert tokens.entries == ["other"]


def test_an_unknown_name_revokes_none(tokens: Tokens) -> None:
    tokens.write("one", "two")

    with pytest.raises(TokenUnknown, match="'token-9'"):
        tokens.revoke("token-1", "token-9")
    assert tokens.entries == ["one", "two"]


def test_the_last_token_is_revoked_only_where_an_open_api_is_meant(tokens: Tokens) -> None:
    tokens.write("one", "two")

    with pytest.raises(LastToken, match=r"127\.0\.0\.1:8000"):
        tokens.revoke("token-1", "token-2")
    assert tokens.entries == ["one", "two"]

    assert tokens.revoke("token-1", "token-2", allow_open=True).left == 0
    assert tokens.entries == []
    assert "warning: no token is left: whoever reaches 127.0.0.1:8000 may use the API" in tokens.told


def test_with_expired_tokens_alone_the_api_is_shut_and_not_open(tokens: Tokens) -> None:
    tokens.write(EXPIRED, "new")

    tokens.revoke("token-2")
    assert "nobody can use the API" in tokens.told
    tokens.add("fresh")
    assert "was open" not in tokens.told


def test_the_first_token_tells_that_it_shuts_an_open_api(tokens: Tokens) -> None:
    tokens.add("first")
    assert "warning: the API was open" in tokens.told
    tokens.add("second")
    assert "was open" not in tokens.told


def test_without_a_gateway_it_is_told_when_the_change_counts(tokens: Tokens) -> None:
    assert tokens.add("laptop").gateway == "no-answer"
    assert "info: no gateway answered: it reads the file when it starts" in tokens.told


def test_a_dry_run_refuses_and_tells_the_same_and_touches_nothing(tokens: Tokens) -> None:
    planned = tokens.run(plan_add_token(tokens.environment, NewToken("laptop")))
    assert (planned.added.name, planned.secret, planned.gateway) == ("laptop", None, None)
    assert "the API was open" in tokens.told
    assert [path.name for path in tokens.workspace.root.iterdir()] == ["profiles.toml"]

    tokens.write("one", "two")
    planned_end = tokens.run(plan_revoke_tokens(tokens.environment, ["token-1"], allow_open=False))
    assert ([token.name for token in planned_end.revoked], planned_end.left) == (["token-1"], 1)
    assert "token-2 is called token-1 now" in tokens.told
    refused: list[tuple[type[PmpctlError], Operation[Any]]] = [
        (UsageError, plan_add_token(tokens.environment, NewToken("token-1"))),
        (LastToken, plan_revoke_tokens(tokens.environment, ["token-1", "token-2"], allow_open=False)),
    ]
    for kind, operation in refused:
        with pytest.raises(kind):
            tokens.run(operation)
    assert tokens.entries == ["one", "two"]


def test_tokens_that_are_added_at_the_same_time_are_all_kept(tokens: Tokens) -> None:
    names = [f"client-{number}" for number in range(16)]
    with ThreadPoolExecutor(len(names)) as pool:
        list(pool.map(lambda name: Tokens(tokens.workspace).add(name), names))

    assert sorted(tokens.names()) == sorted(names)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_what_root_writes_belongs_to_the_workspaces_owner_or_to_the_user_that_its_gateway_has(tokens: Tokens) -> None:
    os.chown(tokens.workspace.root, 1234, 1235)
    tokens.add("laptop")
    status = tokens.path.stat()
    assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (1234, 1235, 0o600)
    for path in (tokens.path.parent, tokens.workspace.state_dir, tokens.workspace.tokens_lock_file):
        assert path.stat().st_uid == 1234

    os.chown(tokens.workspace.root, 0, 0)
    tokens.path.unlink()
    tokens.add("laptop")
    assert tokens.path.stat().st_uid == 65532
