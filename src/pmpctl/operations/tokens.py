"""`token`: who may use the API. A token is shown once, when it is made, and only its hash is kept."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from pmpctl.errors import LastToken, TokenConflict, TokenUnknown, UsageError
from pmpctl.host.token_entries import NAME_RULE, TokenEntry, digest_of, name_fault, utc_text
from pmpctl.host.tokens import TokenFile, read_tokens
from pmpctl.operations.environment import Environment
from pmpctl.operations.events import Notice, Operation
from pmpctl.operations.token_changes import Told, put_in_force, tokens_locked
from pmpctl.profiles.model import ProfileFile

_SECRET_BYTES = 32
_SHORTEST_OWN, _LONGEST_OWN = 16, 512


@dataclass(frozen=True, slots=True)
class NewToken:
    """`secret` is the user's own token; without one it is made up."""

    name: str
    expires: datetime | None = None
    requests_per_minute: int | None = None
    max_concurrent: int | None = None
    secret: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class TokenReport:
    """`plain` stands readable in the file and is named by its place; a limit of None is the gateway's default."""

    name: str
    fingerprint: str
    plain: bool
    created: str | None
    expires: str | None
    expired: bool
    requests_per_minute: int | None
    max_concurrent: int | None


@dataclass(frozen=True, slots=True)
class TokenList:
    path: Path
    listen: str
    tokens: tuple[TokenReport, ...]


@dataclass(frozen=True, slots=True)
class TokenAdded:
    """`secret` is there once, and only for a token that was made up; `gateway` is None where nothing was done."""

    path: Path
    added: TokenReport
    secret: str | None = field(repr=False)
    gateway: Told | None


@dataclass(frozen=True, slots=True)
class TokensRevoked:
    path: Path
    revoked: tuple[TokenReport, ...]
    left: int
    gateway: Told | None


def list_tokens(environment: Environment) -> TokenList:
    file = environment.profile_file()
    tokens = read_tokens(_path(environment, file))
    return TokenList(tokens.path, file.gateway.listen, tuple(_report(entry) for entry in tokens.entries))


def plan_add_token(environment: Environment, new: NewToken) -> Operation[TokenAdded]:
    """What `add_token` would do; nothing is touched."""
    tokens = read_tokens(_path(environment, environment.profile_file()))
    entry, _ = _make(tokens, new)
    yield from _say_what_adding_changes(tokens)
    return TokenAdded(tokens.path, _report(entry), None, None)


def add_token(environment: Environment, new: NewToken) -> Operation[TokenAdded]:
    file = environment.profile_file()
    with tokens_locked(environment.workspace):
        tokens = read_tokens(_path(environment, file))
        entry, secret = _make(tokens, new)
        yield from _say_what_adding_changes(tokens)
        told = yield from put_in_force(environment.workspace, tokens.adding(entry))
    return TokenAdded(tokens.path, _report(entry), secret if new.secret is None else None, told)


def plan_revoke_tokens(environment: Environment, names: Sequence[str], *, allow_open: bool) -> Operation[TokensRevoked]:
    """What `revoke_tokens` would do; nothing is touched."""
    file = environment.profile_file()
    tokens = read_tokens(_path(environment, file))
    gone = _find(tokens, names)
    left = _without(tokens, gone, file, allow_open=allow_open)
    yield from _say_what_is_left(tokens, left, file)
    return _revoked(gone, left, None)


def revoke_tokens(environment: Environment, names: Sequence[str], *, allow_open: bool) -> Operation[TokensRevoked]:
    file = environment.profile_file()
    with tokens_locked(environment.workspace):
        tokens = read_tokens(_path(environment, file))
        gone = _find(tokens, names)
        left = _without(tokens, gone, file, allow_open=allow_open)
        told = yield from put_in_force(environment.workspace, left)
    yield from _say_what_is_left(tokens, left, file)
    return _revoked(gone, left, told)


def _path(environment: Environment, file: ProfileFile) -> Path:
    return environment.workspace.root / file.gateway.auth_config


