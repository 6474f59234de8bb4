"""The real gateway as a process, and what a test may ask about it."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.support import eventually

_LISTENS = re.compile(r"listens on \S+ port (\d+)")


class GatewayProcess:
    def __init__(self, folder: Path, backend_url: str, env: Mapping[str, str]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.stdout_path = folder / "stdout"
        self.stderr_path = folder / "stderr"
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PMP_", "BACKEND_"))}
        with self.stdout_path.open("wb") as stdout, self.stderr_path.open("wb") as stderr:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "pmp_gateway"],
                env={**inherited, "BACKEND_URL": backend_url, "PMP_GATEWAY_PORT": "0", **env},
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
            )
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def stderr(self) -> str:
        return self.stderr_path.read_text()

    def wait_until_listening(self) -> None:
        def port() -> int:
            assert self.process.poll() is None, self.stderr
            found = _LISTENS.search(self.stderr)
            return int(found[1]) if found else 0

        self.port = eventually(port, timeout=30)

    def access_log(self) -> list[dict[str, Any]]:
        """The lines that are written to their end."""
        return [json.loads(line) for line in self.stdout_path.read_text().split("\n")[:-1]]

    def logged(self, request_id: str) -> dict[str, Any]:
        """The line of that request, waiting until it is written."""
        return eventually(lambda: next((r for r in self.access_log() if r["request_id"] == request_id), {}))

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    def wait(self, timeout: float = 10) -> int:
        return self.process.wait(timeout)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
