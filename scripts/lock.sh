#!/usr/bin/env bash
# Writes the lock files anew from pyproject.toml and the *.in files: pinned, with hashes, without a registry's address.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
compile() { uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --quiet "$@"; }
compile pyproject.toml --group build --output-file requirements.lock
compile pyproject.toml --group build --group dev --output-file requirements-dev.lock
compile gateway/requirements.in --output-file gateway/requirements.lock
