"""A trivial image registry on loopback whose faults a test chooses."""

import gzip
import hashlib
import io
import json
import tarfile
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
MANIFEST_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
CHUNK_BYTES = 256 * 1024


@dataclass
class StubRegistry:
    """`refusal`, if set, answers every request for a manifest; a layer in `held` stays half sent until it is let go."""

    address: str
    blobs: dict[str, bytes] = field(default_factory=dict)
    manifests: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    refusal: tuple[int, str] | None = None
    held: dict[str, threading.Event] = field(default_factory=dict)
    requests: Counter[str] = field(default_factory=Counter)

    def reference(self, name: str) -> str:
        return f"{self.address}/{name}:1"

    def add_image(self, name: str, contents: list[bytes], architecture: str = "amd64") -> list[str]:
        """An image of one layer for each content; returns the layers' digests."""
        archives = [_archive(f"file{index}", content) for index, content in enumerate(contents)]
        layers = [gzip.compress(archive, 1, mtime=0) for archive in archives]
        config = {
            "architecture": architecture,
            "os": "linux",
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": [digest_of(archive) for archive in archives]},
        }
        config_blob = json.dumps(config).encode()
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": self._blob(config_blob, "application/vnd.docker.container.image.v1+json"),
            "layers": [self._blob(one, "application/vnd.docker.image.rootfs.diff.tar.gzip") for one in layers],
        }
        self.manifests[name] = (MANIFEST, json.dumps(manifest).encode())
        return [digest_of(layer) for layer in layers]

    def add_list_for_another_processor(self, name: str) -> None:
        entry = {"mediaType": MANIFEST, "size": 1, "digest": digest_of(b"")}
        entry["platform"] = {"architecture": "s390x", "os": "linux"}
        content = {"schemaVersion": 2, "mediaType": MANIFEST_LIST, "manifests": [entry]}
        self.manifests[name] = (MANIFEST_LIST, json.dumps(content).encode())

    def damage(self, digest: str) -> None:
        content = self.blobs[digest]
        self.blobs[digest] = content[:-9] + bytes([content[-9] ^ 1]) + content[-8:]

    def _blob(self, content: bytes, kind: str) -> dict[str, Any]:
        self.blobs[digest_of(content)] = content
        return {"mediaType": kind, "size": len(content), "digest": digest_of(content)}


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


@contextmanager
def serve_registry() -> Iterator[StubRegistry]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            _, _, name, kind, reference = (f"{self.path}////").split("/", 4)
            reference = reference.rstrip("/")
            if kind == "manifests" and registry.refusal is not None:
                status, code = registry.refusal
                self._answer(status, json.dumps({"errors": [{"code": code, "message": code.lower()}]}).encode())
            elif kind == "manifests" and name in registry.manifests:
                media, content = registry.manifests[name]
                self._answer(200, content, media)
            elif kind == "blobs" and reference in registry.blobs:
                self._answer(200, registry.blobs[reference], held=registry.held.get(reference))
                registry.requests[reference] += 1
            else:
                self._answer(404 if kind else 200, b"{}")

        do_HEAD = do_GET  # noqa: N815 (the name that http.server looks for)

        def _answer(
            self, status: int, content: bytes, media: str = "application/json", held: threading.Event | None = None
        ) -> None:
            self.send_response(status)
            self.send_header("Content-Type", media)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Docker-Content-Digest", digest_of(content))
            self.end_headers()
            if self.command == "HEAD":
                return
            try:
                if held is not None:
                    half = len(content) // 2
                    self.wfile.write(content[:half])
                    held.wait()
                    content = content[half:]
                self.wfile.write(content)
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True

        def log_message(self, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        registry = StubRegistry(f"127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield registry
        finally:
            for event in registry.held.values():
                event.set()
            server.shutdown()
            thread.join()


def _archive(name: str, content: bytes) -> bytes:
    memory = io.BytesIO()
    with tarfile.open(fileobj=memory, mode="w") as archive:
        entry = tarfile.TarInfo(name)
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))
    return memory.getvalue()
