"""A streamed answer: in pieces, soon, and whole to its end."""

from pmpctl.smoke.api import Api
from pmpctl.smoke.check import Failed, Passed, Skipped, Warned
from pmpctl.smoke.quick_answers import LONG_ANSWER
from pmpctl.smoke.stream import ChatStream

_TOKENS = 32
_SLOW_FIRST_TOKEN_SECONDS = 10.0
# No engine is faster; what a proxy has gathered comes as fast as it can be read.
_MOST_CHUNKS_PER_SECOND = 5000
_MORE_LOOKS = 5
_TELLING_CHUNKS = 8
_TELLING_SECONDS = 0.5
_PATIENCE_SECONDS = 10.0
_CURE = "The end of the stream is lost on the way: see what stands between, and the engine's log."


def in_chunks(api: Api) -> Passed:
    stream, waited_seconds = _read(api), 0.0
    for look in range(1, _MORE_LOOKS + 1):
        waited_seconds += stream.arrivals[-1]
        if not _is_lump(stream) or waited_seconds > _PATIENCE_SECONDS:
            break
        # It may be us who come late, on a busy machine, to a short answer; what gathers streams does so at any length.
        stream = _read(api, _TOKENS << look)
    first, last, count = stream.arrivals[0], stream.arrivals[-1], len(stream.arrivals)
    generated = max(count, (stream.usage or {}).get("completion_tokens", 0))
    if generated < _TELLING_CHUNKS or (_is_lump(stream) and last < _TELLING_SECONDS):
        raise Skipped(f"{generated} tokens in {last * 1000:.0f} ms tell nothing of it")
    if _is_lump(stream):
        raise Failed(
            f"the stream came in one lump of {count} chunks after {last:.2f} s",
            "A proxy gathers the answer: switch its buffering off (nginx: proxy_buffering off).",
        )
    rate = (generated - 1) / (last - first)
    return Passed(f"{count} chunks, {rate:.0f} tokens/s", {"tokens_per_second": rate})


def _is_lump(stream: ChatStream) -> bool:
    spread, count = stream.arrivals[-1] - stream.arrivals[0], len(stream.arrivals)
    return count == 1 or spread < (count - 1) / _MOST_CHUNKS_PER_SECOND


def first_token(api: Api) -> Passed:
    seconds = _read(api).arrivals[0]
    if seconds > _SLOW_FIRST_TOKEN_SECONDS:
        raise Warned(
            f"the first token came after {seconds:.1f} s",
            "See whether others keep the engine busy (`pmpctl status`); proxies and clients may give up waiting.",
        )
    return Passed(f"{seconds * 1000:.0f} ms", {"first_token_ms": seconds * 1000})


def end(api: Api) -> Passed:
    stream = _read(api)
    if stream.finish_reason is None:
        raise Failed("the stream ends without a finish_reason", _CURE)
    if not stream.done:
        raise Failed("the stream ends without [DONE]", _CURE)
    return Passed(f"finish_reason {stream.finish_reason}, [DONE]")


def usage(api: Api) -> Passed:
    stream = _read(api)
    if not stream.usage:
        raise Failed(
            "the stream has no usage, though stream_options.include_usage asks for it",
            "Take a newer engine, or a gateway that passes stream_options on: agents count their context by it.",
        )
    return Passed(f"{stream.usage.get('completion_tokens', 0)} tokens")


def _read(api: Api, tokens: int = _TOKENS) -> ChatStream:
    limit = api.target.max_model_len
    most = tokens if limit is None else min(tokens, max(1, limit // 2))
    options = {"max_tokens": most, "temperature": 0, "stream_options": {"include_usage": True}}
    with api.stream_chat(LONG_ANSWER, **options) as stream:
        return stream.read_all()
