package backend

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/hashicorp/vault/sdk/logical"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/backend/provider"
)

// relieve leaves what an unfinished rotation has to the ledger, for an account
// whose credential is replaced by hand, or which is to be deleted.
func (h *rootHolder) relieve(ctx context.Context) error {
	e := h.entry()
	if e.Attempt == nil && e.Previous == nil {
		return nil
	}
	if e.Attempt != nil {
		if err := h.watch(ctx, *e.Attempt); err != nil {
			return err
		}
	}
	if e.Previous != nil {
		if err := h.shed(ctx, e.Previous, time.Time{}); err != nil && !errors.Is(err, provider.ErrUnsupported) {
			return err
		}
	}
	e.Previous, e.Until = nil, time.Time{}
	e.rest()
	return h.save(ctx, e)
}

// takeRoot settles what a write of an account means for its admin credential. With
// a new one (fresh), what the engine knows of the old one ends, and what it has
// left of it goes to the ledger, before the write is stored.
func (b *Backend) takeRoot(ctx context.Context, s logical.Storage, def provider.Definition, a, old *accountEntry, fresh bool) error {
	if def.Root == nil {
		if a.RotationPeriod > 0 || a.RotationSchedule != "" {
			return invalidf("rotation_period, rotation_schedule: provider %s has no API that replaces an admin credential", def.Name)
		}
		return nil
	}
	if !fresh && old != nil && old.Root != nil {
		return nil
	}
	if err := b.relieveRoot(ctx, s, a.Name); err != nil {
		return err
	}
	now := time.Now().UTC()
	a.Root = &keyEntry{Phase: phaseStable, Current: &keyVersion{Created: now}, LastRotation: now}
	if old == nil || old.Root == nil {
		return nil
	}
	a.Root.Version = old.Root.Version
	if was := old.Root.Current; was != nil && was.Tag != "" {
		// The engine made it, so nobody else has it: it goes, once the new one is
		// stored. One that a person made is that person's to withdraw.
		a.Root.Previous, a.Root.Phase, a.Root.Until = was, phaseOverlap, now
	}
	return nil
}

// relieveRoot is [rootHolder.relieve] for a stored account.
func (b *Backend) relieveRoot(ctx context.Context, s logical.Storage, name string) error {
	old, err := b.accounts.get(ctx, s, name)
	if err != nil || old == nil || old.Root == nil {
		return err
	}
	h, err := b.rootOf(ctx, s, old)
	if err != nil {
		return err
	}
	return h.relieve(ctx)
}

// holds reports whether the credential that a line stands for is the account's.
// A person may have gone back to one that a rotation replaced and could not
// withdraw yet; the entry does not say which one a person gave.
func (x *session) holds(ctx context.Context, a *accountEntry, l *line) (bool, error) {
	if x.def.Root == nil || a.Root == nil || a.Root.Current == nil {
		return false, nil
	}
	current := a.Root.Current
	switch {
	case current.Tag == l.Tag:
		return true, nil
	case l.ID == "": // looked for by its tag, which only the engine gives
		return false, nil
	case current.ID != "":
		return string(current.ID) == l.ID, nil
	}
	self, err := x.roots().Self(ctx)
	switch {
	case err != nil:
		return false, fmt.Errorf("looking for the present credential of account %q: %w", a.Name, err)
	case self == "":
		return false, problemf(statusConflict, "the provider does not tell whether %s is the credential that account %q has now: rotate-root/%s gives it one that can be told", l.ID, a.Name, a.Name)
	default:
		return string(self) == l.ID, nil
	}
}

// relieve is relieveRoot under the account's lock.
func (b *Backend) relieve(ctx context.Context, s logical.Storage, name string) error {
	unlock, err := b.accountLocks.lock(ctx, name)
	if err != nil {
		return err
	}
	defer unlock()
	return b.relieveRoot(ctx, s, name)
}

// endRoot withdraws, with itself, the admin credential that the engine made for
// an account which is about to be deleted: nobody else has it, and nothing would
// know of it any more. Should the deletion end here, the next one finds that the
// provider refuses the credential, which says the same.
func (b *Backend) endRoot(ctx context.Context, s logical.Storage, name string) (id string, err error) {
	a, err := b.accounts.get(ctx, s, name)
	if err != nil || a == nil || a.Root == nil || a.Root.Current == nil || a.Root.Current.Tag == "" {
		return "", err
	}
	id = string(a.Root.Current.ID)
	h, err := b.rootOf(ctx, s, a)
	if err != nil {
		return id, err
	}
	x, err := h.session(ctx)
	if err != nil {
		return id, err
	}
	err = x.roots().Revoke(ctx, a.Root.Current.ID)
	if ce, ok := errors.AsType[*provider.CallError](err); ok && ce.Status == http.StatusUnauthorized {
		return id, nil
	}
	return id, err
}

// rootDue says when an account's admin credential needs its next step; zero:
// not before something else happens.
func rootDue(a *accountEntry) time.Time {
	e := a.Root
	if e == nil {
		return time.Time{}
	}
	due := time.Time{}
	switch {
	case e.Phase == phaseMinting:
		due = time.Unix(1, 0)
	case e.Phase == phaseOverlap:
		due = e.Until
	case !a.Disabled:
		due = a.next(e.LastRotation, e.RetryAt)
	}
	if !due.IsZero() && due.Before(e.RetryAt) {
		due = e.RetryAt
	}
	return due
}

// workAccount does the step that is due for an account's admin credential, and
// says when the next one is.
func (b *Backend) workAccount(ctx context.Context, s logical.Storage, name string) (again time.Time, err error) {
	unlock, err := b.accountLocks.lock(ctx, name)
	if err != nil {
		return again, err
	}
	defer unlock()
	a, err := b.accounts.get(ctx, s, name)
	if err != nil || a == nil {
		return again, err
	}
	if due := rootDue(a); due.IsZero() || time.Now().Before(due) {
		return due, nil
	}
	h, err := b.rootOf(ctx, s, a)
	if err != nil {
		return again, err
	}
	ctx, cancel := h.patient(ctx)
	defer cancel()
	err = h.step(ctx)
	return rootDue(h.account), err
}

// step ends an overlap or a cut-off attempt, or begins a rotation that is due.
func (h *rootHolder) step(ctx context.Context) error {
	e, r := h.entry(), h.rotation()
	due := h.account.next(e.LastRotation, e.RetryAt)
	late := !due.IsZero() && !time.Now().Before(due)
	demanded := e.Attempt != nil && e.Attempt.Demanded
	switch {
	case e.Phase == phaseOverlap:
		return r.endOverlap(ctx, e)
	case e.Phase == phaseMinting && (h.account.Disabled || !demanded && !late):
		if err := r.resolve(ctx, e); err != nil {
			return err
		}
		return r.save(ctx, e)
	case e.Phase == phaseMinting: // a caller may have asked for it, and Vault may ask again
		return h.renew(ctx, e, e.Request)
	default:
		return h.renew(ctx, e, "")
	}
}
