"""A world for switches that is made of plain data: engines by script, the gateway's real state, time that stands still.

Everything that pmpctl does to it is an act, and acts are counted, so that a test can let any of them go wrong: pmpctl
is killed right before or after it, the user interrupts it, or what it is done to refuses. Clients come at acts, too.
"""

import asyncio
import itertools
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Literal, cast

import httpx

from pmp_gateway.auth import Tokens
from pmp_gateway.control_api import control_api
from pmp_gateway.control_schema import Phase
from pmp_gateway.failures import BackendAway, GatewayError
from pmp_gateway.models import ModelEntry, Models
from pmp_gateway.state import GatewayState
from pmp_gateway.upstream import Upstream
from pmp_gateway.waiting import HoldLimits
from pmpctl.planning.plan import LABEL_PLAN, LABEL_PROFILE, Unit
from pmpctl.runtime.base import UnitState
from tests.unit.gateway.fake_effects import FakeEffects

Behaviour = Literal["serves", "ends", "wrong-model", "no-token", "does-not-start"]
Mishap = Literal["killed-before", "killed-after", "interrupted", "refused"]

ENGINE_WAIT_SECONDS = 20.0


class Killed(BaseException):
    """SIGKILL: whoever runs on after it changes nothing any more."""


@dataclass(eq=False)
class Request:
    """A client's request, which the world answers as soon as it reaches an engine."""

    number: int
    world: "World"
    size_bytes: int = 100
    is_stream: bool = False
    answered_by: list[str] = field(default_factory=list)
    refusals: list[GatewayError] = field(default_factory=list)

    @property
    def is_over(self) -> bool:
        return bool(self.answered_by or self.refusals)

    def go(self) -> None:
        self.world.dispatch(self)

    def refuse(self, error: GatewayError) -> None:
        self.refusals.append(error)


