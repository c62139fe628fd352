package envelope

import (
	"crypto/cipher"
	"fmt"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/singleflight"
)

// A state is everything that depends on the configuration. Other settings
// replace it whole, so that a call under way under the old ones cannot leave
// anything behind in the new.
type state struct {
	mode     Mode
	settings *Settings // nil: none
	transit  *client   // nil without valid settings
	invalid  error     // why there is none
	closed   bool

	current atomic.Pointer[string] // the id of the data key that seals
	flight  singleflight.Group     // by data key id

	mu   sync.Mutex                          // orders changes of held
	held atomic.Pointer[map[string]*heldKey] // replaced, never changed
}

// A heldKey is a data key in memory.
type heldKey struct {
	aead  cipher.AEAD
	entry *storedKey // to unwrap it again; without plaintext
	// expires is when it is forgotten; zero: never.
	expires time.Time
	// due is when Run looks at it next, in Unix nanoseconds.
	due  atomic.Int64
	used atomic.Bool // since it was unwrapped
}

func (st *state) client() (*client, error) {
	switch {
	case st.invalid != nil:
		return nil, fmt.Errorf("the stored config/transit is not valid: %w", st.invalid)
	case st.transit == nil:
		return nil, fmt.Errorf("%w: write config/transit, or set encryption=barrier in config", ErrNotConfigured)
	}
	return st.transit, nil
}

func (st *state) all() map[string]*heldKey {
	if all := st.held.Load(); all != nil {
		return *all
	}
	return nil
}

// find returns a data key that memory holds and may hold.
func (st *state) find(id string, now time.Time) *heldKey {
	h := st.all()[id]
	if h == nil || !h.expires.IsZero() && !now.Before(h.expires) {
		return nil
	}
	if !h.used.Load() { // a plain write would be contended
		h.used.Store(true)
	}
	return h
}

func (st *state) keep(h *heldKey) {
	st.change(func(all map[string]*heldKey) { all[h.entry.ID] = h })
}

// forget drops a data key; if only is given, then no other instance of it.
func (st *state) forget(id string, only *heldKey) {
	st.change(func(all map[string]*heldKey) {
		if only == nil || all[id] == only {
			delete(all, id)
		}
	})
}

func (st *state) change(edit func(map[string]*heldKey)) {
	st.mu.Lock()
	defer st.mu.Unlock()
	next := make(map[string]*heldKey)
	maps.Copy(next, st.all())
	edit(next)
	st.held.Store(&next)
}

func (st *state) close() {
	st.held.Store(nil)
	if st.transit != nil {
		st.transit.setSession(session{})
		st.transit.http.CloseIdleConnections()
	}
}

// hold wraps a data key for use, and keeps it in memory where that is allowed:
// one of transit's for the TTL, one of the barrier's for as long as the
// configuration stands, since storage holds it anyway.
func (k *Keyring) hold(st *state, e *storedKey, key *[keyBytes]byte) *heldKey {
	entry := *e
	entry.Plain = nil
	h := &heldKey{aead: newAEAD(key), entry: &entry}
	if e.Mode == ModeBarrier {
		st.keep(h)
		return h
	}
	ttl := st.settings.DataKeyTTL
	if ttl == 0 {
		return h
	}
	now := k.now()
	h.expires = now.Add(ttl)
	h.due.Store(now.Add(ttl * 8 / 10).UnixNano())
	st.keep(h)
	k.rouse()
	return h
}
