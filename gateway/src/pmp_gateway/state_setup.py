"""The state of this process: on its event loop, with its engine, and as the gateway before left it."""

from pmp_gateway.engine_probe import served_models
from pmp_gateway.loop_effects import LoopEffects
from pmp_gateway.models import Models
from pmp_gateway.settings import Settings
from pmp_gateway.state import GatewayState
from pmp_gateway.state_file import StateFile
from pmp_gateway.waiting import HoldLimits


def set_up_state(settings: Settings, models: Models) -> GatewayState:
    """Call it inside the running loop: a hold that is taken up again may be overdue."""
    file = StateFile(settings.state_file) if settings.state_file is not None else None

    async def ask_engine() -> frozenset[str] | None:
        served = await served_models(models)
        return frozenset(served) if served is not None else None

    limits = HoldLimits(
        max_requests=settings.hold_max_requests,
        max_bytes=settings.hold_max_bytes,
        timeout_seconds=settings.hold_timeout_seconds,
        engine_wait_seconds=settings.engine_wait_seconds,
    )
    return GatewayState(LoopEffects(ask_engine, file), limits, file.load() if file is not None else None)
