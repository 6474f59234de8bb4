"""Pages: the bytes of one block of one layer's cache, by format, rank and engine; sources are functions of vLLM."""

from dataclasses import dataclass, replace
from typing import Literal

from pmpctl.errors import KvCacheDtypeUnknown
from pmpctl.vram.layers import Architecture, AttentionKv, LatentKv, LayerKind, LayerKv, RecurrentKv

Platform = Literal["cuda", "cpu"]

ELEMENT_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}
FP8 = frozenset({"fp8", "fp8_e4m3", "fp8_e5m2", "fp8_inc"})
PER_TOKEN_HEAD = frozenset({"int8_per_token_head", "fp8_per_token_head", "int4_per_token_head"})
PACKED_LATENT_BYTES = {"fp8_ds_mla": 656, "nvfp4_ds_mla": 352}
KV_CACHE_DTYPES = ("auto", "float16", "bfloat16", *sorted(FP8 | PER_TOKEN_HEAD), "nvfp4", *PACKED_LATENT_BYTES)

# Their attention is built without the cache's settings, so it ignores `--kv-cache-dtype` (vLLM: FalconAttention).
CACHE_KEEPS_MODEL_DTYPE = frozenset({"falcon", "RefinedWeb", "RefinedWebModel"})

DEFAULT_BLOCK_TOKENS: dict[Platform, int] = {"cuda": 16, "cpu": 128}
KERNEL_BLOCK_TOKENS: dict[Platform, int] = {"cuda": 16, "cpu": 32}
"""Blocks of attention are whole multiples of this (the backends' get_supported_kernel_block_sizes)."""
CPU_LATENT_BLOCK_TOKENS = 16
HYBRID_LATENT_BLOCK_TOKENS = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class KvSettings:
    """What of an engine's settings decides about its KV cache."""

    max_model_len: int
    max_num_batched_tokens: int = 2048
    max_concurrent_batches: int = 2
    """Batches in flight: 2 with asynchronous scheduling, the default on CUDA; 1 without, and on the CPU."""
    tensor_parallel_size: int = 1
    kv_cache_dtype: str = "auto"
    model_dtype: str | None = None
    """`--dtype`; None for what the architecture says."""
    block_size: int | None = None
    """`--block-size`; None for the platform's. Latent attention on Hopper and Blackwell has 64."""
    platform: Platform = "cuda"
    prefix_caching: bool = True
    hybrid_manager: bool = True
    """False with `--disable-hybrid-kv-cache-manager`: windowed and chunked layers keep all tokens too."""
    vllm_version: tuple[int, ...] = (0, 32)

    @property
    def in_flight_tokens(self) -> int:
        """vLLM: VllmConfig.max_in_flight_tokens."""
        return self.max_concurrent_batches * self.max_num_batched_tokens


