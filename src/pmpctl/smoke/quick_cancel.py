"""Whether a client that leaves frees the engine: by the engine's own count if it tells, else by the next answer."""

import re
from dataclasses import dataclass, replace

from pmpctl.smoke.api import Api
from pmpctl.smoke.check import Failed, Passed
from pmpctl.smoke.quick_answers import LONG_ANSWER, short_chat

_TOKENS = 1000
_SLOWER_AFTERWARDS = 5
_SLOWER_AFTERWARDS_SECONDS = 1
# The engine may hear of it a moment later than we left.
_LOOKS = 3
_METRICS_SECONDS = 5.0
_IN_WORK = re.compile(r"^vllm:num_requests_(?:running|waiting)(?:\{.*\})? (\S+)$", re.MULTILINE)
_CURE = "The engine goes on for clients that are gone: a proxy that buffers keeps the connection open."


@dataclass(frozen=True, slots=True)
class _Left:
    """What was seen before and after a client left; how many requests are in work is None where nobody tells."""

    before_seconds: float
    after_seconds: float
    in_work_before: int | None
    in_work_after: int | None

    @property
    def is_more_in_work(self) -> bool:
        return self.in_work_before is not None and (self.in_work_after or 0) > self.in_work_before

    @property
    def is_slower(self) -> bool:
        return self.after_seconds > _SLOWER_AFTERWARDS * self.before_seconds + _SLOWER_AFTERWARDS_SECONDS


def cancel(api: Api) -> Passed:
    left = _leave(api)
    # Told of an engine only that had no other clients: theirs come and go.
    goes_on = left.is_more_in_work and left.in_work_before == 0
    if goes_on or left.is_slower:
        # Others may have come in between; an engine that goes on for those who left does so each time.
        left = _leave(api)
    if goes_on and left.is_more_in_work:
        raise Failed(f"after each client that left, one request more is in work: {left.in_work_after} by now", _CURE)
    if left.is_slower:
        after, before = left.after_seconds, left.before_seconds
        raise Failed(f"after a client that left, the next answer took {after:.1f} s, not {before:.1f} s", _CURE)
    free = ", no request in work" if left.in_work_after == 0 else ""
    return Passed(f"{left.after_seconds:.1f} s for the next answer{free}")


def _leave(api: Api) -> _Left:
    before_seconds = short_chat(api).seconds
    in_work_before = _in_work(api)
    limit = api.target.max_model_len
    tokens = _TOKENS if limit is None else min(_TOKENS, max(1, limit // 2))
    with api.stream_chat(LONG_ANSWER, max_tokens=tokens, temperature=0) as stream:
        next(iter(stream))
    after_seconds = short_chat(api).seconds
    in_work_after = None if in_work_before is None else _in_work(api)
    for _ in range(_LOOKS - 1):
        if not in_work_after:
            break
        # The engine counts at its steps, and takes none when requests are given up.
        short_chat(api)
        in_work_after = _in_work(api)
    return _Left(before_seconds, after_seconds, in_work_before, in_work_after)


def _in_work(api: Api) -> int | None:
    """Of vLLM, as it was at its last step; None where its metrics are not to be read from here."""
    seconds = min(_METRICS_SECONDS, api.target.timeout_seconds)
    engine = replace(api.target, url=api.target.engine_url or api.target.url, timeout_seconds=seconds)
    try:
        with Api(engine) as around:
            answer = around.request("GET", "/metrics", token=None if api.target.engine_url else engine.token)
    except Failed:
        return None
    found = _IN_WORK.findall(answer.body.decode(errors="replace")) if answer.status == 200 else []
    return sum(int(float(count)) for count in found) if found else None
