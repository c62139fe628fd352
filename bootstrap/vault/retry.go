package vault

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"syscall"
	"time"
)

const (
	// readRetries is how often a read is tried again, first after firstWait.
	readRetries = 3
	firstWait   = 200 * time.Millisecond
	// limitedRetries is how often a request is tried again that the server put
	// off because of a rate limit, waiting limitedWait each time at most.
	limitedRetries = 10
	limitedWait    = 5 * time.Second
	// upgradeTime is how long a new key-value mount may take to get ready.
	upgradeTime = 10 * time.Second
	upgradeWait = 250 * time.Millisecond
)

// A failure is a request that brought no success.
type failure struct {
	// err is for people.
	err error
	// status is 0 when no answer came, or none that can be used.
	status int
	// after is the server's Retry-After.
	after string
	// sent: it may have reached the server.
	sent bool
	// hopeless: the next answer would be no better.
	hopeless bool
}

// undone tells whether the server says that it did nothing.
func (f *failure) undone() bool {
	e, ok := errors.AsType[*Error](f.err)
	if !ok || f.status == 0 {
		return !f.sent
	}
	switch {
	case f.status < http.StatusInternalServerError, f.status == http.StatusNotImplemented:
		return true
	case f.status == http.StatusServiceUnavailable:
		return IsSealed(e) || e.says("overloaded") || e.says("standby")
	}
	return e.says("local node not active")
}

// again tells whether and after which time a call is to be tried again.
func (f *failure) again(what call, attempt int, since time.Duration) (time.Duration, bool) {
	switch {
	case what.once || f.hopeless:
		return 0, false
	case f.status == http.StatusTooManyRequests:
		return f.limited(attempt)
	case f.upgrading():
		return upgradeWait, since+upgradeWait <= upgradeTime
	case what.write || attempt > readRetries:
		return 0, false
	case f.status >= http.StatusInternalServerError:
		return backoff(attempt), f.status != http.StatusNotImplemented && !IsSealed(f.err)
	case f.status != 0 || errors.Is(f.err, context.DeadlineExceeded):
		// Whoever waited a minute in vain is better told than kept waiting.
		return 0, false
	}
	broken := f.sent || errors.Is(f.err, syscall.ECONNRESET) || errors.Is(f.err, io.EOF)
	return backoff(attempt), broken
}

// limited is again for a request that the server put off.
func (f *failure) limited(attempt int) (time.Duration, bool) {
	seconds, err := strconv.Atoi(f.after)
	if err != nil || seconds < 0 {
		return backoff(attempt), attempt <= readRetries
	}
	// All who were put off come back at once otherwise.
	return min(time.Duration(seconds)*time.Second+jitter(firstWait), limitedWait), attempt <= limitedRetries
}

// upgrading tells whether a key-value mount has just been made, and does
// nothing yet.
func (f *failure) upgrading() bool {
	e, ok := errors.AsType[*Error](f.err)
	return ok && f.status == http.StatusBadRequest && e.says("Upgrading from non-versioned to versioned data")
}

// final is the error that the caller gets.
func (f *failure) final(what call) error {
	if what.write && !f.undone() {
		return &OutcomeUnknownError{Err: f.err}
	}
	return f.err
}

// backoff grows with the attempts.
func backoff(attempt int) time.Duration {
	d := firstWait << (attempt - 1)
	return d + jitter(d/2)
}

// jitter is up to d.
func jitter(d time.Duration) time.Duration {
	return rand.N(d) //nolint:gosec // anybody may guess how long we wait
}
