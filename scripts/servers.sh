#!/usr/bin/env bash
# Sees to it that the servers which the tests put beside Vault are there:
#
#   PostgreSQL, MariaDB  the distribution's; on Debian, as root, they are
#                        installed if need be, without starting a service
#   moto                 AWS's IAM and STS, from the Python package index, in
#                        the cache outside the tree; bin/moto is a link to it
#
# A machine where one of them cannot be had is no error here: the tests that
# need it skip and say why, or fail if AI_KEYS_REQUIRE_ALL=1. Where nothing is
# missing this is silent and takes no time.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/say.sh

readonly requirements=scripts/moto/requirements.txt
readonly pip_minutes=10

half_built='' policy='' log=''

# Where test/servers looks too, after PATH: Debian keeps the programs of
# PostgreSQL out of PATH, and so does Homebrew.
have_postgresql() {
  { command -v initdb && command -v postgres; } >/dev/null ||
    compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null ||
    compgen -G '/usr/pgsql-*/bin/initdb' >/dev/null ||
    compgen -G '/opt/homebrew/opt/postgresql@*/bin/initdb' >/dev/null
}

have_mariadb() {
  { command -v mariadbd || [[ -x /usr/sbin/mariadbd ]] || [[ -x /usr/libexec/mariadbd ]]; } >/dev/null &&
    command -v mariadb-install-db >/dev/null
}

# have_python: new enough for moto, and with what makes a virtual environment,
# which Debian ships apart.
have_python() {
  command -v python3 >/dev/null &&
    python3 -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 10))' 2>/dev/null
}

# leave removes what a run must not leave behind, however it ends.
leave() {
  [[ -z $half_built ]] || rm -rf "$half_built"
  [[ -z $policy ]] || rm -f "$policy"
  [[ -z $log ]] || rm -f "$log"
}

# install gets packages, and keeps Debian from starting the services in them:
# the tests run servers of their own.
install() {
  headline "Installing $*"
  if [[ -d /usr/sbin && ! -e /usr/sbin/policy-rc.d ]]; then
    policy=/usr/sbin/policy-rc.d
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
  fi
  export DEBIAN_FRONTEND=noninteractive
  { apt-get update -qq && apt-get install -qq -y --no-install-recommends "$@"; } </dev/null >&2 ||
    say "apt-get did not install everything (above); going on with what there is."
  [[ -z $policy ]] || rm -f "$policy"
  policy=''
}

# distribution installs what is missing where that can be done, and says what
# is missing where it cannot.
distribution() {
  local packages=()
  have_postgresql || packages+=(postgresql)
  have_mariadb || packages+=(mariadb-server)
  # Python is wanted for moto alone.
  moto_usable || have_python || packages+=(python3 python3-venv)
  ((${#packages[@]} > 0)) || return 0
  if [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null; then
    install "${packages[@]}"
  fi
  have_postgresql || say "PostgreSQL is missing: install your system's postgresql package, or put initdb and postgres on PATH."
  have_mariadb || say "MariaDB is missing: install your system's mariadb-server package, or put mariadbd and mariadb-install-db on PATH."
}

# moto_path names moto's place: the version for people, the sum so that a
# changed list of packages is installed anew.
moto_path() {
  local version sum
  version=$(sed -n 's/^moto==//p' "$requirements")
  sum=$(cksum <"$requirements" | cut -d ' ' -f 1)
  printf '%s/ai-keys/moto-%s-%s' "${XDG_CACHE_HOME:-$HOME/.cache}" "$version" "$sum"
}

# moto_usable: what stands in its place is whole, but the Python that it links
# to may be gone.
moto_usable() { "$moto/bin/python" -I -S -c '' 2>/dev/null; }

# bounded runs what waits for a network. macOS has no timeout(1); there pip's
# own timeouts must do.
bounded() {
  if command -v timeout >/dev/null; then
    timeout "${pip_minutes}m" "$@"
  else
    "$@"
  fi
}

# install_moto builds aside and renames, so that an interrupted run leaves
# nothing half done and two runs at once do not meet.
install_moto() {
  local started=$SECONDS
  headline "Installing moto into $moto"
  mkdir -p "$(dirname "$moto")" || return 0 # it has said why
  half_built="$moto.$$.half"
  log=$(mktemp)
  # Wheels only: a source distribution would run code of its own to build.
  if ! { python3 -m venv "$half_built" &&
    bounded "$half_built/bin/python" -m pip install --disable-pip-version-check --no-input \
      --timeout 30 --retries 2 --only-binary :all: -r "$requirements"; } </dev/null >"$log" 2>&1; then
    tail -n 8 "$log" >&2
    say "moto could not be installed (above), so the tests that need it will not run." \
      "If the Python package index is out of reach, set PIP_INDEX_URL to one that is not."
    return
  fi
  moto_usable || rm -rf "$moto"
  # Unlike mv, rename(2) never moves into a directory that is already there:
  # then another run was first, and its result is as good.
  python3 -c 'import os, sys; os.rename(*sys.argv[1:])' "$half_built" "$moto" 2>/dev/null ||
    moto_usable || say "moto could not be put in its place: $moto"
  say "moto took $(duration $((SECONDS - started)))."
}

# link makes bin/moto point at moto, or be absent.
link() {
  if ! moto_usable; then
    rm -f bin/moto
  elif [[ $(readlink bin/moto) != "$moto" ]]; then
    mkdir -p bin
    # Another run at the same time may be the one that makes it.
    ln -sfn "$moto" bin/moto || [[ $(readlink bin/moto) == "$moto" ]]
  fi
}

main() {
  moto=$(moto_path)
  trap leave EXIT
  trap 'exit 130' INT TERM
  distribution
  if ! moto_usable; then
    if have_python; then
      install_moto
    else
      say "moto is missing: it needs Python 3.10 or newer with venv (python3-venv on Debian)."
    fi
  fi
  link
}

main "$@"
