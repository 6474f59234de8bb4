"""What a server adds to the upstream alone."""

from bench.results import Round

DIRECT = "direct"

_ADDED = {"latency_us": "added_latency_us", "first_byte_us": "added_first_byte_us"}


def with_added(figures: Round) -> dict[str, dict[str, float]]:
    """The round with what each server adds to the direct connection."""
    direct = figures.get(DIRECT, {})
    complete: dict[str, dict[str, float]] = {}
    for server, own in figures.items():
        added = {
            to: own[name] - direct[name]
            for name, to in _ADDED.items()
            if server != DIRECT and name in own and name in direct
        }
        complete[server] = {**own, **added}
    return complete
