"""A server whose answers are good but for one value, which is of another kind."""

from collections.abc import Iterator
from typing import Any

from tests.unit.smoke.zoo.api import WellBehaved
from tests.unit.smoke.zoo.exchange import Exchange
from tests.unit.smoke.zoo.mind import Reply

ABSENT = object()

Place = tuple[str | int, ...]


class Odd(WellBehaved):
    """`nth` counts the places of each answer's JSON; what has fewer is good as it is. ABSENT takes the value away."""

    def __init__(self, nth: int = 0, value: Any = None) -> None:
        super().__init__()
        self.nth = nth
        self.value = value

    def spoil(self, data: Any) -> Any:
        place = dict(enumerate(places(data))).get(self.nth)
        return data if place is None else _with(data, place, self.value)

    def list_models(self) -> dict[str, Any]:
        models: dict[str, Any] = self.spoil(super().list_models())
        return models

    def whole(self, reply: Reply) -> dict[str, Any]:
        answer: dict[str, Any] = self.spoil(super().whole(reply))
        return answer

    def chunks(self, reply: Reply, body: dict[str, Any]) -> list[dict[str, Any]]:
        return [self.spoil(chunk) for chunk in super().chunks(reply, body)]


def places(data: Any, above: Place = ()) -> Iterator[Place]:
    yield above
    members = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, value in members:
        yield from places(value, (*above, key))


def _with(data: Any, place: Place, value: Any) -> Any:
    if not place:
        return {} if value is ABSENT else value
    (key, *below) = place
    changed: Any = data.copy()
    if not below and value is ABSENT:
        del changed[key]
    else:
        changed[key] = _with(data[key], tuple(below), value)
    return changed


class Fixed(WellBehaved):
    """The same bytes for every question."""

    def __init__(self, body: bytes = b"", kind: str = "application/json", status: int = 200) -> None:
        super().__init__()
        self.body = body
        self.kind = kind
        self.status = status

    async def serve(self, exchange: Exchange) -> None:
        await exchange.json()
        await exchange.answer_bytes(self.status, self.body, {"content-type": self.kind})
