import json
from dataclasses import replace

import pytest

from pmp_gateway.failures import GatewayError, RateLimited, TooManyConcurrent, answer_to
from pmp_gateway.limits import TokenLimits
from pmp_gateway.token_file import Token
from tests.unit.gateway.clock import Clock

ADA = Token("ada", b"a" * 32)
BOB = Token("bob", b"b" * 32)


@pytest.fixture
def clock() -> Clock:
    return Clock()


def admitted(limits: TokenLimits, token: Token | None, requests: int, host: str | None = None) -> int:
    """How many of so many short requests are let in."""
    count = 0
    for _ in range(requests):
        try:
            limits.enter(token, host)
        except RateLimited:
            continue
        limits.leave(token, host)
        count += 1
    return count


def refusal(limits: TokenLimits, token: Token | None, host: str | None = None) -> tuple[int, str, str, int]:
    """Status, code, message and Retry-After of the answer."""
    with pytest.raises(GatewayError) as caught:
        limits.enter(token, host)
    answer = answer_to(caught.value)
    error = json.loads(answer.body)["error"]
    return answer.status, error["code"], error["message"], int(dict(answer.headers)[b"retry-after"])


def test_without_limits_everything_passes_and_nothing_is_kept(clock: Clock) -> None:
    limits = TokenLimits(clock=clock)
    assert admitted(limits, ADA, 10_000) == 10_000
    assert admitted(limits, None, 10_000, "192.0.2.1") == 10_000
    assert not limits._busy
    assert not limits._idle


def test_a_minutes_requests_may_come_at_once_and_the_next_ones_as_time_passes(clock: Clock) -> None:
    limits, ada = TokenLimits(clock=clock), replace(ADA, requests_per_minute=12)
    assert admitted(limits, ada, 20) == 12

    status, code, message, retry_after = refusal(limits, ada)
    assert (status, code, retry_after) == (429, "rate_limited", 5)
    assert message.startswith("This token may make 12 request(s) a minute")
    clock.now += retry_after
    assert admitted(limits, ada, 20) == 1
    clock.now += 3600
    assert admitted(limits, ada, 20) == 12


@pytest.mark.parametrize("per_minute", [1, 3, 7, 59, 1000, 999_999])
def test_who_waits_as_long_as_told_is_let_in(clock: Clock, per_minute: int) -> None:
    limits, ada = TokenLimits(clock=clock), replace(ADA, requests_per_minute=per_minute)
    for _ in range(3):
        with pytest.raises(RateLimited) as caught:
            for _ in range(per_minute + 1):
                limits.enter(ada)
                limits.leave(ada)
        clock.now += int(dict(caught.value.headers)[b"retry-after"])
        limits.enter(ada)
        limits.leave(ada)


def test_over_an_hour_the_rate_is_kept(clock: Clock) -> None:
    limits, ada = TokenLimits(clock=clock), replace(ADA, requests_per_minute=30)
    count = 0
    for _ in range(3600):
        clock.now += 1
        count += admitted(limits, ada, 2)
    assert 30 * 60 <= count <= 30 * 61


def test_requests_at_a_time_are_counted_until_they_end(clock: Clock) -> None:
    limits, ada = TokenLimits(clock=clock), replace(ADA, max_concurrent=2)
    limits.enter(ada)
    limits.enter(ada)
    status, code, message, _ = refusal(limits, ada)
    assert (status, code) == (429, "too_many_concurrent")
    assert message.startswith("This token may have 2 request(s) at a time")
    limits.enter(BOB)
    limits.leave(ada)
    limits.enter(ada)
    with pytest.raises(TooManyConcurrent):
        limits.enter(ada)


def test_a_request_refused_for_one_limit_does_not_use_up_the_other(clock: Clock) -> None:
    limits, ada = TokenLimits(clock=clock), replace(ADA, requests_per_minute=3, max_concurrent=1)
    limits.enter(ada)
    for _ in range(10):
        with pytest.raises(TooManyConcurrent):
            limits.enter(ada)
    limits.leave(ada)
    assert admitted(limits, ada, 10) == 2
    for _ in range(10):
        with pytest.raises(RateLimited):
            limits.enter(ada)
    clock.now += 60
    limits.enter(ada)
    limits.leave(ada)


def test_a_changed_limit_counts_at_once_for_what_already_runs(clock: Clock) -> None:
    limits = TokenLimits(clock=clock)
    limits.enter(ADA)
    limits.enter(ADA)
    with pytest.raises(TooManyConcurrent):
        limits.enter(replace(ADA, max_concurrent=2))
    limits.leave(ADA)
    limits.enter(replace(ADA, max_concurrent=2))

    fast, slow = replace(BOB, requests_per_minute=600), replace(BOB, requests_per_minute=2)
    assert admitted(limits, fast, 1) == 1
    assert admitted(limits, slow, 10) == 2


def test_defaults_are_for_whoever_has_no_limits_of_their_own(clock: Clock) -> None:
    limits = TokenLimits(requests_per_minute=5, max_concurrent=1, clock=clock)
    assert admitted(limits, ADA, 10) == 5
    assert admitted(limits, replace(BOB, requests_per_minute=7), 10) == 7
    free = Token("free", b"f" * 32, requests_per_minute=0, max_concurrent=0)
    for _ in range(100):
        limits.enter(free)


def test_an_open_gateway_counts_by_address(clock: Clock) -> None:
    limits = TokenLimits(requests_per_minute=5, max_concurrent=2, clock=clock)
    assert admitted(limits, None, 10, "192.0.2.1") == 5
    assert admitted(limits, None, 10, "192.0.2.2") == 5
    assert admitted(limits, None, 10, "2001:db8::1") == 5
    assert admitted(limits, None, 10, "2001:db8::2") == 0
    assert refusal(limits, None, "192.0.2.1")[2].startswith("This address may make 5 request(s) a minute")
    clock.now += 60
    limits.enter(None, "192.0.2.1")
    limits.enter(None, "192.0.2.1")
    assert refusal(limits, None, "192.0.2.1")[1] == "too_many_concurrent"


def test_memory_stays_bounded_and_what_runs_is_not_forgotten(clock: Clock) -> None:
    limits = TokenLimits(requests_per_minute=5, max_concurrent=1, clock=clock)
    limits.enter(None, "192.0.2.1")
    for number in range(20_000):
        admitted(limits, None, 1, f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}")
    assert len(limits._idle) < 5000
    with pytest.raises(TooManyConcurrent):
        limits.enter(None, "192.0.2.1")
