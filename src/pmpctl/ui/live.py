"""Progress on a terminal: a line per open phase with a spinner and a bar, ticked off above as phases end."""

import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from rich.console import Console, RenderableType
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Column
from rich.text import Text

from pmpctl.operations.events import CheckMade, Event, Notice, PhaseFinished, PhaseProgress, PhaseStarted, Setback
from pmpctl.ui.progress import amount, bad_check
from pmpctl.ui.terminal import Writer
from pmpctl.ui.text import human_seconds


class _BarWhenTotalKnown(ProgressColumn):
    _bar = BarColumn(bar_width=24)

    def render(self, task: Task) -> RenderableType:
        return Text() if task.total is None else self._bar.render(task)


class LiveReporter:
    def __init__(self, writer: Writer, clock: Callable[[], float] = time.monotonic) -> None:
        self._clean = writer.clean
        self._clock = clock
        encoding = (writer.stream.encoding or "").lower()
        self._tick, self._cross = ("✓", "✗") if encoding.startswith("utf") else ("+", "x")
        console = Console(file=writer.stream, no_color=not writer.color, highlight=False, markup=False, emoji=False)
        self._progress = Progress(
            SpinnerColumn("dots" if encoding.startswith("utf") else "line"),
            TextColumn("{task.description}", markup=False),
            TimeElapsedColumn(),
            _BarWhenTotalKnown(),
            TextColumn("{task.fields[amount]}", markup=False),
            TextColumn(
                "{task.fields[message]}",
                style="dim",
                markup=False,
                table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis"),
            ),
            console=console,
            transient=True,
            expand=True,
        )
        self._titles: dict[str, str] = {}
        self._started_at: dict[str, float] = {}
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        if error is not None:
            self._stop_phases()
        self._progress.stop()

    def show(self, event: Event) -> None:
        match event:
            case PhaseStarted(phase, title):
                self._titles[phase] = self._clean(title)
                self._started_at[phase] = self._clock()
                self._tasks[phase] = self._progress.add_task(self._titles[phase], total=None, amount="", message="")
            case PhaseProgress(phase):
                if phase in self._tasks:
                    self._progress.update(
                        self._tasks[phase],
                        total=100 if event.unit == "percent" else event.total,
                        completed=event.done,
                        amount=amount(event),
                        message=self._clean(event.message),
                    )
            case PhaseFinished(phase, seconds, message):
                self._end(phase, self._tick, "green", seconds, message)
            case Notice(level, message):
                self._say(message, is_warning=level == "warning")
            case CheckMade():
                if words := bad_check(event):
                    self._say(words, is_warning=False)
            case Setback(message):
                self._stop_phases()
                self._say(message, is_warning=True)

    def _stop_phases(self) -> None:
        for phase in tuple(self._tasks):
            self._end(phase, self._cross, "red", self._clock() - self._started_at[phase])

    def _say(self, message: str, *, is_warning: bool) -> None:
        words = Text(self._clean(message))
        if is_warning:
            words = Text.assemble(("warning:", "yellow"), " ", words)
        self._progress.console.print(words, soft_wrap=True)

    def _end(self, phase: str, mark: str, style: str, seconds: float, message: str = "") -> None:
        if phase in self._tasks:
            self._progress.remove_task(self._tasks.pop(phase))
        title = self._titles.pop(phase, phase)
        words = Text.assemble((mark, style), f" {title}  ", (human_seconds(seconds), "dim"))
        if message:
            words.append(f"  {self._clean(message)}")
        self._progress.console.print(words, soft_wrap=True)
