"""The gateway and pmpctl read the token file each by code of its own: both must say the same of every file."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError

from pmp_gateway.auth import Tokens
from pmp_gateway.failures import NotAdmitted
from pmp_gateway.settings import Settings
from pmp_gateway.token_file import TokenFileInvalid as RefusedByGateway
from pmp_gateway.token_file import parse_tokens
from pmpctl.errors import TokenFileInvalid as RefusedByPmpctl
from pmpctl.host.token_entries import LARGEST_LIMIT, digest_of
from pmpctl.host.tokens import read_tokens
from pmpctl.profiles.model import GatewaySettings

SECRET = "s3cret-canary"
OTHER = digest_of("other")


def hashed(name: object = "laptop", **members: object) -> dict[str, object]:
    return {"name": name, "sha256": digest_of(SECRET), **members}


def file_of(*tokens: object) -> str:
    return json.dumps({"tokens": tokens})


USABLE: dict[str, str | bytes] = {
    "nothing": "",
    "spaces": " \n",
    "no token": file_of(),
    "plain": file_of(SECRET),
    "plain, twice the same": file_of(SECRET, SECRET),
    "plain, not ASCII": file_of("tökén"),
    "plain, half a letter": '{"tokens": ["\\ud800"]}',
    "plain, with spaces around it": file_of(f" {SECRET} "),
    "with a byte order mark": b"\xef\xbb\xbf" + file_of(SECRET).encode(),
    "UTF-16": file_of(SECRET).encode("utf-16"),
    "hashed": file_of(hashed()),
    "hashed, capital digits": file_of({"name": "laptop", "sha256": digest_of(SECRET).upper()}),
    "mixed": file_of(SECRET, {"name": "laptop", "sha256": OTHER}, "another"),
    "all members": file_of(
        hashed(created="2026-01-01T00:00:00Z", expires="2026-12-31T23:59:59Z", requests_per_minute=60, max_concurrent=4)
    ),
    "no limits": file_of(hashed(requests_per_minute=0, max_concurrent=0)),
    "largest limits": file_of(hashed(requests_per_minute=LARGEST_LIMIT, max_concurrent=LARGEST_LIMIT)),
    "expired long ago": file_of(hashed(expires="0001-01-01T00:00:00Z")),
    "expires in the far future": file_of(hashed(expires="9999-12-31T23:59:59Z")),
    "a leap day": file_of(hashed(expires="2028-02-29T00:00:00Z")),
    "the longest name": file_of(hashed("a" * 64)),
    "a name with every kind of letter": file_of(hashed("Ada.Lovelace_1@work-2")),
    "something beside the tokens": json.dumps({"comment": [1], "tokens": [SECRET]}),
}

WRONG_TIMES: tuple[object, ...] = (
    *("tomorrow", "2026-12-31", "2026-12-31T00:00:00", "2026-12-31T00:00:00+00:00", "2026-12-31 00:00:00Z"),
    *("2026-02-30T00:00:00Z", "2026-12-31T24:00:00Z", "0000-01-01T00:00:00Z", "2026-12-31T00:00:00Z\n", ""),
    *(1, None, "٢026-12-31T00:00:00Z"),
)
WRONG_LIMITS: tuple[object, ...] = (-1, 1.5, 60.0, "60", True, None, LARGEST_LIMIT + 1, [])

REFUSED: dict[str, str | bytes] = {
    "cut off": '{"tokens": [',
    "a list": "[]",
    "null": "null",
    "no tokens": "{}",
    "wrong key": json.dumps({"token": [SECRET]}),
    "tokens is text": json.dumps({"tokens": SECRET}),
    "tokens twice": json.dumps({"tokens": [SECRET]})[:-1] + ', "tokens": []}',
    "a member twice": '{"tokens": [{"name": "a", "name": "b", "sha256": "' + OTHER + '"}]}',
    "no text": b"\xff\xfe\xff",
    "too deep": "[" * 200_000,
    "too deep, beside the tokens": '{"tokens": [], "x": ' + "[" * 200_000 + "]" * 200_000 + "}",
    "a number of too many digits": '{"tokens": [], "x": ' + "9" * 5000 + "}",
    "an empty token": file_of(""),
    "a token of spaces": file_of(" \t"),
    "a token that is null": file_of(SECRET, None),
    "a token that is a number": file_of(1),
    "a token that is a list": file_of([SECRET]),
    "nothing in it": file_of({}),
    "no name": file_of({"sha256": OTHER}),
    "no digest": file_of({"name": "a"}),
    "empty name": file_of(hashed("")),
    "name is a number": file_of(hashed(1)),
    "name with a space": file_of(hashed("my laptop")),
    "name with a line break at its end": file_of(hashed("laptop\n")),
    "name that looks like an option": file_of(hashed("-laptop")),
    "name not ASCII": file_of(hashed("läptop")),
    "name too long": file_of(hashed("a" * 65)),
    "name of a plain token": file_of(hashed("token-7")),
    "digest too short": file_of({"name": "a", "sha256": "abc"}),
    "digest with a line break at its end": file_of({"name": "a", "sha256": OTHER + "\n"}),
    "digest is no hex": file_of({"name": "a", "sha256": "g" * 64}),
    "digest in other scripts' digits": file_of({"name": "a", "sha256": "٣" * 64}),
    "unknown member": file_of(hashed(comment="for Ada")),
    "one name twice": file_of(hashed(), {"name": "laptop", "sha256": OTHER}),
    "one secret under two names": file_of(hashed("a"), hashed("b")),
    "one secret plain and hashed": file_of(SECRET, hashed()),
    "one secret hashed and plain": file_of(hashed(), SECRET),
    **{f"expires {value!r}": file_of(hashed(expires=value)) for value in WRONG_TIMES},
    "created some day": file_of(hashed(created="some day")),
    **{f"requests_per_minute {value!r}": file_of(hashed(requests_per_minute=value)) for value in WRONG_LIMITS},
    **{f"max_concurrent {value!r}": file_of(hashed(max_concurrent=value)) for value in WRONG_LIMITS},
    "a limit that is no number": '{"tokens": [{"name": "a", "sha256": "' + OTHER + '", "max_concurrent": NaN}]}',
}


def write(folder: Path, content: str | bytes) -> Path:
    path = folder / "auth.json"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize("name", USABLE)
def test_both_take_the_file_for_the_same_tokens(name: str, tmp_path: Path) -> None:
    path = write(tmp_path, USABLE[name])

    ours = read_tokens(path).entries
    assert Tokens(path).count == len(ours)
    raw = path.read_bytes()
    theirs = parse_tokens(path, raw) if raw.strip() else ()
    assert [
        (token.name, token.digest.hex(), token.expires_at, token.requests_per_minute, token.max_concurrent)
        for token in theirs
    ] == [
        (
            entry.name,
            entry.digest,
            entry.expires.timestamp() if entry.expires else None,
            entry.requests_per_minute,
            entry.max_concurrent,
        )
        for entry in ours
    ]


@pytest.mark.parametrize("name", REFUSED)
def test_both_refuse_the_file_and_repeat_nothing_of_it(name: str, tmp_path: Path) -> None:
    path = write(tmp_path, REFUSED[name])

    with pytest.raises(RefusedByGateway) as by_gateway:
        Tokens(path)
    with pytest.raises(RefusedByPmpctl) as by_pmpctl:
        read_tokens(path)
    for said in (str(by_gateway.value), by_pmpctl.value.message + by_pmpctl.value.cure):
        assert SECRET not in said
        assert OTHER not in said
    assert str(path) in str(by_gateway.value)
    assert str(path) in by_pmpctl.value.message


@pytest.mark.parametrize("name", [name for name, content in USABLE.items() if SECRET in str(content)])
def test_what_pmpctl_writes_the_gateway_takes_for_the_same_tokens(name: str, tmp_path: Path) -> None:
    path = write(tmp_path, USABLE[name])
    before = parse_tokens(path, path.read_bytes())

    path.write_text(read_tokens(path).text)

    assert parse_tokens(path, path.read_bytes()) == before


def test_a_token_ends_for_both_at_the_same_second(tmp_path: Path) -> None:
    path = write(tmp_path, file_of(hashed(expires="2026-12-31T23:59:59Z")))
    (entry,) = read_tokens(path).entries
    end = datetime(2026, 12, 31, 23, 59, 59, tzinfo=UTC)
    for moment, is_valid in ((end - timedelta(seconds=1), True), (end, False), (end + timedelta(seconds=1), False)):
        assert is_admitted(Tokens(path, now=moment.timestamp)) is is_valid
        assert entry.has_expired(moment) is not is_valid


def is_admitted(tokens: Tokens) -> bool:
    try:
        return tokens.authenticate([(b"authorization", f"Bearer {SECRET}".encode())]) is not None
    except NotAdmitted:
        return False


def test_the_profile_file_takes_the_same_limits_as_the_gateways_settings() -> None:
    settings = GatewaySettings(requests_per_minute=LARGEST_LIMIT, max_concurrent=LARGEST_LIMIT)
    taken = Settings.from_env(
        {
            "PMP_GATEWAY_REQUESTS_PER_MINUTE": str(settings.requests_per_minute),
            "PMP_GATEWAY_MAX_CONCURRENT": str(settings.max_concurrent),
        }
    )
    assert (taken.requests_per_minute, taken.max_concurrent) == (LARGEST_LIMIT, LARGEST_LIMIT)
    with pytest.raises(ValidationError):
        GatewaySettings(max_concurrent=LARGEST_LIMIT + 1)
