"""Which names the engine answers to, and which of them a request means."""

import asyncio
import json
from typing import Any

from pmp_gateway.failures import BackendAway, BackendBroken, ModelUnknown
from pmp_gateway.settings import UnknownModel
from pmp_gateway.upstream import Upstream

# The name that always means the loaded model, whatever the engine calls it.
ALIAS = "llm"

_TIMEOUT_SECONDS = 10.0
_SHOWN_NAME_LENGTH = 200

ModelEntry = dict[str, Any]


class Models:
    """The engine's own list of models, kept until something suggests that another engine may be there."""

    def __init__(self, upstream: Upstream, pinned_id: str | None, unknown_model: UnknownModel) -> None:
        self._upstream = upstream
        self._pinned_id = pinned_id
        self._unknown_model = unknown_model
        self._ids: tuple[str, ...] = ()
        self._fetching: asyncio.Task[list[ModelEntry]] | None = None

    def known_name(self, asked: object) -> str | None:
        """The engine's name for the model that a request asks for; None while the engine must be asked first."""
        return self._name(asked, self._ids) if self._ids else None

    async def resolve(self, asked: object) -> str:
        """The engine's name for the model that a request asks for."""
        return self._name(asked, self._ids or _ids_of(await self.fetch()))

    def _name(self, asked: object, ids: tuple[str, ...]) -> str:
        if isinstance(asked, str) and asked in ids:
            return asked
        if asked != ALIAS and self._unknown_model == "reject":
            raise _unknown(asked)
        return self._pinned_id or ids[0]

    async def listing(self) -> list[ModelEntry]:
        """The engine's list as it is now, with the alias as an entry of its own where the engine does not list it."""
        entries = await self.fetch()
        if any(entry["id"] == ALIAS for entry in entries):
            return entries
        loaded = next((entry for entry in entries if entry["id"] == self._pinned_id), entries[0])
        return [*entries, {**loaded, "id": ALIAS}]

    async def entry(self, model_id: str) -> ModelEntry:
        for entry in await self.listing():
            if entry["id"] == model_id:
                return entry
        raise _unknown(model_id)

    async def fetch(self) -> list[ModelEntry]:
        """Ask the engine now; callers that come meanwhile share the answer."""
        if self._fetching is None:
            self._fetching = asyncio.create_task(self._fetch())
            self._fetching.add_done_callback(self._fetched)
        return await asyncio.shield(self._fetching)

    def forget(self) -> None:
        self._ids = ()

    async def _fetch(self) -> list[ModelEntry]:
        status, body = await self._upstream.get("/v1/models", _TIMEOUT_SECONDS)
        if status == 404 and self._pinned_id:
            # An engine that has no list may well be why its id was given.
            entries = [{"id": self._pinned_id, "object": "model"}]
        else:
            entries = _entries(status, body)
        self._ids = _ids_of(entries)
        return entries

    def _fetched(self, task: asyncio.Task[list[ModelEntry]]) -> None:
        self._fetching = None
        # Whoever waited has had the failure; without this, asyncio complains when nobody did.
        if not task.cancelled() and task.exception():
            self.forget()


def _unknown(asked: object) -> ModelUnknown:
    if not isinstance(asked, str):
        return ModelUnknown("The request does not name a model.", param="model")
    return ModelUnknown(f"The model '{asked[:_SHOWN_NAME_LENGTH]}' does not exist.", param="model")


def _ids_of(entries: list[ModelEntry]) -> tuple[str, ...]:
    return tuple(entry["id"] for entry in entries)


def _entries(status: int, body: bytes) -> list[ModelEntry]:
    if status != 200:
        raise BackendAway
    try:
        entries: list[ModelEntry] = list(json.loads(body)["data"])
        names_usable = all(isinstance(entry["id"], str) for entry in entries)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise BackendBroken from error
    if not names_usable:
        raise BackendBroken
    if not entries:
        raise BackendAway
    return entries
