"""Asks vLLM's own code: a script of this folder, run by the Python that vLLM is installed for."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any


def ask_vllm(vllm_program: Path, script: str, question: Any = None) -> Any:
    """The script reads the question from stdin and prints its answer as the last line, both JSON."""
    ran = subprocess.run(
        [vllm_program.parent / "python", Path(__file__).with_name(script)],
        input=json.dumps(question),
        capture_output=True,
        text=True,
        timeout=240,
        env={"PATH": os.environ["PATH"], "HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1"},
        check=False,
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    return json.loads(ran.stdout.splitlines()[-1])
