#!/usr/bin/env bash
# Starts two image registries on loopback: 5999 is open, 5998 wants user "pmpctl" with password "not-a-secret".
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# bcrypt of that password, so that no tool is needed to make it.
# shellcheck disable=SC2016
readonly USERS='pmpctl:$2y$05$3.N9bQPjcYQsd3mCKesr3.l8qWbvgTc13cxWdww1jgj8B4eEg5OmC'

answers() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# serve NAME PORT [AUTH-CONFIGURATION]
serve() {
  local directory="$WORLD/$1" port=$2
  answers "$port" && return
  command -v docker-registry >/dev/null || die "there is no docker-registry: apt-get install docker-registry"
  mkdir -p "$directory"
  cat >"$directory/config.yml" <<YAML
version: 0.1
log: {level: warn, accesslog: {disabled: true}}
storage:
  filesystem: {rootdirectory: $directory/data}
  delete: {enabled: true}
http: {addr: 127.0.0.1:$port}
${3:-}
YAML
  detached "$directory/registry.log" docker-registry serve "$directory/config.yml"
  wait_until 20 answers "$port" || die "registry $1 does not answer: $(tail -n 5 "$directory/registry.log")"
  say "registry $1 answers on 127.0.0.1:$port"
}

serve registry 5999
printf '%s\n' "$USERS" >"$WORLD/htpasswd"
serve auth-registry 5998 "auth: {htpasswd: {realm: pmpctl-test, path: $WORLD/htpasswd}}"
