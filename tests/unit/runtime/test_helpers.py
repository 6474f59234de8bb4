"""Helper processes never outlive the command that needs them, whatever becomes of it."""

import signal
import subprocess
import sys
from pathlib import Path

import psutil

from pmpctl.runtime.helpers import helper
from tests.support import eventually

COMMAND = """
import time
from pmpctl.runtime.helpers import helper
order = {"paths": [__import__("sys").argv[1]], "limit_bytes": 1 << 40, "bytes_per_second": 1}
with helper("pmpctl.host.page_cache", order):
    print("begun", flush=True)
    time.sleep(600)
"""


def test_a_helper_ends_with_a_command_that_is_killed(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(bytes(1 << 20))
    with subprocess.Popen([sys.executable, "-c", COMMAND, file], stdout=subprocess.PIPE) as command:
        assert command.stdout is not None
        assert command.stdout.readline() == b"begun\n"
        [reader] = psutil.Process(command.pid).children()

        command.send_signal(signal.SIGKILL)

    eventually(lambda: not reader.is_running() or reader.status() == psutil.STATUS_ZOMBIE)


def test_a_helper_that_fails_says_why_in_its_last_words() -> None:
    with helper("pmpctl.host.page_cache", {"paths": ["/nowhere"]}) as reader:
        told = list(reader.listen(30))

        assert reader.ended
        assert told == []
        assert any("/nowhere" in line for line in reader.last_words())
