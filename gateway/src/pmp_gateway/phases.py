"""Which phase may follow which, and what clients are told in those that refuse."""

from collections.abc import Mapping

from pmp_gateway.control_schema import Phase, Reason, Refusal

# To enter a phase again is always allowed: it renews the reason and the deadline.
TRANSITIONS: Mapping[Phase, frozenset[Phase]] = {
    Phase.CLOSED: frozenset({Phase.OPENING, Phase.OPEN, Phase.HOLDING, Phase.DRAINING}),
    Phase.OPENING: frozenset({Phase.OPEN, Phase.HOLDING, Phase.CLOSED}),
    Phase.OPEN: frozenset({Phase.HOLDING, Phase.DRAINING, Phase.CLOSED}),
    Phase.HOLDING: frozenset({Phase.OPENING, Phase.OPEN, Phase.DRAINING, Phase.CLOSED}),
    Phase.DRAINING: frozenset({Phase.HOLDING, Phase.OPEN, Phase.CLOSED}),
}

SENTENCES: Mapping[Reason, str] = {
    Reason.SWITCH: "The model is being changed; try again later.",
    Reason.START: "The model is being started; try again later.",
    Reason.MAINTENANCE: "The service is being maintained; try again later.",
    Reason.STOP: "The model has been stopped; try again later.",
    Reason.SWITCH_FAILED: "The model could not be changed, and none is loaded; try again later.",
    Reason.ENGINE_FAILED: "The engine fails again and again; try again later.",
    Reason.HOLD_EXPIRED: "The model did not come back in time; try again later.",
    Reason.STATE_UNREADABLE: "The service must be opened by its operator; try again later.",
}


class VerbRefused(Exception):
    """A verb does not fit what the gateway is doing; the message is for the operator."""

    def __init__(self, refusal: Refusal, message: str) -> None:
        super().__init__(message)
        self.refusal = refusal
