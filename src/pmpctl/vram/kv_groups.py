"""Groups: layers that share a block table. Groups draw from one pool, so all their blocks are equally large.

Follows vLLM's v1/core/kv_cache_utils.py: get_kv_cache_groups and what it calls.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from pmpctl.vram.kv_pages import Page
from pmpctl.vram.layers import LayerKind


@dataclass(frozen=True, slots=True)
class KvGroup:
    """`layers` of one page, or, where `pages` differ in size alone, each with its own."""

    pages: tuple[Page, ...]

    @property
    def layers(self) -> int:
        return len(self.pages)

    @property
    def kind(self) -> LayerKind:
        return self.pages[0].kind

    @property
    def block_size(self) -> int:
        return self.pages[0].block_size

    @property
    def is_mixed(self) -> bool:
        """Layers of different page sizes in one group (vLLM: UniformTypeKVCacheSpecs)."""
        return len({(page.bytes, page.cell) for page in self.pages}) > 1

    @property
    def page_bytes(self) -> int:
        """As vLLM reports it: of one layer, or of all of them where they differ."""
        return self.bytes_per_block if self.is_mixed else self.pages[0].bytes

    @property
    def bytes_per_block(self) -> int:
        return sum(page.bytes for page in self.pages)

    def blocks_of_request(self, tokens: int, in_flight_tokens: int) -> int:
        return max(page.blocks_of_request(tokens, in_flight_tokens) for page in set(self.pages))


def kv_groups(pages: Sequence[Page], *, hybrid_manager: bool) -> tuple[KvGroup, ...]:
    """`hybrid_manager=False` keeps all tokens of all layers (vLLM: disable_hybrid_kv_cache_manager)."""
    if not pages:
        return ()
    if not hybrid_manager:
        pages = keeping_all_tokens(pages)
    if is_one_type(pages):
        return (KvGroup(tuple(pages)),)
    unified = with_equal_pages(pages)
    if unified is None:
        return (KvGroup(tuple(keeping_all_tokens(pages))),)
    return split_evenly(unified)


def is_one_type(pages: Sequence[Page]) -> bool:
    """vLLM: is_kv_cache_spec_uniform, UniformTypeKVCacheSpecs.is_uniform_type."""
    first = pages[0]
    if any(page.block_size != first.block_size for page in pages):
        return False
    if first.keeps_all_tokens:
        return all(page.keeps_all_tokens for page in pages)
    if first.kind is LayerKind.RECURRENT:
        return all(page.kind is first.kind and page.bytes == first.bytes for page in pages)
    return all((page.kind, page.window, page.chunk) == (first.kind, first.window, first.chunk) for page in pages)


def keeping_all_tokens(pages: Sequence[Page]) -> list[Page]:
    """vLLM: _promote_local_kv_cache_specs: windows and chunks are computed, but not saved."""
    blocks = {page.block_size for page in pages if page.keeps_all_tokens}
    if not blocks or is_one_type(pages):
        return list(pages)
    block = blocks.pop()
    return [
        replace(page.with_block_size(block), kind=LayerKind.FULL, window=None, chunk=None)
        if page.kind in (LayerKind.SLIDING, LayerKind.CHUNKED)
        else page
        for page in pages
    ]


def with_equal_pages(pages: Sequence[Page]) -> list[Page] | None:
    """vLLM: unify_kv_cache_spec_page_size: smaller pages get larger blocks, or padding if that does not come out even.

    None where that cannot be done: latent vectors cannot be padded.
    """
    largest = max(page.bytes for page in pages)
    unified = []
    for page in pages:
        if page.bytes == largest:
            unified.append(page)
        elif page.kind is LayerKind.RECURRENT:
            unified.append(replace(page, padded_bytes=largest))
        elif page.bytes > 0 and largest % page.bytes == 0:
            unified.append(page.with_block_size(page.block_size * (largest // page.bytes)))
        elif page.kind is LayerKind.LATENT:
            return None
        else:
            unified.append(replace(page, padded_bytes=largest))
    return unified


def split_evenly(pages: Sequence[Page]) -> tuple[KvGroup, ...]:
    """vLLM: _get_kv_cache_groups_uniform_page_size: as many layers a group as the rarest kind has, the last one padded.

    Where the most frequent kind has less than half as many again, all are padded to that.
    """
    kinds: dict[Page, list[Page]] = {}
    for page in pages:
        kinds.setdefault(page, []).append(page)
    fewest, most = min(map(len, kinds.values())), max(map(len, kinds.values()))
    size = most if most < fewest * 1.5 else fewest
    groups = []
    for same in kinds.values():
        count = -(-len(same) // size)
        groups += [KvGroup(tuple(same[i::count])) for i in range(count)]
    return tuple(groups)
