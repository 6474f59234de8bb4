"""Prompts of an exact number of tokens, of which no two begin alike, so that no cache shortens the work.

They are made of words that cost the same number of tokens each, which is learned from the API itself.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

_TEXT = (
    "time year people way day man thing woman life child world school state family student group country problem hand "
    "part place case week company"
)
_WORDS = _TEXT.split()
# What has no words has letters, as the tokenizers of toys.
_LETTERS = [chr(code) for code in range(ord("a"), ord("z") + 1)]
_REPEATS = 4
_FEWEST_WORDS = 8
_HEAD_WORDS = 24
_MOST_CORRECTIONS = 3

Count = Callable[[str], int]
"""The tokens of a prompt with this text in it, as the API counts them, its chat template's own included."""


class NotCounted(Exception):
    """Nothing tells how many tokens a prompt has, or not in a way that prompts can be made by."""


class PromptTooShort(Exception):
    """Says how many tokens a prompt has at least."""


@dataclass(frozen=True, slots=True)
class Filler:
    """Text of `words` words, all of the same cost, then of `pad` words that cost a single token."""

    vocabulary: tuple[str, ...]
    words: int
    pad: tuple[str, ...] = ()
    shared_prefix: bool = False

    def text(self, chance: random.Random) -> str:
        """One that no other begins like; with a shared prefix all begin alike, and end differently."""
        size = min(_HEAD_WORDS, self.words)
        own = chance.choices(self.vocabulary, k=size)
        body = self._body[: self.words - size]
        return " ".join((*body, *own, *self.pad) if self.shared_prefix else (*own, *body, *self.pad))

    @property
    def _body(self) -> Sequence[str]:
        repeats = -(-self.words // len(self.vocabulary))
        return self.vocabulary * repeats


def learn_words(count: Count) -> dict[str, int]:
    """What words cost in tokens, of those that cost the same wherever they stand; raises NotCounted."""
    base = count(_WORDS[0])
    for words in (_WORDS, _LETTERS):
        # Most tokenizers have a token for each of these words: a single question settles that.
        if count(" ".join([_WORDS[0], *(words * _REPEATS)])) - base == _REPEATS * len(words):
            return dict.fromkeys(words, 1)
        costs = {}
        for word in words:
            cost = (count(" ".join([_WORDS[0], *([word] * _REPEATS)])) - base) / _REPEATS
            if cost >= 1 and cost.is_integer():
                costs[word] = int(cost)
        if _cheapest(costs):
            return costs
    raise NotCounted


def make_filler(count: Count, costs: dict[str, int], tokens: int, *, shared_prefix: bool = False) -> Filler:
    """For prompts of exactly so many tokens; raises PromptTooShort."""
    vocabulary = _cheapest(costs)
    cost = costs[vocabulary[0]]
    padding = next((word for word, each in costs.items() if each == 1), None)
    chance = random.SystemRandom()
    smallest = Filler(vocabulary, _FEWEST_WORDS, shared_prefix=shared_prefix)
    fewest = count(smallest.text(chance))
    if tokens < fewest:
        raise PromptTooShort(f"a prompt has {fewest} tokens at least: the chat template takes most of them")
    missing = tokens - fewest
    filler = smallest
    for _ in range(_MOST_CORRECTIONS):
        words, rest = divmod(missing, cost)
        pad = (padding,) * rest if padding is not None and padding not in vocabulary else ()
        filler = Filler(vocabulary, max(_FEWEST_WORDS, _FEWEST_WORDS + words), pad, shared_prefix)
        off = tokens - count(filler.text(chance))
        if off == 0 or (not pad and abs(off) < cost):
            break
        missing += off
    return filler


def uncounted_filler(tokens: int, *, shared_prefix: bool = False) -> Filler:
    """As many words as there shall be tokens: about right for most models."""
    return Filler(tuple(_WORDS), tokens, shared_prefix=shared_prefix)


def _cheapest(costs: dict[str, int]) -> tuple[str, ...]:
    """The words of the lowest cost that enough of them have."""
    for cost in sorted(set(costs.values())):
        words = tuple(word for word, each in costs.items() if each == cost)
        if len(words) >= _FEWEST_WORDS:
            return words
    return ()
