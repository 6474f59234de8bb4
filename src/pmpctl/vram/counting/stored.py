"""The bytes of a checkpoint's tensors by part, as the engine holds them before they are shared out over ranks."""

from dataclasses import dataclass

from pmpctl.vram.counting.modules import Part, padded
from pmpctl.vram.counting.places import is_loaded, part_of
from pmpctl.vram.tensors import Tensor, TensorTable

FLOAT_BYTES = {"F16": 2, "BF16": 2, "F32": 4, "F64": 8}
FLOAT32_BYTES = 4
ALWAYS_FLOAT32 = ("A_log", "e_score_correction_bias")
KEPT_IN_FLOAT32 = ("expert_bias", "weight_scale", "weight_scale_inv", "input_scale")
GPTQ_ORDER = ".g_idx"


@dataclass(frozen=True, slots=True)
class Loading:
    """How the engine loads a checkpoint."""

    drafting: range
    """Layers behind the last one, for speculative decoding."""
    is_tied: bool
    element_bytes: int
    language_only: bool = False
    router_float32: bool = False
    keeps_order: bool = False
    """GPTQ's order of groups is kept with `desc_act` alone."""


def parts_of_tensors(table: TensorTable, loading: Loading) -> dict[Part, int]:
    parts: dict[Part, int] = {}
    for tensor in table.tensors:
        if tensor.name.endswith(GPTQ_ORDER) and not loading.keeps_order:
            continue
        if is_loaded(
            tensor.name, drafting=loading.drafting, is_tied=loading.is_tied, language_only=loading.language_only
        ):
            part = part_of(tensor.name)
            parts[part] = parts.get(part, 0) + tensor.copies * held_bytes(tensor, part, loading)
    return parts


def held_bytes(tensor: Tensor, part: Part, loading: Loading) -> int:
    """Plain weights are cast to the model's dtype; packed ones, and what is kept in float32, stay as they are."""
    stored = FLOAT_BYTES.get(tensor.dtype)
    held = tensor.size_bytes
    if stored is not None and not (stored == FLOAT32_BYTES and tensor.name.endswith(KEPT_IN_FLOAT32)):
        wide = tensor.name.endswith(ALWAYS_FLOAT32) or (part is Part.ROUTER and loading.router_float32)
        held = held // stored * (FLOAT32_BYTES if wide else loading.element_bytes)
    if part in (Part.EMBED, Part.LM_HEAD) and tensor.shape and tensor.shape[0]:
        return held * padded(tensor.shape[0]) // tensor.shape[0]
    return held
