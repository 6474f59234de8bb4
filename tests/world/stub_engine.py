#!/usr/bin/env python3
"""A trivial engine: a real HTTP server that takes `vllm serve`'s arguments and speaks the endpoints that pmpctl needs.

It answers every chat with the last message's text, word by word, so that tests of runtimes need no model; the
`system_fingerprint` of an answer is the model and when this engine started, and its `id` the number of the connection
that it was asked on, so that a test knows who answered, and in which order. Faults come from the environment, and at
each start from stub-faults.json in the folder HF_HOME, which a container sees too:
`{"*": {"STUB_START_SECONDS": "2"}, "acme/chat": {"STUB_EXIT_CODE": "3"}}`, for every model or for one.

STUB_EXIT_CODE             print vLLM's words for a failed start and exit with this code
STUB_NEVER_READY           never listen
STUB_START_SECONDS         take this long to listen
STUB_CRASH_IN_LOAD         be killed while the weights are read, as by a host that runs out of memory
STUB_CRASH_ON_REQUEST      be killed by the first request for tokens
STUB_CRASH_AFTER_SECONDS   exit with code 1 this long after listening
STUB_WRONG_MODEL           serve this model under this name, whatever the arguments say
STUB_WORD_SECONDS          pause between two words of an answer
STUB_GATE                  say no second word before there is a file of this name in HF_HOME
STUB_IGNORE_STOP           take no notice of `stop`
STUB_CHILDREN              have this many child processes, as vLLM has its engine core and workers
STUB_GPU_MIB               hold so much of the card that tests/world/nvml stands in for (its folder STAND_IN_GPU_HELD)
STUB_AVAILABLE_KV_GIB      print what vLLM prints on a GPU: 18.14 GiB of weights, and so much left for the KV cache
"""

import argparse
import contextlib
import json
import os
import re
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

VERSION = "0.32.0+cpu"
DEFAULT_MAX_MODEL_LEN = 4096


def seconds_from_environment(name: str) -> float:
    return float(os.environ.get(name) or 0)


def log(message: str, level: str = "INFO", stream: Any = None) -> None:
    stamp = time.strftime("%m-%d %H:%M:%S")
    print(f"(APIServer pid={os.getpid()}) {level} {stamp} [stub.py:1] {message}", file=stream or sys.stdout, flush=True)


class Engine(ThreadingHTTPServer):
    """The server, and what it serves."""

    daemon_threads = True

    def __init__(self, arguments: argparse.Namespace) -> None:
        super().__init__((arguments.host, arguments.port), Handler)
        wrong = os.environ.get("STUB_WRONG_MODEL")
        self.root: str = wrong or arguments.model
        self.names: list[str] = [wrong] if wrong else arguments.served_model_name or [arguments.model]
        self.max_model_len: int = arguments.max_model_len
        self.fingerprint = f"{self.root}@{time.time_ns()}"
        self.accepted = 0
        self.connections: dict[Any, int] = {}
        self.word_seconds = seconds_from_environment("STUB_WORD_SECONDS")

    def get_request(self) -> tuple[socket.socket, Any]:
        """Numbers the connections in their order, which the threads that serve them do not keep."""
        connection, address = super().get_request()
        self.accepted += 1
        self.connections[address] = self.accepted
        return connection, address

    def models(self) -> list[dict[str, Any]]:
        return [
            {"id": name, "object": "model", "owned_by": "vllm", "root": self.root, "max_model_len": self.max_model_len}
            for name in self.names
        ]


