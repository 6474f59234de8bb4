"""Which linear layers are quantized, and how: `quantization_config` of every method, and `--quantization`."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from pmpctl.vram.config_reader import ConfigReader, whole_number
from pmpctl.vram.counting.formats import (
    FP8_CHANNEL,
    FP8_TENSOR,
    INT8_CHANNEL,
    MXFP4,
    MXFP8,
    NF4,
    NVFP4,
    Format,
)
from pmpctl.vram.counting.modules import Module, Part
from pmpctl.vram.counting.names import named

FormatOf = Callable[[Module], Format | None]


@dataclass(frozen=True, slots=True)
class Quantization:
    """What a checkpoint's `quantization_config`, or `--quantization`, makes of its linear layers."""

    method: str
    format_of: FormatOf
    layer_bytes: int = 0
    """Per attention layer: vLLM's own scales of the cache."""
    known: bool = True


def unquantized(_: Module) -> Format | None:
    return None


NONE = Quantization("", unquantized)
CACHE_SCALES_BYTES = {"compressed-tensors": 18, "fp8": 8, "modelopt": 8, "quark": 8}
"""In bfloat16 or float32, as the methods create them (vLLM: BaseKVCacheMethod, CompressedTensorsKVCacheMethod)."""

ONLINE: Mapping[str, Format] = {
    "fp8": FP8_TENSOR,
    "fp8_per_tensor": FP8_TENSOR,
    "fp8_per_channel": FP8_CHANNEL,
    "fp8_per_block": Format(8, scale_bytes=4, group_outputs=128, group_inputs=128),
    "ptpc_fp8": FP8_CHANNEL,
    "int8_per_channel_weight_only": INT8_CHANNEL,
    "nvfp4_per_token": NVFP4,
    "mxfp8": MXFP8,
    "bitsandbytes": NF4,
}
"""What `--quantization` does to a checkpoint that is not quantized (vLLM: config/quantization.py)."""


def read_quantization(config: ConfigReader | None, asked: str | None = None) -> Quantization:
    """`config` is the checkpoint's `quantization_config`; `asked` the engine's `--quantization`."""
    if config is None:
        return _online(asked)
    method = config.text("quant_method").lower().replace("_", "-")
    if not method and config.has("config_groups"):
        method = "compressed-tensors"
    if not method and (config.has("quant_algo") or config.section("quantization")):
        method = "modelopt"
    read = next((reader for name, reader in METHODS.items() if method.startswith(name)), None)
    if read is None:
        return Quantization(method or "unnamed", unquantized, known=False)
    found = read(config)
    return replace(found, layer_bytes=CACHE_SCALES_BYTES.get(found.method, 0)) if not found.layer_bytes else found


def _online(asked: str | None) -> Quantization:
    name = (asked or "").lower()
    if name == "experts_int8":
        return Quantization(name, lambda module: INT8_CHANNEL if module.part is Part.EXPERTS else None)
    form = ONLINE.get(name)
    return NONE if form is None else Quantization(name, _linears(form, lambda _: False))


def _linears(form: Format | None, skipped: Callable[[str], bool], *, head: bool = False) -> FormatOf:
    """All linear layers but the skipped; lm_head only where the checkpoint says so."""

    def format_of(module: Module) -> Format | None:
        if not module.quantizable or (module.part is Part.LM_HEAD and not head) or skipped(module.name):
            return None
        return form

    return format_of


def _awq(config: ConfigReader) -> Quantization:
    bits, group = _bits(config, "bits", "w_bit"), _group(config, "group_size", "q_group_size")
    zeros = bits if config.flag("zero_point", otherwise=True) else 0
    form = Format(bits, scale_bytes=2, group_inputs=group, zero_bits=zeros)
    return Quantization(
        "awq", _linears(form, named(_patterns(config, "modules_to_not_convert")), head=config.flag("lm_head"))
    )


def _gptq(config: ConfigReader) -> Quantization:
    """Zero points are kept even where they are all the same; AutoRound writes the same tensors."""
    bits, group = _bits(config, "bits"), _group(config, "group_size")
    order = 4 if config.flag("desc_act") else 0
    form = Format(bits, scale_bytes=2, group_inputs=group, zero_bits=bits, input_bytes=order, expert_output_bytes=2)
    dynamic = config.section("dynamic") or config.section("extra_config")
    overrides = [] if dynamic is None else _overrides(config, form)
    default = _linears(form, named(_patterns(config, "modules_to_not_convert")), head=config.flag("lm_head"))

    def format_of(module: Module) -> Format | None:
        for matches, special in overrides:
            if matches(module.name) and module.quantizable:
                return special
        return default(module)

    return Quantization("gptq", format_of)


