package backend

import (
	"context"
	"fmt"
	"time"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/backend/provider"
)

// first gives a static role its first key. Until the role is stored the ledger
// alone knows of it; the caller stores role and entry, then calls done. Should
// it not get that far, it calls done with false and the key is withdrawn.
func (h *holder) first(ctx context.Context) (e *keyEntry, done func(stored bool), err error) {
	switch h.def.Life() {
	case provider.LifeMint:
		return h.firstMinted(ctx)
	case provider.LifeTwoSlot:
		e, err = h.takeOver(ctx)
		return e, func(bool) {}, err
	case provider.LifeImport: // waits for import/<role>
	}
	return nil, func(bool) {}, nil
}

func (h *holder) firstMinted(ctx context.Context) (*keyEntry, func(bool), error) {
	tag, err := h.b.newTag(ctx, h.storage, h.role, h.def, "")
	if err != nil {
		return nil, nil, err
	}
	l := &line{
		Account: h.role.Account, Tag: tag, Kind: lineKey, State: stateIntent,
		Role: h.role.Name, Scope: h.role.place(h.def), Created: time.Now().UTC(),
	}
	k, land, err := h.b.ask(ctx, h.storage, h.session, l, 0, 0)
	if err != nil {
		return nil, nil, err
	}
	done := func(stored bool) {
		if stored && h.b.ledger.drop(ctx, h.storage, l) == nil {
			land()
			return
		}
		land() // what is still on the ledger is looked into from now on
		h.b.queue.at(lineItem(tag), time.Now())
	}
	v, err := h.seal(ctx, k, tag)
	if err == nil {
		err = h.verify(ctx, v, k.Secret)
	}
	if err != nil {
		done(false)
		return nil, nil, err
	}
	v.Version = 1
	return h.born(v), done, nil
}

// renew gives a role its next key. A two-slot role without any begins with what
// is there, whoever asks.
func (h *holder) renew(ctx context.Context, r *rotation, e *keyEntry, request string, grace *time.Duration) error {
	if e.Phase != phaseEmpty || h.def.Life() != provider.LifeTwoSlot {
		return r.rotate(ctx, e, request, grace)
	}
	born, err := h.takeOver(ctx)
	if err != nil {
		return r.failed(ctx, e, err)
	}
	*e = *born
	e.Request = request
	return r.save(ctx, e)
}

// takeOver begins with the first slot as it is. Regenerating it would cut off
// whoever uses it today, and the engine changes no key that it did not make:
// the first rotation takes the other slot.
func (h *holder) takeOver(ctx context.Context) (*keyEntry, error) {
	scope := h.role.place(h.def)
	k, err := h.session.slots().Read(ctx, scope, h.def.Slots[0])
	if err != nil {
		return nil, fmt.Errorf("reading %s for role %q: %w", h.def.Slots[0], h.role.Name, err)
	}
	pending, err := h.pendingSlot(ctx, k.ID)
	if err != nil {
		return nil, err
	}
	if pending > 0 {
		return nil, problemf(statusConflict, "%s of this resource is still being withdrawn: try again when keys/%s no longer lists it", k.ID, h.role.Account)
	}
	tag, err := h.b.newTag(ctx, h.storage, h.role, h.def, "")
	if err != nil {
		return nil, err
	}
	v, err := h.seal(ctx, k, tag)
	if err != nil {
		return nil, err
	}
	if err := h.verify(ctx, v, k.Secret); err != nil {
		return nil, err
	}
	v.Version, v.Brought = 1, true
	return h.born(v), nil
}

func (h *holder) born(v *keyVersion) *keyEntry {
	return &keyEntry{Phase: phaseStable, Version: 1, Current: v, LastRotation: v.Created}
}
