"""Prompts have exactly as many tokens as asked for, whatever a word costs, and no two begin alike."""

import random
import re
from collections.abc import Callable

import pytest

from pmpctl.load.filler import NotCounted, PromptTooShort, learn_words, make_filler, uncounted_filler

TEMPLATE_TOKENS = 11


def per_word(text: str) -> int:
    return TEMPLATE_TOKENS + len(text.split())


def per_letter(text: str) -> int:
    """As a tokenizer of bytes: a space and a letter are two."""
    return TEMPLATE_TOKENS + len(text)


def short_words_only(text: str) -> int:
    """As a small vocabulary: up to four letters are a token, longer words are pieces of two."""
    return TEMPLATE_TOKENS + sum(1 if len(word) <= 4 else -(-len(word) // 2) for word in text.split())


@pytest.mark.parametrize("count", [per_word, short_words_only])
@pytest.mark.parametrize("tokens", [20, 64, 255, 4096])
def test_prompts_are_exact(count: Callable[[str], int], tokens: int) -> None:
    filler = make_filler(count, learn_words(count), tokens)

    chance = random.SystemRandom()
    assert {count(filler.text(chance)) for _ in range(50)} == {tokens}


def test_where_no_token_is_small_enough_prompts_are_as_near_as_one_word() -> None:
    filler = make_filler(per_letter, learn_words(per_letter), 100)

    assert abs(per_letter(filler.text(random.SystemRandom())) - 100) < 5


def test_no_two_begin_alike_unless_they_shall() -> None:
    chance = random.SystemRandom()
    own = make_filler(per_word, learn_words(per_word), 200)
    shared = make_filler(per_word, learn_words(per_word), 200, shared_prefix=True)

    beginnings = {" ".join(own.text(chance).split()[:16]) for _ in range(200)}
    assert len(beginnings) == 200
    texts = {shared.text(chance) for _ in range(200)}
    assert len(texts) == 200
    assert len({" ".join(text.split()[:100]) for text in texts}) == 1


def test_a_prompt_shorter_than_the_chat_template_is_refused_with_the_least() -> None:
    with pytest.raises(PromptTooShort) as refused:
        make_filler(per_word, learn_words(per_word), 5)

    least = int(re.findall(r"\d+", str(refused.value))[0])
    assert per_word(make_filler(per_word, learn_words(per_word), least).text(random.SystemRandom())) == least


def test_a_count_that_is_none_is_noticed() -> None:
    with pytest.raises(NotCounted):
        learn_words(lambda _: 1)

    assert len(uncounted_filler(300).text(random.SystemRandom()).split()) == 300