class World:
    def __init__(self) -> None:
        self.units: dict[str, UnitState] = {}
        self.started: dict[str, Unit] = {}
        self.behaviours: dict[str, Behaviour] = {}
        # `up` in the place of an engine that died holds nothing: an open gateway cannot tell the one from the other.
        self.behind_an_open_gateway: set[str] = set()
        self.requests: list[Request] = []
        self.faults: list[str] = []
        self.effects = FakeEffects()
        self.gateway = self._gateway()
        self.acts = 0
        self.mishap: Mishap | None = None
        self.mishap_at = 0
        self.asks_at: Collection[int] = ()
        self.is_dead = False
        self._runner = asyncio.Runner()
        # pmpctl asks how a drain goes while it waits for the drain's end.
        self._gateway_turn = threading.RLock()
        self._ids = itertools.count(1)

    def close(self) -> None:
        self._runner.close()

    # What pmpctl does.

    @contextmanager
    def act(self, refusal: Exception) -> Iterator[None]:
        """One change of the world; it may be the one at which something happens."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        self.require_alive()
        self.acts += 1
        if self.acts in self.asks_at:
            self.ask()
        mishap = self.mishap if self.acts == self.mishap_at else None
        if mishap == "killed-before":
            self._die()
        if mishap == "refused":
            raise refusal
        yield
        if mishap == "killed-after":
            self._die()
        if mishap == "interrupted":
            raise KeyboardInterrupt

    def require_alive(self) -> None:
        if self.is_dead:
            raise Killed

    def _die(self) -> None:
        self.is_dead = True
        raise Killed

    # What there is.

    def unit(self, role: str) -> UnitState | None:
        return next((state for state in self.units.values() if state.role == role), None)

    @property
    def serving(self) -> str | None:
        """The profile of the engine that answers."""
        engine = self.unit("engine")
        if engine is None or not engine.alive or self.behaviours[engine.id] in ("ends", "does-not-start"):
            return None
        return engine.profile

    def models(self) -> tuple[str, ...] | None:
        engine = self.unit("engine")
        if self.serving is None or engine is None:
            return None
        if self.behaviours[engine.id] == "wrong-model":
            return ("acme/other",)
        argv = self.started[engine.id].argv
        first = argv.index("--served-model-name") + 1
        return tuple(itertools.takewhile(lambda word: not word.startswith("--"), argv[first:]))

    def profile_of(self, engine_id: str) -> str:
        """Also of an engine that is gone."""
        return self.started[engine_id].labels[LABEL_PROFILE]

    @property
    def is_broken(self) -> bool:
        """An engine runs that answers, and not as it should."""
        engine = self.unit("engine")
        return engine is not None and engine.alive and self.behaviours[engine.id] != "serves"

    def change(self, unit_id: str, **changes: Any) -> None:
        self.units[unit_id] = replace(self.units[unit_id], **changes)

    def start(self, unit: Unit, behaviour: Behaviour) -> UnitState:
        unit_id = f"{unit.role}-{next(self._ids)}"
        state = UnitState(
            id=unit_id,
            name=unit.name,
            role=unit.role,
            profile=unit.labels[LABEL_PROFILE],
            plan_hash=unit.labels[LABEL_PLAN],
            phase="exited" if behaviour == "ends" else "running",
            health="unknown",
            image="",
            exit_code=1 if behaviour == "ends" else None,
            oom_killed=False,
            restart_count=0,
            started_at=1.0,
            finished_at=None,
        )
        self.units[unit_id], self.started[unit_id], self.behaviours[unit_id] = state, unit, behaviour
        if unit.role == "engine" and self.gateway.phase is Phase.OPEN:
            self.behind_an_open_gateway.add(unit_id)
        if unit.role == "gateway":
            self.restart_gateway()
        self.settle()
        return state

    # The gateway and its clients.

    def _gateway(self) -> GatewayState:
        saved = self.effects.saved
        self.effects = FakeEffects(saved=saved)
        return GatewayState(self.effects, HoldLimits(engine_wait_seconds=ENGINE_WAIT_SECONDS), saved)

    @property
    def has_gateway(self) -> bool:
        gateway = self.unit("gateway")
        return gateway is not None and gateway.alive

    def restart_gateway(self) -> None:
        """It ends, and is started again: who waited is cut off, and it remembers what it was doing."""
        self.cut_off()
        self.gateway = self._gateway()
        self.settle()

    def cut_off(self) -> None:
        """The gateway's process ends, and every connection with it."""
        for request in self.requests:
            if not request.is_over:
                request.refusals.append(BackendAway())

    def ask(self) -> None:
        request = Request(len(self.requests), self)
        self.requests.append(request)
        if not self.has_gateway:
            request.refusals.append(BackendAway())
            return
        try:
            if self.gateway.admit(request):
                self.dispatch(request)
        except GatewayError as error:
            request.refusals.append(error)
        self.settle()

    def dispatch(self, request: Request) -> None:
        """As the gateway's relay does it: an engine that takes no connection may be worth waiting for."""
        engine = self.unit("engine")
        if self.serving is not None and engine is not None:
            waiting = [each.number for each in self.requests if not each.is_over]
            if waiting and min(waiting) < request.number:
                self.faults.append(f"request {request.number} went before {min(waiting)}")
            if self.behaviours[engine.id] == "wrong-model" and engine.id not in self.behind_an_open_gateway:
                self.faults.append(f"request {request.number} went to an engine with a model that nobody planned")
            request.answered_by.append(engine.id)
            self.gateway.leave(request)
        elif not self.gateway.engine_away(request):
            request.refusals.append(BackendAway())
            self.gateway.leave(request)

    def settle(self) -> None:
        """All that is due now happens, and the engine answers what the gateway asks it."""
        while self.effects.is_busy:
            self.effects.advance()
            models = self.models()
            self.effects.answer(frozenset(models) if models is not None else None)

    def pass_time(self, seconds: float) -> None:
        for _ in range(20):
            self.effects.advance(seconds / 20)
            self.settle()

    def control(self, method: str, path: str, **options: Any) -> httpx.Response:
        """The answer of the gateway's control socket."""
        self.require_alive()
        if not self.has_gateway:
            raise httpx.ConnectError("nobody listens")
        with self._gateway_turn:
            api = control_api(self.gateway, Tokens(None), ScriptedModels(self), "http://engine")

            async def ask() -> httpx.Response:
                async with httpx.AsyncClient(transport=httpx.ASGITransport(api), base_url="http://gateway") as client:
                    return await client.request(method, path, **options)

            answer = self._runner.run(ask())
            self.settle()
            return answer

    def answer_engine(self, request: httpx.Request) -> httpx.Response:
        """In the place of the engine's own server."""
        self.require_alive()
        models, engine = self.models(), self.unit("engine")
        if models is None or engine is None:
            raise httpx.ConnectError("nobody listens", request=request)
        if request.url.path == "/v1/completions" and self.behaviours[engine.id] == "no-token":
            return httpx.Response(500, text="CUDA error")
        if request.url.path == "/v1/models":
            return httpx.Response(200, json={"data": [{"id": name, "max_model_len": 4096} for name in models]})
        return httpx.Response(200, json={"version": "0.32.0"})


class ScriptedModels(Models):
    def __init__(self, world: World) -> None:
        super().__init__(cast("Upstream", None), None, "serve")
        self._world = world

    async def fetch(self) -> list[ModelEntry]:
        if (models := self._world.models()) is None:
            raise BackendAway
        return [{"id": name} for name in models]
