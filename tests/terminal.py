"""Runs a program where it believes that a person watches."""

import os
import pty
import subprocess
import sys
import textwrap


def on_a_terminal(program: str, **environment: str) -> str:
    """What a Python program prints on a pseudo-terminal of 100 columns."""
    main_end, program_end = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)],
        stdin=program_end,
        stdout=program_end,
        stderr=program_end,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "100", "PYTHONUTF8": "1", **environment},
    ) as process:
        os.close(program_end)
        printed = b""
        while True:
            try:
                chunk = os.read(main_end, 4096)
            except OSError:  # Linux says so when the other end is closed
                break
            if not chunk:
                break
            printed += chunk
        os.close(main_end)
        assert process.wait(30) == 0, printed.decode()
    return printed.decode()
