#!/usr/bin/env bash
# Checks what a machine can check. Every check runs, also after one has failed;
# what failed is named again at the end.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/say.sh

readonly modules=(. test scripts/tools)
top=$PWD

tool() { go tool -modfile="$top/scripts/tools/go.mod" "$@"; }

# layout: what stands at the top is decided in DESIGN; a new name there is a
# decision, not an accident.
check_layout() {
  local files extra
  files=$(git ls-files --cached --others --exclude-standard) || return 1
  extra=$(cut -d / -f 1 <<<"$files" | sort -u |
    grep -vxE '\..+|cmd|backend|bootstrap|examples|scripts|test|go\.(mod|sum)|Makefile|(README|CHANGELOG|CONTRIBUTING|SECURITY)\.md|LICENSE' || true)
  [[ -z $extra ]] || {
    say "not expected at the top of the tree:" "$extra"
    return 1
  }
}

# Vault's core is under another licence than its sdk and api: it may be run by
# the tests, and must never be linked.
check_licence() {
  local module status=0
  for module in . test; do
    if grep -E '^(require)?[[:space:]]*github\.com/hashicorp/vault v' "$module/go.mod"; then
      say "$module/go.mod requires Vault's core (BUSL)"
      status=1
    fi
  done
  return "$status"
}

check_config() { tool golangci-lint config verify; }

check_main() { tool golangci-lint run ./...; }

check_test() { (cd test && tool golangci-lint run ./...); }

check_format() { tool golangci-lint fmt --diff; }

# scripts/vault-server is left out: tidying it would fetch what Vault's own
# tests need, and its go.sum is what makes the build known to work.
check_tidy() {
  local module status=0
  for module in "${modules[@]}"; do
    (cd "$module" && go mod tidy -diff) || status=1
  done
  return "$status"
}

check_scripts() {
  local file status=0 files=(.ci/run scripts/*.sh)
  tool shfmt -d "${files[@]}" || status=1
  for file in "${files[@]}"; do
    bash -n "$file" || status=1
  done
  if command -v shellcheck >/dev/null; then
    shellcheck -x "${files[@]}" || status=1
  fi
  return "$status"
}

main() {
  local name started failed=()
  for name in layout licence config main test format tidy scripts; do
    started=$SECONDS
    if "check_$name"; then
      good "$name ($(duration $((SECONDS - started))))"
    else
      bad "$name"
      failed+=("$name")
    fi
  done
  ((${#failed[@]} == 0)) || die "lint: ${failed[*]}"
}

main
