package backend

import (
	"container/heap"
	"context"
	"sync"
	"time"
)

// A queue runs work when it is due: rotations and withdrawals, each named by
// an item. It holds only names and times; the state is in storage, and a new
// process fills the queue again from there.
type queue struct {
	// work does one item and returns when it is due again; zero: never.
	work func(ctx context.Context, item string) (again time.Time)
	// workers is how many items may be under way at once.
	workers func() int

	mu      sync.Mutex
	due     dueHeap
	items   map[string]*dueItem
	running int
	wake    chan struct{} // holds one element when the heap or running changed
}

type dueItem struct {
	name    string
	at      time.Time
	index   int // in the heap; -1 while running
	pending bool
	next    time.Time // asked for while running
}

func newQueue(work func(context.Context, string) time.Time, workers func() int) *queue {
	return &queue{work: work, workers: workers, items: map[string]*dueItem{}, wake: make(chan struct{}, 1)}
}

// at sets when an item is due. A later call replaces an earlier one; a call
// while the item is being worked on takes effect when that is over.
func (q *queue) at(name string, t time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	i := q.items[name]
	switch {
	case i == nil:
		i = &dueItem{name: name, at: t}
		q.items[name] = i
		heap.Push(&q.due, i)
	case i.index < 0:
		i.next, i.pending = t, true
	default:
		i.at = t
		heap.Fix(&q.due, i.index)
	}
	q.signal()
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
	for limit := q.workers(); len(q.due) > 0 && q.running < limit; {
		i := q.due[0]
		if wait := time.Until(i.at); wait > 0 {
			return wait
		}
		heap.Pop(&q.due)
		q.running++
		wg.Go(func() {
			again := q.work(ctx, i.name)
			q.finished(i, again)
		})
	}
	return time.Hour // woken by at and by finished
}

func (q *queue) finished(i *dueItem, again time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.running--
	if i.pending && (again.IsZero() || i.next.Before(again)) {
		again = i.next
	}
	i.pending = false
	if again.IsZero() {
		delete(q.items, i.name)
	} else {
		i.at = again
		heap.Push(&q.due, i)
	}
	q.signal()
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
