"""The failures the gateway answers itself, and the one table that says how."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

Headers = list[tuple[bytes, bytes]]

_LONGEST_RETRY_SECONDS = 60


class GatewayError(Exception):
    """The message goes to the client: it names nothing internal. Empty means the table's own sentence.

    `headers` are added to those of the table.
    """

    def __init__(
        self, message: str = "", *, param: str | None = None, headers: Sequence[tuple[bytes, bytes]] = ()
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.headers = headers


class InvalidJson(GatewayError): ...


class FieldRefused(GatewayError):
    """A member of the body asks for more than the profile allows."""


class FieldNotAllowed(FieldRefused): ...


class ValueTooLarge(FieldRefused): ...


class NotAdmitted(GatewayError):
    """The answer is to be held back by `delay_seconds`, so that guessing tokens is slow."""

    def __init__(self, message: str = "", *, delay_seconds: float = 0.0) -> None:
        super().__init__(message)
        self.delay_seconds = delay_seconds


class Unauthorized(NotAdmitted): ...


class TokenExpired(NotAdmitted): ...


class ComeAgain(GatewayError):
    """The client is told after how many seconds another try makes sense."""

    def __init__(self, message: str = "", *, retry_after_seconds: float) -> None:
        # Clients that are told to wait longer give up, or wait however long it is.
        whole = min(max(1, math.ceil(retry_after_seconds)), _LONGEST_RETRY_SECONDS)
        super().__init__(message, headers=[(b"retry-after", b"%d" % whole)])


class TooManyAttempts(ComeAgain):
    """This address presents wrong tokens faster than they are answered."""


class RateLimited(ComeAgain): ...


class TooManyConcurrent(ComeAgain): ...


class HostRepeated(GatewayError): ...


class HostNotAllowed(GatewayError): ...


class OriginNotAllowed(GatewayError): ...


class RouteUnknown(GatewayError): ...


class RouteNotServed(GatewayError):
    """The engine does not offer it for this model."""


class ModelUnknown(GatewayError): ...


class MethodNotAllowed(GatewayError):
    def __init__(self, allowed: str) -> None:
        super().__init__(headers=[(b"allow", allowed.encode())])


class BodyTooLarge(GatewayError): ...


class BackendFailure(GatewayError):
    """The engine, not the client, is at fault."""


class BackendBroken(BackendFailure):
    """It answered something unusable, or broke off."""


class BackendAway(BackendFailure):
    """It does not accept connections, or is not ready to serve."""


class BackendSilent(BackendFailure):
    """It accepted the request and then said nothing for too long."""


class BackendStopping(BackendFailure):
    """It is being stopped, and ended what it was doing."""


class RequestMalformed(GatewayError):
    """Not HTTP as this server understands it."""


class HeadTooLarge(GatewayError): ...


class ClientTooSlow(GatewayError): ...


class TooManyConnections(GatewayError): ...


class Closed(GatewayError):
    """No engine is there, and none is on its way."""


class UploadsFull(GatewayError):
    """The bodies of all requests together take as much memory as they may."""


class HoldFull(GatewayError):
    """More requests wait already than may."""


class HoldTimedOut(GatewayError):
    """The request waited as long as one may, and the engine had not come back."""


class CutShort(GatewayError):
    """The engine goes, and the request did not end within the drain's deadline."""


class Stopping(GatewayError):
    """The gateway itself has been told to stop, and the request did not end in time."""


@dataclass(frozen=True, slots=True)
class Rule:
    status: int
    type: str
    code: str
    message: str
    headers: Mapping[bytes, bytes] = field(default_factory=dict)


_RETRY = {b"retry-after": b"5"}
_RETRY_LATER = {b"retry-after": b"30"}
# The types are Anthropic's: its clients go by them, OpenAI's do not, and LiteLLM takes any error of the type
# "invalid_request_error" for a bad request, whatever its status says.
_TOO_MUCH = "rate_limit_error"
_TRY_LATER = "overloaded_error"

