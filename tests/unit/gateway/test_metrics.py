import asyncio
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families

from pmp_gateway import __version__
from pmp_gateway.control_schema import Phase
from pmp_gateway.failures import RULES, MethodNotAllowed, RouteUnknown
from pmp_gateway.metrics import Metrics, Now
from pmp_gateway.metrics_page import MetricsPage
from pmp_gateway.routes import Handler, find_handler
from tests.unit.gateway.conftest import StartGateway
from tests.unit.gateway.outcomes import Finished
from tests.unit.gateway.stub import Backend, Call
from tests.unit.gateway.wire import wire

CHAT = "/v1/chat/completions"
NAMES = {
    "pmp_gateway_build_info",
    "pmp_gateway_phase",
    "pmp_gateway_phase_transitions",
    "pmp_gateway_requests_in_flight",
    "pmp_gateway_requests_held",
    "pmp_gateway_access_log_lines_dropped",
    "pmp_gateway_requests",
    "pmp_gateway_request_duration_seconds",
    "pmp_gateway_time_to_first_byte_seconds",
    "pmp_gateway_chunk_gap_seconds",
    "pmp_gateway_held_seconds",
    "pmp_gateway_response_bytes",
    "pmp_gateway_prompt_tokens",
    "pmp_gateway_completion_tokens",
    "pmp_gateway_errors",
    "pmp_gateway_auth_failures",
}


class Page:
    """What a scrape shows, by name and labels."""

    def __init__(self, text: str) -> None:
        self.families = list(text_string_to_metric_families(text))
        self.samples = {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in self.families
            for sample in family.samples
        }

    def value(self, name: str, **labels: str) -> float | None:
        return self.samples.get((f"pmp_gateway_{name}", frozenset(labels.items())))

    def label_values(self, label: str) -> set[str]:
        return {value for _, labels in self.samples for name, value in labels if name == label}


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(lambda: Now(Phase.OPEN, in_flight=0, held=0))


def scrape(metrics: Metrics) -> Page:
    return Page(MetricsPage(metrics).render("")[1].decode())


async def scrape_socket(socket_path: Path) -> Page:
    async with httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(uds=str(socket_path))) as client:
        return Page((await client.get("http://gateway/metrics")).raise_for_status().text)


def test_every_metric_is_there_before_the_first_request_beside_those_of_the_process(metrics: Metrics) -> None:
    names = {family.name for family in scrape(metrics).families}
    assert names >= NAMES
    assert names >= {"process_cpu_seconds", "process_resident_memory_bytes", "process_open_fds", "python_info"}
    assert scrape(metrics).value("build_info", version=__version__) == 1


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("", "text/plain; version=0.0.4; charset=utf-8"),
        ("text/plain; version=abc", "text/plain; version=0.0.4; charset=utf-8"),
        ("application/openmetrics-text; version=1.0.0", "application/openmetrics-text; version=1.0.0; charset=utf-8"),
        ("application/openmetrics-text; version=x", "application/openmetrics-text; version=1.0.0; charset=utf-8"),
    ],
)
def test_the_page_is_in_the_format_that_is_asked_for(metrics: Metrics, accept: str, content_type: str) -> None:
    metrics.finished(Finished(duration_seconds=1.5, first_byte_seconds=0.5))
    metrics.chunk_gap(0.02)
    found, body = MetricsPage(metrics).render(accept)
    assert found == content_type
    if "openmetrics" in accept:
        assert body.endswith(b"# EOF\n")
        families = parse_openmetrics(body.decode())  # type: ignore[no-untyped-call]
    else:
        families = text_string_to_metric_families(body.decode())
    assert {family.name for family in families} >= {"pmp_gateway_requests", "pmp_gateway_chunk_gap_seconds"}


