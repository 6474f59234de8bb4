"""What an API says of itself before it is loaded: its model, how it counts tokens, which fields it takes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pmpctl.load.filler import NotCounted
from pmpctl.smoke.answer import is_event_stream
from pmpctl.smoke.api import CHAT, Api
from pmpctl.smoke.check import Failed
from pmpctl.smoke.faults import API_CURE
from pmpctl.smoke.models import Model, count_tokens, listed_models
from pmpctl.smoke.prompts import user

_REFUSES_A_FIELD = (400, 422)


@dataclass(frozen=True, slots=True)
class Fields:
    """How answers of a given length are asked for; `exact` is whether the model cannot end them earlier."""

    limit: str = "max_tokens"
    exact: bool = True
    usage: bool = True

    def of_request(self, output_tokens: int) -> dict[str, Any]:
        fields: dict[str, Any] = {"stream": True, self.limit: output_tokens}
        if self.exact:
            fields["ignore_eos"] = True
        if self.usage:
            fields["stream_options"] = {"include_usage": True}
        return fields


# The first that the API takes: vLLM and its kind, those that are strict about fields, OpenAI's newer models.
_LADDER: Sequence[Fields] = (
    Fields(),
    Fields(exact=False),
    Fields("max_completion_tokens", exact=False),
    Fields(exact=False, usage=False),
)


def list_models(api: Api) -> tuple[Model, ...]:
    """At least one; raises Failed where the API does not answer as one."""
    models = listed_models(api.request("GET", "/v1/models"))
    if not models:
        raise Failed("GET /v1/models: the answer names no model", API_CURE)
    return models


def engine_version(api: Api) -> str | None:
    """As vLLM tells it; None elsewhere."""
    answer = api.request("GET", "/version")
    try:
        version = answer.json()["version"]
    except (Failed, KeyError, TypeError):
        return None
    return str(version) if answer.status == 200 else None


def find_fields(api: Api) -> Fields:
    """Raises Failed with what the API says to the simplest of all requests."""
    refused: Failed | None = None
    for fields in _LADDER:
        body = {"model": api.target.model, "messages": [user("Hello")], **fields.of_request(2)}
        answer = api.request("POST", CHAT, body)
        try:
            answer.require_ok()
        except Failed as failed:
            if answer.status not in _REFUSES_A_FIELD:
                raise
            refused = failed
            continue
        if not is_event_stream(answer.headers):
            raise Failed("the API answers without a stream, so there is nothing to measure", API_CURE)
        return fields
    raise refused or Failed("the API refuses every request", API_CURE)


class TokenCounter:
    """Counts the tokens of a prompt: by `/tokenize` where it is served, else by what a request of one token used."""

    def __init__(self, api: Api, fields: Fields) -> None:
        self._api = api
        self._limit = fields.limit
        self.by_tokenize = count_tokens(api, [user("Hello")]) is not None

    def __call__(self, text: str) -> int:
        """Raises NotCounted where the API counts in neither way."""
        counted = count_tokens(self._api, [user(text)]) if self.by_tokenize else None
        return counted if counted is not None else self._used(text)

    def _used(self, text: str) -> int:
        answer = self._api.request(
            "POST", CHAT, {"model": self._api.target.model, "messages": [user(text)], self._limit: 1}
        ).require_ok()
        try:
            return int(answer.json()["usage"]["prompt_tokens"])
        except (KeyError, TypeError, ValueError) as error:
            raise NotCounted from error