def _overrides(config: ConfigReader, form: Format) -> list[tuple[Callable[[str], bool], Format | None]]:
    """GPTQModel's `dynamic` (+: with settings of its own, -: not quantized) and AutoRound's `extra_config`."""
    found: list[tuple[Callable[[str], bool], Format | None]] = []
    for field in ("dynamic", "extra_config"):
        value = config.value(field)
        for pattern, settings in value.items() if isinstance(value, Mapping) else ():
            own = ConfigReader(settings if isinstance(settings, Mapping) else {})
            bits = own.count("bits", otherwise=form.bits, at_most=64)
            changed = replace(
                form, bits=bits, zero_bits=bits, group_inputs=_group(own, "group_size") or form.group_inputs
            )
            skip = str(pattern).startswith("-:") or bits >= 16
            regex = str(pattern).removeprefix("-:").removeprefix("+:")
            matches = named([f"re:{regex}"]) if field == "dynamic" else named([regex])
            found.append((matches, None if skip else changed))
    return found


def _fp8(config: ConfigReader) -> Quantization:
    block = config.whole_numbers("weight_block_size")
    static = config.text("activation_scheme") == "static"
    form = replace(FP8_TENSOR, shard_bytes=4 if static else 0)
    if block and len(block) == 2:
        form = Format(8, scale_bytes=4, group_outputs=block[0], group_inputs=block[1])
    skipped = [*_patterns(config, "ignored_layers"), *_patterns(config, "modules_to_not_convert")]
    return Quantization("fp8", _linears(form, named(skipped)))


def _fbgemm(config: ConfigReader) -> Quantization:
    return Quantization("fbgemm_fp8", _linears(FP8_CHANNEL, named(_patterns(config, "modules_to_not_convert"))))


def _bitsandbytes(config: ConfigReader) -> Quantization:
    form = NF4 if config.flag("load_in_4bit") else INT8_CHANNEL
    return Quantization("bitsandbytes", _linears(form, named(_patterns(config, "llm_int8_skip_modules"))))


def _mxfp4(config: ConfigReader) -> Quantization:
    """Only the experts of gpt-oss are stored so (vLLM: Mxfp4Config)."""
    skipped = named(_patterns(config, "modules_to_not_convert"))

    def format_of(module: Module) -> Format | None:
        return MXFP4 if module.part is Part.EXPERTS and not skipped(module.name) else None

    return Quantization("mxfp4", format_of)


def _modelopt(config: ConfigReader) -> Quantization:
    inner = config.section("quantization") or config
    algorithm = (inner.text("quant_algo") or config.text("quant_algo")).upper()
    skipped = named(
        [
            pattern
            for each in (inner, config)
            for name in ("exclude_modules", "ignore")
            for pattern in _patterns(each, name)
        ]
    )
    forms = {
        "FP8": replace(FP8_TENSOR, shard_bytes=4),
        "NVFP4": NVFP4,
        "MXFP8": MXFP8,
        "FP8_PER_CHANNEL_PER_TOKEN": FP8_CHANNEL,
    }
    form = next((form for name, form in forms.items() if algorithm == name), None) or next(
        (form for name, form in forms.items() if algorithm.startswith(name)), None
    )
    if algorithm == "MIXED_PRECISION":
        mixed = [(named([name]), _modelopt_layer(own)) for name, own in _named_sections(inner, "quantized_layers")]
        return Quantization("modelopt", _first(mixed))
    return Quantization("modelopt", _linears(form, skipped), known=form is not None)


def _modelopt_layer(config: ConfigReader) -> Format | None:
    return {"FP8": replace(FP8_TENSOR, shard_bytes=4), "NVFP4": NVFP4, "W4A16_NVFP4": NVFP4}.get(
        config.text("quant_algo").upper()
    )


def _named_sections(config: ConfigReader, name: str) -> list[tuple[str, ConfigReader]]:
    value = config.value(name)
    if not isinstance(value, Mapping):
        return []
    return [(str(key), ConfigReader(each)) for key, each in value.items() if isinstance(each, Mapping)]


def _first(choices: Sequence[tuple[Callable[[str], bool], Format | None]]) -> FormatOf:
    def format_of(module: Module) -> Format | None:
        if not module.quantizable:
            return None
        return next((form for matches, form in choices if matches(module.name)), None)

    return format_of


def _compressed_tensors(config: ConfigReader) -> Quantization:
    """Groups of targets ("Linear", names or patterns), each with its scheme; `ignore` goes before them."""
    ignored = named(_patterns(config, "ignore"))
    groups = [(_patterns(group, "targets"), _scheme(group, config)) for group in config.sections("config_groups")]
    choices = [
        (named([each for each in targets if each != "Linear"]), "Linear" in targets, form) for targets, form in groups
    ]

    def format_of(module: Module) -> Format | None:
        if not module.quantizable or ignored(module.name):
            return None
        own = next((form for matches, _, form in choices if matches(module.name)), None)
        return own or next((form for _, every, form in choices if every), None)

    return Quantization("compressed-tensors", format_of, known=bool(groups))


