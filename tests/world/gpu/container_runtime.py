#!/usr/bin/env python3
"""Stand-in for NVIDIA's OCI runtime (`docker run --runtime nvidia`): adds the hook to the bundle, then becomes runc.

Installed as `nvidia-container-runtime`, beside the hook.
"""

import json
import os
import shutil
import sys
from pathlib import Path

HOOK = str(Path(__file__).resolve().parent / "nvidia-container-runtime-hook")


def add_hook(bundle: Path) -> None:
    file = bundle / "config.json"
    config = json.loads(file.read_text())
    environment = [f"PATH={os.environ['PATH']}"]
    hook = {"path": HOOK, "args": ["nvidia-container-runtime-hook", "prestart"], "env": environment}
    config.setdefault("hooks", {}).setdefault("prestart", []).append(hook)
    file.write_text(json.dumps(config))


def main() -> None:
    arguments = sys.argv[1:]
    if "create" in arguments and "--bundle" in arguments:
        add_hook(Path(arguments[arguments.index("--bundle") + 1]))
    runc = shutil.which("runc") or sys.exit("runc is not on PATH")
    os.execv(runc, ["runc", *arguments])  # noqa: S606 - becoming runc is the point


main()
