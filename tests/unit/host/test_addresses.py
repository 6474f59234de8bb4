"""The addresses of this machine: whoever listens on all of them is reached at each."""

import socket

from pmpctl.host.addresses import network_addresses


def test_a_server_on_all_addresses_is_reached_at_each() -> None:
    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as server:
        for address in network_addresses():
            socket.create_connection((address, server.getsockname()[1]), timeout=30).close()


def test_loopback_is_none_of_them() -> None:
    assert not {"127.0.0.1", "::1"} & set(network_addresses())
