"""Containers that are none of pmpctl's."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pmpctl.runtime.docker_connect import EngineClient


@contextmanager
def foreign_container(client: EngineClient, image: str, name: str | None = None, **config: Any) -> Iterator[str]:
    """A running container that somebody else made; yields its id."""
    body = {"Image": image, "Cmd": ["sleep", "600"], "StopTimeout": 0, **config}
    made = client.create_container_from_config(body, name)["Id"]  # type: ignore[no-untyped-call]
    try:
        client.start(made)
        yield made
    finally:
        client.remove_container(made, force=True)


def is_running(client: EngineClient, container: str) -> bool:
    return bool(client.inspect_container(container)["State"]["Running"])
