"""The official clients against servers of the zoo: good ones pass, broken ones fail in words, and settings stay out."""

import json
import os
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from pmpctl.smoke.api import Api
from pmpctl.smoke.check import Check, CheckResult, Verdict, make_check
from pmpctl.smoke.clients import CLIENTS
from pmpctl.smoke.target import Target
from tests.support import find_free_port
from tests.unit.smoke.small_server import Reply, SmallServer, serving
from tests.unit.smoke.zoo import faults_of_service as service
from tests.unit.smoke.zoo import faults_of_streams as streams
from tests.unit.smoke.zoo import faults_of_tools as tools
from tests.unit.smoke.zoo.api import TOKEN, WellBehaved
from tests.unit.smoke.zoo.serving import served

OPENAI = [check for check in CLIENTS if check.name.startswith("openai-")]
ANTHROPIC = [check for check in CLIENTS if check.name.startswith("anthropic-")]

MESSAGE = {
    "id": "msg_1", "type": "message", "role": "assistant", "model": "llm", "stop_reason": "end_turn",
    "content": [{"type": "text", "text": "OK"}], "usage": {"input_tokens": 5, "output_tokens": 1},
}  # fmt: skip
EVENTS: list[dict[str, Any]] = [
    {"type": "message_start", "message": {**MESSAGE, "content": [], "stop_reason": None}},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "OK"}},
    {"type": "content_block_stop", "index": 0},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 1}},
    {"type": "message_stop"},
]


def target(url: str, **known: Any) -> Target:
    return replace(Target(url, TOKEN, auth=True, tool_call_parser="hermes", timeout_seconds=20), **known)


def run(wanted: Target, *checks: Check) -> dict[str, CheckResult]:
    with Api(wanted) as api:
        return {check.name: make_check(check, api) for check in checks or CLIENTS}


def not_passed(found: dict[str, CheckResult]) -> dict[str, CheckResult]:
    return {name: result for name, result in found.items() if result.verdict in (Verdict.WARN, Verdict.FAIL)}


@pytest.fixture
def messages() -> Iterator[SmallServer]:
    """An API that serves Anthropic's messages, and lets in who has the token, by whichever header."""

    def answer(reply: Reply) -> None:
        headers, body = reply.asked.headers, reply.asked.body
        if TOKEN not in (headers.get("x-api-key"), headers.get("authorization", "").removeprefix("Bearer ")):
            reply.json({"type": "error", "error": {"type": "authentication_error", "message": "no"}}, 401)
        elif reply.asked.path == "/v1/messages/count_tokens":
            reply.json({"input_tokens": 5})
        elif body and body.get("stream"):
            reply.begin_stream()
            for event in EVENTS:
                reply.part(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode())
            reply.part(b"")
        else:
            reply.json(MESSAGE)

    with serving(answer) as server:
        yield server


def test_a_good_server_passes_every_check_of_openais_and_has_no_messages() -> None:
    with served(WellBehaved()) as url:
        found = run(target(url))
    assert {found[check.name].verdict for check in OPENAI} == {Verdict.PASS}, found
    assert {found[check.name].verdict for check in ANTHROPIC} == {Verdict.SKIPPED}
    assert all("not served: HTTP 404" in found[check.name].detail for check in ANTHROPIC)


def test_a_server_of_messages_passes_every_check_of_anthropics(messages: SmallServer) -> None:
    found = run(target(messages.url), *ANTHROPIC)
    assert {result.verdict for result in found.values()} == {Verdict.PASS}, found
    by_key = messages.asked[-1].headers
    assert (by_key.get("x-api-key"), by_key.get("authorization")) == (TOKEN, None)


