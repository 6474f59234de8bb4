"""The gateway's token file: read by the gateway's own rules, changed as a whole, and kept readable for the gateway."""

import json
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pmpctl.errors import TokenFileInvalid
from pmpctl.host.files import save
from pmpctl.host.token_entries import EntryFault, TokenEntry, parse_entries

_CURE = "Mend it, or move it away and make tokens with `pmpctl token add NAME`; no file at all means an open API."


@dataclass(frozen=True, slots=True)
class TokenFile:
    """`members` are the entries as they stand in the file, and `rest` is what stands there beside them."""

    path: Path
    entries: tuple[TokenEntry, ...] = ()
    members: tuple[Any, ...] = field(default=(), repr=False)
    rest: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def adding(self, entry: TokenEntry) -> "TokenFile":
        return self._with((*self.members, entry.as_member_of_the_file()))

    def without(self, digests: Collection[str]) -> "TokenFile":
        pairs = zip(self.entries, self.members, strict=True)
        return self._with(tuple(member for entry, member in pairs if entry.digest not in digests))

    def _with(self, members: tuple[Any, ...]) -> "TokenFile":
        return replace(self, entries=parse_entries(members), members=members)

    @property
    def text(self) -> str:
        return json.dumps({**self.rest, "tokens": list(self.members)}, indent=2) + "\n"


def read_tokens(path: Path) -> TokenFile:
    """What the file says; a missing or an empty one has no tokens.

    Raises TokenFileInvalid when the file is there and cannot be used, since the gateway would refuse to start.
    """
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return TokenFile(path)
    except IsADirectoryError as error:
        raise TokenFileInvalid(f"{path} is a folder, not a file", cure="Remove it.") from error
    except OSError as error:
        raise TokenFileInvalid(f"{path} cannot be read: {error.strerror}", cure="Make it readable for you.") from error
    if not raw.strip():
        return TokenFile(path)
    try:
        data = json.loads(raw, object_pairs_hook=_without_duplicates)
    except json.JSONDecodeError as error:
        raise TokenFileInvalid(f"{path} is not JSON: {error.msg}, line {error.lineno}", cure=_CURE) from None
    except (ValueError, RecursionError):
        raise TokenFileInvalid(f"{path} is not JSON, or has a key twice", cure=_CURE) from None
    if not isinstance(data, dict) or not isinstance(data.get("tokens"), list):
        raise TokenFileInvalid(f"{path} holds no list of tokens", cure=_CURE)
    members = data.pop("tokens")
    try:
        return TokenFile(path, parse_entries(members), tuple(members), data)
    except EntryFault as fault:
        raise TokenFileInvalid(f"{path}: {fault}", cure=_CURE) from None


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError
    return found


def count_tokens(path: Path) -> int:
    """How many tokens guard the API, expired ones included; raises TokenFileInvalid as `read_tokens` does."""
    return len(read_tokens(path).entries)


def write_tokens(file: TokenFile, *, uid: int, gid: int) -> None:
    """Replace the file by one that a gateway which runs as that user can read, as far as it is ours to say.

    What is there keeps its owner and mode, unless only root could read it; a new file is for that user alone.
    """
    # A link stays one: some keep the file elsewhere.
    path = file.path.resolve()
    owner, mode = (uid, gid), 0o600
    if path.exists() and ((status := path.stat()).st_uid != 0 or _readable_by(path, uid, gid)):
        owner, mode = (status.st_uid, status.st_gid), status.st_mode & 0o777
    if os.geteuid() != 0:
        # Only root can give a file away; a group that both are in can share it all the same.
        is_ours = owner[1] in (os.getegid(), *os.getgroups())
        if is_ours and owner[0] != os.geteuid():
            mode |= 0o040
        owner = (-1, owner[1] if is_ours else -1)
    save(path, file.text, mode=mode, owner=owner)


def require_readable_by(path: Path, uid: int, gid: int) -> None:
    """Raises TokenFileInvalid when a gateway that runs as `uid` could not read the file."""
    if path.exists() and not _readable_by(path, uid, gid):
        raise TokenFileInvalid(
            f"the gateway runs as user {uid} and could not read {path}",
            cure=f"Hand the file to it: `chown {uid}:{gid} {path} && chmod 400 {path}`.",
        )


def _readable_by(path: Path, uid: int, gid: int) -> bool:
    status = path.stat()
    if status.st_uid == uid:
        readable = status.st_mode & 0o400
    elif status.st_gid == gid:
        readable = status.st_mode & 0o040
    else:
        readable = status.st_mode & 0o004
    return bool(readable) or (uid == os.geteuid() and os.access(path, os.R_OK))
