// Package backend is the ai-keys secrets engine. This page is its map.
//
// # Where to look
//
// A path of the API is in the file of its first segment: rotate-role/<role> is
// in path_rotate_role.go, creds/<role> in path_creds.go (its leases in
// secret_key.go), config/transit in path_config_transit.go. Below the paths:
//
//	dynamic.go    a leased key: intent, provider, live, lease
//	rotation.go   the life of a static key: a state machine that knows no Vault types
//	static.go     what its steps mean at the three kinds of providers
//	first_key.go  how a static role comes by its first key
//	identify.go   which key a person brought, and whether a role may hold it
//	role_keys.go  what writing or deleting a role does to its keys
//	ledger.go     every key asked for outside a rotation, a line each (line.go)
//	ask.go        asking a provider under a line; owner.go is about what keys hang on
//	withdraw.go   settling unknown outcomes and withdrawing; erase.go is what that
//	              means at a provider
//	slots.go      keys that have a place instead of a name: two fixed slots
//	scheduler.go  what is due and when; queue.go runs it, and shares the workers
//	              between accounts
//	start.go      what a start does; agenda.go stores what the next one begins with
//	root.go       the life of an admin credential: the same machine on an account;
//	              root_account.go is what accounts have to do with it
//	sessions.go   who is using an admin credential right now
//	reconcile.go  a provider's own list, judged; records.go what the mount knows
//	eras.go       telling this mount's keys from those of a copy of it
//	reseal.go     moving stored secrets to another data key
//	session.go    an account opened for one operation; names of keys
//	accounts.go   an account's fields, and who uses it
//	storage.go    every stored type and its path; table.go the caches before them
//	standings.go  what memory keeps of every role, so that metrics need no storage
//	meters.go     what is counted; metered.go counts it around a provider's calls
//	news.go       events for whoever subscribes to them
//	locks.go      one lock a name
//	problem.go    which error is answered with which status; nowhere else
//	fields.go     refusing what a path does not take; schema.go and
//	              provider_fields.go say what paths do take
//
// Package provider knows the vendors, package envelope the sealing. Dependencies
// run one way: backend to both of them, never back.
//
// # Storage
//
//	config                  mount-wide settings
//	transit                 how to reach transit; its credential is under the barrier only
//	datakey/<id>            one data key, wrapped by transit
//	account/<name>          an account; its secret fields sealed
//	role/<name>             a role's settings
//	key/<role>              a static role's whole state
//	issued/<account>/<tag>  a ledger line
//	agenda/<n>              when roles are due: saves time at a start, decides nothing
//	eras                    until when each process that made keys may have made some
//
// What is sealed is bound to its path and to the mount. Ids, tags and times stay
// outside the seal, so that status, inventory and what is due need no transit.
//
// # A read of creds/<role>
//
// Static: role, account and key entry come from the cache, the data key from
// memory; no call leaves the process ([Backend.readStatic]). Caches are dropped by
// our own writes and by Vault's invalidations.
//
// Dynamic: a ledger line intent is stored, the provider mints under the line's
// tag, the line becomes live, Vault makes the lease ([Backend.readDynamic]). There
// is no rollback: whatever fails after the first write leaves its line, and the
// queue finds the tag at the provider and withdraws it. Errors and crashes share
// this one way back ([Backend.workLine]). A live line whose lease was never stored
// is withdrawn when no lease of it can be alive any more.
//
// # A start
//
// Reads are served at once, from the first one on. What the agenda says is due
// begins with one read of storage; then the ledger is read, and every role looked
// at, unhurried, which makes good whatever the agenda does not know
// ([Backend.fillOnce]). Requests that need the whole ledger wait for it.
//
// # A provider under pressure
//
// Every call passes a gate, one for each host of an account: a delay that the
// provider asks for holds for everybody, and after several calls without an answer
// further ones fail at once, but for one probe at the end of each pause. Only the
// leak switch goes through a closed gate ([provider.Urgent]). The queue gives no
// account more than half of its workers while others have work.
//
// # A rotation
//
//	stable --asked--> minting --key stored--> overlap --grace over--> stable
//
// Each arrow is one write of key/<role>, made before anything relies on it. The
// new key is verified before it is stored, and stored before the old one is
// touched. A crash in minting is answered by looking for the attempt's tag, never
// by asking again; as there may be more of it later, it goes to the ledger, which
// looks on. A slot gets no new key while an unanswered call may still regenerate it.
// The first key of a role is minted under a ledger line instead, so that a role
// that could not be made leaves nothing behind but that line.
//
// An account's admin credential is rotated by the same machine; its state is in
// the account's entry, beside the sealed credential, and there is no grace: the
// old one goes when the operations that began with it have ended.
//
// # Reconciling
//
// The provider is looked at first, and the records then: a key is on record
// before it is asked for, so what the list shows and no record has is unknown
// here ([Backend.takeCensus]). It is withdrawn only by way of the ledger, and only
// if its name bears this mount's mark and an era that this storage knows.
//
// # What must hold
//
//  1. The stored current key of a static role works, always.
//  2. Every key asked for is in the ledger or in a role's entry, or is found by
//     its tag and withdrawn.
//  3. At rest a static role has one live key, during a grace two.
//  4. An unknown outcome is looked into, never asked again blindly.
//  5. Withdrawing is idempotent and retried for ever; gone is success.
//  6. No secret is in logs, errors, lists, status, or storage outside a seal.
//  7. A key that the engine did not make and nobody brought is never touched.
//  8. A leased key is given an expiry at the provider, where that exists.
//
// fault_test.go holds the engine to these rules.
//
// # Locks
//
// One lock a role, a line, a two-slot resource, an account, and an account's
// imports, by name; they are taken in the order line, role, slot, imports, account.
// Reads of keys take none. A role's or a line's lock is held across the network by
// the one operation on it, an account's while a write of it is tried at the provider
// or its admin credential is replaced; disabling the account interrupts that. The
// lock of its imports is held from asking whether another role has the key until it
// is stored, so that no two roles come to hold one key. The leak switch interrupts a rotation, an import or a first read under
// a role's lock.
package backend
