"""Under which addresses others on the network reach this machine."""

import ipaddress
import socket

import psutil


def network_addresses() -> tuple[str, ...]:
    """Of every network it is in; neither loopback nor those of a single link, which are no address without its name."""
    given = (
        ipaddress.ip_address(each.address.partition("%")[0])
        for addresses in psutil.net_if_addrs().values()
        for each in addresses
        if each.family in (socket.AF_INET, socket.AF_INET6)
    )
    return tuple(str(address) for address in given if not address.is_loopback and not address.is_link_local)
