// Package bootstrap sets up the Vault around the engine from one file: plugin
// catalog, policies, mounts and what is in them, logins, MFA, audit, quotas.
//
// # The way of a file
//
//	file ──Load──▶ Desired ──Plan──▶ Plan ──Apply──▶ Result
//	                  │                 │
//	                  │                 └─ Verify: the same comparison, and proofs by use
//	                  └─ Needs: the policy that all of it takes
//
// [Load] reads a file (package file) and makes an [Object] of each thing that
// it wants in Vault. [Session.Plan] reads each of them on the server, side by
// side, compares, and changes nothing. [Session.Apply] makes the changes one
// after the other, reads each object again, and is done when the server has
// what the file says. [Session.Export] goes the other way.
//
// # Where things are
//
// One file for each area of Vault (okta.go, database.go, …) holds its kinds;
// kinds.go is the list. A [Kind] is a description: the fields, as package
// schema knows them, and hooks where Vault's API has a shape of its own. Most
// of what is known about Vault's behaviour stands in those descriptions.
//
//	desired.go    file → objects; literal.go, dangling.go: what is wrong with them
//	session.go    one run against one server: reading, references, writing
//	compare.go    one object: the file against the server
//	plan.go       all of them; secrets; what is withheld
//	unmanaged.go  what is on the server and in no file
//	apply.go      the changes, one by one
//	lock.go       two applies at once
//	record.go     what has to be known from one run to the next
//	access.go     which rights it takes
//	verify.go     proofs by use; check.go and beside it: those that the file asks for
//	destroy.go    everything in the opposite order, and what stays
//	reference.go  what may stand in a file, for people
//
// # What must hold
//
//  1. Nothing is written before everything that can be known is checked: the
//     file, the secrets, the token's rights, the state of the server.
//  2. An apply can be killed between any two writes. The next one compares
//     anew and goes on; nothing is done twice that cannot be undone.
//  3. A secret is in no output, in no error, in no saved plan and in no record.
//     Values carry secrets by name ([schema.Reference]) until the request.
//  4. What was rotated is never overwritten with what was before.
//  5. A plan writes nothing.
package bootstrap
