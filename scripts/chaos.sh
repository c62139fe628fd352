#!/usr/bin/env bash
# Kills Vault and the plugin under load, KILLS times, then takes the lead from
# the nodes of a cluster, FAILOVERS times, and checks each time that no key was
# lost, left alive, or handed out dead. make test does a short form of it.
#
# KILLS      how often to kill (200: about five minutes)
# FAILOVERS  how often to take the lead, by stepping down and killing in turn (10)
# ROLES      how many static roles rotate in the cluster (200)
# LEASES     how many leases are revoked there, at the least (50)
# SEED       what an earlier run printed, to choose as it did (default: a new one)
# ARGS       more arguments for go test, as in ARGS='-race -run TestKills'
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../test"
source ../scripts/say.sh

export KILLS=${KILLS:-200} FAILOVERS=${FAILOVERS:-10} ROLES=${ROLES:-200} LEASES=${LEASES:-50}
[[ -x ../bin/vault && -x ../bin/vault-plugin-secrets-ai-keys ]] ||
  die "Vault and the plugin are not built yet." "Run make build vault."

headline "$KILLS kills, and $FAILOVERS failovers with $ROLES roles${SEED:+, with the seed $SEED}"
# ARGS is a list of words on purpose.
# shellcheck disable=SC2086
AI_KEYS_REQUIRE_ALL=1 go test -count 1 -timeout 2h -v ${ARGS:-} ./chaos ||
  die "A rule was broken, or the run was cut short: see above." "The same choices again: SEED=<as printed> scripts/chaos.sh"
good "all survived"
