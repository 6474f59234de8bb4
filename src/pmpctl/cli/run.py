"""Runs one command line; the one place where exceptions end and become words and an exit status."""

import os
import select
import signal
import sys
from collections.abc import Sequence
from types import FrameType
from typing import Any, NoReturn

import typer

from pmpctl.cli.app import COMMAND_PATH, command
from pmpctl.cli.context import Globals
from pmpctl.errors import ExitStatus, UsageError
from pmpctl.ui.console import Ui

PROGRAM = "pmpctl"


def run(argv: Sequence[str]) -> int:
    if "_PMPCTL_COMPLETE" in os.environ:
        return _complete()
    # Names from the file system and the network are printed even where the terminal's encoding lacks a letter.
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    signal.signal(signal.SIGTERM, _interrupt)
    root: Any = None
    try:
        root = command().make_context(PROGRAM, list(argv))
        with root:
            root.command.invoke(root)
    except typer.Exit as end:
        return end.exit_code
    except SystemExit:
        raise
    except BaseException as error:
        if isinstance(error, BrokenPipeError) and _reader_left():
            raise
        return _ui(root, argv).fail(root.meta.get(COMMAND_PATH, "") if root else "", _as_ours(error))
    return ExitStatus.DONE


def _ui(root: Any, argv: Sequence[str]) -> Ui:
    """The command's own; when parsing failed before there was one, made from what can be seen."""
    if root is not None and isinstance(root.obj, Globals):
        return root.obj.ui
    options = argv[: list(argv).index("--")] if "--" in argv else argv
    return Ui(json_output="--json" in options, color=False if "--no-color" in options else None)


def _as_ours(error: BaseException) -> BaseException:
    if isinstance(error, typer.Abort):
        return KeyboardInterrupt()
    if not isinstance(error, typer.TyperException):
        return error
    context = getattr(error, "ctx", None)
    where = context.command_path if context else PROGRAM
    return UsageError(error.format_message(), cure=f"See `{where} --help`.")


def _reader_left() -> bool:
    """Whether it is our own output that nobody reads any more, and not some other connection that broke."""
    outputs = select.poll()
    for number in (1, 2):
        outputs.register(number, 0)
    return any(events & select.POLLERR for _, events in outputs.poll(0))


def _complete() -> int:
    # Typer would load rich, which takes longer than all the rest, to strip markup that our help texts do not have.
    sys.modules["rich"] = None  # type: ignore[assignment]
    command().main(args=[], prog_name=PROGRAM)
    return ExitStatus.DONE


def _interrupt(_signal: int, _frame: FrameType | None) -> NoReturn:
    """Being told to stop is an interruption like Ctrl-C: what cleans up gets the chance to."""
    raise KeyboardInterrupt
