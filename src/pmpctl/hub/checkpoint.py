"""A model's configuration and tensors, read from the beginnings of its files."""

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from pmpctl.errors import (
    ModelConfigInvalid,
    ModelConfigMissing,
    ModelWithoutSafetensors,
    WeightsDamaged,
    WeightsNotFetched,
)
from pmpctl.hub.files import Files
from pmpctl.hub.weight_files import find_weight_files
from pmpctl.vram.tensors import LENGTH_BYTES, HeaderInvalid, Tensor, TensorTable, header_bytes, parse_header

CONFIG = "config.json"
# vLLM reads it where config.json names no quantization.
QUANTIZATION_CONFIG = "hf_quant_config.json"

LARGEST_CONFIG_BYTES = 16 << 20
FIRST_BYTES = 64 << 10
"""The header of most files fits in it, so that one request for each is enough."""
READERS = 8

_POINTER = b"version https://git-lfs.github.com/"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    config: dict[str, Any]
    tensors: TensorTable | None
    """None unless every weight file could be read."""
    weights_bytes: int | None
    notes: tuple[str, ...] = ()


def read_checkpoint(files: Files, *, may_lack_weights: bool = False) -> Checkpoint:
    """Raises what is wrong with the files; only some weights missing is no error, but noted."""
    config = read_config(files)
    weights = find_weight_files(files)
    if weights is None:
        if not may_lack_weights:
            raise _without_safetensors(files)
        return Checkpoint(config, None, None, (f"no weights of it are in {files.place}",))
    if weights.missing:
        total = len(weights.missing) + len(weights.present)
        note = f"{len(weights.missing)} of {total} weight files are not in {files.place}"
        return Checkpoint(config, None, weights.total_bytes, (note,))
    # Weights of one name are one parameter, however many files hold a copy.
    tensors = {tensor.name: tensor for tensor in _read_all(files, weights.present)}
    table = TensorTable(tuple(tensors.values()))
    lost = len(weights.indexed_tensors - tensors.keys())
    notes = (f"{lost} tensors that its index names are in no file",) if lost else ()
    return Checkpoint(config, table, table.total_bytes, notes)


def read_config(files: Files) -> dict[str, Any]:
    if CONFIG not in files.names:
        raise _config_missing(files)
    config = _read_object(files, CONFIG)
    if config.get("quantization_config") is None and QUANTIZATION_CONFIG in files.names:
        config["quantization_config"] = _read_object(files, QUANTIZATION_CONFIG)
    return config


def _config_missing(files: Files) -> ModelConfigMissing:
    cure = "Name a model that vLLM can load: a repository or folder with config.json beside its weights."
    if "adapter_config.json" in files.names:
        cure = "This is an adapter; name the model that it was made for."
    elif any(name.endswith(".gguf") for name in files.names):
        cure = "This holds GGUF files; name the repository that they were made from."
    elif "params.json" in files.names:
        cure = "This is in Mistral's own format alone; name a repository of that model that has config.json too."
    return ModelConfigMissing(f"{files.place} has no config.json", cure=cure)


def _without_safetensors(files: Files) -> ModelWithoutSafetensors:
    others = sorted({name.rpartition(".")[2] for name in files.names} & {"bin", "gguf", "pt", "pth", "onnx"})
    has = f", only .{', .'.join(others)} files" if others else ""
    return ModelWithoutSafetensors(
        f"{files.place} has no safetensors weights{has}",
        cure="Choose a repository of that model with .safetensors files, or convert it to them: "
        "their sizes can be read without loading them, and they run no code when they are loaded.",
    )


def _read_object(files: Files, name: str) -> dict[str, Any]:
    data = files.head(name, LARGEST_CONFIG_BYTES + 1).data
    _refuse_pointer(files, name, data)
    try:
        found = json.loads(data) if len(data) <= LARGEST_CONFIG_BYTES else None
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise ModelConfigInvalid(
            f"{name} of {files.place} is not a JSON object", cure="Download that file again, or mend it if it is yours."
        )
    return found


def _read_all(files: Files, names: Sequence[str]) -> list[Tensor]:
    pool = ThreadPoolExecutor(READERS, thread_name_prefix="safetensors")
    try:
        return [tensor for found in pool.map(lambda name: _read_tensors(files, name), names) for tensor in found]
    finally:
        # After a failure nobody waits for the files that are left.
        pool.shutdown(wait=False, cancel_futures=True)


def _read_tensors(files: Files, name: str) -> tuple[Tensor, ...]:
    head = files.head(name, FIRST_BYTES)
    _refuse_pointer(files, name, head.data)
    try:
        needed = LENGTH_BYTES + header_bytes(head.data)
        if needed > len(head.data) == FIRST_BYTES:
            head = files.head(name, needed)
        return parse_header(head.data, head.file_bytes)
    except HeaderInvalid as error:
        raise WeightsDamaged(
            f"{name} of {files.place} {error}",
            cure="Delete that file and download it again; if a mirror or proxy sent it, check what that answers.",
        ) from error


def _refuse_pointer(files: Files, name: str, data: bytes) -> None:
    if data.startswith(_POINTER):
        raise WeightsNotFetched(
            f"{name} of {files.place} is a Git LFS pointer, not the file itself",
            cure="Fetch the files with `git lfs pull` in that folder, or let pmpctl download the model: "
            "set `model` to its hub name.",
        )
