package backend

import (
	"context"
	"time"

	"github.com/hashicorp/vault/sdk/logical"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/backend/provider"
)

// otherHolder refuses a second role on the same two slots.
func (b *Backend) otherHolder(ctx context.Context, s logical.Storage, role *roleEntry) error {
	account, def, err := b.accountOf(ctx, s, role)
	if err != nil {
		return err
	}
	other, err := b.slotHolder(ctx, s, def, resourceOf(def, account, role.Scope), role.Name)
	if err != nil || other == "" {
		return err
	}
	return invalidf("role %q already holds the two keys of this resource: read creds/%s instead", other, other)
}

// slotHolder is the name of the role on a resource, but for one; "" if none.
func (b *Backend) slotHolder(ctx context.Context, s logical.Storage, def provider.Definition, resource, but string) (string, error) {
	if resource == "" {
		return "", nil
	}
	names, err := b.roles.list(ctx, s)
	if err != nil {
		return "", err
	}
	for _, name := range names {
		role, err := b.roles.get(ctx, s, name)
		if err != nil {
			return "", err
		}
		if role == nil || role.Name == but {
			continue
		}
		a, err := b.accounts.get(ctx, s, role.Account)
		if err != nil {
			return "", err
		}
		if a != nil && a.Provider == def.Name && resourceOf(def, a, role.Scope) == resource {
			return role.Name, nil
		}
	}
	return "", nil
}

// storeRole stores a role while its account surely exists.
func (b *Backend) storeRole(ctx context.Context, s logical.Storage, role *roleEntry) error {
	unlock, err := b.accountLocks.lock(ctx, role.Account)
	if err != nil {
		return err
	}
	defer unlock()
	if a, err := b.accounts.get(ctx, s, role.Account); err != nil {
		return err
	} else if a == nil {
		return invalidf("account %q was deleted meanwhile", role.Account)
	}
	if err := b.otherHolder(ctx, s, role); err != nil {
		return err
	}
	return b.roles.put(ctx, s, role.Name, role)
}

// saveStatic stores a static role. One that has no key yet gets its first
// before it is stored, so that a write that fails leaves no role behind; what it
// leaves at the provider is on the ledger. keyless says why a role has no key
// yet all the same.
func (b *Backend) saveStatic(ctx context.Context, s logical.Storage, role *roleEntry) (keyless string, err error) {
	e, err := b.staticKeys.get(ctx, s, role.Name)
	if err != nil {
		return "", err
	}
	defer func() { b.queue.at(roleItem(role.Name), time.Now()) }()
	h, err := b.hold(ctx, s, role)
	if err != nil {
		return "", err
	}
	switch {
	case e != nil:
		return "", b.storeRole(ctx, s, role)
	case h.def.Life() == provider.LifeImport:
		return "bring one with import/" + role.Name, b.storeRole(ctx, s, role)
	case role.Disabled || h.account.Disabled:
		return "it gets one when role and account are enabled", b.storeRole(ctx, s, role)
	}
	if err := b.otherHolder(ctx, s, role); err != nil {
		return "", err
	}
	return "", b.saveWithKey(ctx, s, h)
}

// saveWithKey gets the first key of a role, then stores both.
func (b *Backend) saveWithKey(ctx context.Context, s logical.Storage, h *holder) error {
	// The caller may hang up; what has begun is brought to its end.
	ctx, cancel := h.patient(ctx)
	defer cancel()
	using, over := context.WithCancel(ctx)
	defer over()
	land, err := h.open(using)
	if err != nil {
		return err
	}
	defer land()
	e, done, err := h.first(ctx)
	if err != nil {
		return err
	}
	over() // storing may wait for a rotation of the admin credential, which waits for whoever uses that
	if err := b.storeRole(ctx, s, h.role); err != nil {
		done(false)
		return err
	}
	err = b.staticKeys.put(ctx, s, h.role.Name, e)
	done(err == nil)
	return err
}

// saveDynamic stores a dynamic role. If it was static, its key is handed to the
// ledger, to be withdrawn when its grace is over; roleDue finds a hand-over that
// was cut off.
func (b *Backend) saveDynamic(ctx context.Context, s logical.Storage, role, old *roleEntry) error {
	if err := b.storeRole(ctx, s, role); err != nil {
		return err
	}
	if old == nil || old.Type == typeDynamic {
		return nil
	}
	b.queue.at(roleItem(role.Name), time.Now().Add(firstRetry)) // should we fail on the way
	return b.endStatic(ctx, s, role, time.Now().UTC().Add(role.GracePeriod), true)
}

// endStatic moves the keys of a role that is static no more to the ledger, to
// be withdrawn at a time, and deletes the role's key entry. A brought key goes
// only if brought is set, or if the leak switch was on its way. The stored role
// already says that it is not static, or gone.
func (b *Backend) endStatic(ctx context.Context, s logical.Storage, role *roleEntry, at time.Time, brought bool) error {
	e, err := b.staticKeys.get(ctx, s, role.Name)
	if err != nil || e == nil {
		return err
	}
	if err := b.ledger.wait(ctx); err != nil { // the queue begins before it is read
		return err
	}
	if e.halfWithdrawn() {
		at, brought = time.Now().UTC(), true
	}
	for _, v := range []*keyVersion{e.Current, e.Previous} {
		if v == nil || v.Brought && !brought || v.ID == "" || b.ledger.get(v.Tag) != nil {
			continue
		}
		l := leftover(role, v).with(stateLive)
		l.Deadline, l.Quiet = at, e.Quiet
		if v == e.Previous {
			l.Deadline = earlier(at, e.Until)
		}
		if err := b.putLine(ctx, s, l); err != nil {
			return err
		}
		b.queue.at(lineItem(l.Tag), l.Deadline)
	}
	if e.Attempt != nil {
		h, err := b.hold(ctx, s, role)
		if err != nil {
			return err
		}
		if err := h.rotation().watch(ctx, *e.Attempt); err != nil {
			return err
		}
	}
	return b.staticKeys.delete(ctx, s, role.Name)
}

func (b *Backend) markAndRemove(ctx context.Context, s logical.Storage, name string) ([]*line, error) {
	unlock, err := b.roleLocks.lock(ctx, name)
	if err != nil {
		return nil, err
	}
	defer unlock()
	role, err := b.roles.get(ctx, s, name)
	if err != nil || role == nil {
		return nil, err
	}
	marked := *role
	marked.Deleting = true
	b.queue.at(roleItem(name), time.Now().Add(firstRetry)) // should we fail on the way
	if err := b.roles.put(ctx, s, name, &marked); err != nil {
		return nil, err
	}
	return b.removeRole(ctx, s, &marked)
}

// removeRole takes a role that is marked as deleting out of storage, ledger
// lines first. The caller holds the role's lock. It returns those lines.
func (b *Backend) removeRole(ctx context.Context, s logical.Storage, role *roleEntry) ([]*line, error) {
	if err := b.ledger.wait(ctx); err != nil {
		return nil, err
	}
	if err := b.endStatic(ctx, s, role, time.Now(), false); err != nil {
		return nil, err
	}
	lines := b.ledger.ofRole(role.Name)
	for _, l := range lines {
		if l.State == stateLive && !b.ledger.inFlight(l.Tag) {
			if err := b.withdrawLater(ctx, s, l); err != nil {
				return nil, err
			}
		}
	}
	return lines, b.roles.delete(ctx, s, role.Name)
}
