"""What people see of a fit: the table, the bar, the verdict, and what would help."""

import textwrap
from collections.abc import Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING

from pmpctl.ui.text import table
from pmpctl.ui.vram_bar import FREE, KV_CACHE, LOOKS, MISSING, Look, bar_of, cells

if TYPE_CHECKING:
    from pmpctl.operations.fit import Assessment, Fitted, NotAssessed
    from pmpctl.operations.fit_lines import Line
    from pmpctl.profiles.model import Profile
    from pmpctl.ui.terminal import Writer
    from pmpctl.vram.settings import EngineSettings

WIDTH_WITHOUT_TERMINAL = 100
NARROWEST_BAR, WIDEST_BAR = 10, 100
STYLES = {"fits": "good", "tight": "warning", "does not fit": "error"}


def assessment_view(writer: "Writer", found: "Assessment", *, explain: bool) -> None:
    width = writer.width or WIDTH_WITHOUT_TERMINAL
    title = f"{found.profile}: {found.model} at {found.settings.max_model_len:,} tokens"
    _wrapped(writer, title, width, style="heading")
    if found.profile_why:
        _wrapped(writer, f"This profile, since {found.profile_why}.", width)
    _wrapped(writer, _card(found), width)
    _wrapped(writer, _settings(found.settings), width)
    if found.what_if:
        writer.line("What if: " + ", ".join(f"{key} = {value}" for key, value in found.what_if.items()))
    writer.line("")
    _bar(writer, found, width)
    _table(writer, found, width, explain=explain)
    writer.line("")
    _wrapped(writer, _verdict(found), width, style=STYLES[found.verdict])
    for reason in found.reasons:
        _wrapped(writer, f"{reason}.", width, indent="  ")
    writer.line("")
    for name, text in _facts(found):
        writer.line("\n".join(textwrap.wrap(f"{name:<12}  {text}", width, subsequent_indent=" " * 14)))
    _advice(writer, found)
    if found.notes:
        writer.line("")
    for note in found.notes:
        _wrapped(writer, f"Note: {note}", width)


def all_view(writer: "Writer", found: Sequence["Assessment | NotAssessed"]) -> None:
    from pmpctl.operations.fit import NotAssessed

    columns = ("PROFILE", "CONTEXT", "WEIGHTS", "KV NEEDED", "KV THERE", "VERDICT", "SAFE CONTEXT", "CARD")
    unknown = [each for each in found if isinstance(each, NotAssessed)]
    rows = [(each.profile, *["-"] * 7) if isinstance(each, NotAssessed) else _row(each) for each in found]
    writer.table(columns, rows)
    writer.line("Sizes in GiB.")
    for each in unknown:
        _wrapped(
            writer,
            f"{each.profile}: {each.problem.message}. {each.problem.cure}",
            writer.width or WIDTH_WITHOUT_TERMINAL,
        )


def fitted_view(writer: "Writer", fitted: "Fitted") -> None:
    writer.line(snippet(fitted.profile).rstrip("\n"))


def snippet(profile: "Profile") -> str:
    """The profile as it would stand in the file, with all that it has from others and from [defaults]."""
    from pmpctl.profiles.write import profiles_text

    values = profile.model_dump(mode="json", exclude={"name"}, exclude_unset=True)
    return profiles_text({profile.name: values})


def _card(found: "Assessment") -> str:
    ranks = found.settings.tensor_parallel_size
    several = f"each of {ranks} GPUs: " if ranks > 1 else ""
    free = f", {found.free_gib:.2f} free" if found.free_gib is not None else ""
    return f"Card: {several}{found.card.name}, {found.card.total_gib:.2f} GiB usable{free} ({found.card_why})"


def _settings(settings: "EngineSettings") -> str:
    share = f"gpu_memory_utilization {settings.gpu_memory_utilization:g}"
    if settings.kv_cache_memory_bytes is not None:
        share = f"kv_cache_memory_bytes {settings.kv_cache_memory_bytes}"
    said = [
        f"vLLM {'.'.join(map(str, settings.vllm_version))}",
        share,
        f"KV cache {settings.kv_cache_dtype}",
        f"max_num_seqs {settings.max_num_seqs or 'of vLLM'}",
        "eager mode" if settings.enforce_eager else "CUDA graphs",
    ]
    return f"Settings: {', '.join(said)}"


