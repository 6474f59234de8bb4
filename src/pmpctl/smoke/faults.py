"""What each way to fail means, and what to do about it: connections, certificates, statuses."""

import re
import socket
import ssl
from collections.abc import Mapping
from typing import TypeVar

import httpx

from pmpctl.smoke.check import Failed

T = TypeVar("T", bound=BaseException)

API_CURE = "Give the base URL of an OpenAI-compatible API, such as https://HOST/v1, and see what answers there."
HTML_CURE = "That is a web page, not the API: give the API's own base URL; a proxy or a login page may stand before it."
BROKEN_STREAM_CURE = "The engine failed in the middle of the answer: `pmpctl logs engine` shows its first error."
_PROXY_CURE = "Check HTTP_PROXY, HTTPS_PROXY and NO_PROXY; NO_PROXY=HOST goes there without the proxy."

_STATUS_CURES: Mapping[int, str] = {
    400: "The server refuses the request: its words say which field; see also the profile's limits.",
    401: "The token is missing or wrong: give the right one with --token-file or PMPCTL_TOKEN.",
    403: "The token may not do this, or the host name is not allowed: see `allowed_hosts` in docs/gateway.md.",
    404: "There is no such route or model: check the URL, and the model's name with --model.",
    413: "The request is larger than the server or a proxy before it takes: raise that limit.",
    429: "Too many requests: wait a minute, or give the token a higher limit.",
    500: "The engine failed: `pmpctl logs engine` shows its first error.",
    502: "The engine behind the gateway broke off: `pmpctl logs engine` shows why.",
    503: "No engine is ready: `pmpctl status` shows what it is doing.",
    504: "The engine did not answer in time: `pmpctl status` shows how busy it is; a proxy may be impatient.",
}

# In the words of OpenSSL, the telling ones first.
_CERTIFICATE_CURES: tuple[tuple[str, str], ...] = (
    ("expired", "Renew the certificate of the server; if it is new, check the clock of this machine."),
    ("not yet valid", "Check the clock of this machine and of the one that made the certificate."),
    ("mismatch", "Use the name that the certificate is for, or have one made for this name."),
    ("not valid for", "Use the name that the certificate is for, or have one made for this name."),
    ("self-signed", "Name the CA's file in SSL_CERT_FILE, or give the server a certificate that everybody trusts."),
    ("self signed", "Name the CA's file in SSL_CERT_FILE, or give the server a certificate that everybody trusts."),
    ("local issuer", "Name the CA's file in SSL_CERT_FILE, or have the server send its whole chain."),
)


def cure_for_status(status: int) -> str:
    if 300 <= status < 400:
        return "Give the address that it redirects to as --url: clients lose their request's body on a redirect."
    return _STATUS_CURES.get(status, API_CURE if status < 500 else _STATUS_CURES[500])


def failed_connection(asked: str, host: str, error: Exception, timeout_seconds: float) -> Failed:
    """In words; never those of an error that may quote a header."""
    if isinstance(error, httpx.ConnectTimeout):
        return Failed(
            f"{asked}: {host} takes no connection in time", "Check the address, the port and the firewalls between."
        )
    if isinstance(error, httpx.TimeoutException):
        return Failed(
            f"{asked}: no answer within {timeout_seconds:g} s",
            "See `pmpctl status` and the engine's log: it may be stuck, or busy with others.",
        )
    if isinstance(error, httpx.ProxyError):
        return Failed(f"{asked}: the proxy on the way to {host} refuses: {error}", _PROXY_CURE)
    if (tls := _cause(error, ssl.SSLError)) is not None:
        return _tls_fault(asked, host, tls)
    if _cause(error, socket.gaierror) is not None:
        return Failed(f"{asked}: no host is known as {host}", "Check the URL, and this host's DNS.")
    if _cause(error, ConnectionRefusedError) is not None:
        return Failed(
            f"{asked}: nobody listens at {host}",
            "Check host and port; for a workspace of this host see `pmpctl status`, and `pmpctl up` starts it.",
        )
    if isinstance(error, httpx.ConnectError):
        return Failed(f"{asked}: {host} cannot be reached: {error}", "Check the address and the network.")
    if isinstance(error, httpx.RemoteProtocolError) and "illegal" in str(error):
        return Failed(
            f"{asked}: what {host} answers is not HTTP", "If that port speaks TLS, write https:// in the URL."
        )
    if isinstance(error, httpx.RemoteProtocolError) and "without sending a response" in str(error):
        return Failed(
            f"{asked}: {host} closed the connection without an answer",
            "If that port speaks TLS, write https:// in the URL; else its log says why (`pmpctl logs gateway`).",
        )
    if isinstance(error, httpx.LocalProtocolError):
        return Failed(f"{asked}: the request cannot be sent", "Check that the token is one line of plain characters.")
    return Failed(
        f"{asked}: the connection broke off before the answer was complete",
        "Engine, gateway or a proxy between gave up: `pmpctl logs engine` and `pmpctl logs gateway` say why.",
    )


def _tls_fault(asked: str, host: str, error: ssl.SSLError) -> Failed:
    if isinstance(error, ssl.SSLCertVerificationError):
        why = error.verify_message
        cure = next((cure for words, cure in _CERTIFICATE_CURES if words in why.lower()), _CERTIFICATE_CURES[-1][1])
        return Failed(f"{asked}: the certificate of {host} is not valid: {why}", cure)
    if error.reason in {"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST"}:
        return Failed(f"{asked}: {host} does not speak TLS", "Write http:// in the URL, or the port that speaks TLS.")
    reason = re.sub(r"[_\s]+", " ", error.reason or "no agreement").lower()
    return Failed(f"{asked}: TLS with {host} fails: {reason}", "Check the server's TLS settings and its certificate.")


def _cause(error: BaseException | None, kind: type[T]) -> T | None:
    while error is not None:
        if isinstance(error, kind):
            return error
        error = error.__cause__ or error.__context__
    return None
