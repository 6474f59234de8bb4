"""How clients are told apart by their addresses."""

import ipaddress
from functools import lru_cache

_HOMES_PREFIX = 64


@lru_cache(maxsize=4096)
def client_key(host: str | None) -> str:
    """One word for everybody behind an address: IPv6 hands a whole /64 to each home, IPv4 one address."""
    if host is None or ":" not in host:
        return host or ""
    try:
        address = ipaddress.IPv6Address(host)
    except ipaddress.AddressValueError:
        return host
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    network = int(address) >> (128 - _HOMES_PREFIX) << (128 - _HOMES_PREFIX)
    return f"{ipaddress.IPv6Address(network)}/{_HOMES_PREFIX}"
