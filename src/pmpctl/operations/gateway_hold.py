"""A hold of ours on the gateway: moved on while we live, and ended by its own deadline if we do not."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import wait
from functools import partial
from types import TracebackType
from typing import Self

from pmp_gateway.control_schema import MAX_DEADLINE_SECONDS, PhaseAnswer, Reason
from pmpctl.errors import GatewayNotAnswering, GatewayTimedOut, PmpctlError
from pmpctl.operations.background import in_background
from pmpctl.operations.events import Operation, PhaseProgress
from pmpctl.operations.gateway_control import close_gateway, drain, gateway_status, hold, open_gateway, opening
from pmpctl.planning.plan import Plan
from pmpctl.workspace import Workspace

RENEWAL_SECONDS = 10.0

# A gateway that was killed is started again by its runtime, and remembers what it was doing.
_PATIENCE_SECONDS = 30.0
# One that did not come back in that time is hardly there for the next verb, and the way back is not to wait for it.
_LEFT_PATIENCE_SECONDS = 2.0
_POLL_SECONDS = 0.25


class GatewayHold:
    """The verbs of one command, under the id of its hold; `deadline_seconds` is for the case that we are killed."""

    def __init__(self, workspace: Workspace, hold_id: str) -> None:
        self._workspace = workspace
        self._id = hold_id
        # One verb at a time: a renewal must not come after what it would undo.
        self._turn = threading.Lock()
        self._renewal: Callable[[], PhaseAnswer] | None = None
        self._over = threading.Event()
        self._is_away = False

    def __enter__(self) -> Self:
        threading.Thread(target=self._renew, name="hold", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self._over.set()

    def hold(self, reason: Reason, deadline_seconds: float, *, force: bool = False) -> PhaseAnswer:
        deadline_seconds = min(deadline_seconds, MAX_DEADLINE_SECONDS)
        return self._tell(partial(hold, self._workspace, self._id, reason, deadline_seconds), is_kept=True, force=force)

    def drain(self, deadline_seconds: float) -> Operation[PhaseAnswer]:
        """Returns when nothing is in flight any more; until then the hold is renewed as before."""
        deadline_seconds = min(deadline_seconds, MAX_DEADLINE_SECONDS)
        drained = in_background(
            partial(self._patiently, partial(drain, self._workspace, deadline_seconds, hold_id=self._id)), "drain"
        )
        while not wait([drained], _POLL_SECONDS).done:
            if (status := gateway_status(self._workspace)) is not None:
                yield PhaseProgress("drain", f"{status.in_flight} under way, {status.held} waiting", unit="steps")
        return drained.result()

    def opening(self, plan: Plan, deadline_seconds: float) -> PhaseAnswer:
        deadline_seconds = min(deadline_seconds, MAX_DEADLINE_SECONDS)
        verb = partial(
            opening, self._workspace, self._id, deadline_seconds, policy=plan.requests, models=plan.served_names
        )
        return self._tell(verb, is_kept=True)

    def open(self, plan: Plan) -> PhaseAnswer:
        verb = partial(open_gateway, self._workspace, policy=plan.requests, models=plan.served_names, hold_id=self._id)
        return self._tell(verb, is_kept=False)

    def open_to_any(self) -> PhaseAnswer:
        """For an engine of which nobody has kept what it serves."""
        return self._tell(partial(open_gateway, self._workspace, policy={}, models=(), hold_id=self._id), is_kept=False)

    def close(self, reason: Reason) -> PhaseAnswer:
        return self._tell(partial(close_gateway, self._workspace, reason, hold_id=self._id), is_kept=False)

    def _tell(self, verb: Callable[..., PhaseAnswer], *, is_kept: bool, force: bool = False) -> PhaseAnswer:
        with self._turn:
            answer = self._patiently(partial(verb, force=force))
            self._renewal = verb if is_kept else None
            return answer

    def _renew(self) -> None:
        while not self._over.wait(RENEWAL_SECONDS):
            with self._turn:
                if self._renewal is None or self._over.is_set():
                    continue
                try:
                    self._renewal()
                except PmpctlError:
                    # The next verb of the command itself will meet the same, and say so.
                    continue

    def _patiently(self, verb: Callable[[], PhaseAnswer]) -> PhaseAnswer:
        patience_seconds = min(_PATIENCE_SECONDS, _LEFT_PATIENCE_SECONDS) if self._is_away else _PATIENCE_SECONDS
        deadline = time.monotonic() + patience_seconds
        while True:
            try:
                answer = verb()
            except (GatewayNotAnswering, GatewayTimedOut):
                if time.monotonic() > deadline:
                    self._is_away = True
                    raise
                time.sleep(_POLL_SECONDS)
            else:
                self._is_away = False
                return answer