def test_requests_are_counted_by_route_and_status(metrics: Metrics) -> None:
    for _ in range(2):
        metrics.finished(Finished())
    metrics.finished(Finished(status=503, error_code="backend_away"))
    metrics.finished(Finished(method="GET", raw_path=b"/v1/models/org%2Fmodel"))
    metrics.finished(Finished(method="GET", raw_path=b"/nowhere", status=404, error_code="not_found"))
    page = scrape(metrics)
    assert page.value("requests_total", route=CHAT, status="200") == 2
    assert page.value("requests_total", route=CHAT, status="503") == 1
    assert page.value("requests_total", route="/v1/models/{id}", status="200") == 1
    assert page.value("requests_total", route="other", status="404") == 1


@pytest.mark.parametrize("status", [None, 499])
def test_a_client_that_left_counts_as_499(metrics: Metrics, status: int | None) -> None:
    metrics.finished(Finished(status=status))
    assert scrape(metrics).value("requests_total", route=CHAT, status="499") == 1


def test_durations_are_kept_apart_by_class_of_status(metrics: Metrics) -> None:
    metrics.finished(Finished(status=200, duration_seconds=2.0))
    metrics.finished(Finished(status=201, duration_seconds=4.0))
    metrics.finished(Finished(status=401, duration_seconds=0.001, error_code="invalid_api_key"))
    page = scrape(metrics)
    assert page.value("request_duration_seconds_count", route=CHAT, **{"class": "2xx"}) == 2
    assert page.value("request_duration_seconds_sum", route=CHAT, **{"class": "2xx"}) == 6
    assert page.value("request_duration_seconds_bucket", route=CHAT, le="2.5", **{"class": "2xx"}) == 1
    assert page.value("request_duration_seconds_bucket", route=CHAT, le="0.005", **{"class": "4xx"}) == 1


@settings(deadline=None)
@given(st.lists(st.floats(min_value=0, max_value=20)))
def test_a_bucket_counts_every_value_up_to_its_bound(gaps: list[float]) -> None:
    metrics = Metrics(lambda: Now(Phase.OPEN, in_flight=0, held=0))
    for gap in (*gaps, 0.02):
        metrics.chunk_gap(gap)
    page = scrape(metrics)
    bounds = page.label_values("le")
    for bound in (each for each in bounds if page.value("chunk_gap_seconds_bucket", le=each) is not None):
        within = sum(gap <= float(bound) for gap in (*gaps, 0.02))
        assert page.value("chunk_gap_seconds_bucket", le=bound) == within
    assert page.value("chunk_gap_seconds_count") == len(gaps) + 1


def test_time_to_first_byte_is_that_of_good_answers_and_streams_stand_apart(metrics: Metrics) -> None:
    metrics.finished(Finished(first_byte_seconds=0.5))
    metrics.finished(Finished(first_byte_seconds=0.25, is_stream=True))
    metrics.finished(Finished(first_byte_seconds=0.001, status=401, error_code="invalid_api_key"))
    metrics.finished(Finished(first_byte_seconds=0.001, status=400))
    metrics.finished(Finished(first_byte_seconds=None, status=None))
    page = scrape(metrics)
    assert page.value("time_to_first_byte_seconds_count", stream="false") == 1
    assert page.value("time_to_first_byte_seconds_sum", stream="false") == 0.5
    assert page.value("time_to_first_byte_seconds_sum", stream="true") == 0.25


def test_tokens_bytes_and_held_time_add_up_where_they_are_known(metrics: Metrics) -> None:
    metrics.finished(Finished(bytes_sent=100, prompt_tokens=7, completion_tokens=3, held_seconds=2.0))
    metrics.finished(Finished(bytes_sent=11))
    metrics.finished(Finished(prompt_tokens=5, completion_tokens=0))
    page = scrape(metrics)
    assert page.value("response_bytes_total") == 111
    assert page.value("prompt_tokens_total") == 12
    assert page.value("completion_tokens_total") == 3
    assert page.value("held_seconds_count") == 1
    assert page.value("held_seconds_sum") == 2


def test_failures_are_counted_by_code_and_those_of_tokens_together(metrics: Metrics) -> None:
    for rule in RULES.values():
        metrics.finished(Finished(status=rule.status, error_code=rule.code))
    page = scrape(metrics)
    assert {rule.code for rule in RULES.values()} == page.label_values("code")
    assert page.value("errors_total", code="invalid_api_key") == 1
    assert page.value("auth_failures_total") == sum(rule.status == 401 for rule in RULES.values())


