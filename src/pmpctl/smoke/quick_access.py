"""Who may reach what: health, tokens, unknown routes, and the engine behind the gateway."""

import socket
from collections.abc import Callable

from pmpctl.smoke.answer import excerpt
from pmpctl.smoke.api import Api
from pmpctl.smoke.check import Failed, Passed, Skipped, Warned

_REFUSED = (401, 403)
_LONGEST_HEALTH_BYTES = 32
WRONG_TOKEN = "pmpctl-smoke-wrong-token"  # noqa: S105 - nobody's
_CONNECT_SECONDS = 2
_AUTH_CURE = "Create a token with `pmpctl token add NAME`; `pmpctl status` shows whether the gateway asks for it."
_OFF_CURE = "The gateway asks for a token though the workspace has none: `pmpctl up` mends it."


def health(api: Api) -> Passed:
    answer = api.request("GET", "/health", token=None)
    if answer.status in _REFUSED:
        raise _fault(api)(
            f"GET /health without a token: HTTP {answer.status}",
            "Leave /health open: load balancers and watchdogs present no token.",
        )
    if answer.status == 404 and _is_foreign(api):
        raise Skipped("the API has no /health")
    answer.require_ok()
    if answer.is_html:
        answer.json()
    return Passed("open")


def health_silent(api: Api) -> Passed:
    answer = api.request("GET", "/health", token=None)
    if answer.status != 200:
        raise Skipped(f"/health answers HTTP {answer.status}")
    if len(answer.body) > _LONGEST_HEALTH_BYTES:
        raise _fault(api)(
            f"GET /health tells everybody: {excerpt(answer.body)!r}",
            "Let it answer a fixed short body: it is open to everybody, attackers too.",
        )
    return Passed("silent")


def without_token(api: Api) -> Passed:
    return _presented(api, None, "without a token")


def with_wrong_token(api: Api) -> Passed:
    return _presented(api, WRONG_TOKEN, "with a wrong token")


def with_empty_token(api: Api) -> Passed:
    return _presented(api, "", "with an empty token")


def unknown_route(api: Api) -> Passed:
    answer = api.request("GET", "/v1/pmpctl-smoke-no-such-route")
    if answer.status in (404, 405):
        return Passed(f"HTTP {answer.status}")
    raise Failed(
        f"a route that does not exist answers HTTP {answer.status}",
        "Something else than the gateway answers, such as a web page for every path: check the URL.",
    )


def engine_hidden(api: Api) -> Passed:
    if not api.target.engine_around:
        raise Skipped("only for a workspace whose gateway listens on the network")
    for host, port in api.target.engine_around:
        try:
            socket.create_connection((host, port), timeout=_CONNECT_SECONDS).close()
        except OSError:
            continue
        raise Failed(
            f"the engine answers at {host} port {port}, around the gateway and its tokens",
            "Publish the engine's port on loopback at most, and close it in the firewall.",
        )
    return Passed("not reachable")


def _presented(api: Api, token: str | None, words: str) -> Passed:
    """Refused where tokens are asked for, and only there."""
    target = api.target
    wanted = target.auth if target.auth is not None else target.token is not None
    answer = api.request("GET", "/v1/models", token=token)
    status = answer.status
    if status not in _REFUSED and not answer.is_json:
        # A web page, or a server of another kind, tells nothing of tokens.
        answer.require_ok().json()
    if wanted and status == 200:
        raise Failed(f"HTTP 200 {words}: everybody who finds the address may use the model", _AUTH_CURE)
    if wanted and status not in _REFUSED:
        raise Failed(f"HTTP {status} {words}, where 401 is due", _AUTH_CURE)
    if not wanted and status in _REFUSED:
        if _is_foreign(api):
            raise Skipped("the API wants a token, and none was given")
        raise Failed(f"HTTP {status} {words}", _OFF_CURE)
    return Passed(f"HTTP {status}")


def _is_foreign(api: Api) -> bool:
    return api.target.auth is None


def _fault(api: Api) -> Callable[[str, str], Exception]:
    """What others run may have its reasons."""
    return Warned if _is_foreign(api) else Failed
