"""Checks that the shapes of requests are taken that clients really send."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import resources
from typing import Any

from pmpctl.smoke import prompts
from pmpctl.smoke.api import Api, Message
from pmpctl.smoke.check import Check, Failed, Group, Passed, Skipped
from pmpctl.smoke.tool_calling import TEMPLATE_CURE, ask, ask_streamed, tools
from pmpctl.smoke.tools_rounds import LONG_ID

Conversations = Sequence[Sequence[Message]]

_ID = prompts.CALL_IDS[0]
# It is enough that an answer begins.
_FEW_TOKENS = 64


@dataclass(frozen=True, slots=True)
class Recorded:
    """What one client sends: `requests` are whole bodies without the model's name, `source` tells where it says so."""

    name: str
    client: str
    source: Mapping[str, Any]
    requests: Sequence[Mapping[str, Any]]


def recorded_shapes() -> tuple[Recorded, ...]:
    files = (file for file in resources.files("pmpctl.smoke").joinpath("client_shapes").iterdir())
    shapes = []
    for file in sorted(files, key=lambda file: file.name):
        data = json.loads(file.read_text())
        shapes.append(Recorded(file.name.removesuffix(".json"), data["client"], data["source"], data["requests"]))
    return tuple(shapes)


def _called(**content: Any) -> Message:
    return {"role": "assistant", **content, "tool_calls": [prompts.call("Paris", _ID)]}


def _contents_of_nothing() -> Conversations:
    ways: tuple[dict[str, Any], ...] = ({"content": None}, {}, {"content": ""})
    return [[prompts.user(), _called(**way), prompts.result("Paris", _ID)] for way in ways]


def _parts() -> Conversations:
    result = {**prompts.result("Paris", _ID), "content": prompts.parts(prompts.RESULTS["Paris"])}
    return [
        [prompts.user(prompts.parts(prompts.HURRY, prompts.ONE_CITY))],
        [prompts.user(), _called(content=""), result],
    ]


def _takes(what: str, conversations: Callable[[], Conversations], api: Api) -> Passed:
    for messages in conversations():
        try:
            ask(api, messages, tools=tools(), max_tokens=_FEW_TOKENS)
        except Failed as refused:
            raise Failed(
                f"{what}: {refused.what}", refused.cure if "template" in refused.cure else TEMPLATE_CURE
            ) from refused
    return Passed()


def _check(name: str, title: str, conversations: Callable[[], Conversations]) -> Check:
    what = title[0].lower() + title[1:]
    return Check(name, Group.TOOLS, title, partial(_takes, what, conversations))


_SIMPLE: tuple[Check, ...] = (
    _check("content-null", "Content null, missing or empty", _contents_of_nothing),
    _check("content-parts", "Content as a list of parts", _parts),
    _check("system-message", "A system message", lambda: [[prompts.system(), prompts.user()]]),
    _check("users-in-a-row", "Two user messages in a row", lambda: [[prompts.user(), prompts.user(prompts.HURRY)]]),
)


def _long_id(api: Api) -> Passed:
    return _takes("long ids", lambda: [prompts.tool_round(("Paris",), (LONG_ID,))], api)


def _plain(api: Api) -> Passed:
    return _takes("tools", lambda: [[prompts.user()]], api)


def _client(shape: Recorded, api: Api) -> Passed:
    for request in shape.requests:
        body = {"max_tokens": _FEW_TOKENS, **{key: value for key, value in request.items() if key != "title"}}
        messages = body.pop("messages")
        send = ask_streamed if body.pop("stream", False) else ask
        try:
            send(api, messages, **body)
        except Failed as refused:
            _skip_if_explained(api)
            raise Failed(f"{shape.client}, {request['title']}: {refused.what}", refused.cure) from refused
    return Passed(f"{len(shape.requests)} of its requests")


def _skip_if_explained(api: Api) -> None:
    """One fault is told once: by the simplest check that meets it."""
    for run in (_plain, _long_id, *(check.run for check in _SIMPLE)):
        try:
            run(api)
        except Failed as found:
            raise Skipped(f"fails as another check does: {found.what}") from found


SHAPES: tuple[Check, ...] = (
    *_SIMPLE,
    *(
        Check(f"client-{shape.name}", Group.TOOLS, f"Requests as {shape.client} sends them", partial(_client, shape))
        for shape in recorded_shapes()
    ),
)
