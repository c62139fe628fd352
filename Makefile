# make help says what there is. The work is done by scripts/, one a target;
# this file says what a target needs first.

SHELL := bash
MAKEFLAGS += --no-builtin-rules
.DEFAULT_GOAL := help

# What the programs report: v1.2.3 on a tag, v1.2.3-4-gabc1234 after it.
# Before the first tag the default in the code stands.
VERSION ?= $(shell git describe --tags --match 'v[0-9]*' --dirty 2>/dev/null)
version_variable := github.com/ai-keys/vault-plugin-secrets-ai-keys/backend.Version
# The commit goes into the binary (go version -m), where git can tell it.
buildvcs := $(shell git status --porcelain >/dev/null 2>&1 || echo -buildvcs=false)
# How long make fuzz spends on each fuzz test.
FUZZTIME ?= 30s
# More arguments for go test, as in: make test ARGS='-run TestSeal'.
ARGS ?=
export FUZZTIME ARGS

.PHONY: help build vault demo test chaos lint fuzz bench clean

help: ## Say what there is to make
	@[[ -t 1 && -z "$$NO_COLOR" ]] && b=$$'\e[1;36m' p=$$'\e[0m'; \
	printf 'ai-keys: a Vault secrets engine for the API keys of AI providers\n\n'; \
	sed -n 's/^\([a-z]*\):.*## \(.*\)/\1|\2/p' $(firstword $(MAKEFILE_LIST)) | \
	while IFS='|' read -r name text; do printf '  %smake %-6s%s  %s\n' "$$b" "$$name" "$$p" "$$text"; done; \
	printf '\nA first try: make demo. Before a change is sent: make lint test.\n'

build: ## Build the binaries into bin/
	@set -e; mkdir -p bin; version='$(VERSION)'; for dir in cmd/*/; do \
		name=$$(basename "$$dir"); \
		CGO_ENABLED=0 go build -trimpath $(buildvcs) \
			-ldflags "-s -w $${version:+-X $(version_variable)=$$version -X main.Version=$$version}" -o "bin/$$name" "./$$dir"; \
		echo "bin/$$name is built$${version:+, version $$version}."; \
	done

vault: ## Put a Vault server at bin/vault (yours, or built once: 10 to 20 minutes)
	@scripts/vault.sh

demo: build vault ## See it work: Vault, fake providers, keys that rotate (KEEP=1 leaves it up)
	@cd test && exec go run ./cmd/demo

test: build vault ## Run every test: unit, contract, race, end to end
	@scripts/servers.sh
	@scripts/test.sh

chaos: build vault ## Kill the plugin and the server 200 times, and let leaders fail (SEED, KILLS)
	@scripts/chaos.sh

lint: ## Check style, dependencies, tidiness and the layout
	@scripts/lint.sh

fuzz: ## Run each fuzz test for FUZZTIME (30s)
	@scripts/fuzz.sh

bench: build vault ## Measure: the inner paths, and a table of ratios against Vault's own engines
	@scripts/servers.sh
	@scripts/bench.sh

clean: ## Remove bin/, and say where the caches are
	rm -rf bin
	@echo "Kept: $${XDG_CACHE_HOME:-$$HOME/.cache}/ai-keys (the Vault server, moto) and Go's build cache."
