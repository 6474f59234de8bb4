"""Facts of the models in the shipped profiles, carried in the package: a check of them needs no network."""

import json
import math
from functools import cache
from importlib.resources import files

from pmpctl.vram.facts import ModelFacts
from pmpctl.vram.tensors import Tensor, TensorTable

FOLDER = files(__package__) / "shipped_models"
ELEMENT_BYTES = {"BF16": 2, "F16": 2, "F32": 4, "I32": 4, "I64": 8}


@cache
def shipped_facts(model: str) -> ModelFacts | None:
    """None for a model that no shipped profile names."""
    file = FOLDER / file_name(model)
    if "/" not in model or not file.is_file():
        return None
    said = json.loads(file.read_text(encoding="utf-8"))
    tensors = TensorTable(
        tuple(
            Tensor(name, dtype, tuple(shape), math.prod(shape) * ELEMENT_BYTES[dtype], copies)
            for name, dtype, shape, copies in said["tensors"]
        )
    )
    return ModelFacts(
        model=model,
        revision=None,
        config=said["config"],
        tensors=tensors,
        weights_bytes=tensors.total_bytes,
        source=said["source"],
    )


def file_name(model: str) -> str:
    return f"{model.replace('/', '--')}.json"
