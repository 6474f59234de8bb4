"""How many connections there are, in all and from each address: beyond that, the rest must stay reachable."""

from collections import Counter

from pmp_gateway.addresses import client_key
from pmp_gateway.failures import TooManyConnections


class Crowd:
    def __init__(self, most: int, most_of_one: int) -> None:
        self._most = most
        self._most_of_one = most_of_one
        self._count = 0
        self._of_address: Counter[str] = Counter()

    def enter(self, host: str | None) -> None:
        """Raises TooManyConnections, and then counts nothing."""
        key = client_key(host)
        if self._count >= self._most:
            raise TooManyConnections
        if self._of_address.get(key, 0) >= self._most_of_one:
            raise TooManyConnections("Too many connections are open from this address.")
        self._count += 1
        self._of_address[key] += 1

    def leave(self, host: str | None) -> None:
        key = client_key(host)
        self._count -= 1
        self._of_address[key] -= 1
        if not self._of_address[key]:
            del self._of_address[key]
