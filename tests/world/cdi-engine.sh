#!/usr/bin/env bash
# Starts a second, newer Docker engine (28 or later) with two imaginary GPUs by CDI, on a socket and bridge of its own.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

readonly SUITE=forky
readonly BRIDGE=pmpctl-cdi0
CDI="$WORLD/cdi"
CDI_ENGINE="unix://$CDI/docker.sock"

# Debian's packages of a later release, unpacked aside; bookworm's runc stays in use, as the later one needs a newer libc.
unpack_engine() {
  local apt="$CDI/apt" mirror
  mirror="$(debian_mirror)"
  [[ -n "$mirror" ]] || die "apt names no Debian mirror to take the newer engine from"
  rm -rf "$apt" "$CDI/engine.new"
  mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial"
  printf 'deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] %s %s main\n' \
    "$mirror" "$SUITE" >"$apt/sources.list"
  # A mirror's signed list of a testing release may be older than the week that it calls itself valid for.
  local options=(-o "Dir::Etc::sourcelist=$apt/sources.list" -o Dir::Etc::sourceparts=/dev/null
    -o "Dir::State::lists=$apt/lists" -o "Dir::Cache=$apt/cache" -o Acquire::Languages=none
    -o Acquire::Check-Valid-Until=false -o APT::Sandbox::User=root -qq)
  (cd "$apt" && retry 3 apt-get "${options[@]}" update && retry 3 apt-get "${options[@]}" download docker.io containerd) \
    >"$CDI/apt.log" 2>&1 || return 1
  local package
  for package in "$apt"/*.deb; do dpkg -x "$package" "$CDI/engine.new"; done
  rm -rf "$apt" "$CDI/engine"
  mv "$CDI/engine.new" "$CDI/engine"
}

# The stand-in for nvidia-smi is one file for whatever a container asks for, so it lists what the environment names.
write_specification() {
  mkdir -p "$CDI/specs"
  # shellcheck disable=SC2016 # expanded by the stand-in, inside the container
  sed 's/@UUIDS@/$(env | sed -n "s:^IMAGINARY_GPU_[01]=::p" | sort)/' "$WORLD_SCRIPTS/gpu/nvidia-smi.sh" >"$CDI/nvidia-smi"
  chmod 755 "$CDI/nvidia-smi"
  sed "s:@NVIDIA_SMI@:$CDI/nvidia-smi:" "$WORLD_SCRIPTS/gpu/cdi.yaml" >"$CDI/specs/nvidia.yaml"
}

start_engine() {
  ip link show "$BRIDGE" >/dev/null 2>&1 || ip link add "$BRIDGE" type bridge
  ip address replace 10.231.0.1/24 dev "$BRIDGE"
  ip link set "$BRIDGE" up
  forget_dead_engine "$CDI/docker.pid" "$CDI/exec"
  rm -f "$CDI/docker.sock"
  # With networks of an earlier life in its store, the engine would remove docker0, which is another engine's.
  rm -rf "$CDI/data/network"
  PATH="$CDI/engine/usr/sbin:$CDI/engine/usr/bin:$PATH" detached "$CDI/dockerd.log" "$CDI/engine/usr/sbin/dockerd" \
    --host "$CDI_ENGINE" --data-root "$CDI/data" --exec-root "$CDI/exec" --pidfile "$CDI/docker.pid" \
    --bridge "$BRIDGE" --default-address-pool base=10.232.0.0/16,size=24 --cdi-spec-dir "$CDI/specs"
  wait_until 60 engine_answers "$CDI_ENGINE" || die "the CDI engine does not answer: $(tail -n 5 "$CDI/dockerd.log")"
  say "Docker engine $(docker --host "$CDI_ENGINE" version --format '{{.Server.Version}}') with CDI answers"
}

mkdir -p "$CDI"
write_specification
if ! engine_answers "$CDI_ENGINE"; then
  # A world that an older checkout made has it under this name.
  [[ ! -e "$CDI/engine" && -d "$CDI/root" ]] && mv "$CDI/root" "$CDI/engine"
  if [[ ! -x "$CDI/engine/usr/sbin/dockerd" ]]; then
    say "unpacking a newer Docker engine (about 60 MB to download)"
    unpack_engine || die "cannot get the newer Docker engine: $(tail -n 5 "$CDI/apt.log")"
  fi
  start_engine
fi
