"""What the rounds, or turns, gave, and the arithmetic on it: medians, spread, ratios of figures of the same one."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

Round = Mapping[str, Mapping[str, float]]


@dataclass(frozen=True, slots=True)
class Spread:
    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        return cls(statistics.median(values), min(values), max(values))


@dataclass(frozen=True, slots=True)
class Results:
    """`rounds` holds figures by server and by name; what could not be measured is not in it."""

    rounds: Sequence[Round]

    def figure(self, server: str, name: str) -> Spread | None:
        values = [each[server][name] for each in self.rounds if name in each.get(server, {})]
        return Spread.of(values) if values else None

    def ratio(self, server: str, peer: str, name: str) -> Spread | None:
        """Of rounds where both were measured, since what disturbs a round disturbs both."""
        pairs = [
            (each[server][name], each[peer][name])
            for each in self.rounds
            if name in each.get(server, {}) and name in each.get(peer, {})
        ]
        values = [own / other for own, other in pairs if other > 0]
        return Spread.of(values) if values else None
