package backend

import (
	"context"
	"errors"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/backend/provider"
)

// What follows stands between the engine and the calls of a provider: it names
// them for the latency, counts what came of them, and tells what happened to keys.

// A counter is where the calls of one session are counted; nil: nowhere. That is
// so for an account that is only tried.
type counter struct {
	b                 *Backend
	provider, account string
}

func (b *Backend) counterOf(a *accountEntry) *counter {
	if b.standings.providerOf(a.Name) == "" {
		return nil
	}
	return &counter{b, a.Provider, a.Name}
}

// did makes a call and counts its failure.
func did[T any](ctx context.Context, c *counter, operation string, call func(context.Context) (T, error)) (T, error) {
	v, err := call(provider.WithOperation(ctx, operation))
	c.failed(classOf(err))
	return v, err
}

// failed counts a failure of a class; "" is none.
func (c *counter) failed(class string) {
	if c != nil && class != "" {
		c.b.meters.failures.WithLabelValues(c.provider, c.account, class).Inc()
	}
}

// dead counts a new key that never worked. Each time that it is tried means
// nothing: new keys take time to be known everywhere.
func (c *counter) dead(err error) {
	if errors.Is(err, provider.ErrDead) {
		c.failed("dead")
	}
}

func (c *counter) minted(k provider.Key, err error) {
	if c != nil && err == nil {
		c.b.meters.mints.WithLabelValues(c.provider, c.account).Inc()
		c.b.tellKey(eventMinted, k.ID, "provider", c.provider, "account", c.account)
	}
}

func (c *counter) withdrawn(id provider.KeyID, err error) {
	if c != nil && err == nil {
		c.b.meters.withdrawals.WithLabelValues(c.provider, c.account).Inc()
		c.b.tellKey(eventWithdrawn, id, "provider", c.provider, "account", c.account)
	}
}

// none turns a call without a result into one that [did] takes.
func none(err error) (struct{}, error) { return struct{}{}, err }

type meteredKeys struct {
	c    *counter
	keys provider.Keys
}

func (m meteredKeys) Check(ctx context.Context) error {
	_, err := did(ctx, m.c, "check", func(ctx context.Context) (struct{}, error) { return none(m.keys.Check(ctx)) })
	return err
}

func (m meteredKeys) Verify(ctx context.Context, scope provider.Scope, secret provider.Secret) error {
	_, err := did(ctx, m.c, "verify", func(ctx context.Context) (struct{}, error) { return none(m.keys.Verify(ctx, scope, secret)) })
	return err
}

func (m meteredKeys) Identify(ctx context.Context, scope provider.Scope, secret provider.Secret) (provider.Match, error) {
	return did(ctx, m.c, "identify", func(ctx context.Context) (provider.Match, error) { return m.keys.Identify(ctx, scope, secret) })
}

func (m meteredKeys) Revoke(ctx context.Context, scope provider.Scope, id provider.KeyID) error {
	_, err := did(ctx, m.c, "revoke", func(ctx context.Context) (struct{}, error) { return none(m.keys.Revoke(ctx, scope, id)) })
	m.c.withdrawn(id, err)
	return err
}

type meteredMinter struct {
	provider.Keys // metered
	c             *counter
	minter        provider.Minter
}

func (m meteredMinter) Mint(ctx context.Context, o provider.Order) (provider.Key, error) {
	k, err := did(ctx, m.c, "mint", func(ctx context.Context) (provider.Key, error) { return m.minter.Mint(ctx, o) })
	m.c.minted(k, err)
	return k, err
}

func (m meteredMinter) Find(ctx context.Context, scope provider.Scope, tag provider.Tag) ([]provider.KeyID, error) {
	return did(ctx, m.c, "find", func(ctx context.Context) ([]provider.KeyID, error) { return m.minter.Find(ctx, scope, tag) })
}

type meteredSlots struct {
	provider.Keys // metered
	c             *counter
	slots         provider.TwoSlotter
}

func (m meteredSlots) Read(ctx context.Context, scope provider.Scope, slot provider.KeyID) (provider.Key, error) {
	return did(ctx, m.c, "read", func(ctx context.Context) (provider.Key, error) { return m.slots.Read(ctx, scope, slot) })
}

func (m meteredSlots) Regenerate(ctx context.Context, scope provider.Scope, slot provider.KeyID) (provider.Key, error) {
	k, err := did(ctx, m.c, "regenerate", func(ctx context.Context) (provider.Key, error) { return m.slots.Regenerate(ctx, scope, slot) })
	m.c.minted(k, err)
	return k, err
}

type meteredOwners struct {
	c      *counter
	owners provider.Owners
}

func (m meteredOwners) Create(ctx context.Context, scope provider.Scope, tag provider.Tag) (string, error) {
	return did(ctx, m.c, "create_owner", func(ctx context.Context) (string, error) { return m.owners.Create(ctx, scope, tag) })
}

func (m meteredOwners) Find(ctx context.Context, scope provider.Scope, tag provider.Tag) ([]string, error) {
	return did(ctx, m.c, "find_owner", func(ctx context.Context) ([]string, error) { return m.owners.Find(ctx, scope, tag) })
}

func (m meteredOwners) Delete(ctx context.Context, scope provider.Scope, id string) error {
	_, err := did(ctx, m.c, "delete_owner", func(ctx context.Context) (struct{}, error) { return none(m.owners.Delete(ctx, scope, id)) })
	return err
}

type meteredRoots struct {
	c     *counter
	roots provider.Rooter
}

func (m meteredRoots) Self(ctx context.Context) (provider.KeyID, error) {
	return did(ctx, m.c, "find_root", m.roots.Self)
}

func (m meteredRoots) Mint(ctx context.Context, tag provider.Tag) (provider.Key, error) {
	return did(ctx, m.c, "mint_root", func(ctx context.Context) (provider.Key, error) { return m.roots.Mint(ctx, tag) })
}

func (m meteredRoots) Find(ctx context.Context, tag provider.Tag) ([]provider.KeyID, error) {
	return did(ctx, m.c, "find_root", func(ctx context.Context) ([]provider.KeyID, error) { return m.roots.Find(ctx, tag) })
}

func (m meteredRoots) Revoke(ctx context.Context, id provider.KeyID) error {
	_, err := did(ctx, m.c, "revoke_root", func(ctx context.Context) (struct{}, error) { return none(m.roots.Revoke(ctx, id)) })
	return err
}

type meteredStock struct {
	c     *counter
	stock provider.Inventory
}

func (m meteredStock) List(ctx context.Context, known []provider.Scope, everywhere bool) ([]provider.Found, error) {
	return did(ctx, m.c, "list", func(ctx context.Context) ([]provider.Found, error) { return m.stock.List(ctx, known, everywhere) })
}
