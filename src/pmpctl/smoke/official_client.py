"""A maker's own Python client, where it is installed beside pmpctl: made for this API, its errors in our words."""

import importlib
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import httpx

from pmpctl.smoke.answer import Answer, excerpt
from pmpctl.smoke.api import Api
from pmpctl.smoke.check import Failed, NotPassed, Skipped
from pmpctl.smoke.faults import API_CURE, BROKEN_STREAM_CURE, failed_connection
from pmpctl.smoke.stream import LONGEST_STREAM_IN_TIMEOUTS

T = TypeVar("T")

CLIENT_CURE = "Programs that use this client will fail alike: update the engine, or what stands before it."

# What the clients need where there is no token; nobody asks for it.
_NO_TOKEN = "none"  # noqa: S105
_OWN_VARIABLES = ("OPENAI_", "ANTHROPIC_")
_ANYWHERE = ("http://", "https://", "all://")


@contextmanager
def official_client(name: str, api: Api, **connection: Any) -> Iterator[tuple[Any, dict[str, Any]]]:
    """The package, and what its client is made with; `connection` goes into the client of httpx below it.

    Raises Skipped where the package is not installed. Whatever the client raises inside the block becomes Failed: a
    program that uses it would have ended there.
    """
    target = api.target
    with _without_own_settings():
        package = _load(name)
        # Some versions take the environment's proxies whatever they are told of trust.
        proxies = {} if api.trust["trust_env"] else {"mounts": dict.fromkeys(_ANYWHERE)}
        # Of the package, as they differ in which httpx they are built on.
        http_client = package.DefaultHttpxClient(
            **api.trust, **proxies, **connection, timeout=target.timeout_seconds, follow_redirects=False
        )
        arguments = {"api_key": target.token or _NO_TOKEN, "max_retries": 0, "http_client": http_client}
        try:
            yield package, arguments
        except NotPassed:
            raise
        except package.APIStatusError as error:
            raise _refused(name, error) from error
        except package.APIConnectionError as error:
            is_timeout = isinstance(error, package.APITimeoutError)
            host = httpx.URL(target.url).netloc.decode()
            cause = httpx.ReadTimeout("") if is_timeout else error
            raise failed_connection(f"the client {name}", host, cause, target.timeout_seconds) from error
        except package.APIError as error:
            raise Failed(
                f"the client {name} is told of an error in the answer: {excerpt(str(error).encode(), 400)}",
                BROKEN_STREAM_CURE,
            ) from error
        except Exception as error:
            # A client meets what it was not made for with whatever its code stumbles over.
            raise Failed(
                f"the client {name} breaks: {type(error).__name__}: {excerpt(str(error).encode())}", API_CURE
            ) from error
        finally:
            http_client.close()


def answer_of(name: str, error: Any) -> Answer:
    """What came back where the client raised its error for a status."""
    response = error.response
    return Answer(f"the client {name}", response.status_code, dict(response.headers), response.content, 0)


def in_time(api: Api, events: Iterable[T], take: Callable[[T], object]) -> None:
    """Take each event of a stream, that must come to an end; raises Failed."""
    began = time.monotonic()
    for event in events:
        take(event)
        if time.monotonic() - began > LONGEST_STREAM_IN_TIMEOUTS * api.target.timeout_seconds:
            raise Failed(
                "the stream does not end", "See whether the server takes notice of max_tokens; clients wait for ever."
            )


def _refused(name: str, error: Any) -> Failed:
    answer = answer_of(name, error)
    try:
        answer.require_ok()
    except Failed as failed:
        return failed
    return Failed(f"the client {name} takes HTTP 200 for an error: {excerpt(str(error).encode())}", API_CURE)


def _load(name: str) -> Any:
    # A broken installation raises anything.
    try:
        return importlib.import_module(name)
    except Exception as error:
        missing = isinstance(error, ModuleNotFoundError) and error.name == name
        why = "is not installed" if missing else f"cannot be loaded ({type(error).__name__})"
        raise Skipped(
            f"the package {name} {why}: {sys.executable} -m pip install --upgrade {name}",
            f"Install it beside pmpctl: {sys.executable} -m pip install --upgrade {name}",
        ) from error


@contextmanager
def _without_own_settings() -> Iterator[None]:
    """Addresses, keys, headers and logging of the environment are for the maker's API, not for this one."""
    dropped = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith(_OWN_VARIABLES)}
    try:
        yield
    finally:
        os.environ.update(dropped)
