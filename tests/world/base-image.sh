#!/usr/bin/env bash
# Makes the image pmpctl-test/base:bookworm with debootstrap: Python, its headers, and what the CPU vLLM links to.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

readonly IMAGE="pmpctl-test/base:bookworm"
readonly PACKAGES="ca-certificates,python3,python3-venv,libpython3.11-dev,libnuma1,libgomp1,libstdc++6"
ROOT="$WORLD/base-root"
STAMP="$WORLD/base-root.fingerprint"
CERTIFICATES=/etc/ssl/certs/ca-certificates.crt
wanted="$(fingerprint "${BASH_SOURCE[0]}" "$CERTIFICATES")"

make_root() {
  rm -rf "$ROOT" "$STAMP"
  # shellcheck disable=SC2046 # no mirror must become no argument
  debootstrap --variant=minbase --include="$PACKAGES" bookworm "$ROOT" $(debian_mirror) >"$WORLD/debootstrap.log" 2>&1
}

if [[ "$(cat "$STAMP" 2>/dev/null)" != "$wanted" ]]; then
  command -v debootstrap >/dev/null || die "there is no debootstrap: apt-get install debootstrap"
  say "making a Debian root with Python (about 100 MB to download)"
  retry 3 make_root || die "debootstrap failed: $(tail -n 5 "$WORLD/debootstrap.log")"
  rm -rf "$ROOT"/var/cache/apt/archives/*.deb "$ROOT"/var/lib/apt/lists/* "$ROOT"/usr/share/{doc,man,locale}/*
  # A build inside a container reaches the package registry as this machine does, whose certificates may include a company's own.
  cp "$CERTIFICATES" "$ROOT/etc/ssl/certs/"
  printf '[global]\ncert = %s\n' "$CERTIFICATES" >"$ROOT/etc/pip.conf"
  # As in the official Python images.
  ln -sf python3 "$ROOT/usr/bin/python"
  printf '%s\n' "$wanted" >"$STAMP"
fi

if ! image_is_current "$IMAGE" "$wanted"; then
  tar -C "$ROOT" -c . | docker import -c 'CMD ["python3"]' -c "LABEL io.pmpctl.test.fingerprint=$wanted" - "$IMAGE" >/dev/null
  prune_images
  say "$IMAGE is ready"
fi
