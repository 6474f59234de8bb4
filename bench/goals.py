"""Limits on what was measured, and whether the figures meet them."""

from dataclasses import dataclass
from enum import StrEnum

from bench.results import Results, Spread


class Verdict(StrEnum):
    MET = "met"
    NOT_MET = "**not met**"
    UNKNOWN = "not measured"


@dataclass(frozen=True, slots=True)
class Goal:
    """A limit on a figure, or with a peer on the ratio of ours to the peer's."""

    measure: str
    limit: float
    at_most: bool = True
    peer: str | None = None

    def value(self, results: Results, ours: str) -> Spread | None:
        return results.ratio(ours, self.peer, self.measure) if self.peer else results.figure(ours, self.measure)

    def verdict(self, results: Results, ours: str) -> Verdict:
        value = self.value(results, ours)
        if value is None:
            return Verdict.UNKNOWN
        met = value.median <= self.limit if self.at_most else value.median >= self.limit
        return Verdict.MET if met else Verdict.NOT_MET
