#!/usr/bin/env bash
# Builds the gateway's image under the name that pmpctl gives it, for this engine and those named as arguments: else the
# first tests that need it would each compile it.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

readonly BASE="pmpctl-test/base:bookworm"
PMPCTL_PYTHON="$REPOSITORY/.venv/bin/python"
[[ -x "$PMPCTL_PYTHON" ]] || { say "there is no .venv: the tests build the gateway's image" && exit 0; }
IMAGE="$("$PMPCTL_PYTHON" -c "from pmpctl.runtime.gateway_image import gateway_source; print(gateway_source('$BASE').image)")"

first_layer() { docker image inspect --format '{{index .RootFS.Layers 0}}' "$1" 2>/dev/null; }
id_at() { docker --host "$1" image inspect --format '{{.Id}}' "$IMAGE" 2>/dev/null; }

# Its name does not tell one base image of that name from a later one.
if [[ "$(first_layer "$IMAGE")" != "$(first_layer "$BASE")" ]]; then
  DOCKER_BUILDKIT=0 docker build --quiet --tag "$IMAGE" --build-arg "BASE_IMAGE=$BASE" "$REPOSITORY/gateway" \
    >"$WORLD/gateway-image.log" 2>&1 || die "building $IMAGE failed: $(tail -n 5 "$WORLD/gateway-image.log")"
  say "$IMAGE is ready"
fi
for engine in "$@"; do
  [[ "$(id_at "$ENGINE")" == "$(id_at "$engine")" ]] || docker save "$IMAGE" | docker --host "$engine" load --quiet >/dev/null
done
