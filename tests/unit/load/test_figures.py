"""What requests amount to, from moments that are known."""

import pytest

from pmpctl.load.figures import figures_of
from pmpctl.load.sample import ClientShare, Level, Sample

LEVEL = Level(2, 100, 10, requests=4, seconds=None)


def sample(
    began: float = 0.0, first: float = 0.5, gap: float = 0.02, chunks: int = 10, tokens: int | None = 10
) -> Sample:
    last = first + gap * (chunks - 1)
    return Sample(
        began=began,
        whole_seconds=last + 0.01,
        first_token_seconds=first,
        last_token_seconds=last,
        gaps_seconds=(gap,) * (chunks - 1),
        prompt_tokens=100,
        output_tokens=tokens,
    )


def test_rates_are_of_all_that_was_answered_over_the_whole_time() -> None:
    figures = figures_of(LEVEL, [sample(), sample(), sample(1.0), sample(1.0)], seconds=2.0)

    assert figures.requests_per_second == 2.0
    assert figures.output_tokens_per_second == 20.0
    assert figures.prompt_tokens_per_second == 200.0
    assert figures.complete


def test_the_time_between_tokens_does_not_depend_on_how_they_are_packed() -> None:
    one = figures_of(LEVEL, [sample(gap=0.01, chunks=64, tokens=64)], seconds=1.0)
    four = figures_of(LEVEL, [sample(gap=0.04, chunks=16, tokens=64)], seconds=1.0)

    for figures in (one, four):
        assert figures.inter_token is not None
        assert figures.inter_token.p50_ms == pytest.approx(10.0)
    assert four.chunk_gap is not None
    assert four.chunk_gap.p50_ms == pytest.approx(40.0)
    assert (one.tokens_per_chunk, four.tokens_per_chunk) == (1.0, 4.0)


def test_percentiles_lie_where_the_values_do() -> None:
    figures = figures_of(LEVEL, [sample(first=number / 1000) for number in range(1, 102)], seconds=1.0)

    spread = figures.first_token
    assert spread is not None
    assert [spread.p50_ms, spread.p95_ms, spread.p99_ms, spread.max_ms] == pytest.approx([51.0, 96.0, 100.0, 101.0])


def test_failures_are_counted_by_kind_and_are_no_part_of_any_latency() -> None:
    failed = [
        Sample(began=0.0, whole_seconds=9.0, error="HTTP 503", said="first"),
        Sample(began=0.0, whole_seconds=9.0, error="HTTP 503", said="second"),
        Sample(began=0.0, whole_seconds=9.0, error="timeout", said="slow"),
    ]
    figures = figures_of(LEVEL, [sample(), *failed], seconds=10.0)

    assert figures.errors == {"HTTP 503": 2, "timeout": 1}
    assert figures.error_examples == {"HTTP 503": "first", "timeout": "slow"}
    assert (figures.answered, figures.requests) == (1, 4)
    assert figures.whole is not None
    assert figures.whole.max_ms < 1000


def test_what_nobody_counted_is_unknown_and_not_zero() -> None:
    figures = figures_of(LEVEL, [sample(), sample(tokens=None)], seconds=1.0)

    assert figures.output_tokens_per_second is None
    assert figures.tokens_per_chunk is None


def test_an_answer_of_one_chunk_has_no_time_between_tokens() -> None:
    figures = figures_of(LEVEL, [sample(chunks=1)], seconds=1.0)

    assert figures.inter_token is None
    assert figures.chunk_gap is None
    assert figures.first_token is not None


def test_a_level_without_any_answer_has_figures_too() -> None:
    for samples in ([], [Sample(began=0.0, whole_seconds=0.1, error="connection")]):
        figures = figures_of(LEVEL, samples)
        assert figures.answered == 0
        assert figures.first_token is None
        assert not figures.complete


@pytest.mark.parametrize(
    ("client", "word"),
    [(ClientShare(0.1, 2.0), None), (ClientShare(0.95, 2.0), "95 %"), (ClientShare(0.1, 400.0), "400 ms")],
)
def test_figures_that_tell_of_the_client_are_doubted(client: ClientShare, word: str | None) -> None:
    doubt = figures_of(LEVEL, [sample()], seconds=1.0, client=client).doubt

    assert (word is None and doubt is None) or (word is not None and doubt is not None and word in doubt)
