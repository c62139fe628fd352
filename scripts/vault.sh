#!/usr/bin/env bash
# Puts a Vault server at bin/vault, for development and tests:
#
#   1. the vault on PATH, when it is new enough and starts;
#   2. else the one built earlier, from the cache outside the tree;
#   3. else one built from the Go module proxy (scripts/vault-server), which
#      takes 10 to 20 minutes on two cores, once.
#
# bin/vault is a link to whichever it was. The server never becomes part of
# what the project distributes.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/say.sh

readonly package=github.com/hashicorp/vault
readonly module=scripts/vault-server
readonly oldest_minor=16 # the oldest Vault 1.x that the tests are written for

# What a cold build was seen to take, rounded up. With less than disk_least_gb
# not even a warm one ends well.
readonly disk_needed_gb=8 disk_least_gb=2 memory_needed_gb=5

build_log='' build_pid='' half_built='' lock=''

# usable_version prints the version of a Vault that can serve the tests, and
# fails, saying why, for anything else.
usable_version() {
  local text
  text=$(bounded "$1" version 2>/dev/null) || {
    say "$1 does not start; looking further."
    return 1
  }
  if ! [[ $text =~ ^Vault\ v([0-9]+)\.([0-9]+)\.([0-9]+)([^ ,]*) ]]; then
    say "$1 does not call itself Vault; looking further."
    return 1
  fi
  local major=${BASH_REMATCH[1]} minor=${BASH_REMATCH[2]}
  if ((major < 1 || (major == 1 && minor < oldest_minor))); then
    say "$1 is $major.$minor, older than 1.$oldest_minor; looking further."
    return 1
  fi
  if [[ ${BASH_REMATCH[4]} == *+ent* ]]; then
    say "$1 is an Enterprise build, which wants a licence; looking further."
    return 1
  fi
  printf '%s.%s.%s%s' "${BASH_REMATCH[@]:1:4}"
}

# bounded runs a command that answers at once or is broken. macOS has no
# timeout(1); there nothing bounds it.
bounded() {
  if command -v timeout >/dev/null; then
    timeout 30 "$@"
  else
    "$@"
  fi
}

# link makes bin/vault point at $1, in one step.
link() {
  mkdir -p bin
  ln -sf "$1" "bin/.vault.$$"
  mv -f "bin/.vault.$$" bin/vault
}

# from_path uses the vault on PATH, unless that is our own link.
from_path() {
  local found version
  found=$(type -P vault) || return 1
  [[ $(cd "$(dirname "$found")" && pwd -P) != "$(pwd -P)/bin" ]] || return 1
  version=$(usable_version "$found") || return 1
  link "$found"
  say "bin/vault is Vault $version, from PATH ($found)."
}

# from_cache uses the server built by an earlier run.
from_cache() {
  local version
  [[ -x $1 ]] || return 1
  version=$(usable_version "$1") || return 1
  link "$1"
  say "bin/vault is Vault $version, built earlier ($1)."
}

