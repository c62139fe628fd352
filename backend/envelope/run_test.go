package envelope

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestTheBarriersDataKeysAreHeldWithoutEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.Configure(ModeBarrier, nil)
		stop := w.run(t)
		defer stop()
		b := w.seal(t, "key/reader")
		gets := w.store.gets
		time.Sleep(24 * time.Hour)
		w.opens(t, w.Keyring, "key/reader", b)
		if w.store.gets != gets {
			t.Error("a reader waited for storage")
		}
	})
}

func TestTransitAwayServesUntilTheTTLEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		stop := w.run(t)
		defer stop()
		b := w.seal(t, "key/reader")
		time.Sleep(time.Minute)
		w.opens(t, w.Keyring, "key/reader", b)
		w.net.setDown(errRefused)
		time.Sleep(4*time.Minute - time.Second)
		w.opens(t, w.Keyring, "key/reader", b)
		time.Sleep(2 * time.Second)
		w.fails(t, w.openErr(t, "key/reader", b), ErrUnreachable, "takes no connection")
		_, err := w.Seal(t.Context(), w.store, "key/reader", []byte(canaryPlain))
		w.fails(t, err, ErrUnreachable, "takes no connection")
		if s := w.Status(); !s.Failing || s.LastClass != "unreachable" || s.Held != 0 {
			t.Errorf("status = %+v", s)
		}
		w.net.setDown(nil)
		w.opens(t, w.Keyring, "key/reader", b)
		if s := w.Status(); s.Failing || s.LastClass != "unreachable" || s.Held != 1 {
			t.Errorf("status = %+v", s)
		}
		if !strings.Contains(w.log.String(), "refreshing a data key failed") {
			t.Error("the log says nothing of the failed refresh")
		}
	})
}

// run starts the keeper; the result ends it and waits for it.
func (w *world) run(t *testing.T) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var keeper sync.WaitGroup
	keeper.Go(func() { w.Run(ctx) })
	return func() {
		cancel()
		keeper.Wait()
	}
}

func TestRefreshAheadSoThatReadersNeverWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		stop := w.run(t)
		defer stop()
		b := w.seal(t, "key/reader")
		w.vault.set(func(f *fakeVault) {
			f.before = func(string, http.ResponseWriter, *http.Request) bool {
				time.Sleep(2 * time.Second) // transit is slow: a reader that waits shows
				return false
			}
		})
		for range 3 * 60 { // an hour: twelve lives of a data key
			start := time.Now()
			w.opens(t, w.Keyring, "key/reader", b)
			if waited := time.Since(start); waited != 0 {
				t.Fatalf("a reader waited %s", waited)
			}
			time.Sleep(20 * time.Second)
		}
		used := w.vault.count("decrypt")
		if used < 12 || used > 20 {
			t.Errorf("%d unwraps in an hour with a TTL of 5 minutes", used)
		}
		time.Sleep(time.Hour)
		if idle := w.vault.count("decrypt") - used; idle > 2 {
			t.Errorf("%d unwraps of an unused data key", idle)
		}
		if held := w.state.Load().all(); len(held) != 0 {
			t.Errorf("%d data keys in memory after their TTL", len(held))
		}
	})
}

func TestLateUseIsRefreshedBeforeTheTTLEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		stop := w.run(t)
		defer stop()
		b := w.seal(t, "key/reader")
		w.restartHeld(t, b)
		before := w.vault.count("decrypt")
		time.Sleep(4*time.Minute + 20*time.Second) // past four fifths, unused
		if got := w.vault.count("decrypt"); got != before {
			t.Fatalf("%d unwraps of an unused data key", got-before)
		}
		w.opens(t, w.Keyring, "key/reader", b)
		time.Sleep(20 * time.Second)
		if got := w.vault.count("decrypt"); got != before+1 {
			t.Errorf("%d unwraps after a late use; want 1", got-before)
		}
	})
}

// restartHeld leaves the data key in memory as if it had just been unwrapped by Warm.
func (w *world) restartHeld(t *testing.T, b Blob) {
	t.Helper()
	w.Invalidate(storagePrefix + b.DataKey())
	if err := w.Warm(t.Context(), w.store); err != nil {
		t.Fatal(err)
	}
	if h := w.state.Load().all()[b.DataKey()]; h == nil || h.used.Load() {
		t.Fatal("Warm left no unused data key")
	}
}

func TestTTLZeroAsksOnEachUse(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(s *Settings) { s.DataKeyTTL = 0 })
	b := w.seal(t, "key/reader")
	before := w.vault.count("decrypt")
	for range 3 {
		w.opens(t, w.Keyring, "key/reader", b)
	}
	if got := w.vault.count("decrypt") - before; got != 3 {
		t.Errorf("%d unwraps for 3 uses", got)
	}
	w.vault.set(func(f *fakeVault) { f.denied["decrypt"] = true })
	w.fails(t, w.openErr(t, "key/reader", b), ErrPolicy, "update on transit/decrypt/ai-keys")
	if n := w.Status().Held; n != 0 {
		t.Errorf("%d data keys held", n)
	}
}

func TestAHangingTransitIsBoundedByTimeout(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		b := w.seal(t, "key/reader")
		k := w.restart()
		w.vault.set(func(f *fakeVault) {
			f.before = func(op string, _ http.ResponseWriter, r *http.Request) bool {
				if op == "login" {
					time.Sleep(3 * time.Second) // eats most of what there is
					return false
				}
				<-r.Context().Done()
				return true
			}
		})
		start := time.Now()
		_, err := k.Open(t.Context(), w.store, "key/reader", b)
		w.fails(t, err, ErrUnreachable, "did not answer within timeout")
		if took := time.Since(start); took != 5*time.Second {
			t.Errorf("it took %s; want the timeout of 5s, login included", took)
		}
	})
}
