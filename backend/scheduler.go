package backend

import (
	"context"
	"strings"
	"time"

	"github.com/hashicorp/vault/sdk/logical"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/backend/provider"
)

// Items of the queue.
func roleItem(role string) string       { return "role/" + role }
func accountItem(account string) string { return "account/" + account }
func lineItem(tag provider.Tag) string  { return "line/" + string(tag) }

// doItem is the queue's work. Failures are kept in the role's entry or with
// the ledger's line, where status shows them.
func (b *Backend) doItem(ctx context.Context, item string) (again time.Time) {
	defer func() {
		if r := recover(); r != nil { // or one mount's bad entry would end every mount of the process
			b.reportPanic(r, item)
			again = time.Now().Add(lastRetry)
		}
	}()
	ctx, over := context.WithCancel(ctx) // each item's own: see sessions
	defer over()
	var err error
	defer func() {
		account := b.itemAccount(item)
		b.meters.failed(err, b.standings.providerOf(account), account)
	}()
	if tag, ok := strings.CutPrefix(item, "line/"); ok {
		again, err = b.workLine(ctx, b.storage, provider.Tag(tag))
		if err != nil {
			again = time.Now().Add(retryDelay(b.ledger.trouble(provider.Tag(tag)).attempts, err))
			b.Logger().Warn("withdrawing: will try again", "tag", tag, "error", err, "again", again.Format(time.RFC3339))
		}
		return again
	}
	if item == resealItem {
		if again, err = b.reseal(ctx, b.storage); err != nil {
			again = time.Now().Add(retryDelay(5, err))
			b.Logger().Warn("resealing: will go on", "error", err, "again", again.Format(time.RFC3339))
		}
		return again
	}
	if account, ok := strings.CutPrefix(item, "account/"); ok {
		again, err = b.workAccount(ctx, b.storage, account)
	} else {
		again, err = b.workRole(ctx, b.storage, strings.TrimPrefix(item, "role/"))
	}
	if err != nil {
		if soon := time.Now().Add(firstRetry / 2); again.Before(soon) { // storage would not even take the retry time
			again = time.Now().Add(retryDelay(3, err))
		}
		b.Logger().Warn("rotating: will try again", "item", item, "error", err, "again", again.Format(time.RFC3339))
	}
	return again
}

// itemAccount is the account that an item's work is for; "" if it is for none, or
// that is not known.
func (b *Backend) itemAccount(item string) string {
	kind, name, _ := strings.Cut(item, "/")
	switch kind {
	case "role":
		return b.standings.accountOf(name)
	case "account":
		return name
	case "line":
		if l := b.ledger.get(provider.Tag(name)); l != nil {
			return l.Account
		}
	}
	return ""
}

// roleDue says when a role needs work next; zero: not before something else
// happens to it.
func (b *Backend) roleDue(ctx context.Context, s logical.Storage, name string) (time.Time, error) {
	role, err := b.roles.get(ctx, s, name)
	if err != nil || role == nil {
		return time.Time{}, err
	}
	if role.Deleting {
		return time.Now(), nil
	}
	e, err := b.staticKeys.get(ctx, s, name)
	if err != nil {
		return time.Time{}, err
	}
	if role.Type != typeStatic {
		if e != nil { // it was static once, and the change was cut off
			return time.Now(), nil
		}
		return time.Time{}, nil
	}
	account, def, err := b.accountOf(ctx, s, role)
	if err != nil {
		return time.Time{}, err
	}
	return nextStep(role, account, def.Life(), e), nil
}

// nextStep says when a static role needs its next step, a retry included.
func nextStep(role *roleEntry, account *accountEntry, life provider.Life, e *keyEntry) time.Time {
	if e == nil {
		e = &keyEntry{Phase: phaseEmpty}
	}
	rotates := rotatesByItself(role, account, life)
	var due time.Time
	switch e.Phase {
	case phaseMinting:
		due = time.Unix(1, 0)
	case phaseOverlap:
		due = e.Until
		if next := nextRotation(role, e); rotates && !next.IsZero() {
			due = earlier(due, next) // a long grace does not hold up the next rotation
		}
	case phaseWithdrawn:
		if !e.halfWithdrawn() {
			return due
		}
		due = e.Withdrawn
	case phaseEmpty, phaseStable:
		if !rotates {
			return due
		}
		if e.Phase == phaseEmpty {
			due = time.Unix(1, 0)
		} else {
			due = nextRotation(role, e)
		}
	}
	if !due.IsZero() && due.Before(e.RetryAt) {
		due = e.RetryAt
	}
	return due
}

