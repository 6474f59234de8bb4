"""What the API itself says of its models, and how it counts tokens."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pmpctl.smoke.answer import Answer
from pmpctl.smoke.api import Api, Message
from pmpctl.smoke.check import Failed, Skipped
from pmpctl.smoke.faults import API_CURE


@dataclass(frozen=True, slots=True)
class Model:
    id: str
    max_model_len: int | None


def listed_models(answer: Answer) -> tuple[Model, ...]:
    """Of an answer to GET /v1/models; raises Failed for what is no list of models."""
    listed = answer.require_ok().json()
    try:
        return tuple(_model(entry) for entry in listed["data"])
    except (TypeError, KeyError, AttributeError) as error:
        raise Failed("GET /v1/models: no list of models", API_CURE) from error


def model_names(answer: Answer) -> list[str]:
    return [model.id for model in listed_models(answer)]


def max_model_len(api: Api) -> int:
    """The context of the model that is asked, as the API has it, else as the plan has it.

    Raises Skipped where neither tells it.
    """
    lengths = {model.id: model.max_model_len for model in listed_models(api.request("GET", "/v1/models"))}
    length = lengths.get(api.target.model) or next(iter(lengths.values()), None) or api.target.max_model_len
    if length is None:
        raise Skipped("the API does not tell how long its context is (max_model_len in /v1/models)")
    return length


def count_tokens(api: Api, messages: Sequence[Message]) -> int | None:
    """Of a prompt, the chat template's own included; None where there is no `/tokenize`, or one of another kind."""
    answer = api.request("POST", "/tokenize", {"model": api.target.model, "messages": list(messages)})
    try:
        return int(answer.json()["count"]) if answer.status == 200 else None
    except (Failed, KeyError, TypeError, ValueError):
        return None


def _model(entry: Mapping[str, Any]) -> Model:
    length = entry.get("max_model_len")
    return Model(str(entry["id"]), length if isinstance(length, int) and length > 0 else None)
