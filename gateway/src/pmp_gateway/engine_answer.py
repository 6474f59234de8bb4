"""What the gateway reads in the engine's answers, by byte search: whether they were cut off, and the tokens they cost.

A quote inside a JSON string is escaped, so none of these marks can be part of a text that the model wrote.
"""

import re

_MESSAGES = b"/v1/messages"
_RESPONSES = b"/v1/responses"
_EMBEDDINGS = b"/v1/embeddings"
# An engine that is stopped ends what it was doing with this instead of failing. (Its "stop_reason" may well be "abort":
# there that is the stop string of the client's own that was met.)
_ABORTED = re.compile(rb'"finish_reason":\s?"abort"')
# In Anthropic's form it gives no reason at all.
_MESSAGE = re.compile(rb'"type":\s?"message"')
_REASON = re.compile(rb'"stop_reason":\s?"')
_END_WITHOUT_REASON = re.compile(rb'"message_delta",\s?"delta":\s?\{"stop_reason":\s?null')
# A response it calls completed all the same, without a single token; with some there is nothing to tell it by.
_NO_TOKENS = re.compile(rb'"output_tokens":\s?0[,}]')
_CANCELLED = re.compile(rb'"service_tier":\s?"\w+",\s?"status":\s?"cancelled"')
_NO_NUMBERS = re.compile(rb'"embedding":\s?(?:\[\]|"")')
_EVENT = re.compile(rb".*?(?:\n\n|\r\n\r\n)", re.DOTALL)
_USAGE = b'"usage":'
_PROMPT_TOKENS = re.compile(rb'"(?:prompt_tokens|input_tokens)":\s?(\d{1,12})')
_COMPLETION_TOKENS = re.compile(rb'"(?:completion_tokens|output_tokens)":\s?(\d{1,12})')


def is_cut_off(body: bytes, raw_path: bytes) -> bool:
    """Whether the engine broke off what it calls a good answer."""
    if raw_path == _MESSAGES:
        return _MESSAGE.search(body) is not None and _REASON.search(body) is None
    return _says_abort(body, raw_path)


def has_cut_off_event(events: bytes, raw_path: bytes) -> bool:
    """The same for events of a stream."""
    if raw_path == _MESSAGES:
        return _END_WITHOUT_REASON.search(events) is not None
    return _says_abort(events, raw_path)


def good_events(events: bytes, raw_path: bytes) -> bytes:
    """Those before the one that was cut off."""
    good = b""
    for event in _EVENT.findall(events):
        if has_cut_off_event(event, raw_path):
            break
        good += event
    return good


def tokens_in(data: bytes) -> tuple[int | None, int | None]:
    """Prompt and completion tokens as far as the data states them; the last statement of usage counts."""
    at = data.rfind(_USAGE)
    if at < 0:
        return None, None
    return _number(_PROMPT_TOKENS.search(data, at)), _number(_COMPLETION_TOKENS.search(data, at))


def _says_abort(data: bytes, raw_path: bytes) -> bool:
    if raw_path == _RESPONSES:
        return _NO_TOKENS.search(data) is not None or _CANCELLED.search(data) is not None
    if raw_path == _EMBEDDINGS:
        return _NO_NUMBERS.search(data) is not None
    return b'"abort"' in data and _ABORTED.search(data) is not None


def _number(found: re.Match[bytes] | None) -> int | None:
    return int(found[1]) if found else None