def _scheme(group: ConfigReader, config: ConfigReader) -> Format | None:
    weights = group.section("weights")
    if weights is None:
        return None
    bits = _bits(weights, "num_bits")
    activations = group.section("input_activations")
    static = activations is not None and activations.value("dynamic") is False
    strategy, kind = weights.text("strategy"), weights.text("type", "int")
    size = _group(weights, "group_size")
    if kind == "float" and bits == 4:
        scaled = 8 if activations is not None else 4
        return MXFP4 if size == 32 else replace(NVFP4, shard_bytes=scaled)
    packed = (group.text("format") or config.text("format")) in ("pack-quantized", "marlin-24")
    if strategy == "block":
        block = weights.whole_numbers("block_structure") or (128, 128)
        return Format(bits, scale_bytes=4, group_outputs=block[0], group_inputs=block[-1])
    if strategy == "tensor":
        return Format(bits, scale_bytes=4, group_outputs=None, shard_bytes=4 if static else 0)
    zeros = 0 if weights.flag("symmetric", otherwise=True) else bits
    if not packed:
        return Format(bits, scale_bytes=4, group_inputs=size, zero_bits=zeros, shard_bytes=4 if static else 0)
    order = 4 if weights.text("actorder") == "group" else 0
    return Format(bits, scale_bytes=2, group_inputs=size, zero_bits=zeros, fixed_bytes=16, input_bytes=order)


def _quark(config: ConfigReader) -> Quantization:
    """One scheme for all layers but the excluded and those in `layer_quant_config`."""
    overall = config.section("global_quant_config")
    skipped = named(_patterns(config, "exclude"))
    special = [(named([name]), _quark_layer(own)) for name, own in _named_sections(config, "layer_quant_config")]
    form = _quark_layer(overall) if overall else None

    def format_of(module: Module) -> Format | None:
        if not module.quantizable or skipped(module.name):
            return None
        return next((own for matches, own in special if matches(module.name)), form)

    return Quantization("quark", format_of, known=form is not None)


def _quark_layer(config: ConfigReader) -> Format | None:
    weight = config.section("weight")
    if weight is None:
        listed = config.sections("weight")
        weight = listed[-1] if listed else None
    if weight is None:
        return None
    dtype, scheme = weight.text("dtype"), weight.text("qscheme")
    if dtype in ("fp4", "mxfp4"):
        return MXFP4
    bits = {"fp8_e4m3": 8, "int8": 8, "uint8": 8, "int4": 4, "uint4": 4, "fp6_e3m2": 6, "fp6_e2m3": 6}.get(dtype)
    if bits is None:
        return None
    static = (inputs := config.section("input_tensors")) is not None and not inputs.flag("is_dynamic")
    shard = 4 if static else 0
    if scheme == "per_tensor":
        return Format(bits, scale_bytes=4, group_outputs=None, shard_bytes=shard)
    return Format(bits, scale_bytes=4, group_inputs=_group(weight, "group_size"), shard_bytes=shard)


METHODS: Mapping[str, Callable[[ConfigReader], Quantization]] = {
    "awq": _awq,
    "auto-awq": _awq,
    "gptq": _gptq,
    "auto-gptq": _gptq,
    "auto-round": _gptq,
    "intel/auto-round": _gptq,
    "inc": _gptq,
    "fp8": _fp8,
    "deepseek-v4-fp8": _fp8,
    "fbgemm-fp8": _fbgemm,
    "bitsandbytes": _bitsandbytes,
    "gpt-oss-mxfp4": _mxfp4,
    "mxfp4": _mxfp4,
    "modelopt": _modelopt,
    "nvfp4": _modelopt,
    "compressed-tensors": _compressed_tensors,
    "quark": _quark,
}


def _patterns(config: ConfigReader, name: str) -> list[str]:
    value = config.value(name)
    if not isinstance(value, list | tuple):
        return []
    flat = [each for item in value for each in (item if isinstance(item, list | tuple) else (item,))]
    return [each for each in flat if isinstance(each, str)]


def _bits(config: ConfigReader, *names: str) -> int:
    return config.size(*names, at_most=64)


def _group(config: ConfigReader, *names: str) -> int | None:
    """Of inputs that share a scale; -1, 0 and null mean all."""
    value = config.value(*names)
    if value is None or value == -1:
        return None
    return whole_number(value, names[0], at_least=0, at_most=1 << 20) or None
