#!/usr/bin/env python3
"""Stand-in for NVIDIA's container hook: gives a container the two imaginary GPUs that it asks for, and refuses others.

Installed as `nvidia-container-runtime-hook`, called by runc with `prestart` and the OCI state on stdin. It puts an
`nvidia-smi` into the container's root that lists what the container was given, device nodes (copies of /dev/null) into
its /dev, and the request, as it came, into REQUEST_FILE.
"""

import json
import subprocess
import sys
from pathlib import Path

# index or MIG index -> UUID; tests/support.py names the same ones.
DEVICES = {
    "0": "GPU-aaaaaaaa-aaaa-aaaa-aaaa-aaaaaaaaaaaa",
    "1": "GPU-bbbbbbbb-bbbb-bbbb-bbbb-bbbbbbbbbbbb",
    "1:0": "MIG-cccccccc-cccc-cccc-cccc-cccccccccccc",
}
# A MIG device is reached through the node of the GPU that it is a part of.
NODES = {DEVICES["0"]: "nvidia0", DEVICES["1"]: "nvidia1", DEVICES["1:0"]: "nvidia1"}
REQUEST_FILE = "etc/nvidia-visible-devices"
NVIDIA_SMI = Path(__file__).resolve().parent / "nvidia-smi.sh"


def granted(request: str) -> list[str]:
    """UUIDs for a value of NVIDIA_VISIBLE_DEVICES."""
    if request in ("", "none", "void"):
        return []
    if request == "all":
        return [DEVICES["0"], DEVICES["1"]]
    uuids = []
    for name in request.split(","):
        uuid = DEVICES.get(name, name)
        if uuid not in DEVICES.values():
            sys.exit(f"Auto-detected mode as 'legacy'\nnvidia-container-cli: device error: {name}: unknown device")
        uuids.append(uuid)
    return uuids


def place_nvidia_smi(root: Path, uuids: list[str]) -> None:
    program = root / "usr/bin/nvidia-smi"
    program.parent.mkdir(parents=True, exist_ok=True)
    program.write_text(NVIDIA_SMI.read_text().replace("@UUIDS@", " ".join(uuids)))
    program.chmod(0o755)


def make_device_nodes(container_pid: int, root: Path, uuids: list[str]) -> None:
    """Enter the container's mount namespace for its /dev; /dev/null's numbers are the ones its device cgroup allows."""
    for name in ["nvidiactl", *(NODES[uuid] for uuid in uuids)]:
        command = f"nsenter --target {container_pid} --mount -- mknod -m 666 {root}/dev/{name} c 1 3"
        subprocess.run(command.split(), check=False, stderr=subprocess.DEVNULL)


def main() -> None:
    if sys.argv[1:] != ["prestart"]:
        return
    state = json.load(sys.stdin)
    bundle = Path(state["bundle"])
    config = json.loads((bundle / "config.json").read_text())
    environment = dict(entry.partition("=")[::2] for entry in config["process"].get("env", []))
    if "NVIDIA_VISIBLE_DEVICES" not in environment:
        return
    request = environment["NVIDIA_VISIBLE_DEVICES"]
    uuids = granted(request)
    root = bundle / config["root"]["path"]
    record = root / REQUEST_FILE
    record.parent.mkdir(parents=True, exist_ok=True)
    record.write_text(request + "\n")
    if uuids:
        place_nvidia_smi(root, uuids)
        make_device_nodes(state["pid"], root, uuids)


main()
