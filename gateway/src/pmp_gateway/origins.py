"""Which web pages may use the gateway, and by which names: CORS, and the guard of a gateway that asks for no token."""

import ipaddress
import re
from collections.abc import Sequence

from pmp_gateway.failures import Answer, Headers, HostNotAllowed, HostRepeated, OriginNotAllowed, RouteUnknown
from pmp_gateway.routes import allowed_method

ANY_ORIGIN = "*"

_EXPOSED = (b"access-control-expose-headers", b"X-Request-Id, Retry-After")
_VARY = (b"vary", b"Origin")
_PREFLIGHT_SECONDS = b"600"
_HEADER_NAMES = re.compile(rb"[A-Za-z0-9!#$%&'*+.^_`|~, -]{1,2048}")

_HOST = re.compile(rb"(?:\[(?P<v6>[0-9a-f:.]+)\]|(?P<name>[a-z0-9._-]+?)\.?)(?::[0-9]{1,5})?")
_HOST_OF_CONTAINERS = b"host.docker.internal"
_MOST_REMEMBERED = 1024


class Cors:
    """Without origins it says and allows nothing. Credentials are never allowed: the gateway knows no cookies."""

    def __init__(self, origins: Sequence[str]) -> None:
        self._origins = frozenset(origin.encode() for origin in origins)
        self._allows_any = ANY_ORIGIN in origins

    def allows(self, origin: bytes) -> bool:
        return self._allows_any or origin in self._origins

    def headers_for(self, headers: Headers) -> Headers:
        """What is added to the answer, be it good or bad, to a request with these headers."""
        if not self._origins:
            return []
        if self._allows_any:
            return [(b"access-control-allow-origin", b"*"), _EXPOSED]
        origin = _value_of(b"origin", headers)
        if origin is None or origin not in self._origins:
            return [_VARY]
        return [(b"access-control-allow-origin", origin), _EXPOSED, _VARY]

    def preflight(self, path: bytes, headers: Headers) -> Answer | None:
        """The answer to an OPTIONS request by which a browser asks first; None where it is like any other request."""
        origin = _value_of(b"origin", headers)
        if not self._origins or origin is None or _value_of(b"access-control-request-method", headers) is None:
            return None
        try:
            method = allowed_method(path)
        except RouteUnknown:
            return None
        if not self.allows(origin):
            raise OriginNotAllowed
        answer = [
            *self.headers_for(headers),
            (b"access-control-allow-methods", method.encode()),
            (b"access-control-max-age", _PREFLIGHT_SECONDS),
        ]
        # A page that may ask at all may ask with any header: what the engine must not see is never passed on.
        names = _value_of(b"access-control-request-headers", headers)
        if names is not None and _HEADER_NAMES.fullmatch(names):
            answer.append((b"access-control-allow-headers", names))
        return Answer(204, answer, b"", "")


class Guard:
    """Keeps web pages from using, through their visitor's browser, a gateway that trusts whoever reaches it.

    A page elsewhere can send requests to it, which their Origin tells; or have its own name resolve to the gateway's
    address ("DNS rebinding"), which their Host tells. A token proves more than either.
    """

    def __init__(self, allowed_hosts: Sequence[str], cors: Cors) -> None:
        self._allowed_hosts = frozenset(host.lower().encode() for host in allowed_hosts)
        self._cors = cors
        self._good_hosts: set[bytes] = set()

    def check(self, headers: Headers, tokens_in_force: bool) -> None:
        """Raises HostRepeated, HostNotAllowed or OriginNotAllowed."""
        host = origin = None
        for name, value in headers:
            if name == b"host":
                if host is not None:
                    raise HostRepeated
                host = value
            elif name == b"origin":
                origin = value
        if not tokens_in_force or self._allowed_hosts:
            self._check_host(host)
        if origin is not None and not tokens_in_force:
            self._check_origin(origin, host)

    def _check_host(self, host: bytes | None) -> None:
        if host in self._good_hosts:
            return
        if host is None:
            # Of old clients; no browser leaves it out.
            if self._allowed_hosts:
                raise HostNotAllowed
            return
        if not self._is_good(host.lower()):
            raise HostNotAllowed
        if len(self._good_hosts) < _MOST_REMEMBERED:
            self._good_hosts.add(host)

    def _is_good(self, host: bytes) -> bool:
        match = _HOST.fullmatch(host)
        if not match:
            return False
        if match["v6"]:
            return _is_address(match["v6"])
        name = match["name"]
        return (
            # A name without a dot is nobody's to register: localhost, a container, a machine of this network.
            b"." not in name
            or name.endswith(b".localhost")
            or name == _HOST_OF_CONTAINERS
            or name in self._allowed_hosts
            or _is_address(name)
        )

    def _check_origin(self, origin: bytes, host: bytes | None) -> None:
        scheme, _, origin_host = origin.lower().partition(b"://")
        is_own = host is not None and scheme in (b"http", b"https") and origin_host == host.lower()
        if not is_own and not self._cors.allows(origin):
            raise OriginNotAllowed


def _is_address(text: bytes) -> bool:
    try:
        ipaddress.ip_address(text.decode())
    except ValueError:
        return False
    return True


def _value_of(name: bytes, headers: Headers) -> bytes | None:
    return next((value for key, value in headers if key == name), None)
