"""`vram-check`: whether a profile fits the GPU, before anything starts."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from pmpctl.cli.arguments import MaybeProfile
from pmpctl.cli.context import Globals
from pmpctl.errors import UsageError

COMMAND = "vram-check"


def vram_check(
    ctx: typer.Context,
    profile: MaybeProfile = None,
    gpu: Annotated[
        str | None, typer.Option(metavar="CARD", help="A card, such as A30, 4090 or A100-40; default: this host's.")
    ] = None,
    budget_gib: Annotated[float | None, typer.Option(metavar="GIB", help="Any card with so much memory.")] = None,
    context: Annotated[
        int | None, typer.Option(metavar="TOKENS", min=1, max=1 << 40, help="What if max_model_len were this?")
    ] = None,
    utilization: Annotated[
        float | None, typer.Option(metavar="SHARE", help="What if gpu_memory_utilization were this?")
    ] = None,
    max_num_seqs: Annotated[
        int | None, typer.Option(metavar="COUNT", min=1, max=1 << 20, help="What if max_num_seqs were this?")
    ] = None,
    kv_cache_dtype: Annotated[
        str | None, typer.Option(metavar="TYPE", help="What if kv_cache_dtype were this, such as fp8?")
    ] = None,
    explain: Annotated[bool, typer.Option("--explain", help="Show each row's formula and its source.")] = False,
    all_: Annotated[bool, typer.Option("--all", help="One line for each profile.")] = False,
    fit: Annotated[
        bool, typer.Option("--fit", help="Print the profile with the largest context that fits for sure.")
    ] = False,
    svg: Annotated[Path | None, typer.Option(metavar="FILE", help="Draw the chart into a file, too.")] = None,
    offline: Annotated[bool, typer.Option("--offline", help="Never touch the network.")] = False,
) -> None:
    """Say whether a profile fits the GPU, and what would make it fit.

    Needs no GPU, no Docker, and for the shipped profiles no network. Exit status 3 if it does not fit.
    """
    from pmpctl.host.files import save
    from pmpctl.operations.fit import assess, assess_all
    from pmpctl.operations.fit import fit as fit_profile
    from pmpctl.operations.fit_inputs import FitOptions
    from pmpctl.ui import vram_views
    from pmpctl.ui.vram_svg import chart

    globals_: Globals = ctx.obj
    ui, environment = globals_.ui, globals_.environment
    options = FitOptions(
        gpu=gpu,
        budget_gib=budget_gib,
        context=context,
        utilization=utilization,
        max_num_seqs=max_num_seqs,
        kv_cache_dtype=kv_cache_dtype,
        offline=offline,
    )
    file = environment.profile_file()
    if all_:
        if profile is not None or fit or svg is not None or explain:
            raise UsageError("--all goes without PROFILE, --fit, --svg and --explain", cure="Leave the others out.")
        every = assess_all(environment, file, options)
        ui.result(COMMAND, {"profiles": every}, partial(vram_views.all_view, found=every))
        return
    if fit:
        fitted = fit_profile(environment, file, profile, options)
        result, text = fitted.assessment, vram_views.snippet(fitted.profile)
        data: object = {"toml": text, "assessment": result}
        view = partial(vram_views.fitted_view, fitted=fitted)
    else:
        result = assess(environment, file, profile, options)
        data, view = result, partial(vram_views.assessment_view, found=result, explain=explain)
    if svg is not None:
        save(svg, chart(result), mode=0o644)
    raise typer.Exit(ui.result(COMMAND, data, view, result.refusal()))
