package backend

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/backend/provider"
)

// A phase is where a static role stands between two rotations.
//
//	empty ──────┐                        ┌──────────── grace over ───────────┐
//	withdrawn ──┼── asked ──> minting ── key stored ──> overlap              │
//	stable ─────┘                │       (no predecessor: straight to stable) │
//	   ^                         └── provider said no ──> back to where it was │
//	   └───────────────────────────────────────────────────────────────────────┘
//
// One stored entry holds the whole state and each arrow is one Put, made before
// anything relies on it. So a crash leaves an entry that says what to look for.
type phase string

const (
	// phaseEmpty: no key yet. An import-only role waits for one here.
	phaseEmpty phase = "empty"
	// phaseStable: one key.
	phaseStable phase = "stable"
	// phaseMinting: a key may exist at the provider that is not stored here.
	phaseMinting phase = "minting"
	// phaseOverlap: two keys, until the grace of the previous one is over.
	phaseOverlap phase = "overlap"
	// phaseWithdrawn: the leak switch was used; nothing is served.
	phaseWithdrawn phase = "withdrawn"
)

// An issuer is what the steps of a rotation mean at one provider, for one role.
type issuer interface {
	// plan chooses a new attempt: its tag, and the slot where there are slots.
	plan(ctx context.Context, e *keyEntry) (attempt, error)
	// issue asks the provider once and seals what it gives.
	issue(ctx context.Context, a attempt) (*keyVersion, provider.Secret, error)
	// verify returns nil once the key works; it is patient with new keys.
	verify(ctx context.Context, v *keyVersion, secret provider.Secret) error
	// settle finds what an attempt whose outcome is unknown has left at the
	// provider and withdraws it. sure is false if there may still be more.
	settle(ctx context.Context, a attempt) (sure bool, err error)
	// lasting is how long a call that was not answered may still end a key that
	// comes after it; 0 where each key has a name of its own.
	lasting() time.Duration
	// watch leaves an attempt to the ledger, which goes on looking for it.
	watch(ctx context.Context, a attempt) error
	// retire withdraws a key now; one that is gone is success.
	retire(ctx context.Context, v *keyVersion) error
	// shed leaves a key to the ledger, to be withdrawn as soon as possible. quiet is
	// until when an earlier call about its slot may still take effect.
	shed(ctx context.Context, v *keyVersion, quiet time.Time) error
}

// A rotation moves one static role's entry. It knows no Vault types. The
// caller holds the role's lock, and passes entries that nobody else changes.
type rotation struct {
	issuer
	save  func(context.Context, *keyEntry) error
	grace time.Duration // the role's
	note  string        // what a person must do about a key that has gone from the entry
}

// rotate gives the role a new key. Intent is stored before the provider is
// asked; the new key is verified before it is stored, and stored before the
// previous one is touched. grace, if not nil, replaces the role's once.
func (r *rotation) rotate(ctx context.Context, e *keyEntry, request string, grace *time.Duration) error {
	if err := r.endWithdrawal(ctx, e); err != nil {
		return err
	}
	demanded := request != ""
	if e.Phase == phaseMinting {
		if e.Attempt != nil {
			demanded = demanded || e.Attempt.Demanded
			grace = cmp.Or(grace, e.Attempt.Grace)
		}
		if err := r.resolve(ctx, e); err != nil {
			return err
		}
	}
	if wait := time.Until(e.Quiet); wait > 0 {
		return r.failed(ctx, e, stillUnheard(wait))
	}
	if r.lasting() == 0 { // else the new key comes in the place of the elder one
		if err := r.clearPrevious(ctx, e); err != nil {
			return r.failed(ctx, e, err)
		}
	}
	a, err := r.plan(ctx, e)
	if _, early := errors.AsType[*unheard](err); early {
		return r.failed(ctx, e, err)
	}
	if err != nil {
		return err
	}
	a.Grace, a.Demanded = grace, demanded
	e.Phase, e.Attempt, e.Request = phaseMinting, &a, request
	if err := r.save(ctx, e); err != nil {
		return err
	}

	v, secret, err := r.issue(ctx, a)
	if err != nil {
		return r.refused(ctx, e, err)
	}
	if err := r.verify(ctx, v, secret); err != nil {
		// Never served, so it can go at once. If it does not, the entry still
		// says minting, and the tag is looked for.
		if gone := r.retire(ctx, v); gone != nil {
			e.unanswered()
			return r.failed(ctx, e, errors.Join(err, gone))
		}
		e.rest()
		return r.failed(ctx, e, err)
	}
	return r.adopt(ctx, e, v, grace)
}