# need_go refuses to start a long build that cannot end well.
need_go() {
  local have want
  command -v go >/dev/null || die "Go is needed to build Vault, and there is none on PATH." \
    "Install Go from https://go.dev/dl/, or put a Vault 1.$oldest_minor or newer on PATH."
  want=$(awk '$1 == "go" { print $2; exit }' "$module/go.mod")
  have=$(cd / && go env GOVERSION)
  have=${have#go}
  if ! at_least "$have" "$want" && [[ $(go env GOTOOLCHAIN) == local ]]; then
    die "Go $have is too old: Vault needs $want." \
      "Install a newer Go from https://go.dev/dl/, or unset GOTOOLCHAIN so that Go fetches one itself."
  fi
}

# at_least compares dotted versions numerically; a suffix such as rc1 is ignored.
at_least() {
  local -a have want
  IFS=. read -ra have <<<"${1%%[!0-9.]*}"
  IFS=. read -ra want <<<"${2%%[!0-9.]*}"
  local i
  for i in 0 1 2; do
    ((10#${have[i]:-0} == 10#${want[i]:-0})) || {
      ((10#${have[i]:-0} > 10#${want[i]:-0}))
      return
    }
  done
}

# need_room looks at the disks that the build fills, and warns about memory.
need_room() {
  local dir free
  for dir in "$(dirname "$1")" "$(go env GOCACHE)" "$(go env GOMODCACHE)"; do
    mkdir -p "$dir"
    free=$(($(df -Pk "$dir" | awk 'NR == 2 { print $4 }') / 1024 / 1024))
    ((free >= disk_least_gb)) || die "Only $free GB are free for $dir; a first build of Vault needs $disk_needed_gb GB." \
      "Free some space, or move it: GOCACHE and GOMODCACHE for Go's caches, XDG_CACHE_HOME for the result."
    ((free >= disk_needed_gb)) ||
      say "Note: $free GB are free for $dir, and a first build of Vault fills about $disk_needed_gb GB."
  done
  if [[ -r /proc/meminfo ]]; then
    free=$(($(awk '$1 == "MemAvailable:" { print $2 }' /proc/meminfo) / 1024 / 1024))
    ((free >= memory_needed_gb)) ||
      say "Note: $free GB of memory are free, and linking Vault takes about $memory_needed_gb GB; it may be killed."
  fi
}

# take_lock waits until no other run builds into the same place. A lock whose
# process is gone is taken over. Should two runs ever get past it together,
# they waste time and nothing else: each builds into a file of its own.
take_lock() {
  local holder waited=0
  until mkdir "$1" 2>/dev/null; do
    holder=$(cat "$1/holder" 2>/dev/null || true)
    if abandoned "$holder" "$waited"; then
      say "Taking over the lock of a build that ended early."
      rm -rf "$1"
      continue
    fi
    ((waited % 60 != 0)) || say "Another build of Vault is under way (${holder:-unknown}); waiting for it: $(duration "$waited")."
    ((waited < 3600)) || die "Waited an hour for another build of Vault." \
      "If none is running, remove $1 and try again."
    sleep 3
    waited=$((waited + 3))
  done
  lock=$1
  printf '%s %s\n' "$(uname -n)" "$$" >"$lock/holder"
}

# abandoned tells whether the lock held by $1 ("host pid") has outlived its
# process. That cannot be seen for another host; a lock without a holder is
# one that ended before it could say who it was.
abandoned() {
  if [[ -z $1 ]]; then
    (($2 > 10))
  else
    [[ ${1% *} == "$(uname -n)" ]] && ! kill -0 "${1##* }" 2>/dev/null
  fi
}

# leave removes what a run must not leave behind, however it ends.
leave() {
  [[ -z $build_pid ]] || kill "$build_pid" 2>/dev/null || true
  [[ -z $half_built ]] || rm -f "$half_built"
  [[ -z $lock ]] || rm -rf "$lock"
}

# explain ends the run after a failed go command, with what its log shows.
explain() {
  tail -n 15 "$build_log" >&2
  if grep -qE 'dial tcp|no such host|proxyconnect|i/o timeout|TLS handshake|connection refused|40[37] Forbidden|context deadline' "$build_log"; then
    die "The Go module proxy could not be reached ($(go env GOPROXY))." \
      "Check the network, or set GOPROXY to a proxy that you can reach, and run make vault again." \
      "Or put a Vault 1.$oldest_minor or newer on PATH: then nothing is built."
  elif grep -qE 'no space left' "$build_log"; then
    die "The disk is full." "Free about $disk_needed_gb GB and run make vault again."
  elif grep -qE 'signal: killed' "$build_log"; then
    die "The build was killed, most likely for want of memory: linking takes about $memory_needed_gb GB." \
      "Free some memory and run make vault again; what was compiled is kept."
  fi
  die "Vault could not be built ($1)." "The whole log is $build_log." \
    "Or put a Vault 1.$oldest_minor or newer on PATH: then nothing is built."
}

# build compiles the server into its place in the cache.
build() {
  local target=$1 total started=$SECONDS
  half_built="$target.$$.half"
  build_log="$(dirname "$target")/build.log"

  headline "Building Vault from the Go module proxy: 10 to 20 minutes on two cores, once."
  say "Downloading its modules (about 0.5 GB if Go has none of them yet)."
  : >"$build_log"
  total=$( (cd "$module" && go list -deps "$package") 2>>"$build_log" | wc -l) || explain "downloading"

  say "Compiling. It is safe to interrupt: what was compiled is kept."
  (cd "$module" && exec go build -v -trimpath -ldflags '-s -w' -o "$half_built" "$package") >>"$build_log" 2>&1 &
  build_pid=$!
  watch_build "$total" "$started"
  wait "$build_pid" || {
    build_pid=''
    explain "compiling"
  }
  build_pid=''
  mv "$half_built" "$target"
  half_built=''
  say "Built in $(duration $((SECONDS - started)))."
}

# watch_build shows how far the compiler is: in place for a person, a line each
# minute in a log. Packages that Go has in its cache are never listed, so the
# count is of those compiled now, and the total is an upper bound.
watch_build() {
  local done_now text tick=0
  while kill -0 "$build_pid" 2>/dev/null; do
    sleep 1
    tick=$((tick + 1))
    done_now=$(grep -cE '^[A-Za-z0-9./_~+-]+$' "$build_log" || true)
    text="  $(duration $((SECONDS - $2))): $done_now packages compiled, at most $1 to do"
    if [[ -t 2 && -z ${CI:-} ]]; then
      printf '\r%s ' "$text" >&2
    elif ((tick % 60 == 0)); then
      say "$text"
    fi
  done
  [[ ! -t 2 || -n ${CI:-} ]] || printf '\n' >&2
}

# cached_path names the build's place: the version for people, the hash so that
# a changed module is built anew.
cached_path() {
  local version hash cache
  version=$(awk -v p="$package" '$1 == p { sub(/^v/, "", $2); print $2; exit }' "$module/go.mod")
  hash=$(cksum <"$module/go.sum" | cut -d ' ' -f 1)
  cache=${XDG_CACHE_HOME:-$HOME/.cache}/ai-keys
  printf '%s/vault-%s-%s-%s-%s/vault' "$cache" "$version" \
    "$(uname -s | tr '[:upper:]' '[:lower:]')" "$(uname -m)" "$hash"
}

main() {
  local cached
  from_path && return
  cached=$(cached_path)
  from_cache "$cached" && return

  need_go
  mkdir -p "$(dirname "$cached")"
  need_room "$cached"
  trap leave EXIT
  trap 'exit 130' INT TERM
  take_lock "$(dirname "$cached")/lock"
  from_cache "$cached" && return # the run we waited for has built it
  build "$cached"
  from_cache "$cached" || die "The Vault that was just built does not start." "Try: $cached version"
}

main "$@"