def _make(tokens: TokenFile, new: NewToken) -> tuple[TokenEntry, str]:
    """The entry and its secret; raises UsageError or TokenConflict for a name or a token that cannot be added."""
    if name_fault(new.name):
        raise UsageError(
            f"{new.name!r} is no name for a token",
            cure=f"Use {NAME_RULE}; names like token-1 are for tokens without one.",
        )
    if any(entry.name == new.name for entry in tokens.entries):
        raise TokenConflict(
            f"there is a token called {new.name!r} already",
            cure=f"Take another name, or revoke that one first: `pmpctl token revoke {new.name}`.",
        )
    if new.secret is not None:
        _check_own(new.secret)
    secret = new.secret or f"pmp-{secrets.token_urlsafe(_SECRET_BYTES)}"
    digest = digest_of(secret)
    same = next((entry for entry in tokens.entries if entry.digest == digest), None)
    if same is not None:
        raise TokenConflict(
            f"this very token is there already, as {same.name!r}",
            cure=f"Revoke it first (`pmpctl token revoke {same.name}`), or let pmpctl make up another.",
        )
    created = datetime.now(UTC).replace(microsecond=0)
    entry = TokenEntry(
        new.name,
        digest,
        created=created,
        expires=new.expires,
        requests_per_minute=new.requests_per_minute,
        max_concurrent=new.max_concurrent,
    )
    return entry, secret


def _check_own(secret: str) -> None:
    is_plain_word = secret.isascii() and secret.isprintable() and " " not in secret
    if not is_plain_word or not _SHORTEST_OWN <= len(secret) <= _LONGEST_OWN:
        raise UsageError(
            f"that is no token: it needs {_SHORTEST_OWN} to {_LONGEST_OWN} letters, digits and signs without spaces",
            cure="Make it from a random source, or leave it to pmpctl.",
        )


def _find(tokens: TokenFile, names: Sequence[str]) -> tuple[TokenEntry, ...]:
    """The tokens of these names, and whatever else is the same secret; raises TokenUnknown."""
    known = {entry.name: entry.digest for entry in tokens.entries}
    for name in names:
        if name not in known:
            raise TokenUnknown(f"no token is called {name!r}", cure="`pmpctl token list` shows their names.")
    digests = {known[name] for name in names}
    return tuple(entry for entry in tokens.entries if entry.digest in digests)


def _without(tokens: TokenFile, gone: Sequence[TokenEntry], file: ProfileFile, *, allow_open: bool) -> TokenFile:
    left = tokens.without({entry.digest for entry in gone})
    if not left.entries and not allow_open:
        raise LastToken(
            f"no token would be left, and whoever reaches {file.gateway.listen} could use the API",
            cure="Add another one first (`pmpctl token add NAME`), stop the API (`pmpctl down`), "
            "or say --allow-open if an open API is meant.",
        )
    return left


def _say_what_adding_changes(tokens: TokenFile) -> Operation[None]:
    if not tokens.entries:
        yield Notice("warning", "the API was open: with its first token it answers nobody without one")


def _say_what_is_left(before: TokenFile, left: TokenFile, file: ProfileFile) -> Operation[None]:
    now = datetime.now(UTC)
    if not left.entries:
        yield Notice("warning", f"no token is left: whoever reaches {file.gateway.listen} may use the API")
    elif all(entry.has_expired(now) for entry in left.entries):
        yield Notice("warning", "every token that is left has expired: nobody can use the API")
    kept = {entry.digest for entry in left.entries}
    stayed = (entry for entry in before.entries if entry.digest in kept)
    for old, new in zip(stayed, left.entries, strict=True):
        if old.name != new.name:
            yield Notice("warning", f"{old.name} is called {new.name} now: tokens without a name go by their place")


def _revoked(gone: Sequence[TokenEntry], left: TokenFile, told: Told | None) -> TokensRevoked:
    return TokensRevoked(left.path, tuple(_report(entry) for entry in gone), len(left.entries), told)


def _report(entry: TokenEntry) -> TokenReport:
    return TokenReport(
        name=entry.name,
        fingerprint=entry.fingerprint,
        plain=entry.is_plain,
        created=utc_text(entry.created) if entry.created else None,
        expires=utc_text(entry.expires) if entry.expires else None,
        expired=entry.has_expired(datetime.now(UTC)),
        requests_per_minute=entry.requests_per_minute,
        max_concurrent=entry.max_concurrent,
    )
