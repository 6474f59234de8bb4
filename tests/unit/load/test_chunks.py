"""A stream taken apart as it arrives, whatever pieces the network makes of it."""

import json
from typing import Any

import pytest

from pmpctl.load.chunks import BrokenStream, ChunkReader


def event(delta: dict[str, Any], finish_reason: str | None = None) -> bytes:
    chunk = {"choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}]}
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"


DONE = b"data: [DONE]\n\n"
USAGE = b'data: {"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 3}}\r\n\r\n'


def test_the_first_token_is_the_first_chunk_with_something_in_it() -> None:
    reader = ChunkReader()

    reader.take(1.0, event({"role": "assistant", "content": ""}))
    reader.take(2.0, event({"content": "Hel"}))
    reader.take(3.0, event({"content": "lo"}, "stop") + USAGE + DONE)
    reader.finish()

    assert reader.arrivals == [2.0, 3.0]
    assert (reader.prompt_tokens, reader.output_tokens) == (7, 3)


@pytest.mark.parametrize("delta", [{"reasoning": "Hm"}, {"reasoning_content": "Hm"}, {"tool_calls": [{"index": 0}]}])
def test_thoughts_and_tool_calls_are_tokens_too(delta: dict[str, Any]) -> None:
    reader = ChunkReader()

    reader.take(1.0, event(delta))

    assert reader.arrivals == [1.0]


def test_a_token_without_text_counts_after_the_first_and_a_bare_end_does_not() -> None:
    silent, bare = ChunkReader(), ChunkReader()

    for reader, last in ((silent, {"content": ""}), (bare, {})):
        reader.take(1.0, event({"content": "Hello"}))
        reader.take(2.0, event(last, "length") + DONE)
        reader.finish()

    assert silent.arrivals == [1.0, 2.0]
    assert bare.arrivals == [1.0]


def test_events_may_be_cut_anywhere_and_comments_stand_between() -> None:
    reader = ChunkReader()
    stream = b": waiting\n\n" + event({"content": "Hé"}) + event({"content": "llo"}, "stop") + DONE

    for moment, index in enumerate(range(0, len(stream), 5)):
        reader.take(float(moment), stream[index : index + 5])
    reader.finish()

    assert len(reader.arrivals) == 2


@pytest.mark.parametrize(
    ("stream", "kind"),
    [
        (event({"content": "Hel"}), "broken stream"),
        (b"", "broken stream"),
        (b"data: {broken\n\n", "broken stream"),
        (b'data: {"choices": 3}\n\n', "broken stream"),
        (event({"content": ""}, "stop") + DONE, "empty answer"),
        (event({"content": "Hel"}) + event({}, "abort") + DONE, "aborted"),
        (b'data: {"error": {"message": "EngineDeadError"}}\n\n', "error in the stream"),
    ],
)
def test_each_way_to_break_is_a_kind_of_its_own(stream: bytes, kind: str) -> None:
    reader = ChunkReader()

    with pytest.raises(BrokenStream) as broken:
        reader.take(1.0, stream)
        reader.finish()

    assert broken.value.kind == kind


def test_an_event_without_end_is_given_up() -> None:
    reader = ChunkReader()

    with pytest.raises(BrokenStream):
        for _ in range(3):
            reader.take(1.0, b"data: " + b"x" * (1 << 19))
