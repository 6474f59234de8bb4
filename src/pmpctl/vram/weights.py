"""The weights that one GPU holds: from the checkpoint's tensors where they are known, else from config.json."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pmpctl.vram.config_reader import ConfigReader
from pmpctl.vram.counting.formats import MXFP4, Format
from pmpctl.vram.counting.model import ModelWeights, read_weights
from pmpctl.vram.counting.modules import Module, Part
from pmpctl.vram.counting.quantization import Quantization, read_quantization
from pmpctl.vram.counting.rope import rope_table_bytes
from pmpctl.vram.counting.stored import Loading, parts_of_tensors
from pmpctl.vram.tensors import TensorTable

ELEMENT_BYTES = {"bfloat16": 2, "float16": 2, "half": 2, "float32": 4, "float": 4}
LARGE_ALLOCATION_BYTES, ALLOCATION_STEP_BYTES, SPLIT_ABOVE_BYTES = 10 << 20, 2 << 20, 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightsEstimate:
    """Of one tensor-parallel rank."""

    bytes_per_rank: int
    """As vLLM builds the model: the sum of its parameters."""
    by_part: Mapping[Part, int]
    buffer_bytes: int
    """Tables of rotary positions."""
    padding_bytes: int
    """What a kernel's tiles add to the matrices when they are repacked on a GPU."""
    rounding_bytes: int
    """What PyTorch's allocator adds to large matrices."""
    source: str
    """"tensors" or "config"."""
    exact: bool
    """Counted from tensors or from a known architecture, not guessed."""
    notes: tuple[str, ...] = ()

    @property
    def loaded_bytes(self) -> int:
        """What the engine reports as "Model loading took"."""
        return self.bytes_per_rank + self.buffer_bytes + self.padding_bytes + self.rounding_bytes


def estimate_weights(
    config: Mapping[str, object],
    tensors: TensorTable | None = None,
    *,
    tensor_parallel_size: int = 1,
    language_only: bool = False,
    quantization: str | None = None,
    dtype: str | None = None,
) -> WeightsEstimate:
    """`quantization` and `dtype` are the engine's settings; None is "as the checkpoint says".

    Raises ModelConfigInvalid where config.json lacks a size or has an absurd one.
    """
    ranks = tensor_parallel_size
    model = read_weights(config, language_only=language_only)
    section = quantization_section(config)
    quantized = read_quantization(section, quantization)
    width = ELEMENT_BYTES.get(dtype or "", ELEMENT_BYTES[model.dtype])
    notes = model.notes
    if not quantized.known:
        notes = (
            *notes,
            f"The quantization method {quantized.method} is not known: its weights are taken as not quantized.",
        )
    parts = parts_from_modules(model, quantized, ranks, width)
    if tensors is not None:
        order = section is not None and section.flag("desc_act")
        loading = Loading(
            model.drafting,
            model.is_tied,
            width,
            language_only=language_only,
            router_float32=model.router_float32,
            keeps_order=order,
        )
        stored = read_quantization(section)
        whole = parts_from_modules(model, stored, 1, width)
        parts = shared_out(parts_of_tensors(tensors, loading), whole, parts)
    return WeightsEstimate(
        bytes_per_rank=sum(parts.values()),
        by_part=parts,
        buffer_bytes=rope_table_bytes(config, width),
        padding_bytes=padding_bytes(model.modules, quantized, ranks),
        rounding_bytes=sum(rounding_bytes(size) for size in allocations(model.modules, quantized, ranks, width)),
        source="config" if tensors is None else "tensors",
        exact=tensors is not None or (model.known and quantized.known),
        notes=notes if tensors is None else (),
    )


def shared_out(stored: Mapping[Part, int], whole: Mapping[Part, int], on_rank: Mapping[Part, int]) -> dict[Part, int]:
    """Tensors say how many bytes a part has, the configuration what share of it a rank holds, and in which format."""
    return {part: held * on_rank[part] // whole[part] if whole.get(part) else held for part, held in stored.items()}


def parts_from_modules(model: ModelWeights, quantized: Quantization, ranks: int, element_bytes: int) -> dict[Part, int]:
    parts: dict[Part, int] = {}
    for module in model.modules:
        held = module_bytes(module, ranks, quantized.format_of(module), element_bytes)
        parts[module.part] = parts.get(module.part, 0) + held
    if model.attention_layers and quantized.layer_bytes:
        parts[Part.ATTENTION] += model.attention_layers * quantized.layer_bytes
    return parts


def module_bytes(module: Module, ranks: int, form: Format | None, element_bytes: int) -> int:
    outputs, inputs = module.on_rank(ranks)
    width = module.element_bytes or element_bytes
    matrix = outputs * inputs * width if form is None else form.matrix_bytes(outputs, inputs, joined=module.joined)
    bias = outputs * width if module.has_bias else 0
    if form is not None and module.part is Part.EXPERTS:
        bias += outputs * form.expert_output_bytes
    return module.copies * (matrix + bias)


def allocations(modules: Iterable[Module], quantized: Quantization, ranks: int, element_bytes: int) -> list[int]:
    """The matrices as the engine allocates them: fused where it fuses, all experts of a layer at once."""
    found: list[int] = []
    for module in modules:
        outputs, inputs = module.on_rank(ranks)
        form = quantized.format_of(module)
        bits = form.bits if form else 8 * (module.element_bytes or element_bytes)
        size = module.copies * outputs * inputs * bits // 8
        if module.joined and found:
            found[-1] += size
        else:
            found.append(size)
    return found


def rounding_bytes(size: int) -> int:
    """PyTorch's allocator gives large tensors steps of 2 MiB, and splits off what is left above 1 MiB."""
    rest = -size % ALLOCATION_STEP_BYTES
    return rest if size >= LARGE_ALLOCATION_BYTES and rest <= SPLIT_ABOVE_BYTES else 0


def padding_bytes(modules: Iterable[Module], quantized: Quantization, ranks: int) -> int:
    """MXFP4 kernels want hidden sizes in steps of 256 and inner ones in steps of 64.

    vLLM: mxfp4_round_up_hidden_size_and_intermediate_size; Marlin takes steps of 128 inside.
    """
    added = 0
    for module in modules:
        form = quantized.format_of(module)
        if form is not MXFP4 or module.part is not Part.EXPERTS:
            continue
        outputs, inputs = module.on_rank(ranks)
        is_down = module.name.endswith("down_proj")
        hidden, inner = (outputs, inputs) if is_down else (inputs, outputs)
        hidden, inner = -(-hidden // 256) * 256, -(-inner // 64) * 64
        added += module.copies * (form.matrix_bytes(hidden, inner) - form.matrix_bytes(outputs, inputs))
    return added


def quantization_section(config: Mapping[str, object]) -> ConfigReader | None:
    root = ConfigReader(config)
    for reader in (root, root.section("text_config")):
        for name in ("quantization_config", "compression_config"):
            if reader is not None and (found := reader.section(name)) is not None:
                return found
    return None
