"""A workspace with profiles and ports of its own, driven by the real command line."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

import httpx

from pmpctl.workspace import Workspace
from tests.cli import PMPCTL, pmpctl
from tests.support import find_free_port

PROFILES = """\
[gateway]
listen = "127.0.0.1:{api_port}"
{gateway}

[host]
runtime = "{runtime}"
engine_port = {engine_port}
{host}

[profiles.coding]
model = "acme/coder"
device = "cpu"
max_model_len = 4096
start_timeout = {start_timeout}

[profiles.chat]
model = "acme/chat"
device = "cpu"
{more}
"""


@dataclass
class Stack:
    """`program` is the trivial engine; without `smoke` what `up` and `switch` start is not checked at their end."""

    workspace: Workspace
    program: Path
    runtime: str = "process"
    api_port: int = field(default_factory=find_free_port)
    engine_port: int = field(default_factory=find_free_port)
    environment: dict[str, str] = field(default_factory=dict)
    smoke: bool = False

    def write(self, *, gateway: str = "", host: str = "", more: str = "", start_timeout: int = 60) -> None:
        text = PROFILES.format(
            api_port=self.api_port,
            engine_port=self.engine_port,
            runtime=self.runtime,
            gateway=gateway,
            host=host,
            more=more,
            start_timeout=start_timeout,
        )
        (self.workspace.root / "profiles.toml").write_text(text)
        script = self.workspace.root / "vllm"
        script.write_text(f'#!/bin/sh\nexec {self.program} "$@"\n')
        script.chmod(0o755)
        self.fault()

    def fault(self, only: str = "*", **faults: object) -> None:
        """From the next start on engines have these faults, and no others; `only` is the one model that has them."""
        file = self.workspace.root / "models" / "stub-faults.json"
        if faults:
            file.parent.mkdir(exist_ok=True)
            file.write_text(json.dumps({only: {name: str(value) for name, value in faults.items()}}))
        else:
            file.unlink(missing_ok=True)

    def open_gate(self, name: str) -> None:
        """Lets engines that were started with this STUB_GATE say more than a word."""
        (self.workspace.root / "models" / name).touch()

    def run(self, *argv: str, timeout_seconds: float = 120, **environment: str) -> "subprocess.CompletedProcess[str]":
        return pmpctl(*self._argv(argv), cwd=None, timeout_seconds=timeout_seconds, **self.variables(environment))

    @contextmanager
    def running(self, *argv: str) -> "Iterator[subprocess.Popen[str]]":
        """The command in a process group of its own, as a shell starts it; killed at the end if it still runs."""
        process = subprocess.Popen(
            [PMPCTL, *self._argv(argv)],
            env=os.environ | self.variables(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()

    def json(self, *argv: str) -> dict[str, Any]:
        """The envelope that a command prints last."""
        done = self.run(*argv, "--json")
        envelope: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        assert envelope["ok"], envelope["errors"]
        return envelope

    def status(self) -> dict[str, Any]:
        return cast("dict[str, Any]", self.json("status")["data"])

    def ask(self, content: str = "Hello", model: str = "llm", headers: Mapping[str, str] | None = None) -> Any:
        return self.post(content, model, headers).raise_for_status().json()

    def post(
        self, content: str = "Hello", model: str = "llm", headers: Mapping[str, str] | None = None
    ) -> httpx.Response:
        return httpx.post(
            f"http://127.0.0.1:{self.api_port}/v1/chat/completions",
            json={"model": model, "messages": [{"role": "user", "content": content}]},
            headers=dict(headers or {}),
            timeout=60,
        )

    def _argv(self, argv: Sequence[str]) -> tuple[str, ...]:
        starts = {"up", "switch", "swap"} & set(argv)
        unchecked = ("--no-smoke",) if starts and not self.smoke else ()
        return ("--workspace", str(self.workspace.root), *argv, *unchecked)

    def variables(self, environment: Mapping[str, str] = MappingProxyType({})) -> dict[str, str]:
        """What its commands have in their environment beside everybody's."""
        own = {"PMPCTL_ENGINE_PROGRAM": str(self.workspace.root / "vllm")} if self.runtime == "process" else {}
        return own | self.environment | dict(environment)
