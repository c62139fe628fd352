package backend

import (
	"sync/atomic"
	"time"

	"github.com/hashicorp/vault/sdk/helper/consts"
	"github.com/hashicorp/vault/sdk/logical"
)

// systemFor is for how long an answer of Vault about itself is believed.
const systemFor = time.Second

// A system is Vault's view of itself, remembered for a second. Each question is a
// call from the plugin's process to Vault's, and the framework alone asks one in
// every request: a read from memory would be no such thing. A mount is set up anew
// when its node takes another part in replication, and a node that must not
// write is told so by storage; so what is a second old does no harm.
type system struct {
	logical.SystemView

	replication remembered[consts.ReplicationState]
	defaultTTL  remembered[time.Duration]
	maxTTL      remembered[time.Duration]
	local       remembered[bool]
}

// ReplicationState implements [logical.SystemView].
func (s *system) ReplicationState() consts.ReplicationState {
	return s.replication.get(s.SystemView.ReplicationState, func(r consts.ReplicationState) bool { return r != consts.ReplicationUnknown })
}

// DefaultLeaseTTL implements [logical.SystemView].
func (s *system) DefaultLeaseTTL() time.Duration {
	return s.defaultTTL.get(s.SystemView.DefaultLeaseTTL, positive)
}

// MaxLeaseTTL implements [logical.SystemView].
func (s *system) MaxLeaseTTL() time.Duration {
	return s.maxTTL.get(s.SystemView.MaxLeaseTTL, positive)
}

// LocalMount implements [logical.SystemView].
func (s *system) LocalMount() bool {
	return s.local.get(s.SystemView.LocalMount, func(bool) bool { return true })
}

func positive(d time.Duration) bool { return d > 0 }

// remembered is the last answer to a question. Several may ask at once: one of
// their answers stays.
type remembered[T any] struct{ last atomic.Pointer[answered[T]] }

type answered[T any] struct {
	value T
	at    time.Time // when it was asked for
}

// get asks if the answer is too old, and keeps one that is good: a view that
// cannot reach Vault answers with zero values.
func (r *remembered[T]) get(ask func() T, good func(T) bool) T {
	now := time.Now()
	if a := r.last.Load(); a != nil && now.Sub(a.at) < systemFor {
		return a.value
	}
	v := ask()
	if good(v) {
		r.last.Store(&answered[T]{v, now})
	}
	return v
}
