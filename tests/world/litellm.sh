#!/usr/bin/env bash
# Installs LiteLLM's client into a virtual environment of its own, as its many pins would not go with ours:
# `litellm.sh DIR` makes DIR/bin/python. A finished install is left alone, an outdated or half-made one is made anew.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
[[ $# -eq 1 ]] || die "usage: ${0##*/} DIR"

readonly DIR=$1 LOCK="$WORLD_SCRIPTS/litellm.lock"
wanted="$(fingerprint "$LOCK")"
[[ "$(cat "$DIR/installed" 2>/dev/null)" == "$wanted" ]] && exit

install_lock() {
  "$DIR/bin/python" -m pip install --quiet --disable-pip-version-check --no-input --only-binary :all: --require-hashes -r "$LOCK" \
    >>"$DIR/install.log" 2>&1
}

rm -rf "$DIR"
"${PYTHON:-python3}" -m venv "$DIR"
retry 3 install_lock || die "LiteLLM cannot be installed: $(grep -v '^WARNING' "$DIR/install.log" | tail -n 5)"
printf '%s\n' "$wanted" >"$DIR/installed"
