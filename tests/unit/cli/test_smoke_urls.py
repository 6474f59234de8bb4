"""What a newcomer may type as the address of an API."""

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.cli import pmpctl
from tests.support import find_free_port
from tests.unit.smoke.zoo.api import TOKEN, WellBehaved
from tests.unit.smoke.zoo.serving import served

SMOKE_FAILED = 7
WRONG_USE = 2


def smoke(url: str, *options: str) -> tuple[int, Any]:
    done = pmpctl("smoke", "--json", "--url", url, *options, PMPCTL_TOKEN=TOKEN)
    return done.returncode, json.loads(done.stdout.splitlines()[-1])


class UnderPrefix(WellBehaved):
    """Mounted by a proxy below a path of its own."""

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        before, prefix, path = scope["path"].partition("/models/llm")
        await super().__call__({**scope, "path": path if prefix and not before else "/nowhere"}, receive, send)


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with served(WellBehaved()) as url:
        yield urlsplit(url).netloc


@pytest.mark.parametrize(
    "form",
    [
        "http://{}",
        "http://{}/",
        "http://{}/v1",
        "http://{}/v1/",
        "HTTP://{}/v1",
        "  http://{}/v1 ",
        "http://{}/v1/chat/completions",
        "http://{}/v1/models",
    ],
)
def test_an_address_is_understood_with_and_without_what_clients_add(address: str, form: str) -> None:
    status, said = smoke(form.format(address))
    assert status == 0, said


def test_an_address_by_name_is_understood(address: str) -> None:
    status, said = smoke(f"http://localhost:{address.rpartition(':')[2]}/v1")
    assert status == 0, said


def test_an_address_of_ip_version_6_is_understood() -> None:
    with served(WellBehaved(), host="::1") as url:
        status, said = smoke(f"{url}/v1")
    assert status == 0, said


@pytest.mark.parametrize("end", ["", "/", "/v1", "/v1/"])
def test_a_path_before_v1_is_kept(end: str) -> None:
    with served(UnderPrefix()) as url:
        status, said = smoke(f"{url}/models/llm{end}")
    assert status == 0, said


@pytest.mark.parametrize(
    "url",
    [
        "",
        "llm.example/v1",
        "localhost:8000",
        "ftp://localhost/v1",
        "http://",
        "http:///v1",
        "http://localhost:port/v1",
        "http://localhost:99999/v1",
        "http://[::1/v1",
        "http://user:secret-of-mine@localhost/v1",
        "http://localhost/v1?key=secret-of-mine",
        "http://ho st/v1",
        "http://localhost\n/v1",
    ],
)
def test_what_is_no_address_is_refused_before_anything_is_asked(url: str) -> None:
    status, said = smoke(url)
    assert status == WRONG_USE, said
    (error,) = said["errors"]
    assert error["cure"]
    assert "secret-of-mine" not in json.dumps(said)


@pytest.mark.parametrize("host", ["127.0.0.1:{port}", "nobody-has-this-name.invalid", "127.0.0.1:0"])
def test_where_nobody_listens_each_check_says_so_or_why_it_was_not_made(host: str) -> None:
    status, said = smoke("http://" + host.format(port=find_free_port()))
    assert status == SMOKE_FAILED, said
    checks = said["data"]["checks"]
    assert checks[0]["verdict"] == "fail"
    assert all(check["verdict"] in ("fail", "skipped") for check in checks)