def _bar(writer: "Writer", found: "Assessment", width: int) -> None:
    """One line, with a mark where the budget ends if anything lies beyond."""
    bar = bar_of(found)
    room = max(NARROWEST_BAR, min(width, WIDEST_BAR) - 3)
    counts = cells([segment.gib for segment in bar.segments], room)
    drawn: list[tuple[str, str | None]] = []
    for segment, count in zip(bar.segments, counts, strict=True):
        drawn += [(_symbol(writer, segment.look), segment.look.style)] * count
    edge = round(len(drawn) * bar.budget_gib / bar.total_gib) if bar.total_gib else 0
    if edge < len(drawn):
        drawn.insert(edge, ("|", None))
    runs = [("".join(text for text, _ in run), style) for style, run in groupby(drawn, key=itemgetter(1))]
    writer.pieces([("[", None), *runs, ("]", None)])


def _symbol(writer: "Writer", look: Look) -> str:
    if not writer.has_blocks:
        return look.letter
    return look.block if look in (FREE, MISSING) or not writer.color else "█"


def _table(writer: "Writer", found: "Assessment", width: int, *, explain: bool) -> None:
    columns = ("MEMORY", "    GiB", "HOW") if explain else ("MEMORY", "    GiB")
    rows = [_cells(line)[: len(columns)] for line in found.lines]
    header, *lines = table(columns, rows, width - 2)
    writer.line(f"  {header}", "heading")
    looks = iter([_look(line) for line in found.lines])
    for text in lines:
        look = None if text.startswith(" ") else next(looks)
        mark = (_symbol(writer, look), look.style) if look else (" ", None)
        writer.pieces([mark, (f" {text}", None)])


def _cells(line: "Line") -> tuple[str, str, str]:
    name = f"{line.name}, outside of the budget" if line.kind == "outside" else line.name
    return name, f"{line.gib:7.2f}", f"{line.formula} ({line.source})"


def _look(line: "Line") -> Look | None:
    if line.kind == "share":
        return LOOKS[line.name]
    by_kind = {"needed": KV_CACHE, "left": MISSING if line.name == "missing" else FREE}
    return by_kind.get(line.kind)


def _verdict(found: "Assessment") -> str:
    if found.verdict == "tight":
        return f"It is tight: it may start or not, as the figures can be off by {found.band_gib:.2f} GiB."
    if found.verdict == "does not fit":
        return "It does not fit."
    left = f"It fits: {found.margin_gib:.2f} GiB are left"
    # A cache of a given size is compared exactly.
    exact = found.margin_gib < found.band_gib
    return f"{left}." if exact else f"{left}, more than the figures can be off ({found.band_gib:.2f} GiB)."


def _facts(found: "Assessment") -> Iterator[tuple[str, str]]:
    limit = f"; the model goes to {found.model_context:,}" if found.model_context else ""
    if found.largest_context:
        yield "context", f"{found.safe_context:,} tokens fit safely, {found.largest_context:,} at best{limit}"
    else:
        yield "context", f"none fits{limit}"
    at_once = [
        f"{each.requests:.1f} of {each.tokens:,}" if each.requests is not None else f"any number of {each.tokens:,}"
        for each in found.concurrency
    ]
    yield "at once", f"{', '.join(at_once)} tokens"
    yield "figures", f"{found.basis} by {found.evidence or 'formulas alone'}"
    if found.evidence:
        alone = found.by_formulas
        yield (
            "formulas",
            f"alone: weights {alone.weights_gib:.2f} GiB, KV cache available {alone.kv_available_gib:.2f} GiB, "
            f"{alone.safe_context:,} tokens safely; {alone.verdict}",
        )
    yield "model facts", found.facts_source


def _advice(writer: "Writer", found: "Assessment") -> None:
    if not found.advice:
        return
    writer.line("")
    writer.line("What would help:", "heading")
    columns = ("CHANGE", "   GiB", "THEN", "SAFE CONTEXT")
    rows = [(each.change, f"{each.gained_gib:+6.2f}", each.verdict, f"{each.safe_context:,}") for each in found.advice]
    for line in table(columns, rows):
        writer.line(f"  {line}")


def _row(found: "Assessment") -> tuple[str, ...]:
    weights = next(line.gib for line in found.lines if line.name == "weights")
    return (
        found.profile,
        f"{found.settings.max_model_len:,}",
        f"{weights:.2f}",
        f"{found.kv_needed_gib:.2f}",
        f"{found.kv_available_gib:.2f}",
        found.verdict,
        f"{found.safe_context:,}",
        found.card.name,
    )


def _wrapped(writer: "Writer", text: str, width: int, indent: str = "", style: str | None = None) -> None:
    hanging = indent + "  "
    for line in textwrap.wrap(text, width, initial_indent=indent, subsequent_indent=hanging, break_on_hyphens=False):
        writer.line(line, style)
