"""Server-sent events of a whole body, for the APIs whose events have names and an order."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pmpctl.smoke.answer import Answer, excerpt
from pmpctl.smoke.check import Failed
from pmpctl.smoke.faults import API_CURE, BROKEN_STREAM_CURE


@dataclass(frozen=True, slots=True)
class NamedEvent:
    name: str
    data: dict[str, Any]


def named_events(answer: Answer) -> list[NamedEvent]:
    """All events; raises Failed for what is no stream, and where a name and the `type` in the data differ."""
    return list(_parse(answer.require_stream()))


def _parse(answer: Answer) -> Iterator[NamedEvent]:
    name, lines = "", list[str]()
    for line in re.split(r"\r?\n", answer.body.decode(errors="replace") + "\n\n"):
        if line.startswith("event:"):
            name = line.removeprefix("event:").strip()
        elif line.startswith("data:"):
            lines.append(line.removeprefix("data:").removeprefix(" "))
        elif not line and lines:
            # Some end these streams too as they end a chat's; the clients take no notice.
            if (text := "\n".join(lines)) != "[DONE]":
                yield _event(answer.asked, name, text)
            name, lines = "", []


def _event(asked: str, name: str, text: str) -> NamedEvent:
    try:
        data = json.loads(text)
        kind = data["type"]
    except (ValueError, TypeError, KeyError) as error:
        raise Failed(
            f"{asked}: an event of the stream is none of this API: {excerpt(text.encode())!r}", API_CURE
        ) from error
    if name != kind:
        raise Failed(f"{asked}: an event is named {name!r}, and its data says {kind!r}", API_CURE)
    if kind in ("error", "response.failed"):
        said = excerpt(text.encode(), 400)
        raise Failed(f"{asked}: the stream broke off with an error: {said}", BROKEN_STREAM_CURE)
    return NamedEvent(name, data)
