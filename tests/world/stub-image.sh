#!/usr/bin/env bash
# Builds the image pmpctl-test/stub-engine:1: the base image with the trivial engine as its `vllm`, entered as the real one.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

readonly IMAGE="pmpctl-test/stub-engine:1"
readonly BASE="pmpctl-test/base:bookworm"
wanted="$(fingerprint "${BASH_SOURCE[0]}" "$WORLD_SCRIPTS/stub_engine.py")-$(docker image inspect --format '{{.Id}}' "$BASE" | cut -c8-19)"

if ! image_is_current "$IMAGE" "$wanted"; then
  context="$(mktemp -d)"
  trap 'rm -rf "$context"' EXIT
  install -m 755 "$WORLD_SCRIPTS/stub_engine.py" "$context/vllm"
  printf 'FROM %s\nCOPY vllm /usr/local/bin/vllm\nENTRYPOINT ["vllm", "serve"]\n' "$BASE" >"$context/Dockerfile"
  DOCKER_BUILDKIT=0 docker build --quiet --label "io.pmpctl.test.fingerprint=$wanted" --tag "$IMAGE" "$context" >/dev/null 2>&1 ||
    die "building $IMAGE failed"
  prune_images
  say "$IMAGE is ready"
fi
