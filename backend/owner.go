package backend

import (
	"context"
	"errors"
	"time"

	"github.com/hashicorp/vault/sdk/logical"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/backend/provider"
)

// ownerLost looks, when a mint was refused because something is not there, whether
// it is what the engine made to hang the role's keys on: somebody may have removed
// that at the provider, with every key on it. Then the role forgets it, and the next
// attempt makes another. It returns what to tell of the refusal. The caller holds the
// role's lock.
//
// One that is so young that the provider may not show it everywhere stays.
func (b *Backend) ownerLost(ctx context.Context, s logical.Storage, x *session, role *roleEntry, refusal error) error {
	if role.Owner == nil || !provider.NotFound(refusal) {
		return refusal
	}
	cfg, err := b.settings(ctx, s)
	if err != nil {
		return refusal
	}
	if l := b.ledger.get(role.Owner.Tag); l != nil && time.Since(l.Created) < cfg.unheard() {
		return refusal
	}
	ids, err := x.owners().Find(ctx, role.place(x.def), role.Owner.Tag)
	if err != nil || len(ids) > 0 {
		return refusal
	}
	without := *role
	without.Owner = nil
	if err := b.roles.put(ctx, s, role.Name, &without); err != nil {
		return errors.Join(refusal, err)
	}
	b.queue.at(lineItem(role.Owner.Tag), time.Now()) // nothing of it is left
	return problemf(statusUnavailable, "the %s that the engine made for role %q was removed at the provider, and its keys with it; the next attempt makes another: %w",
		x.def.Owner.Field, role.Name, refusal)
}

// leasedOwnerLost is ownerLost for a read that holds no lock.
func (b *Backend) leasedOwnerLost(ctx context.Context, s logical.Storage, x *session, role *roleEntry, refusal error) error {
	if role.Owner == nil || !provider.NotFound(refusal) {
		return refusal
	}
	unlock, err := b.roleLocks.lock(ctx, role.Name)
	if err != nil {
		return refusal
	}
	defer unlock()
	now, err := b.role(ctx, s, role.Name)
	if err != nil || now.Owner == nil || *now.Owner != *role.Owner {
		return refusal
	}
	return b.ownerLost(ctx, s, x, now, refusal)
}
