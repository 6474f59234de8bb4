#!/usr/bin/env bash
# Builds the gateway's image under the name that pmpctl gives it: else the first tests that need it would each compile it.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

readonly BASE="pmpctl-test/base:bookworm"
PMPCTL_PYTHON="$REPOSITORY/.venv/bin/python"
[[ -x "$PMPCTL_PYTHON" ]] || { say "there is no .venv: the tests build the gateway's image" && exit 0; }
IMAGE="$("$PMPCTL_PYTHON" -c "from pmpctl.runtime.gateway_image import gateway_source; print(gateway_source('$BASE').image)")"

if ! docker image inspect "$IMAGE" >/dev/null 2>&1; then
  DOCKER_BUILDKIT=0 docker build --quiet --tag "$IMAGE" --build-arg "BASE_IMAGE=$BASE" "$REPOSITORY/gateway" >/dev/null 2>&1 ||
    die "building $IMAGE failed"
  say "$IMAGE is ready"
fi
for engine in "$@"; do
  docker --host "$engine" image inspect "$IMAGE" >/dev/null 2>&1 ||
    docker save "$IMAGE" | docker --host "$engine" load --quiet >/dev/null
done
