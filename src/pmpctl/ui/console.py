"""The Ui: runs an operation while showing its progress, prints results and failures, for people or as JSON."""

import contextlib
import json
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal, TextIO, TypeVar

from pmpctl.errors import ExitStatus, PmpctlError, Problem
from pmpctl.ui.failure import failure
from pmpctl.ui.redact import Redactor
from pmpctl.ui.terminal import Writer

if TYPE_CHECKING:
    from pmpctl.operations.events import Operation
    from pmpctl.ui.progress import Reporter

T = TypeVar("T")

SCHEMA = 1


class Ui:
    """Results go to stdout, progress and errors to stderr; with JSON everything for machines goes to stdout."""

    def __init__(
        self,
        json_output: bool = False,
        quiet: bool = False,
        color: bool | None = None,
        debug: bool = False,
        stdout: TextIO | None = None,
        stderr: TextIO | None = None,
    ) -> None:
        self.json_output = json_output
        self.quiet = quiet
        self.debug = debug
        self.redactor = Redactor.from_environment()
        self.out = Writer(sys.stdout if stdout is None else stdout, self.redactor, color)
        self.err = Writer(sys.stderr if stderr is None else stderr, self.redactor, color)

    def run(self, operation: "Operation[T]") -> T:
        """Drive an operation to its result; however this ends, the operation's `finally` blocks have run.

        An interruption always reaches the operation itself, which may have something to undo and to tell of it.
        """
        with contextlib.closing(operation), self._reporter() as reporter:
            interrupt: KeyboardInterrupt | None = None
            while True:
                try:
                    event = next(operation) if interrupt is None else operation.throw(interrupt)
                except StopIteration as stop:
                    result: T = stop.value
                    return result
                try:
                    interrupt = None
                    reporter.show(event)
                except KeyboardInterrupt as error:
                    interrupt = error

    def result(
        self,
        command: str,
        data: Any,
        human: Callable[[Writer], None] | str,
        refusal: PmpctlError | None = None,
    ) -> ExitStatus:
        """The outcome of a command, once and last: words for people or the JSON envelope; returns the exit status.

        `refusal` is what the outcome amounts to where it is a bad one: its problems stand beside the data.
        """
        status = refusal.exit_status if refusal else ExitStatus.DONE
        problems = refusal.problems if refusal else ()
        if self.json_output:
            self._json(_envelope(command, status, data, problems))
            return status
        if isinstance(human, str):
            self.out.line(human)
        else:
            human(self.out)
        self._problems(problems)
        return status

    def item(
        self, event: str, data: dict[str, Any], human: str, stream: Literal["stdout", "stderr"] = "stdout"
    ) -> None:
        """One of many that come over time, such as a line of a log."""
        if self.json_output:
            self._json({"schema": SCHEMA, "event": event, **data})
        else:
            (self.out if stream == "stdout" else self.err).line(human)

    def frame(self, event: str, data: dict[str, Any], human: Callable[[Writer], None]) -> None:
        """A view that is shown again and again: redrawn in place on a terminal, one after the other elsewhere."""
        if self.json_output:
            self._json({"schema": SCHEMA, "event": event, **data})
            return
        if self.out.is_terminal:
            self.out.stream.write("\x1b[H\x1b[J")
        human(self.out)

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        self.out.table(columns, rows)

    def fail(self, command: str, error: BaseException) -> int:
        """Say what went wrong and how to mend it; returns the exit status."""
        outcome = failure(error, self.debug)
        if self.json_output:
            self._json(_envelope(command, outcome.exit_status, None, outcome.problems))
            return outcome.exit_status
        self._problems(outcome.problems)
        return outcome.exit_status

    def _problems(self, problems: Sequence[Problem]) -> None:
        for problem in problems:
            self.err.labelled("error", problem.message, "error")
            for detail in problem.details:
                for line in detail.splitlines() or [""]:
                    self.err.line(f"  {line}")
            self.err.labelled("cure", problem.cure, "cure")

    def _reporter(self) -> "Reporter":
        from pmpctl.ui.progress import JsonReporter, PlainReporter

        if self.json_output:
            return JsonReporter(lambda event: self._json({"schema": SCHEMA, **event}), self.quiet)
        if self.err.is_terminal and not self.quiet and not self.debug:
            # rich takes as long to load as all the rest: only where there is a screen to draw on.
            from pmpctl.ui.live import LiveReporter

            return LiveReporter(self.err)
        return PlainReporter(self.err, self.quiet)

    def _json(self, value: dict[str, Any]) -> None:
        from pmpctl.planning.plan import as_data

        self.out.raw(json.dumps(self.redactor.data(as_data(value))))


def _envelope(command: str, status: ExitStatus, data: Any, problems: Sequence[Problem]) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "command": command,
        "ok": status == ExitStatus.DONE,
        "exit_status": int(status),
        "data": data,
        "errors": [
            {"code": each.code, "message": each.message, "cure": each.cure, "details": list(each.details)}
            for each in problems
        ],
    }
