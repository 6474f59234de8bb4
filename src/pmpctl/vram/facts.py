"""What the memory arithmetic needs to know of a model, wherever it was found."""

from dataclasses import dataclass
from typing import Any

from pmpctl.vram.tensors import TensorTable


@dataclass(frozen=True, slots=True)
class ModelFacts:
    model: str
    revision: str | None
    """The commit that the facts were read from; None for a folder."""
    config: dict[str, Any]
    """config.json as it stands; `quantization_config` also where it has a file of its own."""
    tensors: TensorTable | None
    """None where not every weight file could be read."""
    weights_bytes: int | None
    """All weights together, also where the single tensors are unknown."""
    source: str
    """Where the facts come from, in words for the user."""
    notes: tuple[str, ...] = ()
    """What the user should know about them: files that are missing, a hub that did not answer."""
