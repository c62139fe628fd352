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
		return func() { l.interruptible(name, nil); <-n.held; leave() }, nil
	case <-ctx.Done():
		leave()
		return nil, problemf(statusUnavailable, "another operation on %q is still under way: try again shortly", name)
	}
}

// interruptible tells how the holder of name's lock can be hurried.
func (l *locks) interruptible(name string, cancel func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := l.m[name]; n != nil {
		n.cancel = cancel
	}
}

// interrupt hurries the holder of name's lock, if there is one and it can be.
func (l *locks) interrupt(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := l.m[name]; n != nil && n.cancel != nil {
		n.cancel()
	}
}
