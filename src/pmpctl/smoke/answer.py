"""What the API answered: the raw answer with what is wrong with it in words, and a chat's answer taken apart."""

import json
import re
import string
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, Self

from pmpctl.smoke.check import Failed
from pmpctl.smoke.faults import API_CURE, HTML_CURE, cure_for_status

_EXCERPT_CHARACTERS = 200
_TOKEN_CHARACTERS = string.ascii_letters + string.digits + "-._~+/="
_TITLE = re.compile(rb"<title[^>]*>(.*?)</title>", re.IGNORECASE | re.DOTALL)


class ApiError(NamedTuple):
    message: str
    type: str
    code: str | int | None


# No slots: the parsed body is kept in the instance.
@dataclass(frozen=True)
class Answer:
    """`headers` have names in lower case; `seconds` is from the request's beginning to the body's end."""

    asked: str
    status: int
    headers: Mapping[str, str]
    body: bytes
    seconds: float

    def json(self) -> Any:
        """The body; raises Failed where it is no JSON."""
        try:
            return self._parsed
        except ValueError as error:
            if self.is_html:
                title = _TITLE.search(self.body[:65536])
                named = f" ({excerpt(title[1].strip())!r})" if title and title[1].strip() else ""
                raise Failed(
                    f"{self.asked}: HTTP {self.status} with an HTML page{named}, not JSON", HTML_CURE
                ) from error
            came = f"not JSON: {excerpt(self.body)!r}" if self.body.strip() else "an empty body"
            raise Failed(f"{self.asked}: HTTP {self.status} with {came}", API_CURE) from error

    @cached_property
    def error(self) -> ApiError | None:
        """The error in OpenAI's form (Anthropic's has the same fields without a code); None where there is none."""
        try:
            error = self._parsed["error"]
            message, kind, code = error["message"], error["type"], error.get("code")
        except (ValueError, KeyError, TypeError, AttributeError):
            return None
        if not isinstance(message, str) or not isinstance(kind, str) or not isinstance(code, str | int | None):
            return None
        return ApiError(message, kind, code)

    def require_ok(self) -> Self:
        """Raises Failed unless the status is 200."""
        if self.status == 200:
            return self
        if not self.is_html and self.error is None:
            said = f": {excerpt(self.body)!r}" if self.body.strip() else ""
        elif self.error is not None:
            said = f": {excerpt(self.error.message.encode(), 400)}"
        else:
            said = " with an HTML page"
        if location := self.headers.get("location"):
            said = f", a redirect to {location}"
        raise Failed(f"{self.asked}: HTTP {self.status}{said}", cure_for_status(self.status), self.status)

    def require_stream(self) -> Self:
        """Raises Failed unless the status is 200 and the body is a stream of events."""
        self.require_ok()
        if not is_event_stream(self.headers):
            self.json()
            kind = self.headers.get("content-type") or "of no named type"
            raise Failed(f"{self.asked}: the answer is no stream, but {kind}", API_CURE)
        return self

    @cached_property
    def _parsed(self) -> Any:
        return parse_json(self.body)

    @property
    def is_json(self) -> bool:
        try:
            return self._parsed is not None
        except ValueError:
            return False

    @property
    def is_html(self) -> bool:
        begins = self.body.lstrip()[:15].lower()
        return "text/html" in self.headers.get("content-type", "") or begins.startswith((b"<!doctype html", b"<html"))


@dataclass(frozen=True, slots=True)
class ToolCall:
    """`arguments` as the model wrote them: JSON, if it can."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class ChatAnswer:
    """The first choice of an answer; `raw` is all of it."""

    text: str
    reasoning: str
    tool_calls: tuple[ToolCall, ...]
    finish_reason: str | None
    usage: Mapping[str, int] | None
    raw: Mapping[str, Any]
    seconds: float

    @classmethod
    def from_answer(cls, answer: Answer) -> "ChatAnswer":
        """Raises Failed for what is no chat's answer, and for one that is empty or was given up."""
        data = answer.require_ok().json()
        try:
            choice = data["choices"][0]
            message = choice["message"]
            calls = tuple(
                ToolCall(str(call["id"]), str(call["function"]["name"]), str(call["function"]["arguments"]))
                for call in message.get("tool_calls") or ()
            )
            chat = cls(
                text_of(message.get("content")),
                text_of(message.get("reasoning") or message.get("reasoning_content")),
                calls,
                reason_of(choice),
                usage_of(data),
                data,
                answer.seconds,
            )
        except (KeyError, IndexError, TypeError, AttributeError) as error:
            raise Failed(
                f"{answer.asked}: HTTP 200, but no chat completion: {excerpt(answer.body)!r}", API_CURE
            ) from error
        require_content(answer.asked, chat.text or chat.reasoning or chat.tool_calls, chat.finish_reason)
        return chat


def require_content(asked: str, content: object, finish_reason: str | None) -> None:
    """Raises Failed for the 200 of an engine that generated nothing."""
    if finish_reason == "abort":
        raise Failed(
            f"{asked}: HTTP 200, but the answer was given up (finish_reason abort)",
            "The engine dropped the request: see its log (`pmpctl logs engine`) for what failed at that moment.",
        )
    if not content:
        raise Failed(
            f"{asked}: HTTP 200, but the answer is empty (finish_reason {finish_reason})",
            "The model ended its answer at once: see whether the chat template is the model's own, and the engine log.",
        )


def parse_json(text: bytes | str) -> Any:
    """Raises ValueError, also for what could be parsed but not be passed on: half characters, and endless nesting."""
    try:
        data = json.loads(text)
        json.dumps(data, ensure_ascii=False).encode()
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    return data


def is_event_stream(headers: Mapping[str, str]) -> bool:
    return "text/event-stream" in headers.get("content-type", "")


def reason_of(choice: Mapping[str, Any]) -> str | None:
    return text_of(choice.get("finish_reason")) or None


def usage_of(data: Mapping[str, Any]) -> Mapping[str, int] | None:
    """The counts in it; what is no count is none."""
    usage = data.get("usage")
    if not isinstance(usage, dict):
        return None
    return {name: count for name, count in usage.items() if isinstance(count, int)} or None


def text_of(content: Any) -> str:
    """Text that may be null."""
    if content is None:
        return ""
    if not isinstance(content, str):
        raise TypeError("content is no text")
    return content


def excerpt(body: bytes, characters: int = _EXCERPT_CHARACTERS) -> str:
    """The beginning on one line, as it may stand in a table; a word at its end that might be part of a secret goes."""
    seen = body[: characters * 8]
    text = " ".join(seen.decode(errors="replace").split())
    if len(text) <= characters and len(seen) == len(body):
        return text
    # What is printed is freed of secrets, which are known whole only.
    return text[:characters].rstrip(_TOKEN_CHARACTERS) + "..."
