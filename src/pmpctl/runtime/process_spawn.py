"""Starts a unit's main process such that it cannot outlive its supervisor."""

import ctypes
import os
import signal
import subprocess
from pathlib import Path

from pmpctl.runtime.process_record import Launch

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36

libc = ctypes.CDLL(None, use_errno=True)


def become_subreaper() -> None:
    """From now on every orphan among our descendants becomes our child, whatever session it is in."""
    _prctl(PR_SET_CHILD_SUBREAPER, 1)


def spawn(launch: Launch, stdout: int, stderr: int) -> subprocess.Popen[bytes]:
    """In a session of its own; raises OSError when the program could not be executed."""
    own_pid = os.getpid()

    def in_child() -> None:
        for signum in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM):
            signal.signal(signum, signal.SIG_DFL)
        _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != own_pid:
            os._exit(1)

    return subprocess.Popen(
        launch.argv,
        env=launch.env,
        cwd=launch.working_dir,
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=stderr,
        start_new_session=True,
        umask=0o022,
        preexec_fn=in_child,  # the supervisor has one thread, so no lock is held here
    )


def oom_kills() -> int:
    """How many processes the kernel has killed for want of memory since boot; 0 where it does not tell."""
    try:
        text = Path("/proc/vmstat").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in text.splitlines() if line.startswith("oom_kill ")), 0)


def _prctl(option: int, value: int) -> None:
    libc.prctl(option, ctypes.c_ulong(value), ctypes.c_ulong(0), ctypes.c_ulong(0), ctypes.c_ulong(0))
