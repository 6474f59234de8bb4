"""vLLM's log lines -> how far its start has come."""

import re
from dataclasses import dataclass

from pmpctl.diagnosis.log_lines import clean


@dataclass(frozen=True, slots=True)
class Stage:
    """`phase` is a stable word; `percent` is known for what the engine itself counts."""

    phase: str
    title: str
    percent: int | None = None
    detail: str = ""


BOOT = Stage("boot", "Starting vLLM")
DOWNLOAD = Stage("weights", "Downloading the weights")
LOAD = Stage("load", "Loading the weights")
PROFILE = Stage("profile", "Measuring memory")
GRAPHS = Stage("graphs", "Capturing CUDA graphs")
WARM_UP = Stage("warm-up", "Warming up")
READY = Stage("ready", "Engine is ready")

ORDER = tuple(stage.phase for stage in (BOOT, DOWNLOAD, LOAD, PROFILE, GRAPHS, WARM_UP, READY))

_RULES: tuple[tuple[re.Pattern[str], Stage], ...] = tuple(
    (re.compile(pattern), stage)
    for pattern, stage in (
        (r"^vLLM (?:API server )?version|^Initializing a V1 LLM engine", BOOT),
        (r"^Starting to load model", LOAD),
        (r"^Loading (?:\w+ )?checkpoint shards:\s+(?P<percent>\d+)% Completed", LOAD),
        (r"^Loading weights took (?P<detail>[\d.]+ seconds)", PROFILE),
        (r"^Model loading took (?P<detail>[\d.]+ (?:GiB|GB)(?: memory)?)", PROFILE),
        (r"^Available KV cache memory: (?P<detail>.+)", WARM_UP),
        (r"^(?:GPU|CPU) KV cache size: (?P<detail>[\d,]+ tokens)", WARM_UP),
        (r"^Capturing CUDA graphs?[^:]*:\s+(?P<percent>\d+)%", GRAPHS),
        (r"^Graph capturing finished", WARM_UP),
        (r"^init engine \(.*took (?P<detail>[\d.]+ s)", WARM_UP),
        (r"^(?:INFO:\s+)?Application startup complete", READY),
    )
)


def read_stage(line: str) -> Stage | None:
    """The stage that a line of the engine's log tells of, or None."""
    text = clean(line)
    for pattern, stage in _RULES:
        if match := pattern.search(text):
            found = match.groupdict()
            percent = int(found["percent"]) if found.get("percent") else None
            return Stage(stage.phase, stage.title, percent, found.get("detail") or "")
    return None
