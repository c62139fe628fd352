package backend

import (
	"context"
	"sync"
	"time"

	"github.com/hashicorp/vault/sdk/logical"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/backend/provider"
)

// putLine stores a line that its caller works on. If that fails the line may be
// stored all the same, and the queue looks after it.
func (b *Backend) putLine(ctx context.Context, s logical.Storage, l *line) error {
	err := b.ledger.put(ctx, s, l)
	if err != nil {
		b.queue.at(lineItem(l.Tag), time.Now().Add(firstRetry))
	}
	return err
}

// leaveLine stores a line and leaves it to the queue.
func (b *Backend) leaveLine(ctx context.Context, s logical.Storage, l *line) error {
	defer func() { b.queue.at(lineItem(l.Tag), time.Now()) }()
	return b.ledger.put(ctx, s, l)
}

// withdrawLater marks a line to go. Marking it again is harmless.
func (b *Backend) withdrawLater(ctx context.Context, s logical.Storage, l *line) error {
	return b.leaveLine(ctx, s, l.with(stateWithdrawing))
}

// withdrawNow works lines off at once, side by side, and returns those that are
// still there with the first reason. They stay in the queue.
func (b *Backend) withdrawNow(ctx context.Context, s logical.Storage, tags []provider.Tag) (left []*line, reason error) {
	const sideBySide = 16
	var (
		wg   sync.WaitGroup
		mu   sync.Mutex
		gate = make(chan struct{}, sideBySide)
	)
	for _, tag := range tags {
		gate <- struct{}{}
		wg.Go(func() {
			defer func() { <-gate }()
			_, err := b.workLine(ctx, s, tag)
			if rest := b.ledger.get(tag); rest != nil && rest.State != stateLive && !rest.Erased {
				mu.Lock()
				defer mu.Unlock()
				left = append(left, rest)
				if reason == nil {
					reason = err
				}
			}
		})
	}
	wg.Wait()
	return left, reason
}

// workLine brings one line nearer to its end: it settles an unknown outcome,
// withdraws what must go, and drops the line when nothing is left. It returns
// when to look again; zero means not before something else happens. Working
// the same line twice does no harm.
func (b *Backend) workLine(ctx context.Context, s logical.Storage, tag provider.Tag) (again time.Time, err error) {
	unlock, err := b.lineLocks.lock(ctx, string(tag))
	if err != nil {
		return time.Time{}, err
	}
	defer unlock()
	l := b.ledger.get(tag)
	if l == nil || b.ledger.inFlight(tag) {
		return time.Time{}, nil
	}
	if l.State == stateLive {
		l, again, err = b.overdue(ctx, s, l)
		if l == nil || err != nil {
			b.ledger.outcome(tag, err)
			return again, err
		}
	}
	again, err = b.finish(ctx, s, l)
	b.ledger.outcome(tag, err)
	return again, err
}

// overdue decides whether a live line must go; if so it is marked, and returned.
func (b *Backend) overdue(ctx context.Context, s logical.Storage, l *line) (*line, time.Time, error) {
	if l.Kind == lineOwner {
		role, err := b.roles.get(ctx, s, l.Role)
		if err != nil || role != nil && role.Owner != nil && role.Owner.Tag == l.Tag {
			return nil, time.Time{}, err
		}
	} else if time.Now().Before(l.Deadline) {
		return nil, l.Deadline, nil
	}
	l = l.with(stateWithdrawing)
	return l, time.Time{}, b.putLine(ctx, s, l)
}

