"""The KV cache of a model under an engine's settings: bytes of a request, blocks of a pool, the longest context."""

from dataclasses import dataclass
from functools import cached_property

from pmpctl.vram.kv_groups import KvGroup, kv_groups
from pmpctl.vram.kv_pages import KvSettings, Page, layer_pages
from pmpctl.vram.layers import Architecture

# From here on the engine prints concurrency times length, before it printed blocks of one group.
GROUP_AWARE_SINCE = (0, 20, 2)


@dataclass(frozen=True)
class KvPool:
    """A KV cache of so many bytes, as the engine would report it."""

    blocks: int
    concurrency: float
    """Requests of `max_model_len` that fit at once: "Maximum concurrency for N tokens per request"."""
    printed_tokens: int
    """What the log calls "GPU KV cache size"; not comparable over versions or contexts for hybrid models."""


@dataclass(frozen=True)
class KvLayout:
    """All bytes are of one tensor-parallel rank."""

    settings: KvSettings
    pages: tuple[Page, ...]
    """One for every cache, in order of layers, before groups even them out."""
    groups: tuple[KvGroup, ...]

    @cached_property
    def bytes_per_token(self) -> int:
        """What each further token costs for ever: layers that keep all tokens; windows and states are not in it."""
        return sum(page.content_bytes // page.block_size for page in self.pages if page.keeps_all_tokens)

    @cached_property
    def bytes_per_block(self) -> int:
        """Of the pool: the layers of the widest group (vLLM: _get_kv_cache_bytes_per_block). 0 without any cache."""
        return max((group.bytes_per_block for group in self.groups), default=0)

    def blocks_of_request(self, tokens: int) -> int:
        return sum(group.blocks_of_request(tokens, self.settings.in_flight_tokens) for group in self.groups)

    def bytes_of_request(self, tokens: int) -> int:
        """vLLM: _max_memory_usage_bytes_from_groups."""
        return self.bytes_per_block * self.blocks_of_request(tokens)

    def bytes_to_start(self, tokens: int) -> int:
        """The smallest pool with which the engine starts at this context: one request and the null block."""
        return self.bytes_of_request(tokens) + self.bytes_per_block

    def pool(self, available_bytes: int) -> KvPool:
        """vLLM: get_kv_cache_config_from_groups, get_kv_cache_capacity."""
        if not self.groups:
            return KvPool(blocks=1, concurrency=float("inf"), printed_tokens=0)
        blocks = max(0, available_bytes) // self.bytes_per_block
        concurrency = self.concurrency(blocks, self.settings.max_model_len)
        if self.settings.vllm_version >= GROUP_AWARE_SINCE:
            return KvPool(blocks, concurrency, int(concurrency * self.settings.max_model_len))
        smallest_block = min(group.block_size for group in self.groups)
        return KvPool(blocks, concurrency, blocks // len(self.groups) * smallest_block)

    def concurrency(self, blocks: int, tokens: int) -> float:
        """Requests of so many tokens at once; infinite for a model that caches nothing."""
        needed = self.blocks_of_request(tokens)
        return blocks / needed if needed else float("inf")

    def largest_context(self, available_bytes: int, at_most: int | None = None) -> int:
        """The engine's "estimated maximum model length", up to `max_model_len` or `at_most`; 0 if not one token fits.

        vLLM: _estimate_max_model_len_from_groups on what is left of the pool beside the null block.
        """
        limit = self.settings.max_model_len if at_most is None else at_most
        usable = available_bytes - self.bytes_per_block
        if not self.groups:
            return limit
        if usable <= 0 or self.bytes_of_request(1) > usable:
            return 0
        fitting, above = 1, limit + 1
        while above - fitting > 1:
            middle = (fitting + above) // 2
            if self.bytes_of_request(middle) <= usable:
                fitting = middle
            else:
                above = middle
        return fitting


def kv_layout(model: Architecture, settings: KvSettings) -> KvLayout:
    pages = layer_pages(model, settings)
    return KvLayout(settings, tuple(pages), kv_groups(pages, hybrid_manager=settings.hybrid_manager))
