"""`token`: who may use the API."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from pmpctl.cli.api_access import read_token_file
from pmpctl.cli.app import CommandGroup
from pmpctl.cli.arguments import DryRun
from pmpctl.cli.context import Globals
from pmpctl.host.token_entries import LARGEST_LIMIT

app = typer.Typer(cls=CommandGroup, add_completion=False, rich_markup_mode=None)


@app.callback()
def token() -> None:
    """Add, list and revoke the tokens that clients of the API present."""


@app.command()
def add(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Whose token it is: letters, digits and ._@-")],
    expires: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="When it ends: 12h, 30d, 4w, or 2026-12-31. Default: never."),
    ] = None,
    requests_per_minute: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=0, max=LARGEST_LIMIT, help="Default: as [gateway] of the profile file says; 0: no limit."
        ),
    ] = None,
    max_concurrent: Annotated[
        int | None,
        typer.Option(metavar="N", min=0, max=LARGEST_LIMIT, help="Requests at a time; default and 0 likewise."),
    ] = None,
    token_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Take the token from this file, or `-` for stdin, instead of making it up."),
    ] = None,
    dry_run: DryRun = False,
) -> None:
    """Make a token, and show it this once.

    Only its hash is kept. It counts at once, without a restart.
    """
    from pmpctl.cli.times import parse_expires
    from pmpctl.operations import tokens
    from pmpctl.planning.plan import as_data
    from pmpctl.ui.redact import Revealed
    from pmpctl.ui.token_views import token_added_view

    options: Globals = ctx.obj
    own = read_token_file(token_file) if token_file else None
    if own is not None:
        options.ui.redactor.register(own)
    new = tokens.NewToken(
        name, parse_expires(expires) if expires is not None else None, requests_per_minute, max_concurrent, own
    )
    operation = tokens.plan_add_token if dry_run else tokens.add_token
    result = options.ui.run(operation(options.environment, new))
    data = {
        "dry_run": dry_run,
        "path": result.path,
        **as_data(result.added),
        "token": Revealed(result.secret) if result.secret else None,
        "gateway": result.gateway,
    }
    options.ui.result("token add", data, partial(token_added_view, result=result))


@app.command("list")
def list_(ctx: typer.Context) -> None:
    """List the tokens with their ends and limits; no token is ever shown again."""
    from pmpctl.operations.tokens import list_tokens
    from pmpctl.ui.token_views import token_list_view

    options: Globals = ctx.obj
    found = list_tokens(options.environment)
    options.ui.result("token list", found, partial(token_list_view, found=found))


@app.command()
def revoke(
    ctx: typer.Context,
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="Names as `pmpctl token list` shows them.")],
    allow_open: Annotated[
        bool, typer.Option("--allow-open", help="Even the last one, which leaves the API open to everybody.")
    ] = False,
    dry_run: DryRun = False,
) -> None:
    """Revoke tokens at once; requests that run are not cut off."""
    from pmpctl.operations import tokens
    from pmpctl.planning.plan import as_data
    from pmpctl.ui.token_views import tokens_revoked_view

    options: Globals = ctx.obj
    operation = tokens.plan_revoke_tokens if dry_run else tokens.revoke_tokens
    result = options.ui.run(operation(options.environment, names, allow_open=allow_open))
    data = {"dry_run": dry_run, **as_data(result)}
    options.ui.result("token revoke", data, partial(tokens_revoked_view, result=result))
