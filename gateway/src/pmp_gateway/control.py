"""`python -m pmp_gateway.control VERB`: ask a running gateway over its control socket; the standard library alone."""

import argparse
import http.client
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pmp_gateway.control_schema import VERBS, Verb
from pmp_gateway.unix_socket import connect

_SOCKET_VARIABLE = "PMP_GATEWAY_CONTROL_SOCKET"
_TIMEOUT_SECONDS = 10.0
# The one answer that is no JSON: it is for Prometheus, and for eyes.
_METRICS = Verb("GET", "/metrics")


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("gateway", timeout=_TIMEOUT_SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = connect(self._path, _TIMEOUT_SECONDS)


def ask(socket_path: Path, verb: Verb) -> tuple[bool, Any]:
    """Whether the gateway did what the verb says, and its answer; OSError or ValueError if it gave none."""
    ok, body = _fetch(socket_path, verb)
    return ok, json.loads(body)


def _fetch(socket_path: Path, verb: Verb) -> tuple[bool, bytes]:
    connection = _UnixConnection(socket_path)
    try:
        connection.request(verb.method, verb.path)
        response = connection.getresponse()
        return response.status == 200, response.read()
    finally:
        connection.close()


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m pmp_gateway.control", description="Ask a running gateway.")
    parser.add_argument("verb", choices=(*VERBS, "metrics"))
    parser.add_argument("--socket", type=Path, default=os.environ.get(_SOCKET_VARIABLE) or None)
    given = parser.parse_args(argv)
    if given.socket is None:
        parser.error(f"give --socket PATH or set {_SOCKET_VARIABLE}")
    try:
        if given.verb == "metrics":
            ok, page = _fetch(given.socket, _METRICS)
            sys.stdout.write(page.decode())
            return 0 if ok else 1
        ok, answer = ask(given.socket, VERBS[given.verb])
    except (OSError, ValueError, http.client.HTTPException) as error:
        sys.stderr.write(f"no answer from the gateway at {given.socket}: {error}\n")
        return 1
    sys.stdout.write(json.dumps(answer) + "\n")
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
