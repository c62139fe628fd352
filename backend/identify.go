package backend

import (
	"context"
	"errors"
	"fmt"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/backend/provider"
)

// identify finds the id of a brought key. An id that the caller gives is taken
// only if the provider's list bears it out: a wrong one would have somebody
// else's key withdrawn, or this one never.
func (h *holder) identify(ctx context.Context, secret provider.Secret, given provider.KeyID) (provider.Key, error) {
	m, err := h.lookUp(ctx, secret, given)
	k := m.Key
	k.Secret = secret
	fit, listed := m.Listed[given]
	switch {
	case err != nil:
		return k, err
	case h.def.Life() == provider.LifeTwoSlot && k.ID == "":
		return k, invalidf("api_key: it is neither %s nor %s of this resource", h.def.Slots[0], h.def.Slots[1])
	case given == "", k.ID == given:
	case k.ID != "":
		return k, invalidf("key_id: the provider says that this key is %s", k.ID)
	case listed && fit == provider.FitsNot:
		return k, invalidf("key_id: what the provider shows of %s is not of this api_key: it is another key", given)
	default: // one of several that look alike, or too little is shown, or there is no list
		k.ID = given
	}
	return k, nil
}

// lookUp asks the provider for what it lists. A new key may not be listed yet, so an
// id that the caller gives is looked for as long as a new key may take to work.
func (h *holder) lookUp(ctx context.Context, secret provider.Secret, given provider.KeyID) (m provider.Match, err error) {
	lacking := invalidf("key_id: the provider does not list %s in the project or workspace of role %q: bring a key that is there", given, h.role.Name)
	look := func(ctx context.Context) error {
		m, err = h.session.keys.Identify(ctx, h.role.place(h.def), secret)
		_, listed := m.Listed[given]
		if err == nil && given != "" && m.Key.ID == "" && m.Listed != nil && !listed && h.def.Life() != provider.LifeTwoSlot {
			err = lacking
		}
		return err
	}
	if errors.Is(look(ctx), lacking) {
		if err := h.works(ctx, secret); err != nil {
			return m, err // not worth the wait
		}
		_ = untilWorks(ctx, h.config.VerifyTimeout, "key", look) // err has what it saw last
	}
	switch {
	case ctx.Err() != nil:
		return m, problemf(statusUnavailable, "nothing changed: looking for the key at the provider was interrupted: %w", provider.ErrUnreachable)
	case err == nil, errors.Is(err, lacking):
		return m, err
	default:
		return m, fmt.Errorf("nothing changed: looking for the key at the provider: %w", err)
	}
}

// belongsHere refuses a key that another role or a lease of this mount holds,
// or that is on its way out: its end there would be the end of it here.
func (h *holder) belongsHere(ctx context.Context, k provider.Key) error {
	if h.def.Life() == provider.LifeTwoSlot { // slots have the same names everywhere, and a resource has one role
		pending, err := h.pendingSlot(ctx, k.ID)
		if pending > 0 {
			err = problemf(statusConflict, "%s of this resource is still being withdrawn: try again when keys/%s no longer lists it", k.ID, h.role.Account)
		}
		return err
	}
	held := h.b.ledger.filter(func(l *line) bool {
		return l.Account == h.role.Account && l.ID == string(k.ID) && l.Kind == lineKey && k.ID != ""
	})
	if len(held) > 0 {
		return problemf(statusConflict, "key %s is %s on the ledger of this mount, for role %q: bring another one", k.ID, held[0].State, held[0].Role)
	}
	roles, err := h.b.rolesOf(ctx, h.storage, h.role.Account)
	if err != nil {
		return err
	}
	for _, other := range roles {
		if other.Name == h.role.Name {
			continue
		}
		switch holds, err := h.holdsToo(ctx, other.Name, k); {
		case err != nil:
			return err
		case holds:
			return problemf(statusConflict, "this key is held by role %q: its rotation would withdraw it here too", other.Name)
		}
	}
	return nil
}

// holdsToo reports whether another role has a key. Where one of the two ids is not
// known, only the secrets can tell.
func (h *holder) holdsToo(ctx context.Context, role string, k provider.Key) (bool, error) {
	e, err := h.b.staticKeys.get(ctx, h.storage, role)
	if err != nil || e == nil {
		return false, err
	}
	for _, v := range []*keyVersion{e.Current, e.Previous} {
		switch {
		case v == nil:
			continue
		case v.ID != "" && k.ID != "":
			if v.ID == k.ID {
				return true, nil
			}
			continue
		}
		if same, err := h.opens(ctx, role, v, k.Secret); same || err != nil {
			return same, err
		}
	}
	return false, nil
}
