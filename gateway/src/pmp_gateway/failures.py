"""The failures the gateway answers itself, and the one table that says how."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

Headers = list[tuple[bytes, bytes]]


class GatewayError(Exception):
    """The message goes to the client: it names nothing internal. Empty means the table's own sentence."""

    def __init__(self, message: str = "", *, param: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param


class InvalidJson(GatewayError): ...


class Unauthorized(GatewayError): ...


class RouteUnknown(GatewayError): ...


class ModelUnknown(GatewayError): ...


class MethodNotAllowed(GatewayError):
    def __init__(self, allowed: str) -> None:
        super().__init__()
        self.allowed = allowed


class BodyTooLarge(GatewayError): ...


class BackendFailure(GatewayError):
    """The engine, not the client, is at fault."""


class BackendBroken(BackendFailure):
    """It answered something unusable, or broke off."""


class BackendAway(BackendFailure):
    """It does not accept connections, or is not ready to serve."""


class BackendSilent(BackendFailure):
    """It accepted the request and then said nothing for too long."""


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

RULES: Mapping[type[GatewayError], Rule] = {
    InvalidJson: Rule(400, "invalid_request_error", "invalid_json", "The request body is not a valid JSON object."),
    Unauthorized: Rule(
        401,
        "invalid_request_error",
        "invalid_api_key",
        "A valid token is required: send it as 'Authorization: Bearer TOKEN' or as 'x-api-key: TOKEN'.",
        {b"www-authenticate": b"Bearer"},
    ),
    RouteUnknown: Rule(404, "invalid_request_error", "not_found", "There is no such route."),
    ModelUnknown: Rule(404, "invalid_request_error", "model_not_found", "There is no such model."),
    MethodNotAllowed: Rule(405, "invalid_request_error", "method_not_allowed", "This route does not take that method."),
    BodyTooLarge: Rule(413, "invalid_request_error", "body_too_large", "The request body is too large."),
    BackendBroken: Rule(502, "server_error", "backend_broken", "The engine broke off or gave an unusable answer."),
    BackendAway: Rule(503, "server_error", "backend_away", "The engine is not available; try again later.", _RETRY),
    Stopping: Rule(503, "server_error", "gateway_stopping", "The gateway is stopping; try again later.", _RETRY),
    BackendSilent: Rule(504, "server_error", "backend_silent", "The engine did not answer in time."),
}

UNFORESEEN = Rule(500, "server_error", "internal_error", "The gateway failed to handle this request.")


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: Headers
    body: bytes
    code: str


def answer_to(error: Exception) -> Answer:
    """How the gateway answers an error; one that it did not foresee says nothing about itself."""
    rule, message, param = UNFORESEEN, UNFORESEEN.message, None
    if isinstance(error, GatewayError):
        rule = RULES[type(error)]
        message, param = error.message or rule.message, error.param
    body = json.dumps(
        {"error": {"message": message, "type": rule.type, "param": param, "code": rule.code}}, separators=(",", ":")
    ).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        *rule.headers.items(),
    ]
    if isinstance(error, MethodNotAllowed):
        headers.append((b"allow", error.allowed.encode()))
    return Answer(rule.status, headers, body, rule.code)
