#!/usr/bin/env bash
# Runs every test of both modules, race-checked and in a new order each time,
# and sums them up as one. make test builds what the end-to-end tests need.
#
# ARGS                  more arguments for go test
# AI_KEYS_REQUIRE_ALL=1 a test that skips, or a race detector that is missing,
#                       is a failure (set where nobody reads the fine print: CI)
# GOTESTSUM_FORMAT      how it reads: pkgname-and-test-fails (default), testname, dots, …
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/say.sh

readonly require_all=${AI_KEYS_REQUIRE_ALL:-}

# race_flag prints -race where the race detector can be had: it needs cgo.
race_flag() {
  if [[ $(go env CGO_ENABLED) == 1 ]] && command -v "$(go env CC | cut -d ' ' -f 1)" >/dev/null; then
    printf -- -race
    return
  fi
  [[ -z $require_all ]] || die "There is no C compiler, which the race detector needs." "Install gcc or clang."
  say "Note: no C compiler, so the tests run without the race detector. Install gcc or clang for it."
}

# both_modules writes the test events of one module after the other; a failure
# in the first does not hide the second.
both_modules() {
  local status=0 module
  for module in . test; do
    # ARGS is a list of words on purpose.
    # shellcheck disable=SC2086
    (cd "$module" && go test -json -timeout 30m -shuffle=on $race ${ARGS:-} ./...) || status=1
  done
  return "$status"
}

# forbid_skips fails when a test did not run. Events of packages without tests
# carry no test's name, and a fuzz test skips the inputs that say nothing to it.
forbid_skips() {
  local skipped
  skipped=$(grep '"Action":"skip"' "$events" | grep '"Test":' | grep -cv '"Test":"Fuzz' || true)
  ((skipped == 0)) || die "Skipped (named above): $skipped, and AI_KEYS_REQUIRE_ALL is set."
}

main() {
  race=$(race_flag)
  events=$(mktemp)
  trap 'rm -f "$events"' EXIT
  export race GOTESTSUM_FORMAT=${GOTESTSUM_FORMAT:-pkgname-and-test-fails}
  export -f both_modules

  go tool -modfile=scripts/tools/go.mod gotestsum --format-hide-empty-pkg --jsonfile "$events" \
    --raw-command -- bash -c both_modules
  [[ -z $require_all ]] || forbid_skips
}

main
