import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pmp_gateway.failures import GatewayError, Headers, HostNotAllowed, HostRepeated, OriginNotAllowed, answer_to
from pmp_gateway.origins import Cors, Guard

CHAT = b"/v1/chat/completions"
PAGE = b"https://chat.example"
HOST = (b"host", b"127.0.0.1:8000")
NO_CORS = Cors(())


def asked_from(origin: bytes, *others: tuple[bytes, bytes]) -> Headers:
    return [HOST, (b"origin", origin), *others]


def preflight_from(origin: bytes, method: bytes = b"POST", names: bytes = b"authorization,content-type") -> Headers:
    return asked_from(origin, (b"access-control-request-method", method), (b"access-control-request-headers", names))


def verdict(guard: Guard, headers: Headers, *, tokens_in_force: bool) -> str:
    try:
        guard.check(headers, tokens_in_force)
    except GatewayError as error:
        return answer_to(error).code
    return "in"


def test_without_origins_the_gateway_says_nothing_of_cors() -> None:
    assert NO_CORS.headers_for(asked_from(PAGE)) == []
    assert NO_CORS.preflight(CHAT, preflight_from(PAGE)) is None


def test_a_named_origin_may_read_answers_and_their_id() -> None:
    assert Cors([PAGE.decode()]).headers_for(asked_from(PAGE)) == [
        (b"access-control-allow-origin", PAGE),
        (b"access-control-expose-headers", b"X-Request-Id, Retry-After"),
        (b"vary", b"Origin"),
    ]


@pytest.mark.parametrize(
    "origin",
    [
        b"https://evil.example",
        b"http://chat.example",
        b"https://chat.example:444",
        b"https://chat.example.evil",
        b"null",
    ],
)
def test_any_other_origin_only_learns_that_answers_differ(origin: bytes) -> None:
    assert Cors([PAGE.decode()]).headers_for(asked_from(origin)) == [(b"vary", b"Origin")]
    assert Cors([PAGE.decode()]).headers_for([HOST]) == [(b"vary", b"Origin")]


@pytest.mark.parametrize("origins", [["*"], ["*", "https://chat.example"], ["https://chat.example"]])
@pytest.mark.parametrize("origin", [PAGE, b"https://evil.example"])
def test_credentials_are_never_allowed(origins: list[str], origin: bytes) -> None:
    cors = Cors(origins)
    answers = [*cors.headers_for(asked_from(origin))]
    try:
        preflight = cors.preflight(CHAT, preflight_from(origin))
    except OriginNotAllowed:
        preflight = None
    if preflight:
        answers += preflight.headers
    assert b"access-control-allow-credentials" not in dict(answers)


def test_a_star_lets_every_page_in_where_it_is_spelled_out() -> None:
    cors = Cors(["*"])
    assert dict(cors.headers_for(asked_from(b"https://any.example")))[b"access-control-allow-origin"] == b"*"
    assert cors.preflight(CHAT, preflight_from(b"https://any.example"))
    assert verdict(Guard((), cors), asked_from(b"https://any.example"), tokens_in_force=False) == "in"


def test_a_browser_that_asks_first_is_told_what_it_may_send() -> None:
    names = b"authorization,x-api-key,content-type,anthropic-version,x-stainless-os"
    answer = Cors([PAGE.decode()]).preflight(CHAT, preflight_from(PAGE, names=names))
    assert answer
    assert (answer.status, answer.body) == (204, b"")
    assert dict(answer.headers) == {
        b"access-control-allow-origin": PAGE,
        b"access-control-expose-headers": b"X-Request-Id, Retry-After",
        b"access-control-allow-methods": b"POST",
        b"access-control-allow-headers": names,
        b"access-control-max-age": b"600",
        b"vary": b"Origin",
    }


@pytest.mark.parametrize(
    ("path", "method"), [(b"/v1/models", b"GET"), (b"/v1/models/org%2Fmodel", b"GET"), (b"/v1/messages", b"POST")]
)
def test_the_method_that_is_allowed_is_that_of_the_route(path: bytes, method: bytes) -> None:
    answer = Cors([PAGE.decode()]).preflight(path, preflight_from(PAGE, b"DELETE"))
    assert answer
    assert dict(answer.headers)[b"access-control-allow-methods"] == method


def test_what_is_no_question_of_a_browser_is_like_any_other_request() -> None:
    cors = Cors([PAGE.decode()])
    assert cors.preflight(b"/nowhere", preflight_from(PAGE)) is None
    assert cors.preflight(CHAT, asked_from(PAGE)) is None
    assert cors.preflight(CHAT, [HOST, (b"access-control-request-method", b"POST")]) is None


def test_a_browser_that_asks_for_another_page_is_refused() -> None:
    with pytest.raises(OriginNotAllowed):
        Cors([PAGE.decode()]).preflight(CHAT, preflight_from(b"https://evil.example"))


@settings(deadline=None)
@given(st.binary())
def test_names_of_headers_are_repeated_only_where_they_are_names(names: bytes) -> None:
    answer = Cors(["*"]).preflight(CHAT, preflight_from(PAGE, names=names))
    assert answer
    repeated = dict(answer.headers).get(b"access-control-allow-headers", b"")
    assert repeated in (names, b"")
    assert repeated.isascii()
    assert not set(repeated) & set(b'\r\n\0"\\<>:;()')


