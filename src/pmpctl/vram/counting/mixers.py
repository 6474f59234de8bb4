"""Whatever of a layer mixes tokens, told from what the layer caches."""

from pmpctl.vram.attention_layers import head_size
from pmpctl.vram.counting.layers import Decoder, attention, latent_attention
from pmpctl.vram.counting.modules import Module
from pmpctl.vram.counting.states import RECURRENT_BLOCKS, mamba2
from pmpctl.vram.layers import AttentionKv, LatentKv, LayerKv


def mixer(decoder: Decoder, caches: tuple[LayerKv, ...], prefix: str) -> list[Module]:
    """Whatever of a layer mixes tokens, after what it caches."""
    modules: list[Module] = []
    for number, cache in enumerate(caches):
        if isinstance(cache, AttentionKv):
            own = (
                minicpm3(decoder, prefix)
                if decoder.model_type == "minicpm3"
                else attention(decoder, cache, f"{prefix}.self_attn")
            )
            modules += own
        elif isinstance(cache, LatentKv):
            name = f"{prefix}.self_attn.{number}" if decoder.model_type == "longcat_flash" else f"{prefix}.self_attn"
            modules += [] if cache.is_index else latent_attention(decoder, name)
        else:
            modules += RECURRENT_BLOCKS.get(decoder.model_type, mamba2)(decoder, cache, f"{prefix}.mixer")
    return modules


def minicpm3(decoder: Decoder, prefix: str) -> list[Module]:
    """Compressed queries and keys as in latent attention, though vLLM caches them in full."""
    size = head_size(decoder.config)
    values = decoder.config.optional_size("v_head_dim") or size
    own = decoder.config.with_defaults({"v_head_dim": values})
    return latent_attention(Decoder(own, decoder.model_type, decoder.family, decoder.hidden), f"{prefix}.self_attn")
