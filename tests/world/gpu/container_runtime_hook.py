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
REQUEST_FILE = "etc/nvidia-visible-devices"

NVIDIA_SMI = """#!/bin/sh
# Stand-in for nvidia-smi, placed by the container hook of the tests:
# a listing, or the rows of --query-gpu as with --format=csv,noheader,nounits.
fields=''
for argument in "$@"; do
  case $argument in --query-gpu=*) fields=$(echo "${argument#*=}" | tr , ' ') ;; esac
done
index=0
for uuid in UUIDS; do
  if [ -z "$fields" ]; then
    echo "GPU $index: Imaginary 24 GB (UUID: $uuid)"
  else
    row=''
    for field in $fields; do
      case $field in
        index) value=$index ;;
        uuid) value=$uuid ;;
        name) value='Imaginary 24 GB' ;;
        memory.total) value=24576 ;;
        memory.used) value=512 ;;
        memory.free) value=24064 ;;
        *) value='[N/A]' ;;
      esac
      row="$row, $value"
    done
    echo "${row#, }"
  fi
  index=$((index + 1))
done
"""


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
            print(
                "Auto-detected mode as 'legacy'\nnvidia-container-cli: device error: " + name + ": unknown device",
                file=sys.stderr,
            )
            sys.exit(1)
        uuids.append(uuid)
    return uuids


def place_nvidia_smi(root: Path, uuids: list[str]) -> None:
    program = root / "usr/bin/nvidia-smi"
    program.parent.mkdir(parents=True, exist_ok=True)
    program.write_text(NVIDIA_SMI.replace("UUIDS", " ".join(uuids)))
    program.chmod(0o755)


def make_device_nodes(container_pid: int, root: Path, count: int) -> None:
    """Enter the container's mount namespace for its /dev; /dev/null's numbers are the ones its device cgroup allows."""
    for name in ["nvidiactl", *(f"nvidia{index}" for index in range(count))]:
        node = f"{root}/dev/{name}"
        command = [
            "nsenter",
            "--target",
            str(container_pid),
            "--mount",
            "--",
            "mknod",
            "-m",
            "666",
            node,
            "c",
            "1",
            "3",
        ]
        subprocess.run(command, check=False, stderr=subprocess.DEVNULL)


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
        make_device_nodes(state["pid"], root, len(uuids))


main()
