// Package provider knows how each AI provider issues and withdraws API keys.
//
// A provider is one file (openai.go, with openai_<what>.go beside it where that
// grows too long), one fixture (testdata/openai.txtar) and one line in all.go. The rest of the engine sees only the types in this file.
// Nothing here touches Vault storage, locks, leases or schedules: a provider
// call is a plain function of its arguments and the network, made once. What
// to do about a failure is the caller's decision, which is why every error
// says what is known about its effect: see [ErrRejected] and its neighbours.
package provider

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"time"
)

// A Definition is what the engine must know about a provider before it talks
// to it. It is data: building one makes no call.
type Definition struct {
	// Name is stored, and appears in API paths and policies. It never changes.
	Name string
	// Title is the vendor's own spelling, for people: "Azure OpenAI".
	Title string
	// Docs is the page of the provider's key API, for people.
	Docs string
	// BaseURL is the vendor's documented base of the admin API, version
	// segment included. An account may override it.
	BaseURL string

	// Account lists what an operator gives once per account, Role what a role
	// narrows. Both appear flat in the engine's API.
	Account, Role []Field

	// MaxName is the longest key name the provider takes, in bytes; 0 means
	// that keys carry no name of ours (two-slot, import).
	MaxName int
	// Expiry is the lifetime that the provider can enforce on a key by itself;
	// nil means that its keys live until they are withdrawn.
	Expiry *Expiry

	// Exactly one of the next three is set: it says which life a key leads here.

	// Mint: any number of keys, each created and deleted by API.
	Mint func(*Client, Account) Minter
	// TwoSlot: two fixed keys, one regenerated at a time.
	TwoSlot func(*Client, Account) TwoSlotter
	// Import: no create call; a person brings the key.
	Import func(*Client, Account) Keys

	// Owner is set where a minted key hangs on something that must exist
	// before it, such as a service account, and which the engine may make.
	Owner *Owner
	// Root is set where the account's admin credential can be replaced by API.
	Root *Root
	// Inventory is set where the provider lists what it holds; without it there
	// is nothing to compare the engine's own records with.
	Inventory func(*Client, Account) Inventory
	// Slots names the two keys of a two-slot provider, as key ids.
	Slots [2]KeyID
	// Resource tells two-slot roles apart: two roles with the same answer
	// would regenerate each other's keys.
	Resource func(Account, Scope) string
}

// Life is how keys of a provider come to be and end.
type Life string

// The three lives; each provider leads one.
const (
	LifeMint    Life = "mint"
	LifeTwoSlot Life = "two-slot"
	LifeImport  Life = "import"
)

// Life says which of the three constructors is set.
func (d Definition) Life() Life {
	switch {
	case d.Mint != nil:
		return LifeMint
	case d.TwoSlot != nil:
		return LifeTwoSlot
	default:
		return LifeImport
	}
}

// Open gives the calls that every life has.
func (d Definition) Open(c *Client, a Account) Keys {
	switch {
	case d.Mint != nil:
		return d.Mint(c, a)
	case d.TwoSlot != nil:
		return d.TwoSlot(c, a)
	default:
		return d.Import(c, a)
	}
}

// A FieldType is the shape of a field's value in the engine's API. Values are
// kept as strings; a List is kept joined by commas, which is also how Vault
// takes lists, so an element never holds a comma.
type FieldType int

// The shapes a field can have.
const (
	String FieldType = iota
	List
)

// A Field is one value of an account or a role. Apart from admin_key it bears
// the vendor's own parameter name.
type Field struct {
	Name, Help string
	Type       FieldType
	// Secret values are sealed, and no path returns them.
	Secret bool
	// Optional fields may be absent; Default is what is used then.
	Optional bool
	Default  string
	// Steers says that the value decides where the account's secrets are sent:
	// whoever changes it must give them anew.
	Steers bool
	// Fixed values place keys at the provider (a project, a resource): they
	// cannot change while the role or account exists.
	Fixed bool
}

// Expiry is the range of lifetimes that a provider accepts for a key.
type Expiry struct{ Min, Max time.Duration }

// Keys is what the engine can do with the keys of every provider.
//
// Every method makes its calls once, never retries, and returns an error that
// wraps exactly one of [ErrRejected], [ErrThrottled], [ErrUnreachable],
// [ErrUnknown], [ErrDead] (Verify only) or [ErrUnsupported]. No error carries
// a byte of a request's or a reply's body.
type Keys interface {
	// Check reports whether the admin credential is accepted, without changing
	// anything. An error that wraps [ErrUnproven] means that the provider
	// answered and did not refuse the credential, but did not confirm it.
	Check(ctx context.Context) error
	// Verify reports whether a key works now: nil if the provider accepts it,
	// [ErrDead] if it refuses it, anything else if that could not be found out.
	Verify(ctx context.Context, scope Scope, secret Secret) error
	// Identify looks for a key that a person brought among those in the scope.
	// No error means that the whole list was had.
	Identify(ctx context.Context, scope Scope, secret Secret) (Match, error)
	// Revoke makes a key stop working, for good where the provider can.
	// A key that is already gone is success once the provider confirms that: a
	// 404 alone, which a wrong base URL answers too, is [ErrUnknown]; the list
	// that would show the key has to be had and to lack it.
	Revoke(ctx context.Context, scope Scope, id KeyID) error
}