def test_the_state_is_read_when_the_page_is() -> None:
    now = Now(Phase.OPEN, in_flight=0, held=0)
    metrics = Metrics(lambda: now)
    page = MetricsPage(metrics)
    before = Page(page.render("")[1].decode())
    now = Now(Phase.HOLDING, in_flight=3, held=2, log_lines_dropped=9)
    metrics.phase_entered(Phase.HOLDING)
    after = Page(page.render("")[1].decode())
    assert (before.value("phase", phase="open"), before.value("phase", phase="holding")) == (1, 0)
    assert (after.value("phase", phase="open"), after.value("phase", phase="holding")) == (0, 1)
    assert (after.value("requests_in_flight"), after.value("requests_held")) == (3, 2)
    assert after.value("access_log_lines_dropped_total") == 9
    assert after.value("phase_transitions_total", to="holding") == 1
    assert after.value("phase_transitions_total", to="open") == 0


def test_no_client_can_make_the_page_grow_or_write_into_it(metrics: Metrics) -> None:
    routes = [b"/v1/models/canary-%d", b"/canary/%d", b"/v1/chat/completions?canary=%d", b"/v1/models/canary/%d"]
    for number in range(5000):
        metrics.finished(
            Finished(
                method=f"CANARY{number}",
                raw_path=routes[number % len(routes)] % number,
                headers=[(b"x-canary-%d" % number, b"canary")],
                client_host=f"canary-{number}",
                request_id=b"canary-%d" % number,
                token_name=f"canary-{number}",
                status=number % 1000,
                error_code=f"canary_{number}" if number % 2 else None,
            )
        )
    text = MetricsPage(metrics).render("")[1].decode()
    page = Page(text)
    assert "canary" not in text.lower()
    assert page.label_values("route") == {"/v1/models/{id}", "other"}
    assert page.label_values("code") == {"other"}
    assert len(page.label_values("status")) < 70
    assert len(page.samples) < 600


async def test_the_control_socket_shows_what_is_in_flight(
    start_gateway: StartGateway, backend: Backend, tmp_path: Path
) -> None:
    async def hang(call: Call) -> None:
        await asyncio.Event().wait()

    path = tmp_path / "control.sock"
    gateway = start_gateway(PMP_GATEWAY_CONTROL_SOCKET=str(path))
    page = await scrape_socket(path)
    assert page.value("phase", phase="open") == 1
    assert page.value("requests_in_flight") == 0
    assert page.samples["process_resident_memory_bytes", frozenset()] > 1e6
    backend.handler = hang
    async with wire(gateway.port) as connection:
        await connection.post("/v1/completions", b"{}")
        await backend.next_call()
        assert (await scrape_socket(path)).value("requests_in_flight") == 1


async def test_the_public_listener_has_no_metrics_neither_ours_nor_the_engines(
    client: httpx.AsyncClient, backend: Backend
) -> None:
    response = await client.get("/metrics")
    assert response.status_code == 404
    assert backend.calls == []


def test_the_control_client_prints_the_page(start_gateway: StartGateway, tmp_path: Path) -> None:
    path = str(tmp_path / "control.sock")
    start_gateway(PMP_GATEWAY_CONTROL_SOCKET=path, backend_url="http://127.0.0.1:9")
    done = subprocess.run(
        [sys.executable, "-m", "pmp_gateway.control", "metrics", "--socket", path],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert Page(done.stdout).value("build_info", version=__version__) == 1


def test_metrics_are_a_route_of_the_api_only_where_that_is_asked_for() -> None:
    assert find_handler("GET", b"/metrics", with_metrics=True) is Handler.METRICS
    with pytest.raises(MethodNotAllowed):
        find_handler("POST", b"/metrics", with_metrics=True)
    for method in ("GET", "POST"):
        with pytest.raises(RouteUnknown):
            find_handler(method, b"/metrics")
