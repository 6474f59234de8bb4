"""`profiles`: look at the profile file, check it, and bring an old one over."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from pmpctl.cli.app import CommandGroup
from pmpctl.cli.arguments import Profile, ProfileFile
from pmpctl.cli.context import Globals

app = typer.Typer(cls=CommandGroup, add_completion=False, rich_markup_mode=None)


@app.callback()
def profiles() -> None:
    """List, show, check and import profiles."""


@app.command("list")
def list_(ctx: typer.Context) -> None:
    """List the profiles with model, context length and description."""
    from pmpctl.ui.profile_views import profiles_view

    options: Globals = ctx.obj
    file = options.environment.profile_file()
    shown = {"name", "model", "max_model_len", "device", "description"}
    data = {
        "path": file.path,
        "default": file.default,
        "profiles": [profile.model_dump(mode="json", include=shown) for profile in file.profiles.values()],
    }
    options.ui.result("profiles list", data, partial(profiles_view, file=file))


@app.command()
def show(ctx: typer.Context, name: Profile) -> None:
    """Show one profile with everything that it inherits filled in."""
    from pmpctl.ui.profile_views import profile_view

    options: Globals = ctx.obj
    file = options.environment.profile_file()
    profile = file.profile(name)
    data = {"path": file.path, "profile": profile.model_dump(mode="json")}
    options.ui.result("profiles show", data, partial(profile_view, profile=profile))


@app.command()
def validate(ctx: typer.Context, file: ProfileFile = None) -> None:
    """Check a profile file and report all problems at once."""
    from pmpctl.profiles.load import load

    options: Globals = ctx.obj
    found = load(file, {}) if file else options.environment.profile_file()
    data = {"path": found.path, "profiles": list(found.profiles)}
    options.ui.result("profiles validate", data, f"{found.path}: {len(found.profiles)} profiles, no problem.")


@app.command()
def schema(ctx: typer.Context) -> None:
    """Print the JSON Schema of the profile file, for editors."""
    import json

    from pmpctl.profiles.schema import schema as profile_schema

    options: Globals = ctx.obj
    options.ui.result("profiles schema", profile_schema(), json.dumps(profile_schema(), indent=2))


@app.command("import")
def import_(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A models.json of the old tool.")],
    into: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write here; default: profiles.toml of the workspace.")
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Overwrite profiles of the same name.")] = False,
) -> None:
    """Bring profiles of the old tool over into a profile file."""
    from pmpctl.operations.import_profiles import import_profiles
    from pmpctl.profiles.locate import TOML_NAME
    from pmpctl.ui.profile_views import import_view

    options: Globals = ctx.obj
    result = import_profiles(file, into or options.workspace.root / TOML_NAME, replace=replace)
    options.ui.result("profiles import", result, partial(import_view, result=result))
