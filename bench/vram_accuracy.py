"""Writes the table of docs/accuracy.md: logged starts of vLLM beside what the estimate says of them.

Run from the repository: `python -m bench.vram_accuracy`; `--check` only compares and fails if the file is another.
"""

import argparse
import statistics
import sys
from pathlib import Path

from bench.vram_observations import MISSES, Replay, replays

PAGE = Path(__file__).parent.parent / "docs" / "accuracy.md"
BEGIN, END = "<!-- vram-accuracy -->", "<!-- /vram-accuracy -->"


def table(found: list[Replay]) -> str:
    counted = [each for each in found if each.states_enough]
    errors = [abs(each.error_gib or 0.0) for each in counted]
    judged = [each for each in found if each.estimate and each.served is not None and not each.assumed]
    lines = [
        f"{len(found)} rows; {len(counted)} state enough to compare the KV cache: mean error "
        f"{statistics.mean(errors):.2f} GiB, median {statistics.median(errors):.2f}, largest {max(errors):.2f}. "
        f"Of {len(judged)} verdicts that can be held against what happened, "
        f"{sum(each.contradicts for each in judged)} are wrong.",
        "",
        "| model | card | ranks | vLLM taken as | KV cache logged | estimated | difference | happened | verdict |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [_line(each) for each in counted]
    lines += ["", "Missed by more than 0.5 GiB on one rank, or 1 GiB on several:", ""]
    lines += [f"- {source}: {why}." for source, why in MISSES.items()]
    lines += ["", "Left out, and why:", "", "| model | source | why |", "|---|---|---|"]
    for each in found:
        if not each.states_enough:
            why = each.left_out or _why(each)
            lines.append(f"| {each.row['model'] or 'not stated'} | {each.row['source']} | {why} |")
    return "\n".join(lines)


def _line(each: Replay) -> str:
    assert each.estimate is not None
    row, version = each.row, each.estimate.settings.vllm_version
    return (
        f"| {row['model']} | {row['gpu'] or 'not stated'} | {row['tensor_parallel'] or 1} | {version[0]}.{version[1]} "
        f"| {row['available_kv_gib']:.2f} | {each.estimate.kv_available_gib:.2f} | {each.error_gib:+.2f} "
        f"| {row['outcome']} | {each.estimate.verdict} |"
    )


def _why(each: Replay) -> str:
    if each.assumed:
        return f"{', '.join(each.assumed)} not stated"
    return "the KV cache that was available is not stated"


def page(text: str, content: str) -> str:
    before, rest = text.split(BEGIN, 1)
    return f"{before}{BEGIN}\n{content}\n{END}{rest.split(END, 1)[1]}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    text = PAGE.read_text()
    wanted = page(text, table(replays()))
    if parser.parse_args().check:
        sys.exit(0 if wanted == text else f"{PAGE.name} is out of date: run `python -m bench.vram_accuracy`")
    PAGE.write_text(wanted)
    print(wanted.split(BEGIN, 1)[1].split("\n", 3)[1])


if __name__ == "__main__":
    main()
