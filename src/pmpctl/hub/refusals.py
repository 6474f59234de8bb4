"""What it means when the hub refuses or cannot be reached, and whether asking again can help."""

import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx

from pmpctl.errors import HubRateLimited, HubTokenRefused, HubUnreachable, ModelGated, ModelNotFound, PmpctlError
from pmpctl.hub.settings import DEFAULT_ENDPOINT, HubToken

_RATE_LIMIT = re.compile(r'"\w+"\s*;\s*r\s*=\s*0\s*;\s*t\s*=\s*(\d+)')
_BAD_CREDENTIALS = re.compile(r"invalid (credentials|username|user access token)|expired", re.IGNORECASE)

CHECK_PROXY = "Check HTTPS_PROXY and NO_PROXY."


@dataclass(frozen=True, slots=True)
class Refusal:
    error: PmpctlError
    may_pass: bool = False
    """Whether the same request may succeed a little later."""
    wait_seconds: float | None = None
    """How long the hub said to wait."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request was about, for the words of an error; nothing in it is secret."""

    host: str
    site: str
    model: str
    revision: str
    token: HubToken | None


def from_answer(asked: Asked, status: int, headers: Mapping[str, str], *, answered_by: str) -> Refusal:
    code, said = headers.get("x-error-code", ""), headers.get("x-error-message", "")
    if status == 429:
        return _rate_limited(asked, wait_seconds(headers))
    if status >= 500:
        message = f"{answered_by} answers with HTTP {status}"
        error = HubUnreachable(message, cure="Try again later: the fault is with the hub, or a proxy before it.")
        return Refusal(error, may_pass=True, wait_seconds=wait_seconds(headers))
    if status == 407:
        return Refusal(HubUnreachable("the proxy wants other credentials", cure=CHECK_PROXY))
    if code == "GatedRepo":
        return Refusal(_gated(asked))
    if status == 401 and asked.token and _BAD_CREDENTIALS.search(said):
        return Refusal(
            HubTokenRefused(
                f"{asked.host} does not know the token in {asked.token.origin}",
                cure=f"Renew it at {asked.site}/settings/tokens, or remove it: public models need none.",
            )
        )
    if code == "RevisionNotFound":
        message = f"{asked.model} has no revision {asked.revision!r} on {asked.host}"
        return Refusal(ModelNotFound(message, cure="Correct `revision`, or leave it out to take the newest."))
    if code == "RepoNotFound" or (status in {401, 403, 404} and answered_by == asked.host):
        return Refusal(_not_found(asked, said))
    message = f"{answered_by} answers with HTTP {status}{_words(said)}"
    return Refusal(HubUnreachable(message, cure="Check HF_ENDPOINT, and whether a proxy answers in the hub's place."))


def from_failure(asked: Asked, error: httpx.HTTPError | httpx.InvalidURL) -> Refusal:
    if isinstance(error, httpx.TimeoutException):
        message = f"{asked.host} does not answer in time"
        return Refusal(HubUnreachable(message, cure=f"Check the network. {CHECK_PROXY}"), may_pass=True)
    if isinstance(error, httpx.ProxyError):
        message = f"the proxy on the way to {asked.host} refuses: {error}"
        return Refusal(HubUnreachable(message, cure=CHECK_PROXY))
    if _has_cause(error, ssl.SSLError):
        return Refusal(
            HubUnreachable(
                f"{asked.host} has a certificate that is not trusted here: {error}",
                cure="Where a company's proxy opens connections, name its CA file in SSL_CERT_FILE; "
                "else check the clock and HF_ENDPOINT.",
            )
        )
    cure = "Check the network, DNS, HTTPS_PROXY and HF_ENDPOINT; without a network, use --offline."
    return Refusal(HubUnreachable(f"{asked.host} cannot be reached: {error}", cure=cure), may_pass=True)


def wait_seconds(headers: Mapping[str, str]) -> float | None:
    """What Retry-After says, or else the hub's own RateLimit header."""
    value = headers.get("retry-after", "").strip()
    if re.fullmatch(r"\d{1,9}", value):
        return float(value)
    if value:
        try:
            until = parsedate_to_datetime(value)
        except ValueError:
            return None
        until = until if until.tzinfo else until.replace(tzinfo=UTC)
        return max(0.0, (until - datetime.now(UTC)).total_seconds())
    match = _RATE_LIMIT.search(headers.get("ratelimit", ""))
    return float(match[1]) if match else None


def _rate_limited(asked: Asked, wait: float | None) -> Refusal:
    after = f"in {wait:.0f} seconds" if wait else "in a few minutes"
    hint = "" if asked.token else "; with a token in HF_TOKEN the hub allows more"
    message = f"{asked.host} has had too many requests from here"
    return Refusal(HubRateLimited(message, cure=f"Try again {after}{hint}."), may_pass=True, wait_seconds=wait)


def _gated(asked: Asked) -> ModelGated:
    page = f"{asked.site}/{asked.model}"
    if asked.token is None:
        return ModelGated(
            f"{asked.model} is open only to those who accepted its terms, and no token says who asks",
            cure=f"Accept the terms at {page}, and set HF_TOKEN to a token of that account.",
        )
    return ModelGated(
        f"the account of the token in {asked.token.origin} has no access to {asked.model}",
        cure=f"Ask for access at {page}; a fine-grained token must also be allowed to read gated repositories.",
    )


def _not_found(asked: Asked, said: str) -> ModelNotFound:
    if asked.token is None:
        hint = "if it is private, set HF_TOKEN"
    else:
        hint = f"if it is private, the token in {asked.token.origin} must belong to an account that may read it"
    elsewhere = "" if asked.site == DEFAULT_ENDPOINT else " HF_ENDPOINT names another hub than the usual one."
    return ModelNotFound(
        f"{asked.host} has no model {asked.model}, or shows it to others only{_words(said)}",
        cure=f"Check the name, capitals included; {hint}.{elsewhere}",
    )


def _words(said: str) -> str:
    return f" ({said[:200]})" if said else ""


def _has_cause(error: BaseException | None, kind: type[BaseException]) -> bool:
    while error is not None:
        if isinstance(error, kind):
            return True
        error = error.__cause__ or error.__context__
    return False
