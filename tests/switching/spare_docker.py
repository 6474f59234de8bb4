"""A Docker engine that a test may end and start again, in a network of its own, so that no other engine notices."""

import ctypes
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from tests import needs
from tests.support import eventually

_NAMESPACE = "pmpctl-spare"
_NAMESPACE_FILE = Path("/run/netns", _NAMESPACE)
_CLONE_NEWNET = 0x40000000


class SpareDocker:
    """An engine that starts with networks in its store removes bridges of others, were they in the same network."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._daemon: subprocess.Popen[bytes] | None = None
        self.host = f"unix://{folder}/docker.sock"

    def start(self) -> None:
        if self._daemon is not None:
            return
        for left_by_a_killed_one in ("docker.pid", "exec/containerd/containerd.pid"):
            (self._folder / left_by_a_killed_one).unlink(missing_ok=True)
        with (self._folder / "dockerd.log").open("ab") as log:
            self._daemon = subprocess.Popen(
                [
                    *("nsenter", f"--net={_NAMESPACE_FILE}", "dockerd", "--host", self.host),
                    *("--data-root", str(self._folder / "data"), "--exec-root", str(self._folder / "exec")),
                    *("--pidfile", str(self._folder / "docker.pid")),
                ],
                stdout=log,
                stderr=log,
            )
        eventually(self._answers, 60)

    def end(self, signum: signal.Signals) -> None:
        if self._daemon is not None:
            self._daemon.send_signal(signum)
            self._daemon.wait(60)
            self._daemon = None

    def has_image(self, name: str) -> bool:
        with needs.client(self.host) as client:
            return bool(client.images.list(name))

    def copy_images(self, host: str, *names: str) -> None:
        """From another engine: this one reaches no registry."""
        with subprocess.Popen(["docker", "--host", host, "save", *names], stdout=subprocess.PIPE) as save:
            subprocess.run(
                ["docker", "--host", self.host, "load", "--quiet"], stdin=save.stdout, check=True, capture_output=True
            )
        assert save.returncode == 0

    @contextmanager
    def network(self) -> Iterator[None]:
        """Inside, this thread and whatever it starts are in the engine's network."""
        libc = ctypes.CDLL(None, use_errno=True)

        def enter(descriptor: int) -> None:
            if libc.setns(descriptor, _CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), "setns")

        with Path("/proc/thread-self/ns/net").open() as before, _NAMESPACE_FILE.open() as there:
            enter(there.fileno())
            try:
                yield
            finally:
                enter(before.fileno())

    def _answers(self) -> bool:
        assert self._daemon is not None
        assert self._daemon.poll() is None, (self._folder / "dockerd.log").read_text()[-2000:]
        asked = subprocess.run(["docker", "--host", self.host, "version"], capture_output=True, check=False)
        return asked.returncode == 0


@contextmanager
def spare_docker() -> Iterator[SpareDocker]:
    folder = needs.WORLD / "spare"
    _clean(folder)
    folder.mkdir(parents=True)
    subprocess.run(["ip", "netns", "add", _NAMESPACE], check=True)
    docker = SpareDocker(folder)
    try:
        subprocess.run(["ip", "-netns", _NAMESPACE, "link", "set", "lo", "up"], check=True)
        docker.start()
        yield docker
    finally:
        docker.end(signal.SIGTERM)
        _clean(folder)


def _clean(folder: Path) -> None:
    """Also after a test run that was killed."""
    for process in psutil.process_iter():
        try:
            is_ours = any(argument.startswith(f"{folder}/") for argument in process.cmdline())
        except psutil.Error:
            continue
        if is_ours and process.pid != os.getpid():
            process.kill()
    mounts = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
    for mount in reversed([mount for mount in mounts if mount.startswith(f"{folder}/")]):
        subprocess.run(["umount", "--lazy", mount], check=True)
    shutil.rmtree(folder, ignore_errors=True)
    if _NAMESPACE_FILE.exists():
        subprocess.run(["ip", "netns", "delete", _NAMESPACE], check=True)
