"""What the engine would fetch from elsewhere, or take as it is."""

import json
from collections.abc import Sequence
from typing import Any

import pytest

from pmp_gateway.failures import FieldNotAllowed
from tests.unit.gateway.body.checks import refused, sent


def _shapes(url: str) -> Sequence[dict[str, Any]]:
    """Every place from which an engine fetches."""
    image = {"type": "image_url", "image_url": {"url": url}}
    anthropic = {"type": "image", "source": {"type": "url", "url": url}}
    return [
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}, image]}]},
        {"messages": [{"role": "user", "content": [{"image_url": url, "uuid": "x"}]}]},
        {"messages": [{"role": "user", "content": [{"type": "url_citation", "image_url": url, "uuid": "x"}]}]},
        {
            "messages": [
                {"role": "user", "content": [{"type": "audio_url", "audio_url": {"url": url, "type": "url_citation"}}]}
            ]
        },
        {"messages": [{"role": "user", "content": [{"type": "video_url", "video_url": {"url": url}}]}]},
        {"messages": [[{"role": "user", "content": [image]}]]},
        {"messages": [{"role": "tool", "tool_call_id": "1", "content": [image]}]},
        {"messages": [{"role": "user", "content": [anthropic]}]},
        {"messages": [{"role": "user", "content": [{"type": "tool_result", "content": [anthropic]}]}]},
        {"system": [anthropic]},
        {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": url}]}]},
        {"input": [{"role": "user", "content": [{"type": "input_file", "file_url": url}]}]},
        {"input": [{"type": "function_call_output", "output": [{"type": "input_image", "image_url": url}]}]},
        {"documents": [{"content": [image]}]},
        {"query": {"content": [image]}},
        {"data_1": {"content": [image]}},
    ]


PLACES = range(len(_shapes("")))


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/a.png",
        "https://10.0.0.1/latest/meta-data",
        "HTTP://example.com",
        "file:///etc/passwd",
        "FILE:/etc/passwd",
        " http://example.com",
        "//example.com/a.png",
        "example.com/a.png",
        "ftp://example.com",
        " data:image/png;base64,AAAA",
    ],
)
def test_media_from_elsewhere_are_refused_wherever_they_stand(place: int, url: str) -> None:
    body = _shapes(url)[place]
    assert isinstance(refused(body), FieldNotAllowed)
    plain = json.dumps(body)
    for name in ("image_url", "audio_url", "video_url", "file_url", "url", "source", "type"):
        escaped = "".join(f"\\u{ord(character):04X}" for character in name)
        assert isinstance(refused(plain.replace(f'"{name}":', f'"{escaped}" :').encode()), FieldNotAllowed)
    doubled = plain.replace(json.dumps(url), json.dumps(url) + ', "url": ' + json.dumps(url))
    assert isinstance(refused(doubled.encode()), FieldNotAllowed)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("url", ["data:image/png;base64,AAAA", "DATA:image/png;base64,AAAA", ""])
def test_media_in_the_request_itself_pass(place: int, url: str) -> None:
    body = _shapes(url)[place]
    assert sent(body) == body


@pytest.mark.parametrize("place", PLACES)
def test_media_of_a_host_on_the_profiles_list_pass(place: int) -> None:
    body = _shapes("https://Media.Example.com:8443/a.png?size=1")[place]
    assert sent(body, media_domains=("media.example.com",)) == body


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com.evil.org/",
        "https://evil.org/example.com",
        "https://example.com@evil.org/",
        "https://evil.org\\@example.com/",
        "https://example.com\\.evil.org/",
        "https://example.com /",
        "https://example.com\n/",
        "https://example.com?@evil.org/",
        "https://example.com#@evil.org/",
        "https://sub.example.com/",
        "https://example.com./",
        "https://[::1]/",
        "file://example.com/etc/passwd",
        "http:example.com",
        "http:///example.com",
    ],
)
def test_no_spelling_of_a_url_passes_for_a_listed_host(url: str) -> None:
    body = {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}]}
    error = refused(body, media_domains=("example.com",))
    assert error.param == "url"
    assert "example.com" in error.message


@pytest.mark.parametrize(
    "body",
    [
        {"messages": [{"role": "user", "content": 'see {"image_url": {"url": "http://example.com"}}'}]},
        {"messages": [{"role": "user", "content": "image_url"}, {"role": "user", "content": "http://example.com"}]},
        {"tools": [{"type": "mcp", "server_url": "http://example.com"}]},
        {"tools": [{"type": "function", "function": {"parameters": {"properties": {"url": {"default": "http://x"}}}}}]},
        {
            "response_format": {
                "json_schema": {"schema": {"properties": {"url": {"const": "http://x"}, "source_url": "http"}}}
            }
        },
        {
            "messages": [
                {"role": "assistant", "content": [{"type": "tool_use", "input": {"url": "https://example.com"}}]}
            ]
        },
        {"messages": [{"role": "assistant", "tool_calls": [{"function": {"arguments": {"image_url": "http://x"}}}]}]},
        {
            "input": [
                {"content": [{"type": "output_text", "annotations": [{"type": "url_citation", "url": "http://x"}]}]}
            ]
        },
        {"metadata": {"url": "https://example.com"}},
        {"user": "http://example.com"},
        {"messages": [{"role": "user", "content": "<\u00e9\u2028>"}]},
    ],
)
def test_a_url_that_nobody_fetches_passes(body: dict[str, Any]) -> None:
    assert sent(body) == body
    escaped = json.dumps(body).replace("<", "\\u003c").replace("_", "\\u005f").encode()
    assert sent(escaped) == body


@pytest.mark.parametrize(
    "part",
    [
        {"type": "prompt_embeds", "data": "AAAA"},
        {"type": "image_embeds", "image_embeds": "AAAA"},
        {"image_embeds": {"a": "AAAA"}, "uuid": "x"},
        {"audio_embeds": "AAAA"},
        {"image_pil": "/etc/passwd", "uuid": "x"},
        {"type": "image_pil", "image_pil": [[[1, 2, 3]]]},
    ],
)
def test_tensors_and_pictures_as_such_are_refused_among_the_messages(part: dict[str, Any]) -> None:
    body = {"messages": [{"role": "user", "content": [part]}]}
    assert isinstance(refused(body), FieldNotAllowed)
    escaped = json.dumps(body).replace("embeds", "\\u0065mbeds").replace("pil", "\\u0070il")
    assert isinstance(refused(escaped.encode()), FieldNotAllowed)
