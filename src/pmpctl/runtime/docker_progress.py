"""The engine's stream of a pull or a build -> how far it is, in bytes or steps."""

import re
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pmpctl.runtime.base import Progress


@dataclass(slots=True)
class Layer:
    downloaded_bytes: int = 0
    total_bytes: int | None = None
    is_here: bool = False
    unpacked_bytes: int = 0


@dataclass(slots=True)
class PullProgress:
    """Bytes summed over the layers of one image; the total is known once every layer has told its size."""

    image: str
    layers: dict[str, Layer] = field(default_factory=dict)

    def feed(self, event: Mapping[str, Any]) -> Progress | None:
        """The new state, or None if the event changes nothing that a user could see."""
        name, status = event.get("id"), event.get("status", "")
        detail = event.get("progressDetail") or {}
        if not name or status.startswith("Pulling from"):
            return None
        layer = self.layers.setdefault(name, Layer())
        match status:
            case "Downloading" if "current" in detail:
                layer.downloaded_bytes = detail["current"]
                layer.total_bytes = detail.get("total") or layer.total_bytes
            case "Extracting" if detail.get("total"):
                layer.unpacked_bytes, layer.total_bytes, layer.is_here = detail["current"], detail["total"], True
            case "Download complete":
                layer.downloaded_bytes, layer.is_here = layer.total_bytes or layer.downloaded_bytes, True
            case "Pull complete":
                layer.unpacked_bytes, layer.is_here = layer.total_bytes or 0, True
            case "Already exists":
                del self.layers[name]
            case _:
                return None
        return self._state()

    def _state(self) -> Progress:
        layers = self.layers.values()
        total = sum(layer.total_bytes or 0 for layer in layers) or None
        if layers and all(layer.is_here for layer in layers):
            return Progress(f"Unpacking {self.image}", sum(layer.unpacked_bytes for layer in layers), total)
        done = sum(layer.total_bytes or 0 if layer.is_here else layer.downloaded_bytes for layer in layers)
        unknown = any(layer.total_bytes is None and not layer.is_here for layer in layers)
        return Progress(f"Pulling {self.image}", done, None if unknown else total)


def build_step(line: str, image: str) -> Progress | None:
    """`Step 3/7 : RUN ...` of the classic builder."""
    found = re.match(r"Step (\d+)/(\d+) : ", line)
    if found is None:
        return None
    return Progress(f"Building {image}", int(found[1]) - 1, int(found[2]), "steps")


@dataclass(slots=True)
class BuildLog:
    """What a build printed in its latest step: the part that tells why it failed."""

    wants_base: bool = False
    lines: deque[tuple[str, bool]] = field(default_factory=lambda: deque(maxlen=200))

    def feed(self, text: str) -> None:
        if step := re.match(r"Step \d+/\d+ : (\w+)", text):
            self.lines.clear()
            self.wants_base = step[1].upper() == "FROM"
        elif text.startswith(" ---> "):
            self.wants_base = False
        elif not text.startswith("Removing intermediate container"):
            # The classic builder prints in red what a command writes to stderr.
            on_stderr = text.startswith("\x1b[91m")
            clean = re.sub(r"\x1b\[[0-9;]*m", "", text)
            self.lines += [(line.rstrip(), on_stderr) for line in clean.splitlines() if line.strip()]

    def relevant_lines(self, count: int = 10) -> tuple[str, ...]:
        """The last lines on stderr, or the last ones at all if there is nothing on stderr."""
        errors = [line for line, on_stderr in self.lines if on_stderr]
        return tuple((errors or [line for line, _ in self.lines])[-count:])
