package backend

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/hashicorp/vault/sdk/logical"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/backend/envelope"
	"github.com/ai-keys/vault-plugin-secrets-ai-keys/backend/provider"
)

// Storage paths. Each entry has one type, in this file, and one owner, named
// in the type's comment. testdata/storage.golden freezes what is written.
const (
	configPath    = "config"
	transitPath   = "transit"
	erasPath      = "eras"
	accountPrefix = "account/"
	rolePrefix    = "role/"
	keyPrefix     = "key/"
	ledgerPrefix  = "issued/"
	dataKeyPrefix = "datakey/"
	agendaPrefix  = "agenda/"
)

// mountConfig is stored at "config"; owner: path_config.go. Durations are
// stored in nanoseconds, here and below.
type mountConfig struct {
	Encryption envelope.Mode `json:"encryption"`
	// EncryptionSince is when Encryption last changed.
	EncryptionSince time.Time `json:"encryption_since,omitzero"`
	// Workers bounds the rotations and withdrawals under way at once.
	Workers int `json:"workers"`
	// ProviderTimeout bounds one call to a provider.
	ProviderTimeout time.Duration `json:"provider_timeout"`
	// VerifyTimeout bounds how long a new key may take to start working.
	VerifyTimeout time.Duration `json:"verify_timeout"`
	// SettleAfter is how long an attempt whose outcome is unknown is looked
	// for at the provider before "nothing found" is believed.
	SettleAfter time.Duration `json:"settle_after"`
}

// unheard is how long a call that was not answered may still take effect, from
// when it was given up.
func (c *mountConfig) unheard() time.Duration { return c.ProviderTimeout + c.SettleAfter }

func defaultConfig() mountConfig {
	return mountConfig{
		Encryption:      envelope.ModeTransit,
		Workers:         32,
		ProviderTimeout: 30 * time.Second,
		VerifyTimeout:   30 * time.Second,
		SettleAfter:     2 * time.Minute,
	}
}

// accountEntry is stored at "account/<name>"; owner: path_accounts.go.
type accountEntry struct {
	Name string `json:"-"`
	// Version counts the writes of this entry, for check-and-set.
	Version           int               `json:"version"`
	Provider          string            `json:"provider"`
	AllowedRoles      []string          `json:"allowed_roles"`
	VerifyConnection  bool              `json:"verify_connection"`
	BaseURL           string            `json:"base_url,omitempty"`
	CACert            string            `json:"ca_cert,omitempty"`
	RequestsPerSecond float64           `json:"requests_per_second,omitempty"`
	Disabled          bool              `json:"disabled,omitempty"`
	Fields            map[string]string `json:"fields,omitempty"`
	// Sealed is the JSON object of the provider's secret fields, sealed.
	Sealed           envelope.Blob `json:"sealed,omitempty"`
	rotationSettings               // of the admin credential
	// Root says where the admin credential stands, as a static role's entry
	// does for its key; nil: it was never rotated here. Its sealed form is
	// Sealed, so the versions in it hold none. Owner: root.go.
	Root *keyEntry `json:"root,omitempty"`
}

func (a *accountEntry) storagePath() string { return accountPrefix + a.Name }

// Role types.
const (
	typeDynamic = "dynamic"
	typeStatic  = "static"
)

// roleEntry is stored at "role/<name>"; owner: path_roles.go.
type roleEntry struct {
	Name      string        `json:"-"`
	Version   int           `json:"version"`
	Account   string        `json:"account"`
	Type      string        `json:"type"`
	TTL       time.Duration `json:"ttl,omitempty"`
	MaxTTL    time.Duration `json:"max_ttl,omitempty"`
	MaxActive int           `json:"max_active,omitempty"`
	rotationSettings
	GracePeriod     time.Duration     `json:"grace_period,omitempty"`
	KeyNameTemplate string            `json:"key_name_template,omitempty"`
	Metadata        map[string]string `json:"metadata,omitempty"`
	WrapTTL         time.Duration     `json:"wrap_ttl,omitempty"`
	Disabled        bool              `json:"disabled,omitempty"`
	Scope           provider.Scope    `json:"scope,omitempty"`
	// Deleting says that the role is on its way out: it answers as if it were
	// gone, and a crash on the way is made good from here.
	Deleting bool `json:"deleting,omitempty"`
	// Owner is what the engine made at the provider to hang this role's keys
	// on (a service account); nil where the role names its own or needs none.
	Owner *ownerRef `json:"owner,omitempty"`
}

type ownerRef struct {
	ID  string       `json:"id"`
	Tag provider.Tag `json:"tag"` // of its ledger line
}

