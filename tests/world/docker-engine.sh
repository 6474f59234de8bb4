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

forget_dead_engine /var/run/docker.pid /var/run/docker
rm -f /var/run/docker.sock

PATH="$WORLD/gpu:$PATH" detached "$WORLD/dockerd.log" dockerd --add-runtime "nvidia=$WORLD/gpu/nvidia-container-runtime"
wait_until 60 engine_answers "$ENGINE" || die "dockerd does not answer: $(tail -n 5 "$WORLD/dockerd.log")"
say "Docker engine $(docker version --format '{{.Server.Version}}') answers"
