"""Requests to the APIs that not every engine serves: what is not served is skipped, not failed."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from pmpctl.smoke.answer import Answer, excerpt
from pmpctl.smoke.api import Api
from pmpctl.smoke.check import Failed, Skipped
from pmpctl.smoke.faults import API_CURE

UPDATE_CURE = "Update the engine; `pmpctl logs engine` shows what it made of the request."
NO_CALL_CURE = "See whether tool_call_parser and chat_template are the model's own."

_NOT_SERVED = (404, 405, 501)


def ask(api: Api, path: str, **fields: Any) -> Answer:
    """The answer of 200 of an API for models; raises Skipped where it is not served, Failed for all else."""
    return require_served(api.request("POST", path, {"model": api.target.model, **fields})).require_ok()


def require_served(answer: Answer) -> Answer:
    """Raises Skipped for an API that there is not."""
    # Older engines refuse with 400 what their model is not made for.
    is_refused = answer.status == 400 and "does not support" in answer.body.decode(errors="replace")
    if answer.status in _NOT_SERVED or is_refused:
        raise Skipped(f"not served: HTTP {answer.status} for {answer.asked.partition(' ')[2]}{_reason(answer)}")
    return answer


def presented_token(api: Api) -> str:
    """Raises Skipped where there is none, or none counts."""
    if api.target.auth is False:
        raise Skipped("the API asks for no token")
    if api.target.token is None:
        raise Skipped("no token was given")
    return api.target.token


@contextmanager
def expected(answer: Answer, form: str) -> Iterator[None]:
    """Taking the answer apart; raises Failed where it has not the form that is looked for."""
    try:
        yield
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise Failed(f"{answer.asked}: HTTP 200, but no {form}: {excerpt(answer.body)!r}", API_CURE) from error


@contextmanager
def tools_may_be_missing(api: Api) -> Iterator[None]:
    """Where no tool parser is known of, calls that fail or do not come say nothing about the stack."""
    try:
        yield
    except Failed as failed:
        if api.target.tool_call_parser is not None:
            raise
        raise Skipped(
            f"no tool calls here: {failed.what}", "Set tool_call_parser in the profile to have this checked."
        ) from failed


def texts(parts: list[Mapping[str, Any]], *keys: str) -> str:
    """What stands under any of the keys in the parts, in one."""
    return "".join(str(part[key]) for part in parts for key in keys if part.get(key))


def _reason(answer: Answer) -> str:
    return f" ({excerpt(answer.error.message.encode(), 80)})" if answer.error is not None else ""