@dataclass(frozen=True, slots=True)
class Page:
    """One block of one layer: vLLM's KVCacheSpec. Equal pages share a group."""

    kind: LayerKind
    block_size: int
    content_bytes: int
    """Without padding."""
    padded_bytes: int | None = None
    cell: tuple[int, ...] = ()
    """What must be equal beside the bytes, for layers to be of one kind: heads and head sizes."""
    window: int | None = None
    chunk: int | None = None
    state_blocks: int = 0
    """Blocks that a sequence's recurrent state takes, however long it is."""

    @property
    def bytes(self) -> int:
        return self.content_bytes if self.padded_bytes is None else self.padded_bytes

    @property
    def keeps_all_tokens(self) -> bool:
        return self.kind in (LayerKind.FULL, LayerKind.LATENT)

    def with_block_size(self, block_size: int) -> "Page":
        return replace(self, block_size=block_size, content_bytes=self.content_bytes // self.block_size * block_size)

    def blocks_of_request(self, tokens: int, in_flight_tokens: int) -> int:
        """vLLM: max_memory_usage_bytes and max_admission_blocks_per_request of the spec classes."""
        if self.kind is LayerKind.RECURRENT:
            return self.state_blocks
        if self.window is not None:
            return ceil_div(min(self.window - 1 + in_flight_tokens, tokens), self.block_size) + 1
        if self.chunk is not None:
            return ceil_div(min(self.chunk + in_flight_tokens, tokens), self.block_size)
        return ceil_div(tokens, self.block_size)


def ceil_div(dividend: int, divisor: int) -> int:
    return -(-dividend // divisor)


def round_up(value: int, multiple: int) -> int:
    return ceil_div(value, multiple) * multiple


def resolved_kv_cache_dtype(model: Architecture, settings: KvSettings) -> str:
    """vLLM: resolve_kv_cache_dtype_string; "auto" becomes the checkpoint's own format or the model's dtype."""
    said = settings.kv_cache_dtype if settings.kv_cache_dtype != "auto" else model.kv_cache_dtype
    if said == "auto" or model.model_type in CACHE_KEEPS_MODEL_DTYPE:
        return model_dtype(model, settings)
    return said


def model_dtype(model: Architecture, settings: KvSettings) -> str:
    return settings.model_dtype if settings.model_dtype in ELEMENT_BYTES else model.dtype


def attention_token_bytes(cache: AttentionKv, kv_cache_dtype: str, tensor_parallel_size: int) -> int:
    """Bytes of a token in one layer on one rank: heads are divided, and replicated where ranks outnumber them.

    vLLM: AttentionSpec.unpadded_page_size_bytes; the backends' customize_spec for quantized formats.
    """
    heads = ceil_div(cache.kv_heads, tensor_parallel_size)
    keys, values = cache.head_size, cache.head_size_v
    if kv_cache_dtype in ELEMENT_BYTES:
        return heads * (keys + values) * ELEMENT_BYTES[kv_cache_dtype]
    if kv_cache_dtype in FP8:
        return heads * (keys + values)
    if kv_cache_dtype in PER_TOKEN_HEAD:
        packed = 2 if kv_cache_dtype.startswith("int4") else 1
        return heads * (keys // packed + values // packed + SCALE_PAIR_BYTES)
    if kv_cache_dtype == "nvfp4":
        return heads * (keys // 2 + keys // 16 + values // 2 + values // 16)
    raise unknown_dtype(kv_cache_dtype)


SCALE_PAIR_BYTES = 8


def latent_token_bytes(cache: LatentKv, kv_cache_dtype: str, platform: Platform) -> int:
    """Bytes of a token in one layer, the same on every rank. vLLM: MLAAttention.get_kv_cache_spec, MLACommonBackend."""
    if cache.is_index:
        return cache.latent_size
    if kv_cache_dtype in PACKED_LATENT_BYTES:
        return PACKED_LATENT_BYTES[kv_cache_dtype]
    if kv_cache_dtype in ELEMENT_BYTES:
        return cache.latent_size * ELEMENT_BYTES[kv_cache_dtype]
    if kv_cache_dtype in FP8:
        # The sparse kernels take fp8 for their packed format, which mixes fp8, float32 scales and bf16.
        return PACKED_LATENT_BYTES["fp8_ds_mla"] if cache.is_sparse and platform == "cuda" else cache.latent_size
    if kv_cache_dtype in PER_TOKEN_HEAD:
        packed = 2 if kv_cache_dtype.startswith("int4") else 1
        return cache.latent_size // packed + SCALE_PAIR_BYTES
    raise unknown_dtype(kv_cache_dtype)


def unknown_dtype(kv_cache_dtype: str) -> KvCacheDtypeUnknown:
    return KvCacheDtypeUnknown(
        f"the memory of a KV cache of type `{kv_cache_dtype}` is not known for this model",
        cure=f"Use one of {', '.join(KV_CACHE_DTYPES)}.",
    )


def state_bytes(cache: RecurrentKv, model: Architecture, settings: KvSettings) -> int:
    """State of one sequence in one layer on one rank. vLLM: MambaSpec.page_size_bytes, MambaStateDtypeCalculator."""
    convolution, recurrence = cache.elements_per_rank(settings.tensor_parallel_size)
    own = model_dtype(model, settings)
    state = own if cache.state_dtype == "auto" else cache.state_dtype
    if settings.platform == "cpu" and cache.forces_fp32_on_cpu:
        state = "float32"
    return convolution * ELEMENT_BYTES[own] + recurrence * ELEMENT_BYTES[state]


def attention_block_size(model: Architecture, settings: KvSettings) -> int:
    """Tokens of an attention block; in hybrid models so many that its page holds a recurrent state.

    vLLM: CpuPlatform.check_and_update_config, Platform._align_hybrid_block_size.
    """
    latent = model.uses_latent_attention
    if latent and settings.platform == "cpu":
        block = kernel = CPU_LATENT_BLOCK_TOKENS
    else:
        block = settings.block_size or DEFAULT_BLOCK_TOKENS[settings.platform]
        kernel = KERNEL_BLOCK_TOKENS[settings.platform]
    if not model.is_hybrid:
        return block
    state = largest_state_bytes(model, settings)
    alignment = max(kernel, block, HYBRID_LATENT_BLOCK_TOKENS if latent else 0)
    needed = alignment * ceil_div(state, alignment * hybrid_token_bytes(model, settings))
    return max(block, round_up(needed, kernel))


def largest_state_bytes(model: Architecture, settings: KvSettings) -> int:
    return max(state_bytes(cache, model, settings) for cache in model.caches if isinstance(cache, RecurrentKv))


def hybrid_token_bytes(model: Architecture, settings: KvSettings) -> int:
    """A token's bytes by the model's own heads, which is what vLLM aligns by, layers of other sizes aside."""
    kv_cache_dtype = resolved_kv_cache_dtype(model, settings)
    if model.uses_latent_attention:
        return latent_token_bytes(LatentKv(model.head_size), kv_cache_dtype, settings.platform)
    heads = AttentionKv(model.kv_heads, model.head_size, model.head_size)
    return attention_token_bytes(heads, kv_cache_dtype, settings.tensor_parallel_size)


def layer_pages(model: Architecture, settings: KvSettings) -> list[Page]:
    """The page of every cache of the model, in order of layers."""
    block = attention_block_size(model, settings)
    state_page = block * hybrid_token_bytes(model, settings) if model.is_hybrid else None
    return [page_of(cache, model, settings, block, state_page) for cache in model.caches]


def page_of(cache: LayerKv, model: Architecture, settings: KvSettings, block: int, state_page: int | None) -> Page:
    kv_cache_dtype = resolved_kv_cache_dtype(model, settings)
    if isinstance(cache, LatentKv):
        token = latent_token_bytes(cache, kv_cache_dtype, settings.platform)
        return Page(cache.kind, block, block * token, cell=(token, int(cache.is_index)))
    if isinstance(cache, AttentionKv):
        token = attention_token_bytes(cache, kv_cache_dtype, settings.tensor_parallel_size)
        # A windowed layer takes the largest block its kernel knows within the others' (Attention.get_kv_cache_spec).
        kernel = KERNEL_BLOCK_TOKENS[settings.platform]
        own = max(kernel, block // kernel * kernel) if cache.window is not None else block
        cell = (ceil_div(cache.kv_heads, settings.tensor_parallel_size), cache.head_size, cache.head_size_v)
        return Page(cache.kind, own, own * token, cell=cell, window=cache.window, chunk=cache.chunk)
    # With prefix caching a state is kept at block boundaries: the running one, the last, and what prefill exports.
    aligned = settings.prefix_caching and not model.is_attention_free
    return Page(
        cache.kind,
        block if aligned else settings.max_model_len,
        state_bytes(cache, model, settings),
        padded_bytes=state_page,
        state_blocks=2 + cache.checkpoint_blocks if aligned else 1,
    )
