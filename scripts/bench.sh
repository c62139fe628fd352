#!/usr/bin/env bash
# Measures. First the inner paths, by the Go benchmarks of the main module, whose
# output benchstat reads; then the whole engine in a real Vault beside Vault's own
# engines, as one table of ratios (test/bench says how): some six minutes on a
# quiet machine with two cores.
#
# ARGS      more arguments for the Go benchmarks, as in ARGS='-count 10'
# ONLY      table, or inner: one of the two
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/say.sh

program=''
trap '[[ -z $program ]] || rm -f "$program"' EXIT

inner() {
  local dirs
  # Only packages that have a benchmark, so that the others are not compiled.
  dirs=$(grep -rlE --include='*_test.go' --exclude-dir=test '^func Benchmark' . | sed 's,/[^/]*$,,' | sort -u || true)
  [[ -n $dirs ]] || die "There is no benchmark."
  headline "The inner paths"
  # Both are lists of words on purpose.
  # shellcheck disable=SC2086
  go test -run '^$' -bench . -benchmem ${ARGS:-} $dirs
}

table() {
  [[ -x bin/vault && -x bin/vault-plugin-secrets-ai-keys ]] ||
    die "Vault and the plugin are not built yet." "Run make build vault."
  headline "The engine beside Vault's own"
  # A program of its own shows its progress as it goes.
  program=$(mktemp)
  (cd test && go test -c -o "$program" ./bench)
  (cd test/bench && AI_KEYS_BENCH=full AI_KEYS_REQUIRE_ALL=1 "$program" -test.run TestTable -test.timeout 1h)
}

case ${ONLY:-} in
'') inner && table ;;
inner | table) "$ONLY" ;;
*) die "ONLY is table or inner, not $ONLY." ;;
esac