RULES: Mapping[type[GatewayError], Rule] = {
    InvalidJson: Rule(400, "invalid_request_error", "invalid_json", "The request body is not a valid JSON object."),
    RequestMalformed: Rule(400, "invalid_request_error", "bad_request", "The request is not valid HTTP."),
    FieldNotAllowed: Rule(
        400, "invalid_request_error", "field_not_allowed", "The request body holds a field that is not allowed here."
    ),
    ValueTooLarge: Rule(
        400, "invalid_request_error", "value_too_large", "The request body asks for more than is allowed here."
    ),
    HostRepeated: Rule(400, "invalid_request_error", "host_repeated", "The request carries more than one Host header."),
    Unauthorized: Rule(
        401,
        "authentication_error",
        "invalid_api_key",
        "A valid token is required: send it as 'Authorization: Bearer TOKEN' or as 'x-api-key: TOKEN'.",
        {b"www-authenticate": b"Bearer"},
    ),
    TokenExpired: Rule(
        401,
        "authentication_error",
        "token_expired",
        "This token has expired: ask whoever runs this service for a new one.",
        {b"www-authenticate": b"Bearer"},
    ),
    HostNotAllowed: Rule(
        403,
        "permission_error",
        "host_not_allowed",
        "This service does not answer to that host name; whoever runs it can add the name to 'allowed_hosts'.",
    ),
    OriginNotAllowed: Rule(
        403,
        "permission_error",
        "origin_not_allowed",
        "Web pages of that origin may not use this service; whoever runs it can add the origin to 'cors_origins'.",
    ),
    RouteUnknown: Rule(404, "not_found_error", "not_found", "There is no such route."),
    RouteNotServed: Rule(404, "not_found_error", "not_served", "The model that is loaded does not serve this route."),
    ModelUnknown: Rule(404, "not_found_error", "model_not_found", "There is no such model."),
    MethodNotAllowed: Rule(405, "invalid_request_error", "method_not_allowed", "This route does not take that method."),
    ClientTooSlow: Rule(408, "timeout_error", "request_timeout", "The request took too long to arrive."),
    BodyTooLarge: Rule(413, "invalid_request_error", "body_too_large", "The request body is too large."),
    HeadTooLarge: Rule(431, "invalid_request_error", "headers_too_large", "The request's headers are too large."),
    TooManyAttempts: Rule(
        429, _TOO_MUCH, "too_many_attempts", "Too many requests with wrong tokens came from this address."
    ),
    RateLimited: Rule(429, _TOO_MUCH, "rate_limited", "Too many requests a minute."),
    TooManyConcurrent: Rule(429, _TOO_MUCH, "too_many_concurrent", "Too many requests at a time."),
    BackendBroken: Rule(502, "api_error", "backend_broken", "The engine broke off or gave an unusable answer."),
    BackendAway: Rule(503, _TRY_LATER, "backend_away", "The engine is not available; try again later.", _RETRY),
    BackendStopping: Rule(503, _TRY_LATER, "backend_stopping", "The engine is being stopped; try again.", _RETRY),
    TooManyConnections: Rule(503, _TRY_LATER, "too_many_connections", "Too many connections are open.", _RETRY),
    Closed: Rule(503, _TRY_LATER, "closed", "The service is closed; try again later.", _RETRY_LATER),
    UploadsFull: Rule(
        503, _TRY_LATER, "uploads_full", "Too many large requests are under way; try again later.", _RETRY
    ),
    HoldFull: Rule(503, _TRY_LATER, "hold_full", "Too many requests wait already; try again later.", _RETRY_LATER),
    HoldTimedOut: Rule(
        503, _TRY_LATER, "hold_timed_out", "The model did not come back in time; try again later.", _RETRY_LATER
    ),
    CutShort: Rule(
        503,
        _TRY_LATER,
        "cut_short",
        "The engine stops before this answer could be complete; send the request again.",
        _RETRY,
    ),
    Stopping: Rule(503, _TRY_LATER, "gateway_stopping", "The gateway is stopping; try again later.", _RETRY),
    BackendSilent: Rule(504, "timeout_error", "backend_silent", "The engine did not answer in time."),
}

UNFORESEEN = Rule(500, "api_error", "internal_error", "The gateway failed to handle this request.")


# Here an event without a type or a name is passed over, or taken for something else.
TYPED_ROUTES = (b"/v1/messages", b"/v1/responses")


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: Headers
    body: bytes
    code: str


def answer_to(error: Exception, raw_path: bytes = b"") -> Answer:
    """How the gateway answers an error; one that it did not foresee says nothing about itself."""
    rule, message, param = UNFORESEEN, UNFORESEEN.message, None
    own_headers: Sequence[tuple[bytes, bytes]] = ()
    if isinstance(error, GatewayError):
        rule = RULES[type(error)]
        message, param, own_headers = error.message or rule.message, error.param, error.headers
    data: dict[str, object] = {"error": {"message": message, "type": rule.type, "param": param, "code": rule.code}}
    if raw_path.startswith(TYPED_ROUTES):
        # As clients of these routes expect it, and still as all others do.
        data = {"type": "error", **data}
    body = json.dumps(data, separators=(",", ":")).encode()
    headers = [
        (b"content-type", b"application/json"),
        *rule.headers.items(),
        *own_headers,
    ]
    return Answer(rule.status, headers, body, rule.code)


def error_event(raw_path: bytes, body: bytes) -> bytes:
    """An error as the last event of a stream."""
    if b"\n" in body:
        body = body.replace(b"\n", b" ")
    name = b"event: error\n" if raw_path.startswith(TYPED_ROUTES) else b""
    return name + b"data: " + body + b"\n\n"
