"""The verbs that change the phase, over HTTP on the control socket."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from fastapi import Body, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, PlainValidator

from pmp_gateway.control_schema import (
    DEFAULT_DRAIN_SECONDS,
    DEFAULT_HOLD_SECONDS,
    MAX_DEADLINE_SECONDS,
    VERBS,
    PhaseAnswer,
    Reason,
    Refusal,
)
from pmp_gateway.engine_probe import served_models
from pmp_gateway.models import Models
from pmp_gateway.phases import VerbRefused
from pmp_gateway.request_policy import RequestPolicy
from pmp_gateway.state import GatewayState


def _policy(given: object) -> RequestPolicy:
    if not isinstance(given, Mapping):
        raise ValueError("must be an object")  # noqa: TRY004 (pydantic reports no other)
    return RequestPolicy.from_data(given)


HoldId = Annotated[str, Field(pattern=r"^[A-Za-z0-9._:-]{1,64}$")]
Policy = Annotated[RequestPolicy, PlainValidator(_policy)]
Deadline = Annotated[float, Field(ge=0, le=MAX_DEADLINE_SECONDS)]


class _Verb(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    hold_id: HoldId | None = None
    force: bool = False


class _Hold(_Verb):
    hold_id: HoldId
    reason: Reason = Reason.MAINTENANCE
    deadline_seconds: Deadline = DEFAULT_HOLD_SECONDS


class _Drain(_Verb):
    deadline_seconds: Deadline = DEFAULT_DRAIN_SECONDS


class _Open(_Verb):
    policy: Policy | None = None
    expect_models: frozenset[str] = frozenset()


class _Opening(_Open):
    hold_id: HoldId
    deadline_seconds: Deadline = DEFAULT_HOLD_SECONDS


class _Close(_Verb):
    reason: Reason = Reason.MAINTENANCE


class PhaseApi:
    def __init__(self, state: GatewayState, models: Models) -> None:
        self._state = state
        self._models = models

    def mount(self, app: FastAPI) -> None:
        for verb, endpoint in (
            ("hold", self.hold),
            ("drain", self.drain),
            ("opening", self.opening),
            ("open", self.open),
            ("close", self.close),
        ):
            app.add_api_route(VERBS[verb].path, endpoint, methods=[VERBS[verb].method])
        app.exception_handler(VerbRefused)(self._refused)
        app.exception_handler(RequestValidationError)(self._invalid)

    async def hold(self, verb: _Hold) -> JSONResponse:
        self._state.hold(verb.hold_id, verb.deadline_seconds, verb.reason, force=verb.force)
        return self._done()

    async def drain(self, verb: Annotated[_Drain, Body(default_factory=_Drain)]) -> JSONResponse:
        """Answers when nothing is in flight any more."""
        over: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

        def ended(is_empty: bool) -> None:
            # Whoever asked may have gone; the drain goes on without him.
            if not over.done():
                over.set_result(is_empty)

        self._state.begin_drain(verb.deadline_seconds, ended, hold_id=verb.hold_id, force=verb.force)
        if not await over:
            raise VerbRefused(Refusal.DRAIN_ENDED_EARLY, f"the gateway became {self._state.phase} during the drain")
        return self._done()

    async def opening(self, verb: _Opening) -> JSONResponse:
        self._state.opening(
            verb.hold_id, verb.deadline_seconds, policy=verb.policy, models=verb.expect_models, force=verb.force
        )
        return self._done()

    async def open(self, verb: Annotated[_Open, Body(default_factory=_Open)]) -> JSONResponse:
        """Asks the engine first: an open gateway without an engine, or before another one, helps nobody."""
        self._state.check_open(verb.hold_id, force=verb.force)
        # Who opens has seen it answer: one answer may be late where the whole machine stood still.
        served = await served_models(self._models) or await served_models(self._models)
        if served is None:
            raise VerbRefused(Refusal.ENGINE_AWAY, "the engine does not answer")
        if missing := verb.expect_models.difference(served):
            raise VerbRefused(
                Refusal.WRONG_MODELS, f"the engine serves {', '.join(served)}, not {', '.join(sorted(missing))}"
            )
        self._state.open(policy=verb.policy, models=verb.expect_models, hold_id=verb.hold_id, force=verb.force)
        return self._done()

    async def close(self, verb: Annotated[_Close, Body(default_factory=_Close)]) -> JSONResponse:
        self._state.close(verb.reason, hold_id=verb.hold_id, force=verb.force)
        return self._done()

    def _done(self) -> JSONResponse:
        return self._answer(200, None, f"the gateway is {self._state.phase}")

    async def _refused(self, _request: Request, error: Exception) -> JSONResponse:
        refusal = error.refusal if isinstance(error, VerbRefused) else None
        return self._answer(409, refusal, str(error))

    async def _invalid(self, _request: Request, error: Exception) -> JSONResponse:
        return self._answer(422, Refusal.INVALID, _complaints(error))

    def _answer(self, status: int, refusal: Refusal | None, message: str) -> JSONResponse:
        state = self._state
        answer = PhaseAnswer(
            ok=refusal is None,
            message=message,
            refusal=refusal,
            phase=state.phase,
            in_flight=state.in_flight,
            held=state.held,
            door=state.door(),
        )
        return JSONResponse(answer.as_data(), status_code=status)


def _complaints(error: Exception) -> str:
    found: Sequence[Any] = error.errors() if isinstance(error, RequestValidationError) else ()
    return "; ".join(f"{'.'.join(str(part) for part in each['loc'][1:]) or 'body'}: {each['msg']}" for each in found)
