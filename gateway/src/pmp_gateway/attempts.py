"""Slows down whoever guesses tokens, without locking out those who already showed a right one."""

import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field

from pmp_gateway.addresses import client_key
from pmp_gateway.failures import TooManyAttempts

_ANSWERED_AT_ONCE = 5
_FIRST_DELAY_SECONDS = 0.1
_LONGEST_DELAY_SECONDS = 2.0
_FORGIVE_ONE_AFTER_SECONDS = 10.0
# More would not delay any longer, and would only be held against the address for longer.
_MOST_COUNTED = 12.0
_MOST_DELAYED_AT_A_TIME = 8
_MOST_ADDRESSES = 4096
_MOST_PROVEN = 4096


@dataclass(slots=True)
class _Record:
    """`delayed_until` is in order, since the delays cannot shrink as fast as they pass."""

    failures: float
    counted_at: float
    delayed_until: deque[float] = field(default_factory=deque)


class Attempts:
    """What each address failed lately. Memory is bounded: the addresses and tokens seen last are kept.

    A wrong token's answer is held back for longer and longer. While as many answers as allowed are held back for one
    address, nobody there may try another token, right or wrong: or else trying many at a time would be as fast as
    before. A token that was right from that address before is no guess, and passes.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._records: OrderedDict[str, _Record] = OrderedDict()
        self._proven: OrderedDict[tuple[str, bytes], None] = OrderedDict()

    def check(self, host: str | None, digest: bytes) -> None:
        """Raises TooManyAttempts where a token may not even be tried now."""
        key = client_key(host)
        record = self._records.get(key)
        if record is None or not record.delayed_until or (key, digest) in self._proven:
            return
        now = self._clock()
        _forget_answered(record, now)
        if len(record.delayed_until) >= _MOST_DELAYED_AT_A_TIME:
            raise TooManyAttempts(retry_after_seconds=record.delayed_until[0] - now)

    def failed(self, host: str | None, digest: bytes) -> float:
        """Counts a wrong token; returns for how many seconds its answer is to be held back."""
        key, now = client_key(host), self._clock()
        self._proven.pop((key, digest), None)
        record = self._records.get(key)
        if record is None:
            record = self._records[key] = _Record(0.0, now)
            if len(self._records) > _MOST_ADDRESSES:
                self._records.popitem(last=False)
        self._records.move_to_end(key)
        forgiven = (now - record.counted_at) / _FORGIVE_ONE_AFTER_SECONDS
        record.failures = min(max(0.0, record.failures - forgiven) + 1, _MOST_COUNTED)
        record.counted_at = now
        delay_seconds = _delay_seconds(record.failures)
        if delay_seconds:
            _forget_answered(record, now)
            record.delayed_until.append(now + delay_seconds)
        return delay_seconds

    def succeeded(self, host: str | None, digest: bytes) -> None:
        pair = (client_key(host), digest)
        self._proven[pair] = None
        self._proven.move_to_end(pair)
        if len(self._proven) > _MOST_PROVEN:
            self._proven.popitem(last=False)


def _forget_answered(record: _Record, now: float) -> None:
    while record.delayed_until and record.delayed_until[0] <= now:
        record.delayed_until.popleft()


def _delay_seconds(failures: float) -> float:
    over = failures - _ANSWERED_AT_ONCE
    if over <= 0:
        return 0.0
    delay: float = _FIRST_DELAY_SECONDS * 2 ** (over - 1)
    return min(delay, _LONGEST_DELAY_SECONDS)
