package backend

import (
	"context"
	"sync"
)

// locks hands out one lock a name, made on demand and dropped when unused. The
// SDK's sharded locks are shared between strangers, so one slow provider call
// under them would hold up other roles; these are held by one name only.
type locks struct {
	mu sync.Mutex
	m  map[string]*nameLock
}

type nameLock struct {
	held  chan struct{} // holds one element while locked
	users int           // holders and waiters
}

// lock waits for name's lock or the end of ctx.
func (l *locks) lock(ctx context.Context, name string) (unlock func(), err error) {
	l.mu.Lock()
	if l.m == nil {
		l.m = map[string]*nameLock{}
	}
	n := l.m[name]
	if n == nil {
		n = &nameLock{held: make(chan struct{}, 1)}
		l.m[name] = n
	}
	n.users++
	l.mu.Unlock()

	leave := func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if n.users--; n.users == 0 {
			delete(l.m, name)
		}
	}
	select {
	case n.held <- struct{}{}:
		return func() { <-n.held; leave() }, nil
	case <-ctx.Done():
		leave()
		return nil, problemf(statusUnavailable, "another operation on %q is still under way: try again shortly", name)
	}
}