// place is the role's scope as the provider sees it: with the owner filled in.
func (r *roleEntry) place(def provider.Definition) provider.Scope {
	scope := maps.Clone(r.Scope)
	if scope == nil {
		scope = provider.Scope{}
	}
	if r.Owner != nil && def.Owner != nil {
		scope[def.Owner.Field] = r.Owner.ID
	}
	return scope
}

// keyEntry is stored at "key/<role>": a static role's whole state, so that each
// step of a rotation is one Put. Owner: rotation.go.
type keyEntry struct {
	Phase phase `json:"phase"`
	// Version is the number of the newest key there ever was; it never repeats.
	Version  int         `json:"version"`
	Current  *keyVersion `json:"current,omitempty"`
	Previous *keyVersion `json:"previous,omitempty"`
	// Until is when Previous is withdrawn.
	Until time.Time `json:"until,omitzero"`
	// Quiet is until when the slot that is not current gets no new key: a call about
	// it that was not answered may still take effect, and would end that key.
	Quiet time.Time `json:"quiet,omitzero"`
	// LastRotation is when Current became current.
	LastRotation time.Time `json:"last_rotation,omitzero"`
	// Withdrawn is when the leak switch was used; a new key clears it.
	Withdrawn time.Time `json:"withdrawn,omitzero"`

	// Attempt is the intent of phase minting: what to look for after a crash.
	Attempt *attempt `json:"attempt,omitempty"`

	Attempts  int       `json:"attempts,omitempty"`
	LastError string    `json:"last_error,omitempty"`
	RetryAt   time.Time `json:"retry_at,omitzero"`
	// Request is the id of the request that last rotated on demand: Vault sends
	// a request again when the plugin died under it.
	Request string `json:"request,omitempty"`
}

// attempt is one try at a new key, written before the provider is asked.
type attempt struct {
	Tag  provider.Tag   `json:"tag"`
	Slot provider.KeyID `json:"slot,omitempty"`
	// Asked is when it was planned, and when its outcome turned out to be unknown.
	Asked time.Time `json:"asked"`
	// Answered says that the call is over: see [throttled].
	Answered bool `json:"answered,omitempty"`
	// Demanded says that a caller asked for it, so that no schedule's window
	// holds it up.
	Demanded bool `json:"demanded,omitempty"`
	// Grace replaces the role's grace period for this rotation only.
	Grace *time.Duration `json:"grace,omitempty"`
}

// keyVersion is one key of a static role, inside a keyEntry.
type keyVersion struct {
	Version int            `json:"version"`
	Tag     provider.Tag   `json:"tag"`
	ID      provider.KeyID `json:"id,omitempty"`
	Secret  envelope.Blob  `json:"secret,omitempty"`
	Base    string         `json:"base,omitempty"`
	Created time.Time      `json:"created"`
	Expires time.Time      `json:"expires,omitzero"`
	// Brought says that a person made the key: it is withdrawn when it is
	// replaced or revoked, but not when its role is deleted.
	Brought bool `json:"brought,omitempty"`
	// Scope is where the key lies at the provider, owner included.
	Scope provider.Scope `json:"scope,omitempty"`
}

func (e *keyEntry) clone() *keyEntry {
	c := *e
	return &c
}

// errFault marks what storage could not do, to tell it from other failures.
var errFault = errors.New("storage")

type faultError struct{ error }

func (f faultError) Is(target error) bool { return target == errFault }
func (f faultError) Unwrap() error        { return f.error }

func storageFault(doing string, err error) error {
	return faultError{fmt.Errorf("%s: %w", doing, err)}
}

// errDamaged: a stored entry is not what this version can read.
var errDamaged = errors.New("a stored entry is damaged")

func load[T any](ctx context.Context, s logical.Storage, path string) (*T, error) {
	raw, err := s.Get(ctx, path)
	if err != nil {
		return nil, storageFault("reading "+path+" from storage", err)
	}
	if raw == nil {
		return nil, nil //nolint:nilnil // absence is an answer here, and every caller asks for it
	}
	v := new(T)
	if err := raw.DecodeJSON(v); err != nil {
		return nil, fmt.Errorf("%w: %s", errDamaged, path)
	}
	return v, nil
}

func save(ctx context.Context, s logical.Storage, path string, v any) error {
	entry, err := logical.StorageEntryJSON(path, v)
	if err != nil {
		return fmt.Errorf("encoding %s: %w", path, err)
	}
	ctx, cancel := envelope.Unhurried(ctx)
	defer cancel()
	if err := s.Put(ctx, entry); err != nil {
		return storageFault("writing "+path+" to storage", err)
	}
	return nil
}

func remove(ctx context.Context, s logical.Storage, path string) error {
	ctx, cancel := envelope.Unhurried(ctx)
	defer cancel()
	if err := s.Delete(ctx, path); err != nil {
		return storageFault("deleting "+path+" from storage", err)
	}
	return nil
}