// finish withdraws at the provider what a line stands for.
func (b *Backend) finish(ctx context.Context, s logical.Storage, l *line) (again time.Time, err error) {
	if l.Kind == lineRoot { // nor may it come into service meanwhile
		unlock, err := b.accountLocks.lock(ctx, l.Account)
		if err != nil {
			return again, err
		}
		defer unlock()
	}
	account, err := b.accounts.get(ctx, s, l.Account)
	if err != nil {
		return again, err
	}
	if account == nil {
		return again, problemf(statusConflict, "account %q is gone, so its key %s cannot be withdrawn: write the account again", l.Account, l.Tag)
	}
	x, err := b.session(ctx, s, account)
	if err != nil {
		return again, err
	}
	free, used, err := b.inService(ctx, s, x, account, l)
	if err != nil {
		return again, err
	}
	defer free()
	if used {
		return again, b.ledger.drop(ctx, s, l)
	}
	cfg, err := b.settings(ctx, s)
	if err != nil {
		return again, err
	}
	switch {
	case l.Kind == lineKey && x.def.Life() == provider.LifeTwoSlot:
		return b.eraseSlot(ctx, s, x, l, cfg.unheard())
	case l.ID != "":
		if err := b.erase(ctx, x, l); err != nil {
			return again, err
		}
	default:
		if again, err = b.sweepLine(ctx, s, x, l, b.asked(l).Add(cfg.unheard())); err != nil || !again.IsZero() {
			return again, err
		}
	}
	return time.Time{}, b.ledger.drop(ctx, s, l)
}

// inService asks, before anything is withdrawn, whether what a line stands for is
// in service after all. It stays as it is until free is called.
func (b *Backend) inService(ctx context.Context, s logical.Storage, x *session, account *accountEntry, l *line) (free func(), used bool, err error) {
	free = func() {}
	if l.Orphan {
		if used, err = b.taken(ctx, s, l); used || err != nil {
			return free, used, err
		}
	}
	switch l.Kind {
	case lineKey:
		return b.inUse(ctx, s, x, account, l)
	case lineRoot:
		used, err = x.holds(ctx, account, l)
	case lineOwner: // asked by overdue
	}
	return free, used, err
}

// lookAgain is how often an attempt is looked for while it may still appear.
const lookAgain = 15 * time.Second

// inUse asks the stored static role before a leftover is touched: a crash may
// have left a line behind for a key that was stored as current after all, and a
// slot may have been taken into use again, by whichever role its resource has
// now. That role's lock is held until free is called.
func (b *Backend) inUse(ctx context.Context, s logical.Storage, x *session, account *accountEntry, l *line) (free func(), used bool, err error) {
	if x.def.Life() != provider.LifeTwoSlot {
		used, err = b.holds(ctx, s, l.Role, func(e *keyEntry) bool { return e.hasTag(l) })
		return func() {}, used, err
	}
	resource := resourceOf(x.def, account, l.Scope)
	holder, err := b.slotHolder(ctx, s, x.def, resource, "")
	if err != nil {
		return nil, false, err
	}
	if holder == "" {
		return b.freeSlot(ctx, s, x, resource)
	}
	free, err = b.roleLocks.lock(ctx, holder)
	if err != nil {
		return nil, false, err
	}
	// In use, a slot holds another value than the one that had to go.
	used, err = b.holds(ctx, s, holder, func(e *keyEntry) bool { return e.hasSlot(l.ID) })
	if err != nil {
		free()
		return nil, false, err
	}
	return free, used, nil
}

// holds reports whether a static role in service has a certain key.
func (b *Backend) holds(ctx context.Context, s logical.Storage, name string, has func(*keyEntry) bool) (bool, error) {
	role, err := b.roles.get(ctx, s, name)
	if err != nil || role == nil || role.Deleting || role.Type != typeStatic {
		return false, err
	}
	e, err := b.staticKeys.get(ctx, s, name)
	if err != nil || e == nil || e.Phase == phaseWithdrawn {
		return false, err
	}
	return has(e), nil
}

func (e *keyEntry) hasSlot(slot string) bool {
	return e.Current != nil && string(e.Current.ID) == slot || e.Previous != nil && string(e.Previous.ID) == slot
}

// hasTag reports whether a line's key is in service. A previous key that is
// marked to go is not: a further rotation cut its grace short.
func (e *keyEntry) hasTag(l *line) bool {
	if e.Previous != nil && e.Previous.Tag == l.Tag {
		return l.State != stateWithdrawing
	}
	return e.Current != nil && e.Current.Tag == l.Tag
}

func tagsOf(lines []*line) []provider.Tag {
	tags := make([]provider.Tag, 0, len(lines))
	for _, l := range lines {
		tags = append(tags, l.Tag)
	}
	return tags
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
