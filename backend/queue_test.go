package backend

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A bench is a queue whose items are worked on until they are let go.
type bench struct {
	q    *queue
	mu   sync.Mutex
	busy map[string]int // by account
	let  map[string]chan struct{}
}

// onBench runs a test on a queue with so many workers. An item is "<account>/<n>".
func onBench(t *testing.T, workers int, f func(*bench)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		account := func(item string) string { name, _, _ := strings.Cut(item, "/"); return name }
		b := &bench{busy: map[string]int{}, let: map[string]chan struct{}{}}
		b.q = newQueue(func(ctx context.Context, item string) time.Time {
			a := account(item)
			b.mu.Lock()
			b.busy[a]++
			gate := b.let[a]
			b.mu.Unlock()
			select {
			case <-gate:
			case <-ctx.Done():
			}
			b.mu.Lock()
			defer b.mu.Unlock()
			b.busy[a]--
			return time.Time{}
		}, func() int { return workers }, account)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { b.q.run(ctx) })
		f(b)
		cancel()
		wg.Wait()
	})
}

func (b *bench) add(account string, n int, due time.Time) {
	b.mu.Lock()
	if b.let[account] == nil {
		b.let[account] = make(chan struct{})
	}
	b.mu.Unlock()
	for i := range n {
		b.q.at(fmt.Sprintf("%s/%d", account, i), due)
	}
	synctest.Wait()
}

func (b *bench) expect(t *testing.T, account string, want int) {
	t.Helper()
	synctest.Wait()
	b.mu.Lock()
	defer b.mu.Unlock()
	if got := b.busy[account]; got != want {
		t.Errorf("account %s has %d workers, want %d", account, got, want)
	}
}

func TestQueueShares(t *testing.T) {
	t.Parallel()
	onBench(t, 64, func(b *bench) {
		b.add("", 1, time.Now().Add(time.Hour)) // belongs to no account
		b.add("a", 100, time.Now())
		b.expect(t, "a", 64) // nobody else is there
	})
	onBench(t, 64, func(b *bench) {
		for _, name := range []string{"c", "d", "e"} {
			b.add(name, 5, time.Now().Add(time.Hour))
		}
		b.add("a", 100, time.Now())
		b.expect(t, "a", 32)
		b.add("b", 100, time.Now())
		b.expect(t, "b", 24) // the last eighth is not for those who have workers
		time.Sleep(time.Hour)
		for _, name := range []string{"c", "d", "e"} {
			b.expect(t, name, 1)
		}
		close(b.let["b"]) // b is quick from now on, a as stuck as before
		b.expect(t, "b", 0)
		b.expect(t, "a", 32)
		for _, name := range []string{"c", "d", "e"} {
			b.expect(t, name, 5)
		}
	})
	onBench(t, 1, func(b *bench) {
		b.add("b", 1, time.Now().Add(time.Hour))
		b.add("a", 2, time.Now())
		b.expect(t, "a", 1)
	})
	onBench(t, 2, func(b *bench) {
		b.add("b", 1, time.Now().Add(time.Hour))
		b.add("a", 2, time.Now())
		b.expect(t, "a", 1)
		time.Sleep(time.Hour)
		b.expect(t, "b", 1)
	})
}

// An item is due when it was last said to be, under the account that is known by then.
func TestQueueMovesItems(t *testing.T) {
	t.Parallel()
	onBench(t, 2, func(b *bench) {
		b.add("a", 1, time.Now().Add(time.Hour))
		b.add("b", 2, time.Now().Add(3*time.Hour))
		b.q.enter("a/0", "b", time.Now().Add(2*time.Hour))
		b.q.enter("a/0", "", time.Now().Add(2*time.Hour)) // not known is not changed
		time.Sleep(90 * time.Minute)
		b.expect(t, "a", 0)
		if len(b.q.shares) != 1 {
			t.Errorf("%d shares, want b's alone", len(b.q.shares))
		}
		time.Sleep(time.Hour)
		b.expect(t, "a", 1)
		// Asked for while it is being worked on: once more, after that.
		b.q.at("a/0", time.Now())
		if l := b.q.backlog(); l != (backlog{waiting: 2, running: 1}) {
			t.Errorf("%+v", l)
		}
		close(b.let["a"])
		synctest.Wait()
		if l := b.q.backlog(); l != (backlog{waiting: 2}) {
			t.Errorf("at the end %+v", l)
		}
	})
}
