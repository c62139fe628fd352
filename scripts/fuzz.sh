#!/usr/bin/env bash
# Runs each fuzz test there is for FUZZTIME (30s), one after the other: Go fuzzes
# one at a time. An input that fails is kept by Go under testdata/fuzz, to be
# committed with the fix.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/say.sh

readonly each=${FUZZTIME:-30s}

# fuzz_tests prints "directory name" for every fuzz test of the module that it
# is called in; the test module is not part of the main one.
fuzz_tests() {
  grep -rEo --include='*_test.go' --exclude-dir=test '^func Fuzz[A-Za-z0-9_]*' . |
    sed 's,/[^/]*:func, ,' | sort || true
}

main() {
  local module dir name failed=() count=0
  for module in . test; do
    cd "$module"
    while read -r dir name; do
      headline "$name in $module/${dir#./}, for $each"
      count=$((count + 1))
      go test -run '^$' -fuzz "^$name\$" -fuzztime "$each" "$dir" </dev/null ||
        failed+=("$name in $module/${dir#./}")
    done < <(fuzz_tests)
  done

  ((count > 0)) || die "There is no fuzz test."
  ((${#failed[@]} == 0)) || die "${#failed[@]} of $count fuzz tests failed:" "${failed[@]}"
  good "$count fuzz tests, $each each"
}

main
