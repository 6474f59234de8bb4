"""Whether the engine answers, and with which models."""

import asyncio

from pmp_gateway.failures import BackendFailure
from pmp_gateway.models import Models

_TIMEOUT_SECONDS = 2.0


async def served_models(models: Models) -> tuple[str, ...] | None:
    """In the engine's own order; None if it does not answer."""
    try:
        async with asyncio.timeout(_TIMEOUT_SECONDS):
            return tuple(entry["id"] for entry in await models.fetch())
    except (BackendFailure, TimeoutError):
        return None
