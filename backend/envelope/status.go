package envelope

import "time"

// Status says how a keyring stands. It holds no secret, and getting it makes no call.
type Status struct {
	Mode Mode
	// Address, Namespace, Mount and Key are empty without settings.
	Address, Namespace, Mount, Key string
	// DataKey is the id of the data key that seals; empty if it was not needed yet.
	DataKey string
	// Held is how many data keys are in memory.
	Held int
	// LoggedInUntil is zero without a login, and for a token that does not end.
	LoggedIn      bool
	LoggedInUntil time.Time
	// Failing says that the last use of transit failed. The last error stays
	// here after it is over.
	Failing   bool
	LastError string
	// LastClass is not_configured, unreachable, token, policy, key or corrupt.
	LastClass              string
	LastFailed, LastWorked time.Time
	// Unwraps is how many data keys transit has unwrapped for this keyring.
	Unwraps int64
}

// Status reports the present state.
func (k *Keyring) Status() Status {
	st := k.state.Load()
	now := k.now()
	s := Status{Mode: st.mode, Unwraps: k.unwraps.Load()}
	if id := st.current.Load(); id != nil {
		s.DataKey = *id
	}
	for _, h := range st.all() {
		if h.expires.IsZero() || now.Before(h.expires) {
			s.Held++
		}
	}
	if st.settings != nil {
		s.Address, s.Namespace = st.settings.Address, st.settings.Namespace
		s.Mount, s.Key = st.settings.Mount, st.settings.Key
	}
	if st.invalid != nil {
		s.Failing, s.LastError, s.LastClass = true, st.invalid.Error(), class(st.invalid)
	}
	if st.transit != nil {
		st.transit.report(&s, now)
	}
	return s
}

func (c *client) report(s *Status, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.sess.usable(now) {
		s.LoggedIn, s.LoggedInUntil = true, c.sess.expires
	}
	s.LastFailed, s.LastWorked = c.last.failed, c.last.succeeded
	if c.last.err != nil {
		s.Failing = c.last.failing
		s.LastError, s.LastClass = c.last.err.Error(), class(c.last.err)
	}
}
