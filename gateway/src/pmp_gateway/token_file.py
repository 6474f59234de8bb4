"""The token file: what it may say, read strictly; what is wrong with it is told without repeating any of it."""

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

_EXPECTED = 'expected {"tokens": ["TOKEN", ...]}'
_MEMBERS = ("name", "sha256", "created", "expires", "requests_per_minute", "max_concurrent")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
_NAME_OF_PLAIN = re.compile(r"token-[0-9]+")
_SHA256_HEX = re.compile(r"[0-9a-fA-F]{64}")
_UTC = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")
LARGEST_LIMIT = 1_000_000


class TokenFileInvalid(Exception):
    """The message names the file, what is wrong with it and what it may hold; never a token."""


@dataclass(frozen=True, slots=True)
class Token:
    """A limit of None is the gateway's default, one of 0 is none; `expires_at` is in seconds since the epoch."""

    name: str
    digest: bytes = field(repr=False)
    expires_at: float | None = None
    requests_per_minute: int | None = None
    max_concurrent: int | None = None


def parse_tokens(path: Path, raw: bytes) -> tuple[Token, ...]:
    try:
        data = json.loads(raw, object_pairs_hook=_without_duplicates)
    except (ValueError, RecursionError):
        # Without its cause, which quotes the file.
        raise TokenFileInvalid(f"{path} is not valid JSON, or has a key twice; {_EXPECTED}") from None
    if not isinstance(data, dict) or not isinstance(data.get("tokens"), list):
        raise TokenFileInvalid(f"{path} has no list of tokens; {_EXPECTED}")
    entries = data["tokens"]
    tokens = []
    for number, entry in enumerate(entries, start=1):
        try:
            tokens.append(_token(number, entry))
        except _Fault as fault:
            raise TokenFileInvalid(f"{path}: token number {number} {fault}") from None
    _refuse_ambiguity(path, entries, tokens)
    return tuple(tokens)


class _Fault(Exception):
    """Continues a sentence that begins with the token's number."""


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A second `tokens` would silently replace the first, and might open the gateway."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError
    return found


def _token(number: int, entry: Any) -> Token:
    if isinstance(entry, str):
        # No header can carry the spaces around it.
        secret = entry.strip()
        if not secret:
            raise _Fault("is empty")
        return Token(f"token-{number}", hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest())
    if not isinstance(entry, dict):
        raise _Fault('is neither a string nor {"name": ..., "sha256": ...}')
    if not entry.keys() <= set(_MEMBERS):
        raise _Fault(f"has a member that is none of {', '.join(_MEMBERS)}")
    _seconds(entry, "created")
    return Token(
        _name(entry),
        _digest(entry),
        _seconds(entry, "expires"),
        _limit(entry, "requests_per_minute"),
        _limit(entry, "max_concurrent"),
    )


def _name(entry: dict[str, Any]) -> str:
    name = entry.get("name")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise _Fault("needs a name: up to 64 letters, digits and ._@-")
    if _NAME_OF_PLAIN.fullmatch(name):
        raise _Fault("has a name like token-1, which is for tokens without one")
    return name


def _digest(entry: dict[str, Any]) -> bytes:
    digest = entry.get("sha256")
    if not isinstance(digest, str) or not _SHA256_HEX.fullmatch(digest):
        raise _Fault("needs a sha256 of 64 hex digits")
    return bytes.fromhex(digest)


def _seconds(entry: dict[str, Any], member: str) -> float | None:
    if member not in entry:
        return None
    text = entry[member]
    try:
        if isinstance(text, str) and _UTC.fullmatch(text):
            return datetime.fromisoformat(text).timestamp()
    except ValueError:
        pass
    raise _Fault(f"has a wrong {member}: write it like 2026-12-31T23:59:59Z")


def _limit(entry: dict[str, Any], member: str) -> int | None:
    if member not in entry:
        return None
    number = entry[member]
    if type(number) is not int or not 0 <= number <= LARGEST_LIMIT:
        raise _Fault(f"has a wrong {member}: write a whole number up to {LARGEST_LIMIT}, or 0 for no limit")
    return number


def _refuse_ambiguity(path: Path, entries: Sequence[Any], tokens: Sequence[Token]) -> None:
    """One name or one secret in two entries leaves open whose limits count, and survives the end of either.

    Plain strings have neither limits nor an end: one that stands there twice does no harm.
    """
    names: dict[str, int] = {}
    digests: dict[bytes, int] = {}
    for number, (entry, token) in enumerate(zip(entries, tokens, strict=True), start=1):
        first = names.setdefault(token.name, number)
        if first == number:
            first = digests.setdefault(token.digest, number)
        if first != number and not (isinstance(entry, str) and isinstance(entries[first - 1], str)):
            raise TokenFileInvalid(f"{path}: tokens number {first} and {number} have the same name or secret")