@pytest.mark.parametrize(
    "host",
    [
        b"127.0.0.1",
        b"127.0.0.1:8000",
        b"192.168.1.20:8000",
        b"[::1]",
        b"[::1]:8000",
        b"[2001:db8::7]:8000",
        b"localhost",
        b"LocalHost:8000",
        b"localhost.:8000",
        b"app.localhost:8000",
        b"gateway",
        b"gpu_box-2:8000",
        b"host.docker.internal:8000",
    ],
)
def test_an_open_gateway_answers_to_addresses_and_to_names_that_nobody_can_register(host: bytes) -> None:
    guard = Guard((), NO_CORS)
    for _ in range(2):
        assert verdict(guard, [(b"host", host)], tokens_in_force=False) == "in"


REBOUND = [
    b"evil.example",
    b"evil.example:8000",
    b"evil.example.",
    b"127.0.0.1.evil.example",
    b"localhost.evil.example",
    b"evillocalhost.example",
    b"host.docker.internal.evil.example",
    b"127.0.0.1.nip.io",
    b"999.0.0.1",
    b"127.1",
    b"[::1].evil.example",
    b"[evil.example]",
    b"[::1",
    b"user@127.0.0.1",
    b"127.0.0.1:8000:1",
    b"127.0.0.1/evil",
    b"evil\xff",
    b"",
    b" ",
    b".",
]


@pytest.mark.parametrize("host", REBOUND)
def test_an_open_gateway_does_not_answer_to_names_that_others_may_point_at_it(host: bytes) -> None:
    guard = Guard((), NO_CORS)
    for _ in range(2):
        assert verdict(guard, [(b"host", host)], tokens_in_force=False) == "host_not_allowed"


def test_names_that_the_operator_lists_are_answered_to_with_any_port_and_in_any_case() -> None:
    guard = Guard(["gpu.example.com"], NO_CORS)
    for host in (b"gpu.example.com", b"gpu.example.com:8000", b"GPU.Example.com"):
        assert verdict(guard, [(b"host", host)], tokens_in_force=False) == "in"
    for host in (b"x.gpu.example.com", b"gpu.example.com.evil.example", b"example.com"):
        assert verdict(guard, [(b"host", host)], tokens_in_force=False) == "host_not_allowed"


@pytest.mark.parametrize("host", [host for host in REBOUND if host])
def test_a_token_proves_enough_unless_hosts_are_listed(host: bytes) -> None:
    headers = [(b"host", host), (b"origin", b"https://evil.example")]
    assert verdict(Guard((), NO_CORS), headers, tokens_in_force=True) == "in"
    assert verdict(Guard(["gpu.example.com"], NO_CORS), headers, tokens_in_force=True) == "host_not_allowed"


def test_an_old_client_without_a_host_is_let_in_unless_hosts_are_listed() -> None:
    assert verdict(Guard((), NO_CORS), [], tokens_in_force=False) == "in"
    assert verdict(Guard(["gpu.example.com"], NO_CORS), [], tokens_in_force=False) == "host_not_allowed"


@pytest.mark.parametrize("tokens_in_force", [False, True])
def test_two_hosts_are_one_too_many_whoever_asks(tokens_in_force: bool) -> None:
    with pytest.raises(HostRepeated):
        Guard((), NO_CORS).check([HOST, HOST], tokens_in_force)


@pytest.mark.parametrize(
    "origin",
    [
        b"https://evil.example",
        b"null",
        b"http://127.0.0.1:8001",
        b"http://127.0.0.1",
        b"http://localhost:8000",
        b"app://127.0.0.1:8000",
        b"http://127.0.0.1:8000.evil.example",
        b"",
    ],
)
def test_an_open_gateway_does_not_take_what_pages_of_others_send(origin: bytes) -> None:
    assert verdict(Guard((), NO_CORS), asked_from(origin), tokens_in_force=False) == "origin_not_allowed"
    assert verdict(Guard((), NO_CORS), asked_from(origin), tokens_in_force=True) == "in"


def test_an_open_gateway_takes_what_its_own_pages_and_those_that_cors_names_send() -> None:
    guard = Guard((), Cors([PAGE.decode()]))
    assert verdict(guard, asked_from(b"http://127.0.0.1:8000"), tokens_in_force=False) == "in"
    assert verdict(guard, [(b"host", b"gpu"), (b"origin", b"https://GPU")], tokens_in_force=False) == "in"
    assert verdict(guard, asked_from(PAGE), tokens_in_force=False) == "in"


def test_a_page_whose_own_name_points_at_the_gateway_is_not_its_own() -> None:
    rebound = [(b"host", b"evil.example:8000"), (b"origin", b"http://evil.example:8000")]
    with pytest.raises(HostNotAllowed):
        Guard((), Cors(["*"])).check(rebound, tokens_in_force=False)


def test_hosts_that_are_remembered_are_bounded() -> None:
    guard = Guard((), NO_CORS)
    for number in range(5000):
        assert verdict(guard, [(b"host", b"name-%d" % number)], tokens_in_force=False) == "in"
    assert len(guard._good_hosts) == 1024
