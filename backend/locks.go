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
	held   chan struct{} // holds one element while locked
	users  int           // holders and waiters
	cancel func()        // ends what the holder waits for; nil if it cannot be hurried
	urgent int           // callers of seize that wait: whoever holds the lock before them is hurried
}

// lock waits for name's lock or the end of ctx.
func (l *locks) lock(ctx context.Context, name string) (unlock func(), err error) {
	l.mu.Lock()
	n := l.get(name)
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
		return func() { l.interruptible(name, nil); <-n.held; leave() }, nil
	case <-ctx.Done():
		leave()
		return nil, problemf(statusUnavailable, "another operation on %q is still under way: try again shortly", name)
	}
}

// interruptible tells how the holder of name's lock can be hurried; at once, if
// somebody urgent waits already.
func (l *locks) interruptible(name string, cancel func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := l.m[name]
	if n == nil {
		return
	}
	n.cancel = cancel
	if cancel != nil && n.urgent > 0 {
		cancel()
	}
}

// seize is lock for what cannot wait: it interrupts the holder, and whoever
// gets the lock before it.
func (l *locks) seize(ctx context.Context, name string) (unlock func(), err error) {
	l.hurry(name, 1)
	defer l.hurry(name, -1)
	return l.lock(ctx, name)
}

func (l *locks) hurry(name string, by int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := l.get(name)
	n.urgent += by
	n.users += by // keeps n while it is urgent
	if by > 0 && n.cancel != nil {
		n.cancel()
	}
	if n.users == 0 {
		delete(l.m, name)
	}
}

// get returns the lock of a name. The caller holds mu.
func (l *locks) get(name string) *nameLock {
	if l.m == nil {
		l.m = map[string]*nameLock{}
	}
	n := l.m[name]
	if n == nil {
		n = &nameLock{held: make(chan struct{}, 1)}
		l.m[name] = n
	}
	return n
}
