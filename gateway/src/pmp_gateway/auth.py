"""Who may come in: the tokens of auth.json, hashed in memory, compared in constant time, re-read on change."""

import hashlib
import hmac
import json
import logging
import re
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pmp_gateway.failures import Unauthorized

log = logging.getLogger(__name__)

_CHECK_INTERVAL_SECONDS = 1.0
_SHA256_HEX = re.compile(r"[0-9a-fA-F]{64}")


class TokenFileInvalid(Exception):
    """The message names the file, what is wrong with it and what it may hold; never a token."""


@dataclass(frozen=True, slots=True)
class Token:
    name: str
    digest: bytes


@dataclass(frozen=True, slots=True)
class _Version:
    """Tells one state of the file from another without reading it."""

    inode: int
    size: int
    modified_ns: int


class Tokens:
    """The tokens in force. Without a file, or with an empty list, everybody may come in."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._tokens: tuple[Token, ...] = ()
        self._version: _Version | None = None
        self._checked_at = 0.0
        self.reload()

    @property
    def count(self) -> int:
        return len(self._tokens)

    def authenticate(self, headers: Iterable[tuple[bytes, bytes]]) -> Token | None:
        """The token that the request presents, None where none is needed; raises Unauthorized otherwise."""
        self._reload_if_changed()
        if not self._tokens:
            return None
        presented = hashlib.sha256(_presented(headers)).digest()
        found = None
        # All are compared, so that the time taken does not tell which one matched.
        for token in self._tokens:
            if hmac.compare_digest(token.digest, presented):
                found = token
        if found is None:
            raise Unauthorized
        return found

    def reload(self) -> None:
        """Read the file again; raises TokenFileInvalid and keeps the tokens in force if it cannot be used."""
        if self._path is None:
            return
        # Before reading: a change that comes in between is then seen by the next check.
        self._version = _version_of(self._path)
        self._checked_at = time.monotonic()
        try:
            raw = self._path.read_bytes()
            # An empty file means no tokens; but one that is just being rewritten never opens a guarded gateway.
            self._tokens = _parse(self._path, raw) if raw.strip() or self._tokens else ()
        except FileNotFoundError as error:
            # It may be about to be replaced: that never opens a gateway that asked for tokens.
            if self._tokens:
                raise TokenFileInvalid(
                    f'{self._path} is gone; write {{"tokens": []}} to it to admit everybody'
                ) from error
        except IsADirectoryError as error:
            raise TokenFileInvalid(
                f"{self._path} is a folder, not a file; Docker makes one where the file to be mounted is missing"
            ) from error
        except OSError as error:
            raise TokenFileInvalid(f"{self._path} cannot be read: {error.strerror}") from error
        log.info("%d token(s) in force from %s", len(self._tokens), self._path)

    def _reload_if_changed(self) -> None:
        now = time.monotonic()
        if self._path is None or now - self._checked_at < _CHECK_INTERVAL_SECONDS:
            return
        self._checked_at = now
        if _version_of(self._path) == self._version:
            return
        try:
            self.reload()
        except TokenFileInvalid as error:
            log.warning("the tokens in force stay as they are: %s", error)


def _version_of(path: Path) -> _Version | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return _Version(status.st_ino, status.st_size, status.st_mtime_ns)


def _parse(path: Path, raw: bytes) -> tuple[Token, ...]:
    expected = 'expected {"tokens": ["TOKEN", ...]}'
    try:
        data = json.loads(raw)
    except (ValueError, RecursionError):
        # Without its cause, which quotes the file.
        raise TokenFileInvalid(f"{path} is not valid JSON; {expected}") from None
    if not isinstance(data, dict) or not isinstance(data.get("tokens"), list):
        raise TokenFileInvalid(f"{path} has no list of tokens; {expected}")
    return tuple(_token(path, number, entry) for number, entry in enumerate(data["tokens"], start=1))


def _token(path: Path, number: int, entry: Any) -> Token:
    if isinstance(entry, str) and entry.strip():
        return Token(f"token-{number}", hashlib.sha256(entry.encode("utf-8", "surrogatepass")).digest())
    if isinstance(entry, dict) and entry.keys() == {"name", "sha256"}:
        name, digest = entry["name"], entry["sha256"]
        if isinstance(name, str) and name and isinstance(digest, str) and _SHA256_HEX.fullmatch(digest):
            return Token(name, bytes.fromhex(digest))
    raise TokenFileInvalid(
        f'{path}: token number {number} is neither a non-empty string nor {{"name": ..., "sha256": 64 hex digits}}'
    )


def _presented(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    authorizations: list[bytes] = []
    keys: list[bytes] = []
    for name, value in headers:
        if name == b"authorization":
            authorizations.append(value)
        elif name == b"x-api-key":
            keys.append(value)
    if len(authorizations) > 1 or len(keys) > 1:
        raise Unauthorized("The request carries more than one token.")
    if authorizations:
        scheme, _, token = authorizations[0].partition(b" ")
        if scheme.lower() != b"bearer":
            raise Unauthorized
        return token.strip()
    if keys:
        return keys[0]
    raise Unauthorized
