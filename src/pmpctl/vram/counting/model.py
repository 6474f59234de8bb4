"""All weights of a model as vLLM builds it, from config.json alone."""

from collections.abc import Mapping
from dataclasses import dataclass

from pmpctl.vram.architecture import read_architecture, text_section
from pmpctl.vram.config_reader import ConfigReader
from pmpctl.vram.counting.families import WEIGHT_FAMILIES, Family
from pmpctl.vram.counting.feed_forward import feed_forward
from pmpctl.vram.counting.layers import Decoder
from pmpctl.vram.counting.mixers import mixer
from pmpctl.vram.counting.modules import Module, Part, Split, norm, padded
from pmpctl.vram.counting.own_layers import Layer, hidden_extras, layer_extras, own_layer
from pmpctl.vram.counting.towers import tower
from pmpctl.vram.layers import AttentionKv, LayerKv

UNKNOWN_FAMILY = Family(norms=4)


@dataclass(frozen=True, slots=True)
class ModelWeights:
    modules: tuple[Module, ...]
    drafting: range
    """The numbers of layers that a checkpoint may have behind the last one, for speculative decoding."""
    attention_layers: int
    dtype: str
    is_tied: bool
    router_float32: bool
    known: bool
    notes: tuple[str, ...] = ()


def read_weights(config: Mapping[str, object], *, language_only: bool = False) -> ModelWeights:
    """Raises ModelConfigInvalid where sizes are missing or absurd; an unknown model type is said to be one."""
    architecture = read_architecture(config)
    root = ConfigReader(config)
    text, model_type = text_section(root)
    family = WEIGHT_FAMILIES.get(model_type)
    decoder = Decoder(text, model_type, family or UNKNOWN_FAMILY, architecture.hidden_size)
    modules = [*_embeddings(root, decoder, architecture.vocab_size)]
    layers = architecture.layers
    for index, caches in enumerate(architecture.layer_caches):
        modules += decoder_layer(decoder, caches, index, layers)
    modules += hidden_extras(decoder, layers)
    notes = (
        [] if family else [f"The weights of model type {model_type or 'unnamed'} are estimated as a plain decoder's."]
    )
    known = family is not None and architecture.known
    if not language_only:
        found = tower(root, architecture.hidden_size)
        modules += found.modules
        if not found.known:
            notes.append("The weights of its vision or audio tower are estimated.")
            known = False
    attending = sum(any(isinstance(cache, AttentionKv) for cache in caches) for caches in architecture.layer_caches)
    return ModelWeights(
        modules=tuple(modules),
        drafting=range(layers, layers + text.count("num_nextn_predict_layers", "num_mtp_modules")),
        attention_layers=attending,
        dtype=architecture.dtype,
        is_tied=is_tied(root, decoder),
        router_float32=decoder.family.router_float32,
        known=known,
        notes=tuple(notes),
    )


def decoder_layer(decoder: Decoder, caches: tuple[LayerKv, ...], index: int, layers: int) -> list[Module]:
    prefix = f"layers.{index}"
    own = own_layer(Layer(decoder, caches, index, layers, prefix))
    if own is None:
        own = [*mixer(decoder, caches, prefix), *feed_forward(decoder, index, layers, prefix)]
    family = decoder.family
    norms = [
        norm(f"{prefix}.norm_{number}", decoder.hidden, bias=family.norm_bias) for number in range(_norms(decoder))
    ]
    return [*norms, *own, *layer_extras(decoder, prefix)]


def _norms(decoder: Decoder) -> int:
    config, family = decoder.config, decoder.family
    if decoder.model_type in ("falcon", "RefinedWeb", "RefinedWebModel"):
        if config.flag("new_decoder_architecture"):
            return config.count("num_ln_in_parallel_attn", otherwise=2)
        return 1 if config.flag("parallel_attn", otherwise=True) else 2
    if decoder.model_type == "hyperclovax" and config.flag("use_post_norm"):
        return 4
    if decoder.model_type == "zamba2":
        return 1
    return family.norms


def is_tied(root: ConfigReader, decoder: Decoder) -> bool:
    if decoder.model_type == "lfm2":
        return decoder.config.flag("tie_embedding", otherwise=True)
    for reader in (root, decoder.config):
        if reader.says("tie_word_embeddings"):
            return reader.flag("tie_word_embeddings")
    return decoder.family.tied


def _embeddings(root: ConfigReader, decoder: Decoder, vocabulary: int) -> list[Module]:
    config, family, hidden = decoder.config, decoder.family, decoder.hidden
    width = config.optional_size("word_embed_proj_dim") or hidden
    modules = [Module("embed_tokens", Part.EMBED, padded(vocabulary), width, Split.OUTPUTS)]
    if not is_tied(root, decoder):
        head = Module(
            "lm_head",
            Part.LM_HEAD,
            padded(vocabulary),
            hidden,
            Split.OUTPUTS,
            has_bias=family.head_bias.of(config),
            quantizable=True,
        )
        modules.append(head)
    if width != hidden:
        modules += [Module(f"project_{name}", Part.OTHER, hidden, width) for name in ("in", "out")]
    if family.positions_offset is not None:
        places = config.count("n_positions", "max_position_embeddings", otherwise=1024) + family.positions_offset
        modules.append(Module("embed_positions", Part.EMBED, places, hidden))
    if family.embedding_norm:
        modules.append(norm("word_embeddings_layernorm", hidden, bias=True))
    if family.final_norm:
        modules.append(norm("norm", hidden, bias=family.norm_bias))
    return modules
