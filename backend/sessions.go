package backend

import (
	"context"
	"sync"
	"time"
)

// sessions counts the operations under way with each account's admin credential,
// so that a credential which was replaced is withdrawn only when nobody is in
// the middle of using it.
type sessions struct {
	mu   sync.Mutex
	open map[string]map[int]chan struct{} // closed at the end
	last int
}

// enter counts an operation until ctx ends. Every operation has a context of its
// own: Vault ends a request's, and the queue an item's.
func (u *sessions) enter(ctx context.Context, account string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.open == nil {
		u.open = map[string]map[int]chan struct{}{}
	}
	if u.open[account] == nil {
		u.open[account] = map[int]chan struct{}{}
	}
	u.last++
	id, over := u.last, make(chan struct{})
	u.open[account][id] = over
	context.AfterFunc(ctx, func() {
		close(over)
		u.mu.Lock()
		defer u.mu.Unlock()
		delete(u.open[account], id)
		if len(u.open[account]) == 0 {
			delete(u.open, account)
		}
	})
}

// idle returns when the operations that are under way now have ended, after at
// most the given time, or when ctx ends.
func (u *sessions) idle(ctx context.Context, account string, atMost time.Duration) {
	u.mu.Lock()
	var under []chan struct{}
	for _, over := range u.open[account] {
		under = append(under, over)
	}
	u.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, atMost)
	defer cancel()
	for _, over := range under {
		select {
		case <-over:
		case <-ctx.Done():
			return
		}
	}
}
