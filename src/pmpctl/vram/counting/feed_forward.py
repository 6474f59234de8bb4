"""Which layers have an MLP and which have experts, and how wide those are; every family's spelling of it."""

from pmpctl.errors import ModelConfigInvalid
from pmpctl.vram.config_reader import CURE, ConfigReader
from pmpctl.vram.counting.layers import Decoder, experts, mlp, router
from pmpctl.vram.counting.modules import Module, Part

EXPERT_COUNT_NAMES = ("num_experts", "n_routed_experts", "num_local_experts", "moe_num_experts")
EXPERT_WIDTH_NAMES = (
    "moe_intermediate_size",
    "expert_intermediate_size",
    "moe_ffn_hidden_size",
    "moe_expert_intermediate_size",
)
MLP_WIDTH_NAMES = ("intermediate_size", "n_inner", "ffn_hidden_size", "ffn_dim", "ffn_intermediate_size")
SHARED_WIDTH_NAMES = (
    "shared_expert_intermediate_size",
    "moe_shared_expert_intermediate_size",
    "shared_intermediate_size",
    "share_expert_dim",
)
SHARED_COUNT_NAMES = ("n_shared_experts", "num_shared_experts", "num_shared_expert", "moe_num_shared_experts")
MOST_EXPERTS = 1 << 16


def feed_forward(decoder: Decoder, index: int, layers: int, prefix: str) -> list[Module]:
    if is_sparse(decoder, index, layers):
        return mixture(decoder, f"{prefix}.mlp")
    width = mlp_width(decoder, index)
    return mlp(decoder, f"{prefix}.mlp", width) if width else []


def mlp_width(decoder: Decoder, index: int) -> int:
    config = decoder.config
    if decoder.model_type in ("mamba", "falcon_mamba", "mamba2"):
        return 0
    names = {"llama4_text": ("intermediate_size_mlp",), "granitemoehybrid": ("shared_intermediate_size",)}
    own = config.optional_size(*names.get(decoder.model_type, ())) if decoder.model_type in names else None
    if own is None and isinstance(config.value(*MLP_WIDTH_NAMES), list | tuple):
        widths = config.whole_numbers("intermediate_size") or (0,)
        return widths[min(index, len(widths) - 1)]
    width = own or config.optional_size(*MLP_WIDTH_NAMES) or decoder.family.widening * decoder.hidden
    if decoder.model_type == "lfm2" and config.flag("block_auto_adjust_ff_dim", otherwise=True):
        return _lfm2_width(config, width)
    return width


