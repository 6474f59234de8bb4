"""What an engine caches for each layer of a model, as data: read from a configuration, priced by `kv_pages`."""

from dataclasses import dataclass
from enum import StrEnum


class LayerKind(StrEnum):
    FULL = "full_attention"
    SLIDING = "sliding_window"
    CHUNKED = "chunked_local"
    LATENT = "latent_attention"
    RECURRENT = "recurrent_state"


@dataclass(frozen=True, slots=True)
class AttentionKv:
    """Keys and values of every cached token: of all tokens, of the last `window`, or of the current `chunk`."""

    kv_heads: int
    head_size: int
    head_size_v: int
    window: int | None = None
    chunk: int | None = None

    @property
    def kind(self) -> LayerKind:
        if self.window is not None:
            return LayerKind.SLIDING
        return LayerKind.FULL if self.chunk is None else LayerKind.CHUNKED


@dataclass(frozen=True, slots=True)
class LatentKv:
    """Multi-head latent attention: one vector a token, the same on every rank.

    `is_sparse` marks DeepSeek's sparse attention, whose fp8 cache is packed; `is_index` its index of uint8 rows.
    """

    latent_size: int
    is_sparse: bool = False
    is_index: bool = False

    @property
    def kind(self) -> LayerKind:
        return LayerKind.LATENT


@dataclass(frozen=True, slots=True)
class RecurrentKv:
    """The state of a Mamba, delta-net, linear-attention or short-convolution layer: one per sequence, of any length.

    The convolution keeps `conv_steps` rows of `conv_channels`, plus twice `conv_groups * conv_group_size` for Mamba 2;
    the recurrence keeps `state_heads` matrices. Channels and heads are split over tensor-parallel ranks.
    """

    conv_steps: int
    conv_channels: int
    state_heads: int = 0
    state_rows: int = 0
    state_columns: int = 0
    conv_groups: int = 0
    conv_group_size: int = 0
    state_dtype: str = "auto"
    checkpoint_blocks: int = 0
    forces_fp32_on_cpu: bool = True

    @property
    def kind(self) -> LayerKind:
        return LayerKind.RECURRENT

    def elements_per_rank(self, tensor_parallel_size: int) -> tuple[int, int]:
        """Elements of the convolution's and of the recurrence's state; vLLM: MambaStateShapeCalculator."""
        groups = self.conv_groups
        if groups % tensor_parallel_size:
            groups = tensor_parallel_size
        channels = self.conv_channels + 2 * groups * self.conv_group_size
        heads = -(-self.state_heads // tensor_parallel_size)
        own_channels = -(-channels // tensor_parallel_size)
        return self.conv_steps * own_channels, heads * self.state_rows * self.state_columns


LayerKv = AttentionKv | LatentKv | RecurrentKv


@dataclass(frozen=True, slots=True)
class Architecture:
    """A model's geometry as vLLM serves it: drafting (MTP) layers, which only speculative decoding loads, left out."""

    name: str
    model_type: str
    layer_caches: tuple[tuple[LayerKv, ...], ...]
    """Per layer, what it caches: nothing (MLP, reused cache), one thing, or attention and state side by side."""
    hidden_size: int
    intermediate_size: int
    vocab_size: int
    attention_heads: int
    kv_heads: int
    head_size: int
    dtype: str
    kv_cache_dtype: str
    """What `--kv-cache-dtype auto` means for this checkpoint: "auto" is the model's own dtype."""
    context_limit: int | None
    """The longest context vLLM accepts for the model; None if the configuration names none."""
    default_context: int
    """The context vLLM takes when none is asked for."""
    is_multimodal: bool
    is_moe: bool
    is_attention_free: bool = False
    """A pure Mamba model: vLLM does not cache prefixes for it."""
    known: bool = True
    unknown_reason: str = ""

    @property
    def layers(self) -> int:
        return len(self.layer_caches)

    @property
    def caches(self) -> tuple[LayerKv, ...]:
        """Every cache of the model, in the order vLLM builds them: by layer, but attention beside a state before it."""
        found = [cache for caches in self.layer_caches for cache in caches]
        if any(len(caches) > 1 for caches in self.layer_caches):
            found.sort(key=lambda cache: cache.kind is LayerKind.RECURRENT)
        return tuple(found)

    @property
    def uses_latent_attention(self) -> bool:
        return any(isinstance(cache, LatentKv) for cache in self.caches)

    @property
    def has_attention(self) -> bool:
        return any(not isinstance(cache, RecurrentKv) for cache in self.caches)

    @property
    def is_hybrid(self) -> bool:
        """Attention beside recurrent state: their pages are made equally large."""
        return self.has_attention and any(isinstance(cache, RecurrentKv) for cache in self.caches)
