"""What was counted, as the page that Prometheus reads; made only when somebody asks for it."""

from collections.abc import Iterator
from itertools import accumulate

from fastapi import FastAPI, Request
from fastapi.responses import Response
from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from pmp_gateway import __version__
from pmp_gateway.control_schema import Phase
from pmp_gateway.metrics import OTHER, OTHER_STATUS, Histogram, Metrics

METRICS_PATH = b"/metrics"
_OPENMETRICS = "application/openmetrics-text"


class MetricsPage:
    def __init__(self, metrics: Metrics) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_Families(metrics))
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)

    def render(self, accept: str) -> tuple[str, bytes]:
        """The content type and the page, in the newer format for who asks for it."""
        # Not the whole header: what clients may write there makes the library fail.
        encode, content_type = choose_encoder(_OPENMETRICS if _OPENMETRICS in accept else "")
        return content_type, encode(self._registry)

    def mount(self, app: FastAPI) -> None:
        @app.get(METRICS_PATH.decode())
        async def metrics(request: Request) -> Response:
            content_type, body = self.render(request.headers.get("accept", ""))
            return Response(body, headers={"content-type": content_type})


class _Families(Collector):
    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        yield InfoMetricFamily("pmp_gateway_build", "The gateway's version.", {"version": __version__})
        yield from self._state()
        yield from self._requests()
        yield from self._answers()
        yield from self._failures()

    def _state(self) -> Iterator[Metric]:
        now = self._metrics.now()
        phase = GaugeMetricFamily("pmp_gateway_phase", "1 for the phase that the gateway is in.", labels=["phase"])
        transitions = CounterMetricFamily(
            "pmp_gateway_phase_transitions", "How often each phase was entered.", labels=["to"]
        )
        for each in Phase:
            phase.add_metric([each.value], each is now.phase)
            transitions.add_metric([each.value], self._metrics.phase_transitions[each])
        yield phase
        yield transitions
        yield GaugeMetricFamily("pmp_gateway_requests_in_flight", "Requests let in and not finished.", now.in_flight)
        yield GaugeMetricFamily("pmp_gateway_requests_held", "Requests that wait for the gateway to open.", now.held)
        yield _counter("access_log_lines_dropped", "Lines lost because nobody read stdout.", now.log_lines_dropped)

    def _requests(self) -> Iterator[Metric]:
        requests = CounterMetricFamily(
            "pmp_gateway_requests",
            "Finished requests by route and status; 499 means that the client left.",
            labels=["route", "status"],
        )
        durations = HistogramMetricFamily(
            "pmp_gateway_request_duration_seconds",
            "From the request to the end of its answer, by route and class of status.",
            labels=["route", "class"],
        )
        for route, by_status in self._metrics.durations.items():
            by_class: dict[str, list[Histogram]] = {}
            for status, histogram in sorted(by_status.items()):
                requests.add_metric([route, OTHER if status == OTHER_STATUS else str(status)], sum(histogram.counts))
                by_class.setdefault(OTHER if status == OTHER_STATUS else f"{status // 100}xx", []).append(histogram)
            for name, histograms in by_class.items():
                _add(durations, [route, name], *histograms)
        yield requests
        yield durations

    def _answers(self) -> Iterator[Metric]:
        metrics = self._metrics
        first_bytes = HistogramMetricFamily(
            "pmp_gateway_time_to_first_byte_seconds",
            "From the request to the first byte of a good answer's body; of a stream, to its first token.",
            labels=["stream"],
        )
        for is_stream, histogram in zip(("false", "true"), metrics.first_bytes, strict=True):
            _add(first_bytes, [is_stream], histogram)
        yield first_bytes
        gaps = HistogramMetricFamily("pmp_gateway_chunk_gap_seconds", "Between two chunks of a stream.", labels=[])
        _add(gaps, [], metrics.chunk_gaps)
        yield gaps
        holds = HistogramMetricFamily("pmp_gateway_held_seconds", "How long held requests waited.", labels=[])
        _add(holds, [], metrics.holds)
        yield holds
        yield _counter("response_bytes", "Bytes of answers' bodies.", metrics.bytes_sent)
        yield _counter("prompt_tokens", "Tokens of prompts, where the engine told.", metrics.prompt_tokens)
        yield _counter("completion_tokens", "Tokens of answers, where the engine told.", metrics.completion_tokens)

    def _failures(self) -> Iterator[Metric]:
        errors = CounterMetricFamily(
            "pmp_gateway_errors", "Failures that the gateway itself answered, by their code.", labels=["code"]
        )
        for code, count in sorted(self._metrics.errors.items()):
            errors.add_metric([code], count)
        yield errors
        yield _counter("auth_failures", "Requests without a valid token.", self._metrics.auth_failures)


def _counter(name: str, documentation: str, value: float) -> Metric:
    return CounterMetricFamily(f"pmp_gateway_{name}", documentation, value)


def _add(family: HistogramMetricFamily, labels: list[str], first: Histogram, *others: Histogram) -> None:
    counts = [sum(each) for each in zip(first.counts, *(other.counts for other in others), strict=True)]
    bounds = [*map(floatToGoString, first.bounds), "+Inf"]
    family.add_metric(
        labels, list(zip(bounds, accumulate(counts), strict=True)), first.sum + sum(other.sum for other in others)
    )