def _lfm2_width(config: ConfigReader, width: int) -> int:
    width = int(2 * width / 3)
    multiplier = config.number("block_ffn_dim_multiplier")
    if multiplier is not None:
        width = int(multiplier * width)
    multiple = config.count("block_multiple_of", otherwise=256) or 1
    return -(-width // multiple) * multiple


def expert_count(config: ConfigReader) -> int:
    nested = config.section("ffn_config")
    if nested is not None and nested.has("moe_num_experts"):
        return nested.count("moe_num_experts", at_most=MOST_EXPERTS)
    return min(_first(config, *EXPERT_COUNT_NAMES), MOST_EXPERTS)


def expert_width(config: ConfigReader) -> int:
    nested = config.section("ffn_config")
    if nested is not None and nested.has("ffn_hidden_size"):
        return nested.size("ffn_hidden_size")
    return _first(config, *EXPERT_WIDTH_NAMES, "intermediate_size")


def shared_width(decoder: Decoder, width: int) -> int:
    """The shared experts together, as one MLP; 0 without any."""
    config = decoder.config
    said = config.count(*SHARED_WIDTH_NAMES)
    count = _first(config, *SHARED_COUNT_NAMES)
    if decoder.model_type == "llama4_text":
        return width
    if decoder.model_type == "nemotron_h":
        return (config.optional_size("moe_shared_expert_intermediate_size") or width) * count
    return said or count * width


def _first(config: ConfigReader, *names: str) -> int:
    """A number, or the first of one for each layer."""
    value = config.value(*names)
    if isinstance(value, list | tuple):
        return ConfigReader({names[0]: value[0] if value else 0}).count(names[0])
    return config.count(*names)


def mixture(decoder: Decoder, prefix: str) -> list[Module]:
    config, family, hidden = decoder.config, decoder.family, decoder.hidden
    count, width = expert_count(config), expert_width(config)
    correction = family.correction_bias.of(config)
    if family.correction_bias.name == "_noaux_tc":
        correction = config.text("topk_method") == "noaux_tc"
    inner = config.optional_size("moe_latent_size") if decoder.model_type == "nemotron_h" else None
    modules = router(
        prefix,
        count=count,
        hidden=hidden,
        float32=family.router_float32,
        bias=family.router_bias,
        correction=correction,
    )
    gated = family.gated
    modules += experts(prefix, count=count, width=width, hidden=inner or hidden, gated=gated, bias=family.expert_bias)
    if inner:
        modules += [
            Module(f"{prefix}.fc1_latent_proj", Part.MLP, inner, hidden, quantizable=True),
            Module(f"{prefix}.fc2_latent_proj", Part.MLP, hidden, inner, quantizable=True),
        ]
    shared = shared_width(decoder, width)
    if shared:
        modules += mlp(decoder, f"{prefix}.shared_experts", shared)
        if family.shared_gate:
            modules.append(Module(f"{prefix}.shared_expert_gate", Part.ROUTER, 1, hidden))
    return modules


def is_sparse(decoder: Decoder, index: int, layers: int) -> bool:
    config = decoder.config
    if expert_count(config) < (1 if decoder.model_type in ("mixtral", "granitemoe") else 2):
        return False
    for name in ("mlp_layer_types", "is_moe_layer", "moe_layer_freq"):
        said = config.value(name)
        if isinstance(said, list | tuple):
            if len(said) < layers:
                raise ModelConfigInvalid(
                    f"`{name}` in config.json has {len(said)} entries for {layers} layers", cure=CURE
                )
            return said[index] not in ("dense", 0, False)
    if decoder.model_type == "llama4_text":
        listed = config.whole_numbers("moe_layers")
        step = config.count("interleave_moe_layer_step", otherwise=1)
        return index in listed if listed else step > 0 and (index + 1) % step == 0
    if config.has("moe_layers_enum"):
        return str(index) in [each.strip() for each in config.text("moe_layers_enum").split(",")]
    if config.has("expert_layer_period"):
        period = config.count("expert_layer_period", otherwise=2) or 1
        return index % period == config.count("expert_layer_offset", otherwise=1)
    if config.has("moe_layer_interval") or config.has("moe_layer_start_index"):
        return _ernie_is_sparse(config, index, layers)
    if index in (config.whole_numbers("mlp_only_layers") or ()):
        return False
    if config.has("decoder_sparse_step"):
        step = config.count("decoder_sparse_step")
        return step > 0 and (index + 1) % step == 0
    first = config.count("first_k_dense_replace", "num_dense_layers", "first_last_k_dense_replace")
    frequency = config.count("moe_layer_freq", otherwise=1) or 1
    return index >= first and index % frequency == 0


def _ernie_is_sparse(config: ConfigReader, index: int, layers: int) -> bool:
    """vLLM: Ernie4_5_MoeDecoderLayer."""
    start = min(_each_modality(config, "moe_layer_start_index"), default=0)
    end = max(_each_modality(config, "moe_layer_end_index"), default=layers - 1)
    interval = config.count("moe_layer_interval", otherwise=1) or 1
    return (index + 1) % interval == 0 and start <= index <= end


def _each_modality(config: ConfigReader, name: str) -> tuple[int, ...]:
    """One number, or one for text and one for images; none where it is left open."""
    value = config.value(name)
    if isinstance(value, list | tuple):
        return config.whole_numbers(name) or ()
    return () if value in (None, -1) else (config.count(name),)