class Handler(BaseHTTPRequestHandler):
    server: Engine
    protocol_version = "HTTP/1.1"
    # As uvicorn does: else the first chunk of a stream waits for the client's acknowledgement of the head.
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        if self.path in ("/health", "/ping"):
            self.send(200, b"")
        elif self.path == "/version":
            self.send_data(200, {"version": VERSION})
        elif self.path == "/v1/models":
            self.send_data(200, {"object": "list", "data": self.server.models()})
        else:
            self.send_data(404, {"detail": "Not Found"})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}")
        if os.environ.get("STUB_CRASH_ON_REQUEST"):
            os.kill(os.getpid(), signal.SIGKILL)
        if self.path not in ("/v1/chat/completions", "/v1/completions"):
            self.send_data(404, {"detail": "Not Found"})
        elif body.get("model", self.server.names[0]) not in self.server.names:
            message = f"The model `{body['model']}` does not exist."
            error = {"message": message, "type": "NotFoundError", "param": "model", "code": 404}
            self.send_data(404, {"error": error})
        elif (prompt_tokens := len(self.prompt(body).split())) > self.server.max_model_len:
            message = f"This model's maximum context length is {self.server.max_model_len} tokens, not {prompt_tokens}."
            error = {"message": message, "type": "BadRequestError", "param": "input_tokens", "code": 400}
            self.send_data(400, {"error": error})
        elif body.get("stream"):
            self.stream(body)
        else:
            self.send_data(200, self.whole_answer(body))

    def prompt(self, body: dict[str, Any]) -> str:
        return str(body["messages"][-1]["content"] if "messages" in body else body.get("prompt"))

    def words(self, body: dict[str, Any]) -> tuple[list[str], str]:
        """The answer, and why it ends."""
        text = " ".join(self.prompt(body).split())
        stops = body.get("stop") or []
        if not os.environ.get("STUB_IGNORE_STOP"):
            for stop in [stops] if isinstance(stops, str) else stops:
                text = text.partition(stop)[0]
        words = re.findall(r"\S+ ?", text)
        limit = body.get("max_tokens") or body.get("max_completion_tokens") or len(words)
        return words[:limit], "length" if limit < len(words) else "stop"

    def answer(self, body: dict[str, Any], kind: str, *choices: dict[str, Any]) -> dict[str, Any]:
        model = body.get("model", self.server.names[0])
        return {
            "id": f"stub-{self.server.connections[self.client_address]}",
            "object": kind,
            "created": int(time.time()),
            "model": model,
            "system_fingerprint": self.server.fingerprint,
            "choices": choices,
        }

    def whole_answer(self, body: dict[str, Any]) -> dict[str, Any]:
        words, reason = self.words(body)
        if len(words) > 1:
            wait_at_gate()
        time.sleep(self.server.word_seconds * len(words))
        text = "".join(words)
        choice: dict[str, Any] = {"index": 0, "finish_reason": reason}
        if "messages" in body:
            answer = self.answer(body, "chat.completion", choice | {"message": {"role": "assistant", "content": text}})
        else:
            answer = self.answer(body, "text_completion", choice | {"text": text})
        return answer | {"usage": self.usage(body, len(words))}

    def usage(self, body: dict[str, Any], tokens: int) -> dict[str, int]:
        prompt_tokens = len(self.prompt(body).split())
        return {
            "prompt_tokens": prompt_tokens,
            "completion_tokens": tokens,
            "total_tokens": prompt_tokens + tokens,
        }

    def chunks(self, body: dict[str, Any]) -> Iterator[dict[str, Any]]:
        chat = "messages" in body
        kind = "chat.completion.chunk" if chat else "text_completion"
        words, reason = self.words(body)
        for word in words:
            part: dict[str, Any] = {"delta": {"content": word}} if chat else {"text": word}
            yield self.answer(body, kind, {"index": 0, "finish_reason": None, **part})
            wait_at_gate()
            time.sleep(self.server.word_seconds)
        part = {"delta": {}} if chat else {"text": ""}
        yield self.answer(body, kind, {"index": 0, "finish_reason": reason, **part})
        if (body.get("stream_options") or {}).get("include_usage"):
            yield self.answer(body, kind) | {"usage": self.usage(body, len(words))}

    def stream(self, body: dict[str, Any]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream; charset=utf-8")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for chunk in self.chunks(body):
            self.write_chunk(b"data: " + json.dumps(chunk).encode() + b"\n\n")
        self.write_chunk(b"data: [DONE]\n\n")
        self.write_chunk(b"")

    def write_chunk(self, data: bytes) -> None:
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        self.wfile.flush()

    def send_data(self, status: int, data: dict[str, Any]) -> None:
        self.send(status, json.dumps(data).encode(), "application/json")

    def send(self, status: int, content: bytes, content_type: str = "text/plain") -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class names it so
        print(f'INFO:     {self.address_string()} - "{self.requestline}" {args[1]}', flush=True)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="vllm", allow_abbrev=False)
    parser.add_argument("--version", "-v", action="version", version=VERSION)
    serve = parser.add_subparsers(required=True).add_parser("serve", allow_abbrev=False)
    serve.add_argument("model")
    serve.add_argument("--host", default="0.0.0.0")
    serve.add_argument("--port", type=int, default=8000)
    serve.add_argument("--served-model-name", nargs="+")
    serve.add_argument("--max-model-len", type=int, default=DEFAULT_MAX_MODEL_LEN)
    arguments, _ = parser.parse_known_args()
    return arguments


