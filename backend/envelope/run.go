package envelope

import (
	"context"
	"time"
)

// Run looks after what is in memory until ctx ends: it keeps the login alive,
// unwraps data keys that are in use again before their TTL ends, and forgets
// each one when it ends. It is the only goroutine that lasts, and makes no call
// unless the keyring has been used. Without it everything works, but readers
// wait for transit once in a TTL, and an unused data key stays in memory.
func (k *Keyring) Run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-k.wake:
		case <-timer.C:
		}
		if next := k.tend(ctx); !next.IsZero() {
			timer.Reset(max(next.Sub(k.now()), time.Millisecond))
		} else {
			timer.Stop()
		}
	}
}

// tend does what is due and returns when something will be; zero: not known.
func (k *Keyring) tend(ctx context.Context) (next time.Time) {
	st := k.state.Load()
	for _, h := range st.all() {
		next = earlier(next, k.tendKey(ctx, st, h))
	}
	if st.transit == nil {
		return next
	}
	due, err := st.transit.tend(ctx)
	if err != nil && ctx.Err() == nil {
		k.log.Warn("keeping the login to transit alive failed", "until", st.transit.session().expires, "error", err)
	}
	return earlier(next, due)
}

// tendKey forgets a data key whose time is over, and unwraps it again at four
// fifths of its TTL, or later, as soon as it was used. A failure leaves it as it
// is, for another try a twentieth of the TTL later.
func (k *Keyring) tendKey(ctx context.Context, st *state, h *heldKey) (next time.Time) {
	if h.expires.IsZero() {
		return time.Time{}
	}
	now := k.now()
	if !now.Before(h.expires) {
		st.forget(h.entry.ID, h)
		return time.Time{}
	}
	due := time.Unix(0, h.due.Load())
	if now.Before(due) {
		return earlier(due, h.expires)
	}
	if h.used.Load() {
		_, err, _ := st.flight.Do(h.entry.ID, func() (any, error) {
			ctx, cancel := context.WithTimeout(ctx, st.settings.timeout())
			defer cancel()
			return k.unwrap(ctx, st, h.entry)
		})
		if err == nil {
			return time.Time{} // the new one woke us
		}
		if ctx.Err() == nil {
			k.log.Warn("refreshing a data key failed; it serves until its TTL ends", "data_key", h.entry.ID, "until", h.expires, "error", err)
		}
	}
	due = k.now().Add(st.settings.DataKeyTTL / 20)
	h.due.Store(due.UnixNano())
	return earlier(due, h.expires)
}

// earlier treats the zero time as never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
