# shellcheck shell=bash
# What the scripts of this folder share: where things lie, talking to the user, retrying, waiting.
set -euo pipefail

WORLD_SCRIPTS="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
REPOSITORY="$(cd "$WORLD_SCRIPTS/../.." && pwd)"
WORLD="${PMPCTL_TEST_WORLD:-/var/tmp/pmpctl-world}"
mkdir -p "$WORLD"
ENGINE=unix:///var/run/docker.sock
export WORLD_SCRIPTS REPOSITORY WORLD ENGINE DOCKER_HOST="$ENGINE"

say() { printf 'world: %s\n' "$*" >&2; }
die() {
  printf 'world: %s\n' "$*" >&2
  exit 1
}

# retry TIMES COMMAND...: for downloads, which fail now and then for no fault of ours.
retry() {
  local times=$1 attempt
  shift
  for ((attempt = 1; attempt <= times; attempt++)); do
    "$@" && return 0
    ((attempt < times)) && say "attempt $attempt of $times failed, trying again: $*" && sleep $((attempt * 3))
  done
  return 1
}

# wait_until SECONDS COMMAND...: polls until the command succeeds.
wait_until() {
  local deadline=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    ((SECONDS < deadline)) || return 1
    sleep 0.2
  done
}

# detached LOG COMMAND...: starts a daemon that outlives this script and holds none of its descriptors.
detached() {
  local log=$1
  shift
  setsid nohup "$@" >>"$log" 2>&1 </dev/null &
}

# engine_answers HOST: whether a Docker engine answers there.
engine_answers() { docker --host "$1" version --format '{{.Server.Version}}' >/dev/null 2>&1; }

# forget_dead_engine PID_FILE EXEC_ROOT: what a killed engine left behind would make a new one take whatever process now has
# its pid, or its containerd's, for it.
forget_dead_engine() {
  local containerd_pid_file="$2/containerd/containerd.pid"
  rm -f "$1"
  [[ -f "$containerd_pid_file" ]] || return 0
  grep -qF "$2/containerd" "/proc/$(<"$containerd_pid_file")/cmdline" 2>/dev/null || rm -f "$containerd_pid_file"
}

# image_is_current IMAGE FINGERPRINT: whether the image exists and was built from these inputs.
image_is_current() {
  [[ "$(docker image inspect --format '{{index .Config.Labels "io.pmpctl.test.fingerprint"}}' "$1" 2>/dev/null)" == "$2" ]]
}

# fingerprint FILE...: one hash over the contents of the files.
fingerprint() { sha256sum "$@" | cut -d' ' -f1 | sha256sum | cut -c1-16; }

# Images of ours that a newer build took the name from.
prune_images() { docker image prune --force --filter label=io.pmpctl.test.fingerprint >/dev/null; }

# The mirror that apt uses here; empty when it cannot be told.
debian_mirror() {
  # shellcheck disable=SC2016 # apt-get expands these, not the shell
  apt-get indextargets --format '$(CODENAME) $(COMPONENT) $(REPO_URI)' 'Created-By: Packages' 2>/dev/null |
    awk '$1 == "bookworm" && $2 == "main" && $3 ~ /^https?:/ { print $3; exit }'
}
