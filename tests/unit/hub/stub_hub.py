"""A model hub and the store it redirects to, on two ports: real HTTP servers that remember what they were asked."""

import json
import re
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from time import monotonic
from typing import Any
from urllib.parse import unquote

from tests.unit.hub.checkpoints import COMMIT

REVISION = re.compile(r"/api/models/(?P<model>[^/]+/[^/]+)/revision/(?P<revision>[^/]+)")
TREE = re.compile(r"/api/models/(?P<model>[^/]+/[^/]+)/tree/(?P<commit>[^/?]+)(?:\?.*)?")
RESOLVE = re.compile(r"/(?P<model>[^/]+/[^/]+)/resolve/(?P<commit>[^/]+)/(?P<name>.+)")


@dataclass
class Repository:
    files: Mapping[str, bytes]
    commit: str = COMMIT
    branch: str = "main"
    renamed_to: str | None = None
    gate: str | None = None
    """The one token that may read the files."""


@dataclass
class Asked:
    path: str
    authorization: str | None
    at_seconds: float


@dataclass
class Fault:
    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    hangs_up: bool = False
    stalls: bool = False


class StubHub:
    """`repositories` by name; weights are redirected to the store; faults are answered first, one a request."""

    def __init__(self, tls: Path | None = None) -> None:
        self.repositories: dict[str, Repository] = {}
        self.faults: list[Fault] = []
        self.faults_of_store: list[Fault] = []
        self.asked: list[Asked] = []
        self.asked_of_store: list[Asked] = []
        self.sent_bytes = 0
        self.knows_ranges = True
        self.known_tokens: set[str] = set()
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._servers = [_serve(self._answer_as_hub), _serve(self._answer_as_store)]
        scheme = "http"
        if tls is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(tls)
            self._servers[0].socket = context.wrap_socket(self._servers[0].socket, server_side=True)
            scheme = "https"
        self.host = f"localhost:{self._servers[0].server_port}"
        self.url = f"{scheme}://{self.host}"
        self.store_url = f"http://localhost:{self._servers[1].server_port}"
        for server in self._servers:
            threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()

    def add(self, model: str, files: Mapping[str, bytes]) -> Repository:
        self.repositories[model] = Repository(files)
        return self.repositories[model]

    def stop(self) -> None:
        self._stopped.set()
        for server in self._servers:
            server.shutdown()
            server.server_close()

    def files_asked(self) -> list[str]:
        return [match["name"] for each in self.asked if (match := RESOLVE.fullmatch(each.path))]

    def _answer_as_hub(self, handler: BaseHTTPRequestHandler) -> None:
        path = re.sub(r"^https?://[^/]+", "", handler.path)
        self._remember(self.asked, handler, path)
        authorization = handler.headers.get("Authorization")
        token = authorization.removeprefix("Bearer ") if authorization else None
        if self._answer_fault(handler, self.faults):
            return
        if token is not None and token not in self.known_tokens:
            self._refuse(handler, 401, "", "Invalid credentials in Authorization header")
        elif match := REVISION.fullmatch(path):
            self._answer_revision(handler, match["model"], unquote(match["revision"]))
        elif match := TREE.fullmatch(path):
            self._answer_tree(handler, self.repositories[match["model"]])
        elif match := RESOLVE.fullmatch(path):
            self._answer_file(handler, match, token)
        else:
            self._refuse(handler, 404, "", "Not found")

    def _answer_revision(self, handler: BaseHTTPRequestHandler, model: str, revision: str) -> None:
        repository = self.repositories.get(model)
        if repository is None:
            self._refuse(handler, 401, "RepoNotFound", "Repository not found")
        elif repository.renamed_to:
            location = f"/api/models/{repository.renamed_to}/revision/{revision}"
            self._send(handler, 307, b"", {"Location": location})
        elif revision not in {repository.branch, repository.commit}:
            self._refuse(handler, 404, "RevisionNotFound", f"Invalid rev id: {revision}")
        else:
            siblings = [{"rfilename": name} for name in repository.files]
            self._send(handler, 200, json.dumps({"id": model, "sha": repository.commit, "siblings": siblings}).encode())

    def _answer_tree(self, handler: BaseHTTPRequestHandler, repository: Repository) -> None:
        entries = []
        for name, content in repository.files.items():
            digest = sha256(content).hexdigest()
            entry: dict[str, Any] = {"type": "file", "path": name, "size": len(content), "oid": digest}
            if name.endswith(".safetensors"):
                entry["lfs"] = {"oid": digest, "size": len(content), "pointerSize": 134}
            entries.append(entry)
        self._send(handler, 200, json.dumps(entries).encode())

    def _answer_file(self, handler: BaseHTTPRequestHandler, match: re.Match[str], token: str | None) -> None:
        repository = self.repositories.get(match["model"])
        if repository is None:
            self._refuse(handler, 401, "RepoNotFound", "Repository not found")
        elif repository.gate and token != repository.gate:
            self._refuse(handler, 403 if token else 401, "GatedRepo", "Access to this model is restricted")
        elif match["commit"] not in {repository.branch, repository.commit}:
            self._refuse(handler, 404, "RevisionNotFound", "Invalid rev id")
        elif match["name"] not in repository.files:
            self._refuse(handler, 404, "EntryNotFound", "Entry not found")
        else:
            content, headers = repository.files[match["name"]], {"X-Repo-Commit": repository.commit}
            etag = f'"{sha256(content).hexdigest()}"'
            if match["name"].endswith(".safetensors"):
                location = f"{self.store_url}/{match['model']}/{match['name']}?signature=secret"
                headers |= {"Location": location, "X-Linked-Etag": etag, "X-Linked-Size": str(len(content))}
                self._send(handler, 302, b"", headers)
            else:
                self._send_part(handler, content, headers | {"ETag": etag})

    def _answer_as_store(self, handler: BaseHTTPRequestHandler) -> None:
        self._remember(self.asked_of_store, handler, handler.path)
        if self._answer_fault(handler, self.faults_of_store):
            return
        owner, model, name = handler.path.strip("/").partition("?")[0].split("/")
        self._send_part(handler, self.repositories[f"{owner}/{model}"].files[name], {})

    def _answer_fault(self, handler: BaseHTTPRequestHandler, faults: list[Fault]) -> bool:
        with self._lock:
            fault = faults.pop(0) if faults else None
        if fault is None:
            return False
        if fault.stalls:
            self._stopped.wait()
        if fault.hangs_up or fault.stalls:
            handler.close_connection = True
        else:
            self._send(handler, fault.status, fault.body, fault.headers)
        return True

    def _send_part(self, handler: BaseHTTPRequestHandler, content: bytes, headers: dict[str, str]) -> None:
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", handler.headers.get("Range", ""))
        if not wanted or not self.knows_ranges:
            self._send(handler, 200, content, headers)
            return
        begin, end = int(wanted[1]), min(int(wanted[2] or len(content)) + 1, len(content))
        if begin >= len(content):
            self._send(handler, 416, b"", {"Content-Range": f"bytes */{len(content)}"})
            return
        headers = {**headers, "Content-Range": f"bytes {begin}-{end - 1}/{len(content)}"}
        self._send(handler, 206, content[begin:end], headers)

    def _refuse(self, handler: BaseHTTPRequestHandler, status: int, code: str, message: str) -> None:
        self._send(handler, status, b"", {"X-Error-Code": code, "X-Error-Message": message})

    def _send(
        self, handler: BaseHTTPRequestHandler, status: int, body: bytes, headers: Mapping[str, str] | None = None
    ) -> None:
        handler.send_response(status)
        for name, value in (headers or {}).items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(body)))
        with suppress(ConnectionError):
            handler.end_headers()
            for begin in range(0, len(body) if handler.command == "GET" else 0, 1 << 16):
                sent = handler.wfile.write(body[begin : begin + (1 << 16)])
                with self._lock:
                    self.sent_bytes += sent

    def _remember(self, where: list[Asked], handler: BaseHTTPRequestHandler, path: str) -> None:
        with self._lock:
            where.append(Asked(path, handler.headers.get("Authorization"), monotonic()))


@contextmanager
def running_hub(tls: Path | None = None) -> Iterator[StubHub]:
    hub = StubHub(tls)
    try:
        yield hub
    finally:
        hub.stop()


def _serve(answer: Callable[[BaseHTTPRequestHandler], None]) -> ThreadingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            answer(self)

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None:
            """A client that hangs up is no news."""

    return Server(("127.0.0.1", 0), Handler)