// rotatesByItself: an import is due, not done; what is disabled stands still.
func rotatesByItself(role *roleEntry, account *accountEntry, life provider.Life) bool {
	return life != provider.LifeImport && !role.Disabled && !account.Disabled
}

// rotationDue reports whether a role should have a new key now. It does not wait
// for the previous one to be gone: that may never be, and is left to the ledger.
func rotationDue(role *roleEntry, account *accountEntry, life provider.Life, e *keyEntry) bool {
	next := nextRotation(role, e)
	return rotatesByItself(role, account, life) && !next.IsZero() && !time.Now().Before(next)
}

// nextRotation says when the key of a role is due to be replaced, by the role's
// present settings: a changed period takes effect at once. Zero: on demand only.
func nextRotation(role *roleEntry, e *keyEntry) time.Time {
	if e == nil || e.Current == nil {
		return time.Time{}
	}
	return role.next(e.LastRotation, e.RetryAt)
}

// firstDue says when the key of a role should have been replaced, even if that
// window has been missed.
func firstDue(role *roleEntry, e *keyEntry) time.Time {
	if e == nil || e.Current == nil {
		return time.Time{}
	}
	return role.first(e.LastRotation)
}

// workRole does the step that is due for a role, and says when the next one is.
func (b *Backend) workRole(ctx context.Context, s logical.Storage, name string) (again time.Time, err error) {
	unlock, err := b.roleLocks.lock(ctx, name)
	if err != nil {
		return again, err
	}
	defer unlock()
	due, err := b.roleDue(ctx, s, name)
	if err != nil || due.IsZero() || time.Now().Before(due) {
		return due, err
	}
	role, err := b.roles.get(ctx, s, name)
	if err != nil || role == nil {
		return again, err
	}
	if role.Deleting {
		_, err := b.removeRole(ctx, s, role)
		return again, err
	}
	if role.Type != typeStatic {
		return again, b.endStatic(ctx, s, role, time.Now().UTC().Add(role.GracePeriod), true)
	}
	err = b.stepRole(ctx, s, role)
	again, dueErr := b.roleDue(ctx, s, name)
	if err == nil {
		err = dueErr
	}
	return again, err
}

func (b *Backend) stepRole(ctx context.Context, s logical.Storage, role *roleEntry) error {
	e, err := b.keyEntryOf(ctx, s, role.Name)
	if err != nil {
		return err
	}
	h, err := b.hold(ctx, s, role)
	if err != nil {
		return err
	}
	r := h.rotation()
	if e.Phase == phaseWithdrawn { // revoke was cut off half-way
		_, err := r.withdraw(ctx, e)
		return err
	}
	ctx, cancel := h.patient(ctx)
	defer cancel()
	land, err := h.openStored(ctx)
	if err != nil {
		return r.failed(ctx, e, err)
	}
	defer land()
	switch {
	case e.Phase == phaseOverlap && !rotationDue(role, h.account, h.def.Life(), e):
		return r.endOverlap(ctx, e)
	case e.Phase == phaseMinting && !h.goesOn(e):
		if err := r.resolve(ctx, e); err != nil {
			return err
		}
		return r.save(ctx, e)
	case e.Phase == phaseMinting: // a caller may have asked for it, and Vault may ask again
		return h.renew(ctx, r, e, e.Request, nil)
	default:
		return h.renew(ctx, r, e, "", nil)
	}
}

// goesOn reports whether an unfinished rotation should still give the role a new
// key, or only be settled: its schedule's window may be over.
func (h *holder) goesOn(e *keyEntry) bool {
	life := h.def.Life()
	return rotatesByItself(h.role, h.account, life) &&
		(e.Current == nil || e.Attempt != nil && e.Attempt.Demanded || rotationDue(h.role, h.account, life, e))
}

// keyEntryOf returns a copy of a static role's state that the caller may
// change; an empty one where there is none yet.
func (b *Backend) keyEntryOf(ctx context.Context, s logical.Storage, role string) (*keyEntry, error) {
	e, err := b.staticKeys.get(ctx, s, role)
	if err != nil {
		return nil, err
	}
	if e == nil {
		return &keyEntry{Phase: phaseEmpty}, nil
	}
	return e.clone(), nil
}
