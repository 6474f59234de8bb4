"""The Typer application: global options, and commands whose modules load when they are asked for."""

from collections.abc import Iterator, Mapping, MutableMapping
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, cast

import typer
from typer.core import TyperCommand, TyperGroup

from pmpctl import __version__
from pmpctl.cli.context import Globals, RuntimeChoice
from pmpctl.cli.globals_first import globals_first
from pmpctl.ui.console import Ui

COMMANDS: Mapping[str, tuple[str, str]] = {
    "up": ("pmpctl.cli.up", "up"),
    "switch": ("pmpctl.cli.switch", "switch"),
    "down": ("pmpctl.cli.up", "down"),
    "status": ("pmpctl.cli.status", "status"),
    "vram-check": ("pmpctl.cli.vram", "vram_check"),
    "logs": ("pmpctl.cli.logs", "logs"),
    "smoke": ("pmpctl.cli.smoke", "smoke"),
    "bench": ("pmpctl.cli.bench", "bench"),
    "token": ("pmpctl.cli.tokens", "app"),
    "profiles": ("pmpctl.cli.profiles", "app"),
    "render": ("pmpctl.cli.render", "app"),
}
"""Name on the command line -> module and the command function or Typer group in it; the help keeps this order."""

ALIASES: Mapping[str, str] = {"swap": "switch"}

COMMAND_PATH = "pmpctl.command"
"""Where the context's `meta` keeps the name of the command that was asked for, such as `profiles list`."""


class _LazyCommands(Mapping[str, TyperCommand | TyperGroup]):
    """Imports a command's module when that command is asked for, and no other."""

    def __getitem__(self, name: str) -> TyperCommand | TyperGroup:
        module, attribute = COMMANDS[name]
        target = getattr(import_module(module), attribute)
        if not isinstance(target, typer.Typer):
            family = typer.Typer(add_completion=False, rich_markup_mode=None)
            family.command(name)(target)
            target = family
        return cast("TyperCommand | TyperGroup", typer.main.get_command(target))

    def __iter__(self) -> Iterator[str]:
        return iter(COMMANDS)

    def __len__(self) -> int:
        return len(COMMANDS)


class CommandGroup(TyperGroup):
    """A group that notes which command was asked for, so that a failure can name it."""

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        name, found, rest = super().resolve_command(ctx, args)
        ctx.meta[COMMAND_PATH] = " ".join(part for part in (ctx.meta.get(COMMAND_PATH), name) if part)
        return name, found, rest


class RootGroup(CommandGroup):
    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = cast("MutableMapping[str, Any]", _LazyCommands())

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, globals_first(args, self.params))

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        return super().resolve_command(ctx, [ALIASES.get(args[0], args[0]), *args[1:]])


app = typer.Typer(
    name="pmpctl",
    cls=RootGroup,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def command() -> RootGroup:
    """The application as the parser wants it."""
    return cast("RootGroup", typer.main.get_command(app))


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"pmpctl {__version__}")
        raise typer.Exit


@app.callback()
def pmpctl(
    ctx: typer.Context,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            "-c",
            metavar="FILE",
            help="The profile file; default: PMPCTL_CONFIG, CONFIG_PATH, or profiles.toml in the workspace.",
        ),
    ] = None,
    workspace: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            exists=True,
            file_okay=False,
            help="The folder that engine and gateway belong to; default: the nearest one above with a profile file.",
        ),
    ] = None,
    runtime: Annotated[
        RuntimeChoice, typer.Option(help="What carries the plan out; auto takes Docker where an engine answers.")
    ] = RuntimeChoice.AUTO,
    json_output: Annotated[
        bool, typer.Option("--json", help="One JSON document on stdout; long work adds one event a line before it.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Only results, warnings and errors.")] = False,
    no_color: Annotated[bool, typer.Option("--no-color", help="No colours; NO_COLOR does the same.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show where in the code an error comes from.")] = False,
    version: Annotated[  # noqa: ARG001 - its callback answers
        bool, typer.Option("--version", is_eager=True, callback=_version, help="Show the version and exit.")
    ] = False,
) -> None:
    """Turn one machine with one GPU into a dependable OpenAI-compatible API, and change the model behind it.

    Global options may stand before or after the command.
    """
    color = False if no_color else None
    ctx.obj = Globals(Ui(json_output, quiet, color, debug), config, workspace, runtime)
