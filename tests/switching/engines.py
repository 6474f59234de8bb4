"""What a test does to running units, and what it finds out about them."""

import json
import os
import signal

from pmpctl.planning.plan import LABEL_ROLE, LABEL_WORKSPACE, Role
from tests import needs
from tests.stack import Stack

_COMMANDS: dict[Role, str] = {"engine": "/vllm serve", "gateway": "-m pmp_gateway"}


def process_of(stack: Stack, role: Role) -> int:
    """The process id of the program itself, seen from here."""
    if stack.runtime == "process":
        record = json.loads((stack.workspace.process_dir / f"{role}.json").read_text())
        return int(record["child"]["pid"])
    labels = [f"{LABEL_WORKSPACE}={stack.workspace.id}", f"{LABEL_ROLE}={role}"]
    with needs.client(stack.environment["DOCKER_HOST"]) as client:
        (container,) = client.containers.list(filters={"label": labels})
        listed = container.top(ps_args="-eo pid,args")["Processes"]
    (pid,) = [pid for pid, command in listed if _COMMANDS[role] in command and "python" in command.split()[0]]
    return int(pid)


def end_engine(stack: Stack, signum: signal.Signals = signal.SIGKILL) -> None:
    """It dies without a word; with SIGTERM its exit status is 0."""
    os.kill(process_of(stack, "engine"), signum)
