// Package envelope seals the engine's stored secrets and opens them again.
//
// # Layers
//
//	secret ── AES-256-GCM with a data key ──> Blob, beside the entry it belongs to
//	data key ── wrapped by Vault transit ──> storage "datakey/<id>"
//
// A [Keyring] owns the data keys of one mount. A [Blob] names its data key and
// is bound to the mount, to its storage path and to the format's version: moved
// anywhere else, it does not open. In [ModeBarrier] the data key itself lies in
// storage, under Vault's barrier alone, and no call leaves the process.
//
// # Where a data key's plaintext is
//
// Nowhere but in memory, as an expanded AES key, for at most
// [Settings].DataKeyTTL after transit unwrapped it; the bytes it was made from
// are overwritten at once. [Keyring.Run] refreshes a key that is in use before
// that time is over, so that a busy reader never waits for transit, and forgets
// one that is not. The standard library cannot overwrite an expanded key:
// dropping it ([Keyring.Close], [Keyring.Configure], the end of the TTL) leaves
// it to the garbage collector.
//
// A data key becomes current only after transit has unwrapped what it wrapped,
// so a policy without decrypt fails the first write and never the first read.
//
// # When transit does not answer
//
// Values open until the TTL of their data key ends, then opening fails with the
// reason: see [ErrUnreachable] and its neighbours. Nothing is ever stored
// unsealed instead. One use of transit (a login, if one is due, and the call) is
// bounded by [Settings].Timeout, one unwrap of a data key runs at a time, and
// nothing is tried twice within a request, except once with a fresh login.
//
// # Changing the transit key or server
//
// [Keyring.Move] adds a second wrapping to each data key before the new settings
// are saved, and removes the first one afterwards: whichever settings a crash
// leaves in storage, each data key has a wrapping that they can open. The new
// policy needs no more than every other use: update on datakey/plaintext,
// decrypt and rewrap. Encrypt is not needed, because the data key is sealed
// under a fresh wrapping key that the new transit key made (the inner layer of
// a stored wrapping).
//
// # The transit client
//
// It is written on net/http: the constructor of Vault's own client reads
// VAULT_* variables whatever configuration it is given, and fails if one of
// them is malformed. A plugin inherits its server's environment, so here
// nothing comes from the environment: neither address, token, namespace,
// certificates nor proxies. Redirects are not followed and replies are bounded.
//
// With auth_method approle, jwt or kubernetes, the engine logs in when it first
// needs a token, renews it at two thirds of its life and logs in anew when it
// can be renewed no more or is refused. A secret_id with a limited number of
// uses runs out: [Keyring.Prove] takes one, and so does each later login.
package envelope