// A Minter can create any number of keys and delete each of them.
type Minter interface {
	Keys
	// Mint creates one key named by its tag. After [ErrUnknown] a key may
	// exist: the caller looks for the tag with Find before it does anything else.
	Mint(ctx context.Context, o Order) (Key, error)
	// Find lists the keys named tag: what a crash may have left behind.
	Find(ctx context.Context, scope Scope, tag Tag) ([]KeyID, error)
}

// A TwoSlotter always has exactly two keys; regenerating one kills its old
// value at once and leaves the other valid.
type TwoSlotter interface {
	Keys
	// Read returns the present value of a slot and changes nothing.
	Read(ctx context.Context, scope Scope, slot KeyID) (Key, error)
	// Regenerate replaces the value of a slot. Doing it again after
	// [ErrUnknown] is safe as long as nobody was given the slot's value.
	Regenerate(ctx context.Context, scope Scope, slot KeyID) (Key, error)
}

// An Owner is what a minted key belongs to at the provider (OpenAI's service
// account). The engine makes one for a role that names none, and removes it
// with the role.
type Owner struct {
	// Field is the role field that holds the owner's id.
	Field string
	Open  func(*Client, Account) Owners
}

// Owners makes and removes owners, under the same error contract as [Keys].
type Owners interface {
	// Create makes an owner named tag that holds no key.
	Create(ctx context.Context, scope Scope, tag Tag) (id string, err error)
	// Find lists the owners named tag.
	Find(ctx context.Context, scope Scope, tag Tag) (ids []string, err error)
	// Delete removes an owner, and with it every key it still holds. One that
	// is already gone is success once a list confirms it, as for Keys.Revoke.
	Delete(ctx context.Context, scope Scope, id string) error
}

// A Root is the admin credential of an account, where the provider lets one
// admin credential make another.
type Root struct {
	// Field is the account's secret field that holds it.
	Field string
	Open  func(*Client, Account) Rooter
}

// A Rooter replaces an account's admin credential, under the same error
// contract as [Keys]. Whether a credential works is asked with Keys.Check.
type Rooter interface {
	// Self is the id of the credential that these calls are made with; "" if
	// the provider does not tell it apart from others.
	Self(ctx context.Context) (KeyID, error)
	// Mint makes a credential named tag, with the rights of the present one.
	// After [ErrUnknown] one may exist: the caller looks for the tag with Find.
	Mint(ctx context.Context, tag Tag) (Key, error)
	// Find lists the credentials named tag.
	Find(ctx context.Context, tag Tag) ([]KeyID, error)
	// Revoke ends a credential. One that is already gone is success once a list
	// confirms it, as for Keys.Revoke.
	Revoke(ctx context.Context, id KeyID) error
}

// An Inventory lists what an account holds at its provider, whoever made it,
// under the same error contract as [Keys].
type Inventory interface {
	// List returns the whole of it or an error: half a list would make keys look
	// gone. known are the scopes that roles have; with everywhere it looks into
	// every other place of the account as well (projects that no role names any
	// more), else only into known ones.
	List(ctx context.Context, known []Scope, everywhere bool) ([]Found, error)
}

// A FoundKind is what a [Found] is.
type FoundKind string

// What an inventory tells apart.
const (
	FoundKey   FoundKind = "key"
	FoundOwner FoundKind = "owner" // see [Owner]
	FoundRoot  FoundKind = "root"  // an admin credential, see [Root]
)

// A Found is one thing on an [Inventory].
type Found struct {
	Kind FoundKind
	ID   string
	// Name is what it is called at the provider. It need not be a tag of ours.
	Name string
	// Owner is the id of what a key hangs on; "" where that is a person, or where
	// the provider has no owners.
	Owner string
	// Scope is what withdrawing it takes.
	Scope Scope
	// Created is when it was made; zero: the provider does not say.
	Created time.Time
	// LastUsed is when it was used last; zero: never, or the provider does not say.
	LastUsed time.Time
	// Ended says that it is still listed, but works no more.
	Ended bool
}

