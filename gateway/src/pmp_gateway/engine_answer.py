"""What the gateway reads in the engine's answers, by byte search: whether they were cut off, and the tokens they cost.

A quote inside a JSON string is escaped, so none of these marks can be part of a text that the model wrote.
"""

import re

# An engine that is stopped ends what it was doing with these instead of failing.
_ABORTED = re.compile(rb'"(?:finish_reason|stop_reason)":\s?"abort"')
_USAGE = b'"usage":'
_PROMPT_TOKENS = re.compile(rb'"(?:prompt_tokens|input_tokens)":\s?(\d{1,12})')
_COMPLETION_TOKENS = re.compile(rb'"(?:completion_tokens|output_tokens)":\s?(\d{1,12})')


def is_cut_off(data: bytes) -> bool:
    return b'"abort"' in data and _ABORTED.search(data) is not None


def tokens_in(data: bytes) -> tuple[int | None, int | None]:
    """Prompt and completion tokens as far as the data states them; the last statement of usage counts."""
    at = data.rfind(_USAGE)
    if at < 0:
        return None, None
    return _number(_PROMPT_TOKENS.search(data, at)), _number(_COMPLETION_TOKENS.search(data, at))


def _number(found: re.Match[bytes] | None) -> int | None:
    return int(found[1]) if found else None
