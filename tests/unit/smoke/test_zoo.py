"""Each broken server of the zoo is caught by the checks that name its fault, and by no other; a good one by none."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from pmpctl.smoke.check import CheckResult, Verdict
from pmpctl.smoke.quick import QUICK
from tests.support import find_free_port
from tests.unit.smoke.zoo import faults_of_service as service
from tests.unit.smoke.zoo import faults_of_streams as streams
from tests.unit.smoke.zoo import raw
from tests.unit.smoke.zoo.api import WellBehaved
from tests.unit.smoke.zoo.certificates import certificate
from tests.unit.smoke.zoo.serving import served
from tests.unit.smoke.zoo.specimens import GOOD_SERVERS, Specimen, caught, not_passed, target

SPECIMENS = (
    caught(service.WrongTokenAccepted, "auth-wrong-token", "HTTP 200 with a wrong token"),
    caught(service.EmptyTokenAccepted, "auth-empty-token", "HTTP 200 with an empty token"),
    caught(service.NoTokenAccepted, "auth-no-token", "HTTP 200 without a token"),
    caught(service.OpenToAll, "auth-no-token auth-wrong-token auth-empty-token", "HTTP 200", "token"),
    caught(service.HealthNeedsToken, "health", "401", "open"),
    caught(service.HealthTellsTooMuch, "health-silent", "secret/model"),
    caught(service.SmallerThanPlanned, "context", "2048.*4096"),
    caught(service.UnknownRouteAnswers, "unknown-route", "HTTP 200", "URL"),
    caught(service.TooLongIs500, "too-long", "HTTP 500"),
    caught(service.TooLongBreaksOff, "too-long", "HTTP 500|broke off"),
    caught(service.TooLongIsHtml, "too-long", "HTML|html"),
    caught(service.TooLongIsCut, "too-long", "lost|cut", "truncation"),
    caught(service.ErrorsInOwnForm, "too-long", "OpenAI's form"),
    caught(streams.LumpedStream, "stream", "one lump", "buffering"),
    caught(streams.NoDone, "stream-end", r"\[DONE\]"),
    caught(streams.NoUsageInStream, "stream-usage", "usage"),
    caught(streams.NoFinishReasonInStream, "stream-end max-tokens", "finish_reason"),
    caught(streams.MaxTokensIgnored, "max-tokens", "max_tokens"),
    caught(streams.StopIgnored, "stop", "stop"),
    caught(streams.KeepsGenerating, "cancel", "client that left"),
)

# What spoils most of an API at once: whichever check meets it says what it is.
EVERYWHERE = (
    caught(service.LoginPage, "models answer stream", "HTML page.*Sign in|HTTP 200", "."),
    caught(service.RedirectsToLogin, "health models answer stream", "HTTP 302"),
    caught(service.BadGateway, "health models answer stream", "HTTP 502"),
    caught(service.ChatIsHtml, "answer stream", "HTTP 504"),
    caught(service.TextInsteadOfJson, "models answer stream", "It works!|HTTP 200"),
    caught(service.WrongModel, "models answer stream", "somebody-elses-model|does not exist"),
    caught(service.NeverAnswers, "answer stream", "no answer within"),
    caught(streams.EmptyAbort, "answer stream", "abort"),
    caught(streams.EmptyAnswer, "answer stream", "empty"),
    caught(streams.BreaksOffInStream, "stream", "broke off"),
    caught(streams.ErrorInStream, "stream", "EngineCore encountered an issue"),
    caught(streams.BrokenEvent, "stream", "not JSON"),
    caught(streams.StreamIgnored, "stream", "no stream"),
)


@pytest.mark.parametrize("server", GOOD_SERVERS, ids=lambda server: server.__name__)
def test_a_good_server_passes_every_check(server: Callable[[], WellBehaved]) -> None:
    with served(server()) as url:
        assert not_passed(QUICK, target(url)) == {}


@pytest.mark.parametrize("specimen", SPECIMENS, ids=lambda specimen: specimen.name)
def test_a_fault_is_caught_by_the_checks_that_name_it_and_no_other(specimen: Specimen) -> None:
    with served(specimen.server()) as url:
        found = not_passed(QUICK, target(url))
    assert found.keys() == specimen.caught_by
    assert [result for result in found.values() if not specimen.is_told_by(result)] == []


def test_a_foreign_api_that_does_not_tell_its_context_is_warned_of() -> None:
    with served(service.NoMaxModelLen()) as url:
        found = not_passed(QUICK, replace(target(url), max_model_len=None))
    assert {name: result.verdict for name, result in found.items()} == {"context": Verdict.WARN}


def test_a_slow_first_token_is_a_warning_with_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pmpctl.smoke.quick_streams._SLOW_FIRST_TOKEN_SECONDS", 0.2)
    monkeypatch.setattr(streams.SlowFirstToken, "seconds", 0.3)
    with served(streams.SlowFirstToken()) as url:
        found = not_passed(QUICK, target(url))
    assert {name: result.verdict for name, result in found.items()} == {"first-token": Verdict.WARN}
    assert "0.3 s" in found["first-token"].detail


@pytest.mark.parametrize("specimen", EVERYWHERE, ids=lambda specimen: specimen.name)
def test_what_spoils_much_of_an_api_is_named_by_the_checks_that_meet_it_first(specimen: Specimen) -> None:
    with served(specimen.server()) as url:
        found = not_passed(QUICK, replace(target(url), timeout_seconds=1))
    assert specimen.caught_by <= found.keys()
    assert all(result.detail for result in found.values())
    told = [found[name] for name in specimen.caught_by]
    assert {result.verdict for result in told} == {Verdict.FAIL}
    assert [result for result in told if not specimen.is_told_by(result)] == []


def test_an_engine_that_can_be_reached_around_the_gateway_is_named() -> None:
    with served(WellBehaved()) as url, served(WellBehaved(token=None)) as engine_url:
        port = int(engine_url.rpartition(":")[2])
        found = not_passed(
            QUICK, replace(target(url), engine_around=(("127.0.0.1", find_free_port()), ("127.0.0.1", port)))
        )
    assert found.keys() == {"engine-hidden"}
    assert str(port) in found["engine-hidden"].detail


def test_an_engine_that_cannot_be_reached_around_the_gateway_is_good() -> None:
    with served(WellBehaved()) as url:
        assert not_passed(QUICK, replace(target(url), engine_around=(("127.0.0.1", find_free_port()),))) == {}


def basics(url: str) -> list[CheckResult]:
    """What is said of the model, of an answer and of a stream, none of which come."""
    found = not_passed(QUICK, replace(target(url), timeout_seconds=2))
    return [found["models"], found["answer"], found["stream"]]


@pytest.mark.parametrize(
    ("name", "days", "by_authority", "words", "cure"),
    [
        ("127.0.0.1", 2, False, "self-signed", "SSL_CERT_FILE"),
        ("127.0.0.1", -1, True, "expired", "Renew"),
        ("elsewhere.example", 2, True, "not valid for '127.0.0.1'", "name"),
    ],
    ids=["self-signed", "expired", "for another host"],
)
def test_a_bad_certificate_is_named_with_its_cure(
    name: str, days: int, by_authority: bool, words: str, cure: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = certificate(tmp_path, name="zoo-authority", days=2)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    chain = certificate(tmp_path, name=name, days=days, by=authority if by_authority else None)
    with served(WellBehaved(), certificate=chain) as url:
        results = basics(url)
    for result in results:
        assert words in result.detail
        assert cure in result.cure


def test_a_good_certificate_of_ones_own_authority_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = certificate(tmp_path, name="zoo-authority", days=2)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    with served(WellBehaved(), certificate=certificate(tmp_path, name="127.0.0.1", days=2, by=authority)) as url:
        assert not_passed(QUICK, target(url)) == {}


def test_https_to_a_plain_port_says_so() -> None:
    with served(WellBehaved()) as url:
        results = basics(url.replace("http", "https"))
    for result in results:
        assert "does not speak TLS" in result.detail
        assert "http://" in result.cure


def test_a_port_without_a_listener_says_so() -> None:
    for result in basics(f"http://127.0.0.1:{find_free_port()}"):
        assert "nobody listens" in result.detail


@pytest.mark.parametrize("handler", [raw.resets, raw.closes_at_once], ids=lambda handler: handler.__name__)
def test_connections_that_are_closed_unanswered_are_told_as_such(handler: raw.Handler) -> None:
    with raw.listening(handler) as url:
        results = basics(url)
    for result in results:
        assert "closed the connection without an answer" in result.detail
