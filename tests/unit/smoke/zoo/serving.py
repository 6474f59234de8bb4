"""Runs a server of the zoo on a port of its own, on a thread of this process."""

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import uvicorn


@contextlib.contextmanager
def served(app: Any, *, host: str = "127.0.0.1", certificate: Path | None = None) -> Iterator[str]:
    """`certificate` holds key and chain; the answer is the address without `/v1`."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, 0), family=family)
    config = uvicorn.Config(
        app,
        lifespan="off",
        ws="none",
        log_level="critical",
        ssl_certfile=certificate,
        ssl_version=ssl.PROTOCOL_TLS_SERVER,
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        port = listener.getsockname()[1]
        yield f"http{'s' if certificate else ''}://{f'[{host}]' if ':' in host else host}:{port}"
    finally:
        server.should_exit = True
        thread.join()
        listener.close()
