"""Who holds a TCP port of this machine."""

import contextlib
import errno
import socket
from dataclasses import dataclass

import psutil


@dataclass(frozen=True, slots=True)
class PortHolder:
    """Nothing is known of another user's process but that it is there; of one's own, never its arguments."""

    pid: int | None
    program: str

    def __str__(self) -> str:
        return f"{self.program} (pid {self.pid})" if self.pid else "a process of another user"


def port_holder(host_ip: str, port: int) -> PortHolder | None:
    """None for a port that can be bound now; raises OSError where it cannot for another reason than being held."""
    with socket.socket(socket.AF_INET6 if ":" in host_ip else socket.AF_INET) as probe:
        # Connections that linger after their server has ended do not hold a port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host_ip, port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            return _listener(port)
    return None


def _listener(port: int) -> PortHolder:
    with contextlib.suppress(psutil.Error, OSError):
        for connection in psutil.net_connections("tcp"):
            listens = connection.status == psutil.CONN_LISTEN and connection.laddr and connection.laddr.port == port
            if listens and connection.pid:
                return PortHolder(connection.pid, psutil.Process(connection.pid).name())
    return PortHolder(None, "")
