"""Unix sockets at paths of any length; the standard library alone."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_LONGEST_ADDRESS_BYTES = 107


class SocketUnusable(Exception):
    """The message names the path and what is wrong with it."""


def listen(path: Path, mode: int, backlog: int) -> socket.socket:
    """A listening socket at `path`, in place of the file that a dead process left there."""
    if not path.parent.is_dir():
        raise SocketUnusable(f"the folder {path.parent} of the control socket does not exist")
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _remove_stale(path)
        # Before it is bound, so that nobody can connect while its mode is still a wider one.
        os.fchmod(listener.fileno(), mode)
        with _address(path) as address:
            listener.bind(address)
        path.chmod(mode)
        listener.listen(backlog)
    except OSError as error:
        listener.close()
        raise SocketUnusable(f"cannot listen on {path}: {error.strerror or error}") from error
    except SocketUnusable:
        listener.close()
        raise
    return listener


def connect(path: Path, timeout_seconds: float) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(timeout_seconds)
        with _address(path) as address:
            connection.connect(address)
    except OSError:
        connection.close()
        raise
    return connection


def _remove_stale(path: Path) -> None:
    if not path.exists():
        return
    if not path.is_socket():
        raise SocketUnusable(f"{path} exists and is not a socket")
    try:
        connect(path, timeout_seconds=1).close()
    except (ConnectionRefusedError, FileNotFoundError):
        path.unlink(missing_ok=True)
    else:
        raise SocketUnusable(f"another gateway listens on {path}")


@contextmanager
def _address(path: Path) -> Iterator[str]:
    """The path itself or, where the kernel's address would overflow, one through a descriptor of its folder."""
    if len(os.fsencode(path)) <= _LONGEST_ADDRESS_BYTES:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