// An Order asks for one key.
type Order struct {
	Tag   Tag
	Scope Scope
	// Lifetime is how long the provider shall let the key live; 0 asks for no
	// limit. It lies within the provider's [Expiry].
	Lifetime time.Duration
}

type (
	// Tag is the label the engine chooses before it asks for a key, and the
	// whole name of the key at the provider: letters, digits, '-', '_', '.'.
	Tag string
	// KeyID is the provider's name for a key. It is not secret.
	KeyID string
	// Scope is a role's own fields, by [Field] name: project, permissions.
	Scope map[string]string
)

// An Account is an operator's access to a provider, by [Field] name. It lives
// for one call: its secrets come out of a seal and go nowhere else.
type Account struct {
	Fields  map[string]string
	Secrets map[string]Secret
}

// A Key is what a provider just issued.
type Key struct {
	ID     KeyID
	Secret Secret
	// Expires is when the provider will end the key by itself; zero: never.
	Expires time.Time
	// Base is where the key is used, when that is not the account's base URL.
	Base string
}

// A Match is what a provider's own list says of a key that a person brought.
type Match struct {
	// Key is the only one that it can be. Without an id none can, or several.
	Key Key
	// Listed has every key on the list. It is nil only where the provider has none.
	Listed map[KeyID]Fit
}

// A Fit says how what a list shows of a key goes with a secret.
type Fit int

// From no to yes, so that the better of two is the larger.
const (
	FitsNot     Fit = iota // it is another key
	FitsPerhaps            // too little is shown to tell
	Fits
)

// issued is how every adapter returns a new key: a success without an id or a
// secret means that the API was misread, and something may have been created.
func issued(k Key) (Key, error) {
	if k.ID == "" || k.Secret.Reveal() == "" {
		return Key{}, fmt.Errorf("the reply holds no key: %w", ErrUnknown)
	}
	return k, nil
}

// A Secret is a string that does not print, format or marshal itself. It sits
// behind a pointer because fmt ignores String methods inside unexported fields
// and under verbs such as %d: what it prints there is an address. So secrets
// are compared by Equal, not by ==.
type Secret struct{ p *string }

// NewSecret wraps s.
func NewSecret(s string) Secret { return Secret{&s} }

// Reveal returns the secret. Each caller is a place to review.
func (s Secret) Reveal() string {
	if s.p == nil {
		return ""
	}
	return *s.p
}

// Equal compares in a time that does not tell how much of it matched.
func (s Secret) Equal(t Secret) bool {
	return subtle.ConstantTimeCompare([]byte(s.Reveal()), []byte(t.Reveal())) == 1
}

func (s Secret) String() string { return "[secret]" }

// GoString is String, for %#v.
func (s Secret) GoString() string { return s.String() }

// MarshalText always fails: a secret is sealed, never marshalled.
func (s Secret) MarshalText() ([]byte, error) {
	return nil, errors.New("provider: a Secret is never marshalled; seal it first")
}

// What a caller can know about a failed call, and so what it can do.
var (
	// ErrRejected: the provider said no and nothing changed there. Report it.
	ErrRejected = errors.New("rejected by the provider")
	// ErrThrottled: nothing changed there. Try later: see [CallError.RetryAfter].
	ErrThrottled = errors.New("throttled by the provider")
	// ErrUnreachable: the request never left. Nothing changed there. Try later.
	ErrUnreachable = errors.New("provider unreachable")
	// ErrUnknown: something may have changed. Find out before anything else.
	ErrUnknown = errors.New("outcome unknown")

	// ErrDead is Verify's answer for a key that the provider refuses.
	ErrDead = errors.New("key refused by the provider")
	// ErrUnproven is Check's answer when a credential was not refused, but not
	// confirmed either.
	ErrUnproven = errors.New("credential not confirmed by the provider")
	// ErrUnsupported: the provider has no call for this; a person must do it.
	ErrUnsupported = errors.New("not offered by the provider's API")
)

// CallError describes a failed call without any byte of its bodies or headers.
type CallError struct {
	Method, Path string
	Status       int // HTTP status; 0: no reply was read
	// RetryAfter is how long the provider asked us to wait; 0: it did not say.
	RetryAfter time.Duration
	Kind       error
}

func (e *CallError) Error() string {
	if e.Status == 0 {
		return fmt.Sprintf("%s %s: %v", e.Method, e.Path, e.Kind)
	}
	return fmt.Sprintf("%s %s: status %d: %v", e.Method, e.Path, e.Status, e.Kind)
}

func (e *CallError) Unwrap() error { return e.Kind }

// RetryAfter is how long the provider asked to wait in err, or 0.
func RetryAfter(err error) time.Duration {
	if ce, ok := errors.AsType[*CallError](err); ok {
		return ce.RetryAfter
	}
	return 0
}