def wait_at_gate() -> None:
    if name := os.environ.get("STUB_GATE"):
        while not Path(os.environ.get("HF_HOME", ""), name).exists():
            time.sleep(0.02)


def take_faults(model: str) -> None:
    with contextlib.suppress(OSError):
        faults = json.loads(Path(os.environ.get("HF_HOME", ""), "stub-faults.json").read_text())
        os.environ.update(faults.get("*", {}) | faults.get(model, {}))


def start_up() -> None:
    """What vLLM does before it listens, faults included."""
    log(f"vLLM API server version {VERSION}")
    if code := os.environ.get("STUB_EXIT_CODE"):
        log("EngineCore failed to start.", "ERROR", sys.stderr)
        log("ValueError: No available memory for the cache blocks.", "ERROR", sys.stderr)
        log("RuntimeError: Engine core initialization failed. See root cause above.", "ERROR", sys.stderr)
        sys.exit(int(code))
    for _ in range(int(os.environ.get("STUB_CHILDREN") or 0)):
        if os.fork() == 0:
            signal.pause()
    log("Starting to load model stub...", stream=sys.stderr)
    time.sleep(seconds_from_environment("STUB_START_SECONDS"))
    if os.environ.get("STUB_CRASH_IN_LOAD"):
        log("Loading safetensors checkpoint shards:  50% Completed | 1/2", stream=sys.stderr)
        os.kill(os.getpid(), signal.SIGKILL)
    if os.environ.get("STUB_NEVER_READY"):
        signal.pause()
    if mebibytes := os.environ.get("STUB_GPU_MIB"):
        Path(os.environ["STAND_IN_GPU_HELD"], str(os.getpid())).write_text(mebibytes)
    log("Loading weights took 0.01 seconds")
    if available_gib := os.environ.get("STUB_AVAILABLE_KV_GIB"):
        log("Model loading took 18.14 GiB memory and 0.010000 seconds")
        log(f"Available KV cache memory: {available_gib} GiB")
        log("GPU KV cache size: 4,096 tokens, Maximum concurrency for 4,096 tokens per request: 1.00x")
    else:
        log("CPU KV cache size: 4,096 tokens")
    log("init engine (profile, create kv cache, warmup model) took 0.01 s")


def main() -> None:
    arguments = parse_arguments()
    take_faults(arguments.model)
    # Until it serves, a signal ends vLLM at once; as process 1 of a container the default would be to ignore it.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    start_up()
    engine = Engine(arguments)
    if crash_seconds := seconds_from_environment("STUB_CRASH_AFTER_SECONDS"):
        threading.Timer(crash_seconds, os._exit, (1,)).start()
    log("Application startup complete.", stream=sys.stderr)
    engine.serve_forever()


if __name__ == "__main__":
    main()
