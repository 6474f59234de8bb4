import pytest

from pmp_gateway.attempts import Attempts
from pmp_gateway.failures import TooManyAttempts, answer_to
from tests.unit.gateway.clock import Clock

HERE = "192.0.2.1"
WRONG, RIGHT = b"wrong" * 6, b"right" * 6


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def attempts(clock: Clock) -> Attempts:
    return Attempts(clock)


def fail_until_blocked(attempts: Attempts, host: str | None = HERE) -> list[float]:
    """The delays of the wrong tokens that were looked at before no more were."""
    delays: list[float] = []
    while len(delays) < 100:
        try:
            attempts.check(host, WRONG)
        except TooManyAttempts:
            return delays
        delays.append(attempts.failed(host, WRONG))
    raise AssertionError("never blocked")


def test_the_first_mistakes_are_answered_at_once_and_then_the_wait_doubles_up_to_two_seconds(
    attempts: Attempts,
) -> None:
    delays = [attempts.failed(HERE, WRONG) for _ in range(12)]
    assert delays == [0, 0, 0, 0, 0, 0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0]


def test_mistakes_are_forgiven_with_time(attempts: Attempts, clock: Clock) -> None:
    for _ in range(100):
        slowest = attempts.failed(HERE, WRONG)
    assert slowest == 2.0
    clock.now += 30
    assert 0 < attempts.failed(HERE, WRONG) < 2.0
    clock.now += 600
    assert attempts.failed(HERE, WRONG) == 0


def test_who_tries_many_at_a_time_is_told_to_wait_until_the_first_answer_is_out(
    attempts: Attempts, clock: Clock
) -> None:
    delays = fail_until_blocked(attempts)
    first_delayed = next(delay for delay in delays if delay)
    with pytest.raises(TooManyAttempts) as refusal:
        attempts.check(HERE, WRONG)
    answer = answer_to(refusal.value)
    assert (answer.status, answer.code) == (429, "too_many_attempts")
    assert (b"retry-after", b"1") in answer.headers

    clock.now += first_delayed
    attempts.check(HERE, WRONG)
    attempts.failed(HERE, WRONG)
    with pytest.raises(TooManyAttempts):
        attempts.check(HERE, WRONG)


def test_an_hour_of_guessing_tries_only_a_few_tokens_a_second(attempts: Attempts, clock: Clock) -> None:
    tried = 0
    for _ in range(36_000):
        clock.now += 0.1
        try:
            attempts.check(HERE, WRONG)
        except TooManyAttempts:
            continue
        attempts.failed(HERE, WRONG)
        tried += 1
    assert tried < 3600 * 5


def test_a_token_that_was_right_from_there_passes_whatever_its_neighbours_do(attempts: Attempts) -> None:
    attempts.succeeded(HERE, RIGHT)
    fail_until_blocked(attempts)
    attempts.check(HERE, RIGHT)
    with pytest.raises(TooManyAttempts):
        attempts.check(HERE, b"as right, but never seen here")


def test_a_revoked_token_loses_that_privilege_with_its_first_failure(attempts: Attempts) -> None:
    attempts.succeeded(HERE, RIGHT)
    fail_until_blocked(attempts)
    attempts.check(HERE, RIGHT)
    attempts.failed(HERE, RIGHT)
    with pytest.raises(TooManyAttempts):
        attempts.check(HERE, RIGHT)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff"),
        ("fe80::1%eth0", "fe80::2%eth0"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        (None, None),
    ],
)
def test_addresses_of_one_home_count_as_one(attempts: Attempts, one: str | None, other: str | None) -> None:
    fail_until_blocked(attempts, one)
    with pytest.raises(TooManyAttempts):
        attempts.check(other, WRONG)


@pytest.mark.parametrize(
    ("one", "other"), [("192.0.2.1", "192.0.2.2"), ("2001:db8:1:2::1", "2001:db8:1:3::1"), ("192.0.2.1", None)]
)
def test_others_are_not_held_responsible(attempts: Attempts, one: str, other: str | None) -> None:
    fail_until_blocked(attempts, one)
    attempts.check(other, WRONG)
    assert attempts.failed(other, WRONG) == 0


def test_memory_stays_bounded_and_the_latest_offender_is_remembered(attempts: Attempts) -> None:
    for number in range(20_000):
        host = f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"
        attempts.failed(host, WRONG)
        attempts.succeeded(host, RIGHT)
    assert len(attempts._records) < 5000
    assert len(attempts._proven) < 5000
    assert [attempts.failed(host, WRONG) for _ in range(5)][-1] > 0
