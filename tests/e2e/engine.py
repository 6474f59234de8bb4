"""The demo model in the real vLLM, as a process group, and what the engine says of itself on its own port."""

import json
import os
import re
import signal
import subprocess
from pathlib import Path
from typing import Any

import httpx

import pmpctl
from tests.support import eventually, find_free_port

MODEL = Path(pmpctl.__file__).with_name("demo_model")
# Four times what the model was made for, so that long answers are long on fast machines too.
CONTEXT_TOKENS = 16384
# Its answer to "Hello", as its page promises.
GREETING = "Hello! I am the demo model of pmpctl. You are reading this, so the whole stack works."
# Options for answers of many seconds: it says its few words, and works on in silence.
LONG_CHAT: dict[str, Any] = {"max_tokens": 15000, "extra_body": {"ignore_eos": True}}
LONG_RESPONSE: dict[str, Any] = {"max_output_tokens": 15000, "extra_body": {"ignore_eos": True}}
# Anthropic's API knows no such option; held to a schema that its few words do not fill, the model finds no end.
_SCHEMA = {"type": "object", "properties": {"text": {"type": "string", "minLength": 500}}, "required": ["text"]}
LONG_MESSAGE: dict[str, Any] = {
    "max_tokens": 15000,
    "output_config": {"format": {"type": "json_schema", "schema": _SCHEMA}},
}
_ARGUMENTS = (
    *("--served-model-name", "llm", "demo", "--enable-auto-tool-choice", "--tool-call-parser", "hermes"),
    *("--enforce-eager", "--max-model-len", str(CONTEXT_TOKENS), "--max-num-seqs", "32"),
    *("--max-num-batched-tokens", "512", "--kv-cache-memory-bytes", "67108864"),
    *("--exclude-tools-when-tool-choice-none", "--enable-server-load-tracking"),
    *("--hf-overrides", json.dumps({"max_position_embeddings": CONTEXT_TOKENS})),
)


class Engine:
    def __init__(self, program: Path, folder: Path) -> None:
        self.port = find_free_port()
        # Each question by a connection of its own: the engine closes those that idle, also under a question on its way.
        self._client = httpx.Client(base_url=self.url, timeout=60, limits=httpx.Limits(max_keepalive_connections=0))
        self._log = folder / "vllm.log"
        with self._log.open("w") as output:
            self._process = subprocess.Popen(
                [program, "serve", MODEL, "--host", "127.0.0.1", "--port", str(self.port), *_ARGUMENTS],
                env=os.environ | {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1"},
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def wait_until_healthy(self) -> None:
        def healthy() -> bool:
            assert self._process.poll() is None, self._log.read_text()[-3000:]
            try:
                return self._client.get("/health").status_code == 200
            except httpx.TransportError:
                return False

        eventually(healthy, timeout=400)

    def is_at_work(self) -> bool:
        """Whether a client's request is with it."""
        return bool(self._client.get("/load").json()["server_load"])

    def is_idle(self) -> bool:
        if self.is_at_work():
            return False
        # What it computes it tells as it was at its last step, and it takes none when requests are given up.
        self._client.post("/v1/chat/completions", json={"messages": [{"role": "user", "content": "Say OK"}]})
        return self._sum_of("num_requests_running") + self._sum_of("num_requests_waiting") == 0

    def long_answers_finished(self) -> int:
        """Those that came to as many tokens as they might have, since it started."""
        return self._sum_of("request_success_total", 'finished_reason="length"')

    def stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(timeout=60)
        finally:
            self.kill()

    def kill(self) -> None:
        """The server, its engine core and its workers, at once."""
        self._client.close()
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        self._process.wait()

    def _sum_of(self, metric: str, label: str = "") -> int:
        page = self._client.get("/metrics").text
        values = re.findall(rf"^vllm:{metric}\{{.*{label}.*\}} (\S+)$", page, re.MULTILINE)
        assert values, f"the engine has no metric {metric}"
        return sum(int(float(value)) for value in values)
