"""The first error lines of an engine that did not start: the cause stands there, not at the end."""

import re
from collections.abc import Iterable

from pmpctl.diagnosis.log_lines import clean, level

# What vLLM says after the fact: true, and never the cause.
_NEVER_CAUSES = (
    "Engine core initialization failed",
    "Engine process failed to start",
    "WorkerProc initialization failed",
    "WorkerProc hit an exception",
    "EngineCore failed to start",
    "EngineCore hit an exception",
    "EngineDeadError",
    "Got fatal signal",
    "error waiting for container",
    "Exception ignored in",
    "destroy_process_group",
)

_EXCEPTION = re.compile(
    r"^(?:[A-Za-z_]\w*\.)*[A-Z]\w*(?:Error|Exception|Interrupt|Failure|Exit|Incomplete)\b(?:: .+)?$"
)
_PLAIN = re.compile(
    r"(?:^|\s)error: .+|^Killed$|^Bus error|^Segmentation fault|No space left on device"
    r"|Error response from daemon: .+|^Value error, .+",
    re.IGNORECASE,
)
_TRACE = re.compile(r"^\s*(?:File \"|Traceback |\^+$|[~^]+$|During handling|The above exception)")


def first_error_lines(lines: Iterable[str], limit: int = 6) -> tuple[str, ...]:
    """The message of the first specific exception, or else the first lines that read like an error, or the last output.

    At most `limit` lines; an exception's message is followed over its continuation lines.
    """
    cleaned = [(level(line), clean(line)) for line in lines]
    texts = [text for _, text in cleaned]
    for index, text in enumerate(texts):
        if _is_cause(text) and (_EXCEPTION.match(text) or _PLAIN.search(text)):
            return _with_continuation(texts, index, limit)
    errors = [text for rank, text in cleaned if rank in ("ERROR", "CRITICAL") and _is_cause(text)]
    if errors:
        return tuple(errors[:limit])
    return tuple([text for text in texts if text.strip()][-limit:])


def _is_cause(text: str) -> bool:
    return bool(text.strip()) and not _TRACE.match(text) and not any(never in text for never in _NEVER_CAUSES)


def _with_continuation(texts: list[str], index: int, limit: int) -> tuple[str, ...]:
    found = [texts[index].strip()]
    for text in texts[index + 1 :]:
        if len(found) >= limit or not text.startswith((" ", "\t")) or _TRACE.match(text):
            break
        found.append(text.strip())
    return tuple(found)
