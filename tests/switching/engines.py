"""What a test does to a running engine, and what it finds out about it."""

import json
import os
import signal

from pmpctl.planning.plan import LABEL_ROLE, LABEL_WORKSPACE
from tests import needs
from tests.stack import Stack


def engine_process(stack: Stack) -> int:
    """The process id of the trivial engine, seen from here."""
    if stack.runtime == "process":
        record = json.loads((stack.workspace.process_dir / "engine.json").read_text())
        return int(record["child"]["pid"])
    labels = [f"{LABEL_WORKSPACE}={stack.workspace.id}", f"{LABEL_ROLE}=engine"]
    with needs.client(stack.environment["DOCKER_HOST"]) as client:
        (container,) = client.containers.list(filters={"label": labels})
        listed = container.top(ps_args="-eo pid,args")["Processes"]
    (pid,) = [pid for pid, command in listed if "/vllm serve" in command and "python" in command.split()[0]]
    return int(pid)


def end_engine(stack: Stack, signum: signal.Signals = signal.SIGKILL) -> None:
    """It dies without a word; with SIGTERM its exit status is 0."""
    os.kill(engine_process(stack), signum)
