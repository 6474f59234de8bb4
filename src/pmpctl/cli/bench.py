"""`bench`: how fast the running API answers, and how many it can answer at a time."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from pmpctl.cli.api_access import Token, TokenFile, Url, find_token
from pmpctl.cli.arguments import DryRun, a_number
from pmpctl.cli.context import Globals
from pmpctl.cli.output_file import require_writable
from pmpctl.errors import UsageError

COMMAND = "bench"

_LONGEST_TOKENS = 1 << 22


def bench(
    ctx: typer.Context,
    url: Url = None,
    token: Token = None,
    token_file: TokenFile = None,
    model: Annotated[
        str | None, typer.Option(metavar="NAME", help="Default: llm, or the only model there is.", show_default=False)
    ] = None,
    concurrency: Annotated[str, typer.Option(metavar="N[,N]", help="How many requests at a time.")] = "1,2,4,8",
    prompt_tokens: Annotated[str, typer.Option(metavar="N[,N]", help="How long prompts are.")] = "256",
    output_tokens: Annotated[str, typer.Option(metavar="N[,N]", help="How long answers are.")] = "128",
    requests: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, max=1_000_000, help="For each level; default: 16, or 4 for each at a time."),
    ] = None,
    seconds: Annotated[
        float | None,
        typer.Option(
            metavar="S", min=0.1, max=86_400, callback=a_number, help="Begin requests for so long at each level."
        ),
    ] = None,
    shared_prefix: Annotated[
        bool, typer.Option("--shared-prefix", help="Let all prompts begin alike, as a cache of prefixes likes it.")
    ] = False,
    timeout: Annotated[
        float, typer.Option(metavar="S", min=1, max=86_400, callback=a_number, help="How long one request may take.")
    ] = 600,
    svg: Annotated[Path | None, typer.Option(metavar="FILE", help="Draw the curves into a file, too.")] = None,
    output: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the result as JSON, too.")] = None,
    dry_run: DryRun = False,
) -> None:
    """Load the running API, and measure how fast it answers.

    Other users of the API wait longer meanwhile. Exit status 10 if it answers nothing.
    """
    import json

    from pmpctl.host.files import save
    from pmpctl.operations import api_target
    from pmpctl.operations.bench import bench as measure
    from pmpctl.operations.bench_preparation import MOST_AT_A_TIME, Wanted
    from pmpctl.planning.plan import as_data
    from pmpctl.ui.bench_svg import curves
    from pmpctl.ui.bench_views import levels_view, report_view

    globals_: Globals = ctx.obj
    ui = globals_.ui
    if requests is not None and seconds is not None:
        raise UsageError("--requests and --seconds are two ends of a level", cure="Leave one out.")
    wanted = Wanted(
        concurrency=_numbers("--concurrency", concurrency, MOST_AT_A_TIME),
        prompt_tokens=_numbers("--prompt-tokens", prompt_tokens, _LONGEST_TOKENS),
        output_tokens=_numbers("--output-tokens", output_tokens, _LONGEST_TOKENS),
        requests=requests,
        seconds=seconds,
        shared_prefix=shared_prefix,
        model=model,
    )
    for file in (svg, output):
        if file is not None:
            require_writable(file)
    secret = find_token(ui, token, token_file)
    if dry_run:
        levels = wanted.levels()
        ui.result(COMMAND, {"dry_run": True, "levels": levels}, partial(levels_view, levels=levels))
        return
    if url is not None:
        known = api_target.foreign_api(url, secret, timeout)
    else:
        known = api_target.local_api(globals_.environment, secret, timeout)
    report = ui.run(measure(known, wanted))
    data = {"dry_run": False, **as_data(report)}
    if svg is not None:
        save(svg, curves(report), mode=0o644)
    if output is not None:
        save(output, json.dumps(ui.redactor.data(data), indent=2) + "\n", mode=0o644)
    raise typer.Exit(ui.result(COMMAND, data, partial(report_view, report=report), report.refusal()))


def _numbers(option: str, text: str, most: int) -> tuple[int, ...]:
    """Each once, in the order given; raises UsageError."""
    try:
        numbers = tuple(dict.fromkeys(int(part) for part in text.split(",")))
    except ValueError:
        numbers = ()
    if not numbers or not all(0 < number <= most for number in numbers):
        raise UsageError(
            f"{option} {text!r} is no list of numbers from 1 to {most}", cure="Write one, or several as 1,2,4,8."
        )
    return numbers
