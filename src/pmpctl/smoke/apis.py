"""The other APIs that an engine may serve: Anthropic's messages, responses, embeddings."""

import math
from typing import Any

from pmpctl.smoke import prompts
from pmpctl.smoke.answer import Answer
from pmpctl.smoke.api import Api
from pmpctl.smoke.check import Check, Failed, Group, Passed
from pmpctl.smoke.messages_api import MESSAGES
from pmpctl.smoke.served import UPDATE_CURE, ask, expected, texts
from pmpctl.smoke.sse import named_events

_RESPONSES_PATH = "/v1/responses"
_EMBEDDINGS_PATH = "/v1/embeddings"
_TEXTS = ["The harbour was quiet.", "Seventeen plus twenty-five is forty-two."]


def response(api: Api) -> Passed:
    answer = _ask_response(api)
    return Passed(f"status {_ended(answer, answer.json())}")


def streamed_response(api: Api) -> Passed:
    answer = _ask_response(api, stream=True)
    events = named_events(answer)
    names = [event.name for event in events]
    if not names or names[0] != "response.created":
        raise Failed(
            f"the stream begins with {names[0] if names else 'nothing'}, not with response.created", UPDATE_CURE
        )
    if names[-1] not in ("response.completed", "response.incomplete"):
        raise Failed(f"the stream ends with {names[-1]}, not with response.completed", UPDATE_CURE)
    with expected(answer, "stream of a response"):
        final = events[-1].data["response"]
        deltas = texts([event.data for event in events if event.name == "response.output_text.delta"], "delta")
    _ended(answer, final)
    if deltas != _text(final):
        raise Failed("the pieces of the stream are not what response.completed says they are", UPDATE_CURE)
    return Passed(f"{len(events)} events, {names[-1]} last", {"events": len(events)})


def embeddings(api: Api) -> Passed:
    answer = ask(api, _EMBEDDINGS_PATH, input=_TEXTS)
    with expected(answer, "list of embeddings"):
        vectors = [[float(number) for number in item["embedding"]] for item in answer.json()["data"]]
    if len(vectors) != len(_TEXTS):
        raise Failed(f"{len(vectors)} vectors for {len(_TEXTS)} texts", UPDATE_CURE)
    lengths = {len(vector) for vector in vectors}
    if len(lengths) != 1 or 0 in lengths:
        raise Failed(f"vectors of different or no length: {', '.join(map(str, sorted(lengths)))} numbers", UPDATE_CURE)
    if not all(math.isfinite(number) for vector in vectors for number in vector):
        raise Failed("a vector has NaN or infinity in it", "Try another dtype in the profile, such as bfloat16.")
    if not all(any(vector) for vector in vectors):
        raise Failed("a vector is all zeros", UPDATE_CURE)
    return Passed(f"vectors of {lengths.pop()} numbers", {"dimensions": len(vectors[0])})


def _ask_response(api: Api, **fields: Any) -> Answer:
    # Kept nowhere: an answer that is stored would stay in the engine's memory.
    return ask(
        api, _RESPONSES_PATH, input=prompts.SAY_OK, max_output_tokens=prompts.ANSWER_TOKENS, store=False, **fields
    )


def _ended(answer: Answer, data: Any) -> str:
    """How the response ended; raises Failed unless something was generated."""
    with expected(answer, "response"):
        status: str = data["status"]
        if data["object"] != "response" or status not in ("completed", "incomplete"):
            raise ValueError("no response that came to its end")
        is_empty = not _text(data) and not any(item["type"] == "reasoning" for item in data["output"])
    if is_empty:
        raise Failed(f"the response is {status} and empty", UPDATE_CURE)
    return status


def _text(data: Any) -> str:
    messages = [item for item in data["output"] if item["type"] == "message"]
    return "".join(texts(message["content"], "text") for message in messages)


APIS = (
    *MESSAGES,
    Check("responses-plain", Group.APIS, "Responses: an answer", response),
    Check("responses-stream", Group.APIS, "Responses: a stream", streamed_response),
    Check("embeddings", Group.APIS, "Embeddings", embeddings),
)
