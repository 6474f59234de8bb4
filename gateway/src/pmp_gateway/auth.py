"""Who may come in: the tokens of auth.json, hashed in memory, compared in constant time, re-read on change."""

import hashlib
import hmac
import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from pmp_gateway.attempts import Attempts
from pmp_gateway.failures import TokenExpired, Unauthorized
from pmp_gateway.token_file import Token, TokenFileInvalid, parse_tokens

log = logging.getLogger(__name__)

_CHECK_INTERVAL_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class _Version:
    """Tells one state of the file from another without reading it."""

    inode: int
    size: int
    modified_ns: int


class Tokens:
    """The tokens in force. Without a file, or with an empty list, everybody may come in; expired ones still guard."""

    def __init__(
        self, path: Path | None, attempts: Attempts | None = None, now: Callable[[], float] = time.time
    ) -> None:
        self._path = path
        self._attempts = attempts or Attempts()
        self._now = now
        self._tokens: tuple[Token, ...] = ()
        self._version: _Version | None = None
        self._checked_at = 0.0
        self.reload()

    @property
    def count(self) -> int:
        return len(self._tokens)

    def authenticate(self, headers: Iterable[tuple[bytes, bytes]], client_host: str | None = None) -> Token | None:
        """The token that the request presents, None where none is needed.

        Raises Unauthorized, TokenExpired or TooManyAttempts otherwise. A request without a token is no attempt.
        """
        self._reload_if_changed()
        if not self._tokens:
            return None
        presented = hashlib.sha256(_presented(headers)).digest()
        self._attempts.check(client_host, presented)
        found = None
        # All are compared, so that the time taken does not tell which one matched.
        for token in self._tokens:
            if hmac.compare_digest(token.digest, presented):
                found = token
        if found is None:
            raise Unauthorized(delay_seconds=self._attempts.failed(client_host, presented))
        if found.expires_at is not None and found.expires_at <= self._now():
            raise TokenExpired(delay_seconds=self._attempts.failed(client_host, presented))
        self._attempts.succeeded(client_host, presented)
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
            self._tokens = parse_tokens(self._path, raw) if raw.strip() or self._tokens else ()
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
        scheme, _, presented = authorizations[0].partition(b" ")
        if scheme.lower() != b"bearer":
            raise Unauthorized
    else:
        presented = keys[0] if keys else b""
    presented = presented.strip()
    if not presented:
        raise Unauthorized
    return presented