@pytest.mark.parametrize(
    ("server", "caught_by", "words"),
    [
        (service.WrongModel, {check.name for check in OPENAI} - {"openai-wrong-token"}, "llm|HTTP 404"),
        (service.WrongTokenAccepted, {"openai-wrong-token"}, "gets in"),
        (service.TooLongIs500, {"openai-too-long"}, "HTTP 500"),
        (service.TooLongIsCut, {"openai-too-long"}, "lost"),
        (service.ErrorsInOwnForm, {"openai-too-long"}, "OpenAI's form"),
        (streams.NoUsageInStream, {"openai-stream"}, "no usage"),
        (streams.NoFinishReasonInStream, {"openai-stream"}, "no finish_reason"),
        (streams.ErrorInStream, {"openai-stream"}, "EngineCore encountered an issue"),
        (streams.BrokenEvent, {"openai-stream"}, "breaks"),
        (streams.StreamIgnored, {"openai-stream"}, "."),
        (streams.EmptyAbort, {"openai-answer", "openai-stream", "openai-tools"}, "abort|not called"),
        (tools.CallsAsText, {"openai-tools"}, "not called"),
        (tools.ArgumentsBroken, {"openai-tools"}, "cannot use"),
        (tools.ResultsDropped, {"openai-tools"}, "does not tell"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_fault_that_a_client_stumbles_over_is_told_with_a_cure(
    server: Callable[[], WellBehaved], caught_by: set[str], words: str
) -> None:
    with served(server()) as url:
        found = not_passed(run(target(url), *OPENAI))
    assert found.keys() == caught_by
    for result in found.values():
        assert re.search(words, result.detail), result
        assert result.cure or result.verdict is Verdict.WARN, result


@pytest.mark.parametrize("package", ["openai", "anthropic"])
def test_a_client_that_is_not_installed_is_skipped_and_the_command_named(
    package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with served(WellBehaved()) as url:
        found = run(target(url))
    missing = [found[check.name] for check in CLIENTS if check.name.startswith(package)]
    assert {result.verdict for result in missing} == {Verdict.SKIPPED}
    assert all(f"{sys.executable} -m pip install" in result.cure for result in missing)


def test_an_api_that_is_gone_is_told_as_such() -> None:
    found = run(target(f"http://127.0.0.1:{find_free_port()}", max_model_len=100), *OPENAI[:2], *ANTHROPIC[:2])
    assert all("nobody listens" in result.detail for result in found.values()), found


def test_an_api_that_hangs_is_waited_for_as_long_as_was_said_and_no_longer() -> None:
    with served(service.NeverAnswers()) as url:
        found = run(target(url, timeout_seconds=0.5), OPENAI[1])
    assert "no answer within 0.5 s" in found["openai-answer"].detail


def test_what_the_environment_says_of_the_makers_apis_goes_nowhere(
    messages: SmallServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere = f"http://127.0.0.1:{find_free_port()}"
    settings = {
        "OPENAI_API_KEY": "mine", "OPENAI_ADMIN_KEY": "mine", "OPENAI_ORG_ID": "mine", "OPENAI_PROJECT_ID": "mine",
        "OPENAI_BASE_URL": nowhere, "OPENAI_CUSTOM_HEADERS": "x-mine: mine\nauthorization: mine", "OPENAI_LOG": "debug",
        "ANTHROPIC_API_KEY": "mine", "ANTHROPIC_AUTH_TOKEN": "mine", "ANTHROPIC_BASE_URL": nowhere,
        "ANTHROPIC_CUSTOM_HEADERS": "x-mine: mine", "ANTHROPIC_PROFILE": "mine", "ANTHROPIC_LOG": "debug",
        "HTTP_PROXY": nowhere, "ALL_PROXY": nowhere,
    }  # fmt: skip
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    run(target(messages.url))
    asked = [request.path for request in messages.asked]
    assert {"/v1/models", "/v1/chat/completions", "/v1/messages", "/v1/messages/count_tokens"} <= set(asked)
    assert not [request for request in messages.asked if "mine" in json.dumps(request.headers)]
    assert settings.items() <= os.environ.items()


def test_a_redirect_takes_the_token_nowhere(messages: SmallServer) -> None:
    def redirect(reply: Reply) -> None:
        reply.content(b"", status=307, location=messages.url + reply.asked.path)

    with serving(redirect) as server:
        found = run(target(server.url, max_model_len=100), OPENAI[1], *ANTHROPIC)
    assert messages.asked == []
    assert all("HTTP 307" in result.detail for result in found.values()), found
