"""What an entry of the token file may say: the gateway's rules, which has a reader of its own that shares no code."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

NAME_RULE = "up to 64 letters, digits and ._@-, beginning with a letter or digit"
LARGEST_LIMIT = 1_000_000

_MEMBERS = ("name", "sha256", "created", "expires", "requests_per_minute", "max_concurrent")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
_NAME_OF_PLAIN = re.compile(r"token-[0-9]+")
_SHA256_HEX = re.compile(r"[0-9a-fA-F]{64}")
_UTC_TEXT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")


class EntryFault(Exception):
    """What is wrong with the list of tokens, as the end of a sentence; never repeats any of it."""


@dataclass(frozen=True, slots=True)
class TokenEntry:
    """A token without its secret. A limit of None is the gateway's default, one of 0 is none.

    `is_plain` is one that stands there as a plain string: it is named by its place, and has nothing but its digest.
    """

    name: str
    digest: str = field(repr=False)
    is_plain: bool = False
    created: datetime | None = None
    expires: datetime | None = None
    requests_per_minute: int | None = None
    max_concurrent: int | None = None

    @property
    def fingerprint(self) -> str:
        """Enough to tell tokens apart, and far too little to find one."""
        return self.digest[:8]

    def has_expired(self, now: datetime) -> bool:
        return self.expires is not None and self.expires <= now

    def as_member_of_the_file(self) -> dict[str, object]:
        members = {
            "name": self.name,
            "sha256": self.digest,
            "created": utc_text(self.created) if self.created else None,
            "expires": utc_text(self.expires) if self.expires else None,
            "requests_per_minute": self.requests_per_minute,
            "max_concurrent": self.max_concurrent,
        }
        return {key: value for key, value in members.items() if value is not None}


def utc_text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def digest_of(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def name_fault(name: object) -> str | None:
    """Why this is no name for a token; None if it is one."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        return f"needs a name: {NAME_RULE}"
    if _NAME_OF_PLAIN.fullmatch(name):
        return "has a name like token-1, which is for tokens without one"
    return None


def parse_entries(entries: Sequence[Any]) -> tuple[TokenEntry, ...]:
    """Raises EntryFault for the first entry that the gateway would refuse."""
    parsed = []
    for number, entry in enumerate(entries, start=1):
        try:
            parsed.append(_entry(number, entry))
        except EntryFault as fault:
            raise EntryFault(f"token number {number} {fault}") from None
    _refuse_ambiguity(parsed)
    return tuple(parsed)


def _entry(number: int, entry: Any) -> TokenEntry:
    if isinstance(entry, str):
        secret = entry.strip()
        if not secret:
            raise EntryFault("is empty")
        return TokenEntry(f"token-{number}", digest_of(secret), is_plain=True)
    if not isinstance(entry, Mapping):
        raise EntryFault('is neither a string nor {"name": ..., "sha256": ...}')
    if not entry.keys() <= set(_MEMBERS):
        raise EntryFault(f"has a member that is none of {', '.join(_MEMBERS)}")
    if fault := name_fault(entry.get("name")):
        raise EntryFault(fault)
    digest = entry.get("sha256")
    if not isinstance(digest, str) or not _SHA256_HEX.fullmatch(digest):
        raise EntryFault("needs a sha256 of 64 hex digits")
    return TokenEntry(
        entry["name"],
        digest.lower(),
        created=_moment(entry, "created"),
        expires=_moment(entry, "expires"),
        requests_per_minute=_limit(entry, "requests_per_minute"),
        max_concurrent=_limit(entry, "max_concurrent"),
    )


def _moment(entry: Mapping[str, Any], member: str) -> datetime | None:
    if member not in entry:
        return None
    text = entry[member]
    try:
        if isinstance(text, str) and _UTC_TEXT.fullmatch(text):
            return datetime.fromisoformat(text)
    except ValueError:
        pass
    raise EntryFault(f"has a wrong {member}: write it like 2026-12-31T23:59:59Z")


def _limit(entry: Mapping[str, Any], member: str) -> int | None:
    if member not in entry:
        return None
    number = entry[member]
    if type(number) is not int or not 0 <= number <= LARGEST_LIMIT:
        raise EntryFault(f"has a wrong {member}: write a whole number up to {LARGEST_LIMIT}, or 0 for no limit")
    return number


def _refuse_ambiguity(entries: Sequence[TokenEntry]) -> None:
    """One name or one secret in two entries, unless both are plain strings, which have neither limits nor an end."""
    names: dict[str, int] = {}
    digests: dict[str, int] = {}
    for number, entry in enumerate(entries):
        first = names.setdefault(entry.name, number)
        if first == number:
            first = digests.setdefault(entry.digest, number)
        if first != number and not (entry.is_plain and entries[first].is_plain):
            raise EntryFault(f"tokens number {first + 1} and {number + 1} have the same name or secret")
