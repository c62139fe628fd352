#!/usr/bin/env bash
# Measures the inner paths: every Go benchmark of the main module. The output is
# what benchstat reads; compare two runs on one quiet machine, nothing else.
#
# ARGS  more arguments for go test, as in ARGS='-count 10'
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/say.sh

# Only packages that have a benchmark, so that the others are not compiled.
dirs=$(grep -rlE --include='*_test.go' --exclude-dir=test '^func Benchmark' . | sed 's,/[^/]*$,,' | sort -u || true)
[[ -n $dirs ]] || die "There is no benchmark."

# Both are lists of words on purpose.
# shellcheck disable=SC2086
go test -run '^$' -bench . -benchmem ${ARGS:-} $dirs
