// Package chaos kills what runs the engine, again and again, while it is under
// load, and proves that no key is lost, none is left alive, and no reader is
// handed a dead one. It has tests only.
//
// Vault, with raft storage, and the plugin are processes of their own, and
// SIGKILL ends them: at any moment, or while the provider is being asked, before
// or after it has acted. The fake providers live in the test, which survives;
// their book of keys is the judge. They are slow, answer with errors, and do
// things without saying so, or when nobody waits for them any more. A second test has three nodes, and takes the lead from
// whichever has it, by stepping down and by SIGKILL in turn.
//
// # What a reader may be handed
//
// Each read of creds/<role> has an interval: from before the request is sent
// until its answer is here. The book tells when a key died.
//
//   - A key that died before the interval began is always a failure, and so is
//     one that the provider never made.
//   - A role that rotates by its schedule alone, with a grace, never serves a key
//     that dies within that grace from the beginning of the interval: the key was
//     current at some moment after it.
//   - Otherwise a key that died inside the interval does not count: a leak
//     switch, a deletion or a rotation without grace may have come between.
//   - A leased key must live until the answer is here, or until its shortest
//     lease is over, unless its role was withdrawn or deleted.
//
// # What is there at the end
//
// The load stops, the faults end, and the engine comes to rest. Then the live
// keys at the provider are exactly those of the inventory; each static role has
// one; a person's keys are untouched; no name was asked for twice; and when every
// role is deleted, nothing is left. A key that was imported without an answer may
// still be its person's alone. No log holds a secret.
//
// # Running it again
//
// SEED decides what the load, the faults and the killer choose, each from its own
// sequence; the moments at which processes meet belong to the machine. KILLS is
// how often: a few in make test, 200 with scripts/chaos.sh. FAILOVERS, ROLES and
// LEASES are the size of the test with three nodes.
package chaos
