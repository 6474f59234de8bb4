"""The public address: loopback unless tokens guard it, or an open API is asked for."""

import ipaddress
from dataclasses import dataclass

from pmpctl.errors import OpenListener, PlanInvalid
from pmpctl.planning.plan import PortBinding
from pmpctl.profiles.model import GatewaySettings


@dataclass(frozen=True, slots=True)
class Listener:
    host: str
    port: int

    @property
    def url(self) -> str:
        """The address under which this machine itself reaches the listener."""
        if self.host in ("0.0.0.0", "localhost"):  # noqa: S104 (a comparison)
            reachable = "127.0.0.1"
        elif self.host == "::":
            reachable = "[::1]"
        else:
            reachable = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{reachable}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


def public_listener(settings: GatewaySettings, *, has_tokens: bool) -> Listener:
    """Raises OpenListener for a wide address without tokens that nobody asked for."""
    host, _, port = settings.listen.rpartition(":")
    listener = Listener(host.strip("[]"), int(port))
    if not listener.is_loopback and not has_tokens and not settings.allow_open:
        raise OpenListener(
            f"[gateway] listen = {settings.listen!r} opens the API to the network, and no token guards it",
            cure=f"Make a token with `pmpctl token add NAME` (it goes into {settings.auth_config}), "
            "or set `allow_open = true` under [gateway] if an open API is meant.",
        )
    return listener


def host_address(port: PortBinding) -> str:
    """An IP address, since the engine takes any other word for all addresses; raises PlanInvalid."""
    if port.host_ip == "localhost":
        return "127.0.0.1"
    try:
        return str(ipaddress.ip_address(port.host_ip))
    except ValueError as error:
        raise PlanInvalid(
            f"{port.host_ip!r} is not an address to publish port {port.host_port} on",
            cure="Give `listen` in the profile file an IP address, such as 127.0.0.1:8000.",
        ) from error
