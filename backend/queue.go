package backend

import (
	"container/heap"
	"context"
	"strings"
	"sync"
	"time"
)

// A queue runs work when it is due: rotations and withdrawals, each named by
// an item. It holds only names and times; the state is in storage, and a new
// process fills the queue again from there.
//
// Workers are shared between accounts. One account gets at most half of them while
// others have items here, and the last eighth is for accounts that have none, so
// that providers that are away, and hold each of their workers for as long as a
// call may take, do not hold up the others. Items that wait for their account's
// turn take no worker.
type queue struct {
	// work does one item and returns when it is due again; zero: never.
	work func(ctx context.Context, item string) (again time.Time)
	// workers is how many items may be under way at once.
	workers func() int
	// account is whose share an item's work comes out of; "" if that is not known.
	account func(item string) string

	mu      sync.Mutex
	shares  map[string]*share // by account; those with items only
	items   map[string]*dueItem
	running int
	changes int           // counts the changes of when roles are due
	wake    chan struct{} // holds one element when a heap or running changed
}

// A share is the items of one account.
type share struct {
	due     dueHeap
	running int
}

type dueItem struct {
	name    string
	account string
	at      time.Time
	index   int // in its share's heap; -1 while running
	pending bool
	next    time.Time // asked for while running
}

func newQueue(work func(context.Context, string) time.Time, workers func() int, account func(string) string) *queue {
	return &queue{
		work: work, workers: workers, account: account,
		shares: map[string]*share{}, items: map[string]*dueItem{}, wake: make(chan struct{}, 1),
	}
}

// at sets when an item is due. A later call replaces an earlier one; a call
// while the item is being worked on takes effect when that is over.
func (q *queue) at(name string, t time.Time) { q.enter(name, q.account(name), t) }

// enter is at for an item whose account the caller knows.
func (q *queue) enter(name, account string, t time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	i := q.items[name]
	switch {
	case i == nil:
		i = &dueItem{name: name, account: account, at: t}
		q.items[name] = i
		q.push(i)
	case i.index < 0:
		i.next, i.pending = t, true
	default:
		q.remove(i)
		i.at = t
		if account != "" {
			i.account = account
		}
		q.push(i)
	}
	q.signal()
}

// push puts an item that waits into its account's share. The caller holds mu.
func (q *queue) push(i *dueItem) {
	s := q.shares[i.account]
	if s == nil {
		s = &share{}
		q.shares[i.account] = s
	}
	heap.Push(&s.due, i)
	q.changed(i)
}

// changed counts what a stored agenda should know. The caller holds mu.
func (q *queue) changed(i *dueItem) {
	if strings.HasPrefix(i.name, roleItem("")) {
		q.changes++
	}
}

// remove is the reverse of push.
func (q *queue) remove(i *dueItem) {
	s := q.shares[i.account]
	heap.Remove(&s.due, i.index)
	q.tidy(i.account, s)
}

func (q *queue) tidy(account string, s *share) {
	if len(s.due) == 0 && s.running == 0 {
		delete(q.shares, account)
	}
}

func (q *queue) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// run starts what is due until ctx ends, then waits for what is under way.
func (q *queue) run(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		timer.Reset(q.start(ctx, &wg))
		select {
		case <-ctx.Done():
			return
		case <-q.wake:
		case <-timer.C:
		}
	}
}

// start begins due items as far as workers are free, and returns how long to
// wait for the next one.
func (q *queue) start(ctx context.Context, wg *sync.WaitGroup) time.Duration {
	q.mu.Lock()
	defer q.mu.Unlock()
	for limit := q.workers(); q.running < limit; {
		s := q.first(limit)
		if s == nil {
			break
		}
		if wait := time.Until(s.due[0].at); wait > 0 {
			return wait
		}
		i := heap.Pop(&s.due).(*dueItem) //nolint:forcetypeassert,errcheck // only push fills it
		s.running++
		q.running++
		wg.Go(func() {
			again := q.work(ctx, i.name)
			q.finished(i, again)
		})
	}
	return time.Hour // woken by at and by finished
}

// first is the share whose turn it is: of those that may have another worker, the
// one with the item that is due first. Nil: none may, or nothing waits.
func (q *queue) first(limit int) *share {
	others := len(q.shares)
	if q.shares[""] != nil {
		others-- // belongs to nobody
	}
	var first *share
	for _, s := range q.shares {
		fits := s.running == 0 || others < 2 ||
			s.running < limit/2 && limit-q.running > max(1, limit/8)
		if fits && len(s.due) > 0 && (first == nil || s.due[0].at.Before(first.due[0].at)) {
			first = s
		}
	}
	return first
}

func (q *queue) finished(i *dueItem, again time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	s := q.shares[i.account]
	s.running--
	q.running--
	if i.pending && (again.IsZero() || i.next.Before(again)) {
		again = i.next
	}
	i.pending = false
	if again.IsZero() {
		delete(q.items, i.name)
		q.changed(i)
	} else {
		i.at = again
		q.push(i)
	}
	q.tidy(i.account, s)
	q.signal()
}

// dueRoles says when roles are due, by account, and which state of the queue that is.
func (q *queue) dueRoles() (due map[string]map[string]time.Time, state int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	due = map[string]map[string]time.Time{}
	for name, i := range q.items {
		role, ok := strings.CutPrefix(name, roleItem(""))
		if !ok {
			continue
		}
		if due[i.account] == nil {
			due[i.account] = map[string]time.Time{}
		}
		due[i.account][role] = i.at
	}
	return due, q.changes
}

// A backlog is how much there is to do.
type backlog struct{ waiting, late, running int }

func (q *queue) backlog() backlog {
	q.mu.Lock()
	defer q.mu.Unlock()
	l := backlog{waiting: len(q.items) - q.running, running: q.running}
	now := time.Now()
	for _, s := range q.shares {
		for _, i := range s.due {
			if i.at.Before(now) {
				l.late++
			}
		}
	}
	return l
}

// dueHeap orders items by when they are due.
type dueHeap []*dueItem

func (h dueHeap) Len() int           { return len(h) }
func (h dueHeap) Less(i, j int) bool { return h[i].at.Before(h[j].at) }
func (h dueHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

func (h *dueHeap) Push(x any) {
	i := x.(*dueItem) //nolint:forcetypeassert,errcheck // container/heap is not generic, and only this file pushes
	i.index = len(*h)
	*h = append(*h, i)
}

func (h *dueHeap) Pop() any {
	old := *h
	i := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	i.index = -1
	return i
}
