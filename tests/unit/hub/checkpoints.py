"""Checkpoints made by hand: safetensors files, their index, and the Hugging Face cache's layout on disk."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

COMMIT = "0123456789abcdef0123456789abcdef01234567"
CONFIG = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "num_hidden_layers": 2}
ITEM_BYTES = {"BF16": 2, "F32": 4, "I32": 4, "F8_E4M3": 1}


def safetensors(tensors: Mapping[str, tuple[str, list[int]]], **metadata: str) -> bytes:
    """A whole file: the length of its header, the header, and zeros."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt", **metadata}}
    end = 0
    for name, (dtype, shape) in tensors.items():
        begin, size = end, ITEM_BYTES[dtype]
        for dimension in shape:
            size *= dimension
        end = begin + size
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}
    return framed(json.dumps(header).encode(), end)


def framed(header: bytes, data_bytes: int = 0) -> bytes:
    return len(header).to_bytes(8, "little") + header + bytes(data_bytes)


def index(shards: Mapping[str, list[str]], total_size: float | None = None) -> bytes:
    weight_map = {tensor: shard for shard, tensors in shards.items() for tensor in tensors}
    return json.dumps({"metadata": {"total_size": total_size}, "weight_map": weight_map}).encode()


SHARDS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")


def two_shards() -> dict[str, bytes]:
    """A model of 6 MiB in two files."""
    first = {"embed.weight": ("BF16", [1024, 1024]), "layers.0.weight": ("F8_E4M3", [1024, 1024])}
    second = {"layers.1.weight": ("F8_E4M3", [1024, 1024]), "lm_head.weight": ("BF16", [1024, 1024])}
    return {
        "config.json": json.dumps(CONFIG).encode(),
        "model.safetensors.index.json": index(dict(zip(SHARDS, (list(first), list(second)), strict=True)), 6 << 20),
        SHARDS[0]: safetensors(first),
        SHARDS[1]: safetensors(second),
    }


def one_file() -> dict[str, bytes]:
    weights = safetensors({"embed.weight": ("BF16", [64, 32])})
    return {"config.json": json.dumps(CONFIG).encode(), "model.safetensors": weights}


def write_folder(folder: Path, files: Mapping[str, bytes]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def write_cache(
    models_dir: Path, model: str, files: Mapping[str, bytes], *, commit: str = COMMIT, revision: str | None = "main"
) -> Path:
    """The cache as huggingface_hub writes it: a snapshot of links into the blobs, and a ref that names its commit."""
    repository = models_dir / "hub" / f"models--{model.replace('/', '--')}"
    snapshot = repository / "snapshots" / commit
    for folder in (repository / "blobs", repository / "refs", snapshot):
        folder.mkdir(parents=True, exist_ok=True)
    for number, (name, content) in enumerate(files.items()):
        blob = repository / "blobs" / f"{number:064x}"
        blob.write_bytes(content)
        (snapshot / name).symlink_to(Path("../../blobs") / blob.name)
    if revision is not None:
        (repository / "refs" / revision).parent.mkdir(parents=True, exist_ok=True)
        (repository / "refs" / revision).write_text(commit)
    return snapshot