// clearPrevious ends an overlap before its time: the elder key is left to the
// ledger before a third one comes.
func (r *rotation) clearPrevious(ctx context.Context, e *keyEntry) error {
	if e.Previous == nil {
		return nil
	}
	switch err := r.shed(ctx, e.Previous, e.Quiet); {
	case errors.Is(err, provider.ErrUnsupported):
		r.note = byHand(e.Previous)
	case err != nil:
		return err
	}
	e.Previous, e.Until = nil, time.Time{}
	return nil
}

func byHand(v *keyVersion) string {
	return "the previous key (" + v.describe() + ") cannot be withdrawn by API: disable it at the provider"
}

// adopt makes v the current key, and begins the grace of the one before it.
func (r *rotation) adopt(ctx context.Context, e *keyEntry, v *keyVersion, grace *time.Duration) error {
	now := time.Now().UTC()
	overlap := r.grace
	if grace != nil {
		overlap = *grace
	}
	e.Version++
	v.Version = e.Version
	e.Previous, e.Current, e.Attempt = e.Current, v, nil
	if e.Previous != nil && e.Previous.ID == v.ID && v.ID != "" {
		e.Previous = nil // the same slot: withdrawing its old value would end the new one
	}
	e.LastRotation, e.Withdrawn, e.Quiet = now, time.Time{}, time.Time{}
	e.Attempts, e.LastError, e.RetryAt = 0, r.note, time.Time{}
	e.Phase, e.Until = phaseStable, time.Time{}
	if e.Previous != nil {
		e.Phase, e.Until = phaseOverlap, now.Add(overlap)
	}
	if err := r.save(ctx, e); err != nil {
		return err
	}
	if e.Previous != nil && overlap <= 0 {
		// The new key is in service: a failure to withdraw the old one shows in
		// the entry, and is tried again, but is not a failed rotation.
		_ = r.endOverlap(ctx, e)
	}
	return nil
}

// endOverlap withdraws the previous key. Its successor is stored.
func (r *rotation) endOverlap(ctx context.Context, e *keyEntry) error {
	before := e.Quiet
	if lasting := r.lasting(); lasting > 0 { // should nobody hear what became of it
		e.Quiet = time.Now().UTC().Add(lasting)
		if err := r.save(ctx, e); err != nil {
			return err
		}
	}
	err := r.retire(ctx, e.Previous)
	if err == nil || nothingChanged(err) {
		e.Quiet = before
	}
	switch {
	case errors.Is(err, provider.ErrUnsupported):
		r.note = byHand(e.Previous)
	case err != nil:
		return r.failed(ctx, e, err)
	}
	e.Previous, e.Until, e.Phase = nil, time.Time{}, phaseStable
	e.Attempts, e.LastError, e.RetryAt = 0, r.note, time.Time{}
	return r.save(ctx, e)
}

// resolve finds out what became of the attempt of a crashed or cut-off mint,
// before anything else is asked of the provider.
func (r *rotation) resolve(ctx context.Context, e *keyEntry) error {
	if e.Attempt == nil {
		e.rest() // there is nothing to look for
		return nil
	}
	sure, err := r.settle(ctx, *e.Attempt)
	if err != nil {
		return r.failed(ctx, e, err)
	}
	if !sure {
		if err := r.watch(ctx, *e.Attempt); err != nil {
			return err
		}
	}
	e.rest()
	return nil
}

// withdraw is the leak switch: nothing is served from the first Put on, and
// the ledger then holds every key and attempt until the provider has dropped it.
// unreachable lists keys that only a person can disable.
func (r *rotation) withdraw(ctx context.Context, e *keyEntry) (unreachable []string, err error) {
	if e.Phase != phaseWithdrawn {
		e.Phase, e.Withdrawn = phaseWithdrawn, time.Now().UTC()
	}
	if err := r.save(ctx, e); err != nil {
		return nil, err
	}
	for _, v := range []*keyVersion{e.Current, e.Previous} {
		if v == nil {
			continue
		}
		switch err := r.shed(ctx, v, e.Quiet); {
		case errors.Is(err, provider.ErrUnsupported):
			unreachable = append(unreachable, v.describe())
		case err != nil:
			return unreachable, err
		}
	}
	if e.Attempt != nil {
		if err := r.watch(ctx, *e.Attempt); err != nil {
			return unreachable, err
		}
	}
	e.Current, e.Previous, e.Attempt, e.Until, e.Quiet = nil, nil, nil, time.Time{}, time.Time{}
	e.Attempts, e.LastError, e.RetryAt = 0, "", time.Time{}
	return unreachable, r.save(ctx, e)
}

