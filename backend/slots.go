package backend

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/vault/sdk/logical"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/backend/provider"
)

// slotted issues keys of providers with two fixed slots.
type slotted struct{ *holder }

// plan takes the slot that is not current: regenerating kills a slot's value
// at once, so the current one is never touched. Nor is one that the ledger has
// still to do with: its call could end the new key.
func (m slotted) plan(ctx context.Context, e *keyEntry) (attempt, error) {
	slot, other := m.def.Slots[0], m.def.Slots[1]
	if e.Current != nil && e.Current.ID == slot {
		slot, other = other, slot
	}
	left, err := m.pendingSlot(ctx, slot)
	if err == nil && left > 0 && e.Current == nil {
		slot = other
		left, err = m.pendingSlot(ctx, slot)
	}
	if err == nil && left > 0 {
		err = stillUnheard(left)
	}
	if err != nil {
		return attempt{}, err
	}
	tag, err := m.b.newTag(ctx, m.storage, m.role, m.def, "")
	return attempt{Tag: tag, Slot: slot, Asked: time.Now().UTC()}, err
}

func (m slotted) lasting() time.Duration { return m.config.unheard() }

func (m slotted) issue(ctx context.Context, a attempt) (*keyVersion, provider.Secret, error) {
	k, err := m.session.slots().Regenerate(ctx, m.role.place(m.def), a.Slot)
	if err != nil {
		return nil, provider.Secret{}, fmt.Errorf("regenerating %s for role %q: %w", a.Slot, m.role.Name, err)
	}
	v, err := m.seal(ctx, k, a.Tag)
	return v, k.Secret, err
}

// settle has nothing to look for: nobody was given the slot's value, and the next
// attempt replaces it whatever it is. But not before this one is surely over, or it
// could take effect then, on the key in use.
func (m slotted) settle(_ context.Context, a attempt) (bool, error) {
	if !m.b.over(a, m.lasting()) {
		return false, stillUnheard(time.Until(m.b.sent(a).Add(m.lasting())))
	}
	return true, nil
}

// watch leaves the slot to the ledger, which regenerates it once more.
func (m slotted) watch(ctx context.Context, a attempt) error {
	return m.shed(ctx, &keyVersion{Tag: a.Tag, ID: a.Slot, Scope: m.role.place(m.def)}, m.b.sent(a).Add(m.lasting()))
}

// unheard says that a call which was not answered may still take effect, and must
// not do so on a key that is in use by then.
type unheard struct{ left time.Duration }

func (u *unheard) Error() string {
	return fmt.Sprintf("a call that was not answered may still take effect on this slot, and would end a new key in it: it gets none before that is over, in %s", u.left.Round(time.Second))
}

func stillUnheard(left time.Duration) error {
	return problemf(statusUnavailable, "%w", &unheard{left})
}

// pendingSlot says for how long at least the ledger has still to do with a slot of
// the role's resource, on behalf of whichever role and account; 0: it has not.
func (h *holder) pendingSlot(ctx context.Context, slot provider.KeyID) (left time.Duration, err error) {
	if err := h.b.ledger.wait(ctx); err != nil {
		return 0, err
	}
	mine := resourceOf(h.def, h.account, h.role.Scope)
	for _, l := range h.b.ledger.filter(func(l *line) bool { return l.ID == string(slot) }) {
		a, err := h.b.accounts.get(ctx, h.storage, l.Account)
		if err != nil {
			return 0, err
		}
		if a != nil && a.Provider == h.def.Name && resourceOf(h.def, a, l.Scope) == mine {
			left = max(left, time.Until(l.Quiet), firstRetry)
		}
	}
	return left, nil
}

// eraseSlot regenerates a slot. A try before this one that was not answered may
// still take effect, so that whoever took the slot meanwhile would lose its key:
// each try is written down first, and the line stays until all are over.
func (b *Backend) eraseSlot(ctx context.Context, s logical.Storage, x *session, l *line, unheard time.Duration) (again time.Time, err error) {
	now := time.Now().UTC()
	if !l.Erased {
		asked := l.with(l.State)
		asked.Quiet = now.Add(unheard)
		if err := b.ledger.put(ctx, s, asked); err != nil {
			return again, err
		}
		if err := b.erase(ctx, x, l); err != nil {
			if nothingChanged(err) {
				err = errors.Join(err, b.ledger.put(ctx, s, l))
			}
			return again, err
		}
	}
	if !now.Before(l.Quiet) {
		return again, b.ledger.drop(ctx, s, l)
	}
	erased := l.with(l.State)
	erased.Erased = true
	return l.Quiet, b.ledger.put(ctx, s, erased)
}

// freeSlot keeps a resource that no role has from getting one until free is
// called: a new role would take over the slot that is about to be regenerated.
func (b *Backend) freeSlot(ctx context.Context, s logical.Storage, x *session, resource string) (free func(), used bool, err error) {
	free, err = b.slotLocks.lock(ctx, resource)
	if err != nil {
		return nil, false, err
	}
	holder, err := b.slotHolder(ctx, s, x.def, resource, "")
	if err == nil && holder != "" {
		err = problemf(statusUnavailable, "role %q has just taken the resource over: looking again", holder)
	}
	if err != nil {
		free()
		return nil, false, err
	}
	return free, false, nil
}
