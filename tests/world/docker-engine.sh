#!/usr/bin/env bash
# Starts Debian's Docker engine, with the stand-in for NVIDIA's runtime and hook, unless one with them answers already.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# The engine keeps using these after a checkout is gone.
mkdir -p "$WORLD/gpu"
install -m 755 "$WORLD_SCRIPTS/gpu/container_runtime.py" "$WORLD/gpu/nvidia-container-runtime"
install -m 755 "$WORLD_SCRIPTS/gpu/container_runtime_hook.py" "$WORLD/gpu/nvidia-container-runtime-hook"
install -m 644 "$WORLD_SCRIPTS/gpu/nvidia-smi.sh" "$WORLD/gpu/"

has_gpu_stand_in() { docker info --format '{{json .Runtimes}}' 2>/dev/null | grep -q nvidia; }

if engine_answers "$ENGINE"; then
  has_gpu_stand_in || say "the running Docker engine has no stand-in for NVIDIA's runtime: GPU tests cannot run on it"
  exit 0
fi
command -v dockerd >/dev/null || die "there is no dockerd: apt-get install docker.io iptables"

# Left by a killed engine, they would make the new one believe that the old one lives whenever its pid is in use again.
for pid_file in /var/run/docker.pid /var/run/docker/containerd/containerd.pid; do
  [[ -f "$pid_file" ]] && ! grep -qE 'dockerd|containerd' "/proc/$(<"$pid_file")/comm" 2>/dev/null && rm -f "$pid_file"
done
rm -f /var/run/docker.sock

PATH="$WORLD/gpu:$PATH" detached "$WORLD/dockerd.log" dockerd --add-runtime "nvidia=$WORLD/gpu/nvidia-container-runtime"
wait_until 60 engine_answers "$ENGINE" || die "dockerd does not answer: $(tail -n 5 "$WORLD/dockerd.log")"
say "Docker engine $(docker version --format '{{.Server.Version}}') answers"
