"""What a request would have the engine fetch from elsewhere, or take as it is, wherever in the body it stands."""

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import msgspec

from pmp_gateway.body_shape import count_values
from pmp_gateway.failures import FieldNotAllowed, InvalidJson, ValueTooLarge

Members = Mapping[str, msgspec.Raw]

_URL = b'url"'
# `\u` may spell any key; an escaped ASCII character is rare enough to have a closer look at every one.
_REMOTE = re.compile(rb'url"\s*:\s*"(?!data:)')
# Tensors, and pictures that have been read already: a URL or a path in their place is opened by whoever reads pictures.
_OBJECTS = ("_embeds", "_pil")
_TENSOR = b'_embeds"'
_PICTURE = b'_pil"'
_ESCAPED_ASCII = re.compile(rb"\\u00[2-7]")

_MAX_VALUES_LOOKED_AT = 100_000

# Here a URL is data of the client's tools, never one that the engine fetches.
_NO_MEDIA_MEMBERS = frozenset(
    {
        "chat_template_kwargs",
        "mcp_servers",
        "metadata",
        "output_config",
        "response_format",
        "structured_outputs",
        "text",
        "tool_choice",
        "tools",
    }
)
_NO_MEDIA_KEYS = frozenset({"tool", "tool_calls", "tools"})
_QUOTED_URLS = frozenset({"find_in_page", "open_page", "url_citation", "web_search_result_location"})

_FETCHABLE = re.compile(r"https?://([a-z0-9.-]+)(?::[0-9]{1,5})?(?:/[^\x00-\x20\x7f\\]*)?", re.IGNORECASE | re.ASCII)


def check_media(raw: bytes | bytearray, members: Members, domains: Collection[str]) -> None:
    """Raises FieldNotAllowed for such objects, and for URLs neither `data:` nor of the hosts `domains`."""
    # A key's closing quote is never escaped, so that a string which quotes JSON is no match.
    # What is looked for first is found many times faster than an expression that begins with it.
    has_remote = _URL in raw and _REMOTE.search(raw)
    if has_remote or _TENSOR in raw or _PICTURE in raw or (b"\\u00" in raw and _ESCAPED_ASCII.search(raw)):
        for name, member in members.items():
            if name not in _NO_MEDIA_MEMBERS:
                _check_member(name, bytes(member), domains)


def _check_member(name: str, raw: bytes, domains: Collection[str]) -> None:
    if raw[:1] not in (b"[", b"{"):
        return
    if count_values(raw) > _MAX_VALUES_LOOKED_AT:
        raise ValueTooLarge(f"'{name}' holds more than {_MAX_VALUES_LOOKED_AT} values beside its media.", param=name)
    try:
        content = msgspec.json.decode(raw)
    except msgspec.DecodeError as error:
        raise InvalidJson from error
    for key, value in _suspects(content):
        if key.endswith(_OBJECTS):
            raise FieldNotAllowed(f"'{key}' is not allowed.", param=key)
        if not _is_harmless(value, domains):
            also = f", or a URL of {', '.join(domains)}" if domains else ""
            raise FieldNotAllowed(f"'{key}' must be a data: URL{also}.", param=key)


def _suspects(content: Any) -> Iterator[tuple[str, Any]]:
    """URLs, tensors and pictures as (key, value)."""
    pending: list[tuple[Any, bool]] = [(content, False)]
    while pending:
        node, is_media = pending.pop()
        if isinstance(node, list):
            pending.extend((item, is_media) for item in node)
        elif isinstance(node, dict):
            kind = node.get("type")
            kind = kind if isinstance(kind, str) else ""
            if kind.endswith(_OBJECTS):
                yield kind, node
            for key, value in node.items():
                if key in _NO_MEDIA_KEYS or (key == "input" and kind == "tool_use"):
                    continue
                if isinstance(value, dict | list):
                    pending.append((value, key == "source" or key.endswith("_url")))
                is_object = key.endswith(_OBJECTS) and value is not None
                # Beside a `uuid` the engine fetches `image_url` and its like whatever the type says.
                is_quoted = key == "url" and kind in _QUOTED_URLS and not is_media
                is_url = key.endswith("url") and isinstance(value, str) and not is_quoted
                if is_object or is_url:
                    yield key, value


def _is_harmless(url: str, domains: Collection[str]) -> bool:
    if not url or url[:5].lower() == "data:":
        return True
    found = _FETCHABLE.fullmatch(url)
    return found is not None and found[1].lower() in domains
