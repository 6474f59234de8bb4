"""The API as a client sees it, over plain HTTP; every fault on the way is raised as `Failed`, worded by what it is."""

import ipaddress
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final, Self

import httpx

from pmpctl.smoke.answer import Answer, ChatAnswer, is_event_stream
from pmpctl.smoke.check import Failed
from pmpctl.smoke.faults import API_CURE, failed_connection
from pmpctl.smoke.stream import ChatStream
from pmpctl.smoke.target import Target

Message = Mapping[str, Any]

CHAT = "/v1/chat/completions"

_CONNECT_SECONDS = 10.0
_LARGEST_ANSWER_BYTES = 16 << 20


class _Own:
    """The target's own token."""


OWN: Final = _Own()


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def connection_settings(target: Target) -> dict[str, Any]:
    """What a client of httpx is made with; raises for settings that cannot be used."""
    # The user's proxy settings are for the network outside, never for the server beside us.
    outside = not is_loopback(httpx.URL(target.url).host)
    trust = httpx.create_ssl_context(trust_env=outside)
    # httpx trusts certifi's list alone; a company's own authority is in the system's.
    trust.load_default_certs()
    return {
        "base_url": target.url,
        "timeout": httpx.Timeout(target.timeout_seconds, connect=_CONNECT_SECONDS),
        "trust_env": outside,
        "verify": trust,
        # What is opened at a time must not wait for another's connection.
        "limits": httpx.Limits(max_connections=None, max_keepalive_connections=8),
    }


def bearer(token: str | None) -> dict[bytes, bytes]:
    """The header for a token; as bytes: one with other letters is for the server to refuse."""
    # No header may end in a space.
    return {} if token is None else {b"authorization": f"Bearer {token}".rstrip(" ").encode()}


class Api:
    """Several threads may use one; `with` closes its connections."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self._host = httpx.URL(target.url).netloc.decode()
        try:
            settings = connection_settings(target)
            self._client = httpx.Client(**settings)
        except (OSError, ValueError, ImportError, httpx.InvalidURL) as error:
            # A proxy's address may hold a password, and httpx quotes it.
            raise Failed(
                "the proxy or certificate settings of the environment cannot be used",
                "Mend or unset HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, SSL_CERT_FILE and SSL_CERT_DIR.",
            ) from error
        self.trust: Mapping[str, Any] = {name: settings[name] for name in ("trust_env", "verify")}
        """Whether a client of httpx takes the environment's proxies, and whose certificates it believes."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._client.close()

    def request(
        self,
        method: str,
        path: str,
        json: Any = None,
        headers: Mapping[str, str] | None = None,
        token: str | _Own | None = OWN,
    ) -> Answer:
        """Whatever the status; `path` begins at the root, as in `/v1/models`. A token of None sends no header for it.

        Raises Failed where there is no answer.
        """
        asked = f"{method} {path}"
        began = time.monotonic()
        try:
            with self._open(method, path, json, headers, token) as response:
                body = self._read(asked, response, began)
        except httpx.HTTPError as error:
            raise self._failed(asked, error) from error
        return Answer(asked, response.status_code, dict(response.headers), body, time.monotonic() - began)

    def chat(self, messages: Sequence[Message], **fields: Any) -> ChatAnswer:
        """Fields go into the request as they are; raises Failed for anything but an answer with something in it."""
        return ChatAnswer.from_answer(self.request("POST", CHAT, self._chat_body(messages, fields)))

    @contextmanager
    def stream_chat(self, messages: Sequence[Message], **fields: Any) -> Iterator[ChatStream]:
        """Leaving the block before the stream's end closes the connection, as a client does that goes away."""
        asked = f"POST {CHAT} (stream)"
        body = self._chat_body(messages, {"stream": True, **fields})
        began = time.monotonic()
        try:
            with self._open("POST", CHAT, body, None, OWN) as response:
                if response.status_code != httpx.codes.OK or not is_event_stream(response.headers):
                    content = self._read(asked, response, began)
                    Answer(asked, response.status_code, dict(response.headers), content, 0).require_stream()
                yield ChatStream(
                    asked, response, began, self.target.timeout_seconds, lambda error: self._failed(asked, error)
                )
        except httpx.HTTPError as error:
            raise self._failed(asked, error) from error

    def _chat_body(self, messages: Sequence[Message], fields: Mapping[str, Any]) -> dict[str, Any]:
        return {"model": self.target.model, "messages": list(messages), **fields}

    @contextmanager
    def _open(
        self, method: str, path: str, json: Any, headers: Mapping[str, str] | None, token: str | _Own | None
    ) -> Iterator[httpx.Response]:
        given = self.target.token if isinstance(token, _Own) else token
        others = {name.encode(): value.encode() for name, value in (headers or {}).items()}
        with self._client.stream(method, path, json=json, headers=bearer(given) | others) as response:
            yield response

    def _read(self, asked: str, response: httpx.Response, began: float) -> bytes:
        """The body, unless it never ends."""
        body = bytearray()
        for part in response.iter_bytes():
            body += part
            if len(body) > _LARGEST_ANSWER_BYTES:
                raise Failed(f"{asked}: the answer is larger than {_LARGEST_ANSWER_BYTES >> 20} MiB", API_CURE)
            if time.monotonic() - began > self.target.timeout_seconds:
                raise self._failed(asked, httpx.ReadTimeout("too slow"))
        return bytes(body)

    def _failed(self, asked: str, error: Exception) -> Failed:
        return failed_connection(asked, self._host, error, self.target.timeout_seconds)
