"""`smoke`: prove that clients of the running API will work."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from pmpctl.cli.api_access import Token, TokenFile, Url, find_token
from pmpctl.cli.arguments import a_number, complete_profile
from pmpctl.cli.context import Globals
from pmpctl.cli.output_file import require_writable
from pmpctl.errors import UsageError

COMMAND = "smoke"

_TIMEOUT_SECONDS = 60
_LONGEST_MINUTES = 7 * 24 * 60


def smoke(
    ctx: typer.Context,
    url: Url = None,
    token: Token = None,
    token_file: TokenFile = None,
    model: Annotated[
        str | None, typer.Option(metavar="NAME", help="Default: the only model there is, else llm.", show_default=False)
    ] = None,
    profile: Annotated[
        str | None,
        typer.Option(
            metavar="PROFILE",
            autocompletion=complete_profile,
            help="Take the parsers that an API at --url has from this profile; without --url, the one that must run.",
            show_default=False,
        ),
    ] = None,
    tools: Annotated[
        bool | None,
        typer.Option("--tools/--no-tools", help="Check tool calls; default: if the profile has a tool parser."),
    ] = None,
    clients: Annotated[
        bool,
        typer.Option("--clients", help="Ask through the official openai and anthropic clients, too, if installed."),
    ] = False,
    long: Annotated[bool, typer.Option("--long", help="Fill the context step by step, too.")] = False,
    soak: Annotated[
        float | None,
        typer.Option(
            metavar="MINUTES",
            min=0.01,
            max=_LONGEST_MINUTES,
            callback=a_number,
            help="Then keep it at work for so long.",
            show_default=False,
        ),
    ] = None,
    timeout: Annotated[
        float,
        typer.Option(
            metavar="S",
            min=1,
            max=3600,
            callback=a_number,
            help="How long one request may take; a long prompt's takes more.",
        ),
    ] = _TIMEOUT_SECONDS,
    junit: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the result as JUnit's XML, too.")] = None,
) -> None:
    """Ask the running API what clients will ask, and say what is wrong and how to mend it.

    Exit status 7 if a check failed; warnings do not count.
    """
    from pmpctl.host.files import save
    from pmpctl.operations import api_target
    from pmpctl.operations.smoke import Wanted
    from pmpctl.operations.smoke import smoke as check
    from pmpctl.operations.smoke_token import smoke_with_passing_token
    from pmpctl.ui.junit import junit as as_junit
    from pmpctl.ui.smoke_views import smoke_view

    globals_: Globals = ctx.obj
    ui = globals_.ui
    if junit is not None:
        require_writable(junit)
    says = globals_.environment.profile_file().profile(profile) if profile is not None else None
    secret = find_token(ui, token, token_file)
    if url is not None:
        known = api_target.foreign_api(url, secret, timeout)
        if says is not None:
            known = replace(known, target=api_target.as_profile_says(known.target, says))
    elif secret is not None:
        known = api_target.local_api(globals_.environment, secret, timeout)
    else:
        known = api_target.local_api_without_token(globals_.environment, timeout)
    if url is None and profile not in (None, known.profile):
        raise UsageError(
            f"{known.profile} runs here, not {profile}",
            cure=f"`pmpctl switch {profile}` changes that; or leave it out.",
        )
    wanted = Wanted(model=model, tools=tools, clients=clients, long=long, soak_minutes=soak)
    if known.target.auth and secret is None:
        report = ui.run(smoke_with_passing_token(globals_.environment, known, wanted, ui.redactor.register))
    else:
        report = ui.run(check(known, wanted))
    if junit is not None:
        save(junit, as_junit(report, ui.out.clean), mode=0o644)
    raise typer.Exit(ui.result(COMMAND, report, partial(smoke_view, report=report), report.refusal()))
