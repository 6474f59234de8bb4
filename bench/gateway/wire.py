"""The requests that are sent, as bytes: a chat of about 1 KB whose first words tell the upstream what to do."""

import json

# Not a secret: it opens servers that live for a minute on loopback.
TOKEN = "sk-bench-0123456789abcdef0123456789abcdef"  # noqa: S105

# Stands before the time in every paced chunk.
STAMP_MARK = b"@"

_PACE_MS = 20
_WORDS_BYTES = 830


def _post(body: bytes) -> bytes:
    head = (
        "POST /v1/chat/completions HTTP/1.1\r\n"
        "Host: 127.0.0.1\r\n"
        "Accept: application/json\r\n"
        "Accept-Encoding: gzip, deflate\r\n"
        "User-Agent: OpenAI/Python 2.8.0\r\n"
        f"Authorization: Bearer {TOKEN}\r\n"
        "Content-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def chat(spec: str, *, stream: bool) -> bytes:
    words = f"BENCH {spec} END ".ljust(_WORDS_BYTES, "x")
    body = {
        "model": "llm",
        "messages": [
            {"role": "system", "content": "You are a helpful assistant."},
            {"role": "user", "content": words},
        ],
        "temperature": 0.7,
        "max_tokens": 256,
        "stream": stream,
    }
    return _post(json.dumps(body).encode())


PLAIN = chat("mode=plain", stream=False)
PACE_MS = 20
# The second chunk comes later, so that nothing but the first one can carry the first out.
TWO_CHUNKS = chat("mode=stream id=0 chunks=2 pace=2000", stream=True)
QUIET = chat("mode=quiet id=0", stream=True)


def paced(streams: int, length_ms: int) -> bytes:
    """A stream that starts to tick when so many of them are open: one that ticks keeps a busy server from others."""
    chunks = length_ms // _PACE_MS
    return chat(f"mode=stream id=0 chunks={chunks} pace={_PACE_MS * 1000} gate={streams}", stream=True)
