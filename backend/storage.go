package backend

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/hashicorp/vault/sdk/logical"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/backend/envelope"
	"github.com/ai-keys/vault-plugin-secrets-ai-keys/backend/provider"
)

// Storage paths. Each entry has one type, in this file, and one owner, named
// in the type's comment. testdata/storage.golden freezes what is written.
const (
	configPath    = "config"
	transitPath   = "transit"
	accountPrefix = "account/"
	rolePrefix    = "role/"
	keyPrefix     = "key/"
	ledgerPrefix  = "issued/"
	dataKeyPrefix = "datakey/"
)

// cacheSize bounds each in-memory table, in entries. An entry is about 1 KiB.
const cacheSize = 16384

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
	Sealed envelope.Blob `json:"sealed,omitempty"`
}

func (a *accountEntry) storagePath() string { return accountPrefix + a.Name }

// Role types.
const (
	typeDynamic = "dynamic"
	typeStatic  = "static"
)

// roleEntry is stored at "role/<name>"; owner: path_roles.go.
type roleEntry struct {
	Name             string            `json:"-"`
	Version          int               `json:"version"`
	Account          string            `json:"account"`
	Type             string            `json:"type"`
	TTL              time.Duration     `json:"ttl,omitempty"`
	MaxTTL           time.Duration     `json:"max_ttl,omitempty"`
	MaxActive        int               `json:"max_active,omitempty"`
	RotationPeriod   time.Duration     `json:"rotation_period,omitempty"`
	RotationSchedule string            `json:"rotation_schedule,omitempty"`
	RotationWindow   time.Duration     `json:"rotation_window,omitempty"`
	GracePeriod      time.Duration     `json:"grace_period,omitempty"`
	KeyNameTemplate  string            `json:"key_name_template,omitempty"`
	Metadata         map[string]string `json:"metadata,omitempty"`
	WrapTTL          time.Duration     `json:"wrap_ttl,omitempty"`
	Disabled         bool              `json:"disabled,omitempty"`
	Scope            provider.Scope    `json:"scope,omitempty"`
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
	Tag   provider.Tag   `json:"tag"`
	Slot  provider.KeyID `json:"slot,omitempty"`
	Asked time.Time      `json:"asked"`
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
	Secret  envelope.Blob  `json:"secret"`
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

// A table is one storage prefix with a cache of decoded entries before it. The
// entries it hands out are shared: a caller who wants to change one copies it.
type table[T any] struct {
	prefix string
	name   func(*T, string) // tells a decoded entry its name

	cache *lru.Cache[string, *T]
	mu    sync.Mutex // orders fills of the cache against writes
	gen   uint64     // counts writes and invalidations
}

func newTable[T any](prefix string, name func(*T, string)) *table[T] {
	cache, err := lru.New[string, *T](cacheSize)
	if err != nil {
		panic(err) // only for a size below one
	}
	return &table[T]{prefix: prefix, name: name, cache: cache}
}

// get returns the entry, or nil if there is none.
func (t *table[T]) get(ctx context.Context, s logical.Storage, name string) (*T, error) {
	if v, ok := t.cache.Get(name); ok {
		return v, nil
	}
	if !nameShape.MatchString(name) || strings.Contains(name, "..") {
		return nil, nil //nolint:nilnil // never stored; storage would refuse the path
	}
	t.mu.Lock()
	gen := t.gen
	t.mu.Unlock()

	v, err := load[T](ctx, s, t.prefix+name)
	if err != nil || v == nil {
		return nil, err
	}
	t.name(v, name)

	t.mu.Lock()
	defer t.mu.Unlock()
	if gen == t.gen { // nothing was written while we read: v is not stale
		t.cache.Add(name, v)
	}
	return v, nil
}

func (t *table[T]) put(ctx context.Context, s logical.Storage, name string, v *T) error {
	t.name(v, name)
	err := save(ctx, s, t.prefix+name, v)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.gen++
	if err != nil { // it may have been written all the same: ask storage next time
		t.cache.Remove(name)
		return err
	}
	t.cache.Add(name, v)
	return nil
}

func (t *table[T]) delete(ctx context.Context, s logical.Storage, name string) error {
	err := remove(ctx, s, t.prefix+name)
	t.forget(name)
	return err
}

func (t *table[T]) forget(name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.gen++
	t.cache.Remove(name)
}

// invalidate drops what another node changed; it reports whether key is ours.
func (t *table[T]) invalidate(key string) bool {
	name, ok := strings.CutPrefix(key, t.prefix)
	if ok {
		t.forget(name)
	}
	return ok
}

// list returns all names in order.
func (t *table[T]) list(ctx context.Context, s logical.Storage) ([]string, error) {
	names, err := s.List(ctx, t.prefix)
	if err != nil {
		return nil, fmt.Errorf("listing %s: %w", t.prefix, err)
	}
	slices.Sort(names)
	return names, nil
}

// errDamaged: a stored entry is not what this version can read.
var errDamaged = errors.New("a stored entry is damaged")

func load[T any](ctx context.Context, s logical.Storage, path string) (*T, error) {
	raw, err := s.Get(ctx, path)
	if err != nil {
		return nil, fmt.Errorf("reading %s from storage: %w", path, err)
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
	ctx, cancel := unhurried(ctx)
	defer cancel()
	if err := s.Put(ctx, entry); err != nil {
		return fmt.Errorf("writing %s to storage: %w", path, err)
	}
	return nil
}

func remove(ctx context.Context, s logical.Storage, path string) error {
	ctx, cancel := unhurried(ctx)
	defer cancel()
	if err := s.Delete(ctx, path); err != nil {
		return fmt.Errorf("deleting %s from storage: %w", path, err)
	}
	return nil
}

// unhurried is the context of a write to storage. A write that is cut off when
// its caller hangs up, or is interrupted, could land later, over what was
// written after it; so the write's own answer is waited for.
func unhurried(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
}
