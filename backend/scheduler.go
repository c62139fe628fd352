package backend

import (
	"context"
	"strings"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
	sdkrotation "github.com/hashicorp/vault/sdk/rotation"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/backend/provider"
)

// Items of the queue.
func roleItem(role string) string      { return "role/" + role }
func lineItem(tag provider.Tag) string { return "line/" + string(tag) }

// doItem is the queue's work. Failures are kept in the role's entry or with
// the ledger's line, where status shows them.
func (b *Backend) doItem(ctx context.Context, item string) (again time.Time) {
	defer func() {
		if r := recover(); r != nil { // or one mount's bad entry would end every mount of the process
			b.reportPanic(r, item)
			again = time.Now().Add(lastRetry)
		}
	}()
	var err error
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
	role := strings.TrimPrefix(item, "role/")
	again, err = b.workRole(ctx, b.storage, role)
	if err != nil {
		if soon := time.Now().Add(firstRetry / 2); again.Before(soon) { // storage would not even take the retry time
			again = time.Now().Add(retryDelay(3, err))
		}
		b.Logger().Warn("rotating: will try again", "role", role, "error", err, "again", again.Format(time.RFC3339))
	}
	return again
}

// start begins the background work, from storage. It returns at once: Vault
// calls it under its state lock, where no call to Vault may be made.
func (b *Backend) start() {
	if b.started.Swap(true) {
		return
	}
	b.background.Go(func() { b.keyring.Run(b.life) })
	b.background.Go(func() { b.queue.run(b.life) })
	b.background.Go(func() { b.fill(b.life, b.storage) })
	b.background.Go(func() {
		if _, err := b.settings(b.life, b.storage); err != nil {
			return // fill tells it
		}
		if err := b.keyring.Warm(b.life, b.storage); err != nil {
			b.Logger().Warn("the data key could not be unwrapped ahead of the first read", "error", err)
		}
	})
}

// fill puts everything that storage says is to be done into the queue. It goes
// on trying until storage answers.
func (b *Backend) fill(ctx context.Context, s logical.Storage) {
	for failures := 1; ; failures++ {
		err := b.fillOnce(ctx, s)
		if err == nil {
			return
		}
		b.Logger().Error("reading what is due from storage: will try again", "error", err)
		select {
		case <-time.After(retryDelay(failures, err)):
		case <-ctx.Done():
			return
		}
	}
}

func (b *Backend) fillOnce(ctx context.Context, s logical.Storage) error {
	if _, err := b.settings(ctx, s); err != nil {
		return err
	}
	if !b.ledger.loaded() {
		if err := b.ledger.load(ctx, s, b.Logger()); err != nil {
			return err
		}
	}
	for _, l := range b.ledger.filter(func(*line) bool { return true }) {
		b.queue.at(lineItem(l.Tag), time.Now())
	}
	b.queue.at(resealItem, time.Now()) // finds nothing to do unless a change of encryption was cut off
	roles, err := b.roles.list(ctx, s)
	if err != nil {
		return err
	}
	for _, name := range roles {
		due, err := b.roleDue(ctx, s, name)
		if err != nil { // one role must not keep the others from their turn
			b.Logger().Error("a role cannot be scheduled: will look again", "role", name, "error", err)
			due = time.Now().Add(lastRetry)
		}
		if !due.IsZero() {
			b.queue.at(roleItem(name), due)
		}
	}
	return nil
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
	switch {
	case e == nil || e.Current == nil:
		return time.Time{}
	case role.RotationPeriod > 0:
		return e.LastRotation.Add(role.RotationPeriod)
	case role.RotationSchedule != "":
		return nextInWindow(role.RotationSchedule, role.RotationWindow, e.LastRotation, e.RetryAt)
	default:
		return time.Time{}
	}
}

// firstDue says when the key of a role should have been replaced, even if that
// window has been missed.
func firstDue(role *roleEntry, e *keyEntry) time.Time {
	if e == nil || e.Current == nil || role.RotationSchedule == "" {
		return nextRotation(role, e)
	}
	return nextInWindow(role.RotationSchedule, 0, e.LastRotation, time.Time{})
}

// nextInWindow is the first time of a cron schedule after last whose window is
// not over yet. A retry that would fall behind a window waits for the next one.
func nextInWindow(schedule string, window time.Duration, last, retry time.Time) time.Time {
	cron, err := sdkrotation.DefaultScheduler.Parse(schedule)
	if err != nil {
		return time.Time{} // refused when it was written
	}
	if window == 0 {
		return cron.Next(last.UTC())
	}
	now := time.Now().UTC()
	if retry.After(now) {
		now = retry.UTC()
	}
	if open := now.Add(-window); open.After(last) {
		last = open
	}
	return cron.Next(last.UTC())
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
