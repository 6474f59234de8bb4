"""Progress of an operation where nobody watches a screen: plain lines in a pipe, JSON lines for machines."""

import dataclasses
import re
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Protocol, Self

from pmpctl.operations.events import CheckMade, Event, Notice, PhaseFinished, PhaseProgress, PhaseStarted, Setback
from pmpctl.ui.terminal import Writer
from pmpctl.ui.text import human_bytes, human_seconds

_QUIET_SECONDS = 5.0
_STEP_PERCENT = 10


class Reporter(Protocol):
    """Shows events while its block lasts; leaving the block by an exception marks open phases as failed."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...

    def show(self, event: Event) -> None: ...


def amount(event: PhaseProgress) -> str:
    """`1.2 GiB of 3.4 GiB (35 %)`, `35 %`, `3 of 12`; empty while nothing is known."""
    if event.unit == "percent":
        return f"{event.done} %"
    if event.unit == "bytes":
        done, total = human_bytes(event.done), human_bytes(event.total or 0)
    else:
        done, total = str(event.done), str(event.total)
    if event.total:
        return f"{done} of {total} ({100 * event.done // event.total} %)"
    return done if event.done else ""


def event_data(event: Event) -> dict[str, Any]:
    """`PhaseStarted(...)` as `{"event": "phase_started", ...}`."""
    name = re.sub(r"(?<!^)(?=[A-Z])", "_", type(event).__name__).lower()
    return {"event": name, **dataclasses.asdict(event)}


def bad_check(event: CheckMade) -> str | None:
    """None for a check whose result can wait for the end."""
    return f"{event.verdict.upper()}: {event.title}: {event.detail}" if event.verdict in ("fail", "warn") else None


class JsonReporter:
    def __init__(self, emit: Callable[[dict[str, Any]], None], quiet: bool) -> None:
        self._emit = emit
        self._quiet = quiet

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        return None

    def show(self, event: Event) -> None:
        is_warning = isinstance(event, Setback) or (isinstance(event, Notice) and event.level == "warning")
        if is_warning or not self._quiet:
            self._emit(event_data(event))


class PlainReporter:
    """A line when a phase starts and ends, and now and then one in between."""

    def __init__(self, writer: Writer, quiet: bool, clock: Callable[[], float] = time.monotonic) -> None:
        self._writer = writer
        self._quiet = quiet
        self._clock = clock
        self._titles: dict[str, str] = {}
        self._started_at: dict[str, float] = {}
        self._shown_at: dict[str, float] = {}
        self._shown_percent: dict[str, int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        if error is not None:
            self._stop_phases()

    def show(self, event: Event) -> None:
        match event:
            case PhaseStarted(phase, title):
                self._titles[phase] = title
                self._started_at[phase] = self._shown_at[phase] = self._clock()
                self._say(f"{title} ...")
            case PhaseProgress():
                self._progress(event)
            case PhaseFinished(phase, seconds, message):
                title = self._titles.pop(phase, phase)
                self._say(f"{title}: done in {human_seconds(seconds)}" + (f", {message}" if message else ""))
            case Notice("warning", message):
                self._writer.labelled("warning", message, "warning")
            case Notice(_, message):
                self._say(message)
            case CheckMade():
                if words := bad_check(event):
                    self._say(words)
            case Setback(message):
                self._stop_phases()
                self._writer.labelled("warning", message, "warning")

    def _stop_phases(self) -> None:
        for phase, title in self._titles.items():
            self._say(f"{title}: stopped after {human_seconds(self._clock() - self._started_at[phase])}")
        self._titles.clear()

    def _progress(self, event: PhaseProgress) -> None:
        now = self._clock()
        total = 100 if event.unit == "percent" else event.total
        percent = 100 * event.done // total if total else 0
        waited = now - self._shown_at.get(event.phase, now)
        has_grown = percent - self._shown_percent.get(event.phase, 0) >= _STEP_PERCENT
        # Steps may be a few, of which each is a tenth, and over in no time.
        if waited < _QUIET_SECONDS and (event.unit == "steps" or not has_grown):
            return
        self._shown_at[event.phase] = now
        self._shown_percent[event.phase] = percent
        title = self._titles.get(event.phase, event.phase)
        self._say(f"{title}: " + ", ".join(part for part in (event.message, amount(event)) if part))

    def _say(self, text: str) -> None:
        if not self._quiet:
            self._writer.line(text)