// endWithdrawal finishes a leak switch that was cut off, so that what leaked is
// never taken for the key before a new one.
func (r *rotation) endWithdrawal(ctx context.Context, e *keyEntry) error {
	if !e.halfWithdrawn() {
		return nil
	}
	_, err := r.withdraw(ctx, e)
	return err
}

func (e *keyEntry) halfWithdrawn() bool {
	return e.Phase == phaseWithdrawn && (e.Current != nil || e.Previous != nil || e.Attempt != nil)
}

// refused handles a failed create call: back to rest if nothing changed at the
// provider, else stay in minting, and the attempt is looked for.
func (r *rotation) refused(ctx context.Context, e *keyEntry, err error) error {
	switch {
	case throttled(err):
		e.answered()
	case nothingChanged(err):
		e.rest()
	default:
		e.unanswered()
	}
	return r.failed(ctx, e, err)
}

// answered notes that the attempt's call is over. Whoever asked for it was told no,
// and it is not made again for them.
func (e *keyEntry) answered() {
	a := *e.Attempt
	a.Answered, a.Demanded = true, false
	e.Attempt = &a
}

// unanswered counts from now how long the attempt's last call may still take effect:
// what came before it, storing the intent included, may have taken its time.
func (e *keyEntry) unanswered() {
	a := *e.Attempt
	a.Asked = time.Now().UTC()
	e.Attempt = &a
}

// failed makes a failure visible and sets when to try again. A Put that fails
// here loses only that: the entry on storage is still true.
func (r *rotation) failed(ctx context.Context, e *keyEntry, err error) error {
	e.Attempts++
	e.LastError = err.Error()
	e.Request = "" // it was answered with a failure: sent again, it is a new one
	e.RetryAt = time.Now().UTC().Add(retryDelay(e.Attempts, err))
	return errors.Join(err, r.save(ctx, e))
}

// rest puts the entry where it belongs when nothing is under way.
func (e *keyEntry) rest() {
	e.Attempt = nil
	switch {
	case e.Current == nil && !e.Withdrawn.IsZero():
		e.Phase = phaseWithdrawn
	case e.Current == nil:
		e.Phase = phaseEmpty
	case e.Previous != nil:
		e.Phase = phaseOverlap
	default:
		e.Phase = phaseStable
	}
}

func (v *keyVersion) describe() string {
	if v.ID == "" {
		return "brought without a key_id"
	}
	return string(v.ID)
}

// nothingChanged reports whether the provider surely did nothing.
func nothingChanged(err error) bool {
	return errors.Is(err, provider.ErrRejected) || errors.Is(err, provider.ErrThrottled) ||
		errors.Is(err, provider.ErrUnreachable)
}

// throttled reports whether the provider answered a call with 429. That is its word
// that it did nothing; a proxy may have said it for a provider that had. So what the
// call was for is looked for once, when the delay is over.
func throttled(err error) bool {
	var reply *provider.CallError
	return errors.Is(err, provider.ErrThrottled) && errors.As(err, &reply) && reply.Status == http.StatusTooManyRequests
}

// Delays between attempts: they double from the first to the last, and vary by
// a quarter so that roles that failed together do not return together.
const (
	firstRetry = 2 * time.Second
	lastRetry  = 10 * time.Minute
)

// retryDelay is how long to wait after the given number of failures in a row;
// never less than the provider asked for.
func retryDelay(failures int, err error) time.Duration {
	d := lastRetry
	if failures < 10 {
		d = min(lastRetry, firstRetry<<max(0, failures-1))
	}
	d += time.Duration((rand.Float64() - 0.5) / 2 * float64(d)) //nolint:gosec // spreads load; nothing secret depends on it
	asked := provider.RetryAfter(err)
	if u, ok := errors.AsType[*unheard](err); ok {
		asked = u.left
	}
	asked += time.Duration(rand.Float64() / 4 * float64(asked)) //nolint:gosec // as above
	return max(d, asked)
}
