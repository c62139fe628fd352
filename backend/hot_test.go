package backend

import (
	"testing"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
)

// A static read makes no storage call and no network call in steady state.
func TestHotReadTouchesNothing(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		w.openai()
		w.write("roles/app", staticFields)
		w.pass(time.Minute)
		w.read("creds/app") // fills the caches
		calls, reads := w.cloud.Counts().Calls, w.storage.reads.Load()
		for range 100 {
			w.read("creds/app")
		}
		if n := w.storage.reads.Load() - reads; n > 0 {
			t.Errorf("%d storage reads in 100 hot reads", n)
		}
		if n := w.cloud.Counts().Calls - calls; n > 0 {
			t.Errorf("%d provider calls in 100 hot reads", n)
		}
		// What another node writes is seen.
		e, err := w.b.staticKeys.get(w.t.Context(), w.storage, "app")
		if err != nil {
			t.Fatal(err)
		}
		elsewhere := e.clone()
		elsewhere.Phase, elsewhere.Withdrawn = phaseWithdrawn, time.Now()
		if err := save(w.t.Context(), w.storage, keyPrefix+"app", elsewhere); err != nil {
			t.Fatal(err)
		}
		w.b.InvalidateKey(w.t.Context(), keyPrefix+"app")
		w.refused(statusConflict, logical.ReadOperation, "creds/app", nil)
	})
}

func BenchmarkReadStatic(b *testing.B) {
	w := benchWorld(b)
	req := &logical.Request{Operation: logical.ReadOperation, Path: "creds/app", Storage: w.storage}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := w.b.HandleRequest(b.Context(), req); err != nil {
				b.Error(err)
			}
		}
	})
}

func BenchmarkReadDynamic(b *testing.B) {
	w := benchWorld(b)
	b.ReportAllocs()
	for b.Loop() {
		req := &logical.Request{Operation: logical.ReadOperation, Path: "creds/ci", Storage: w.storage}
		resp, err := w.b.HandleRequest(b.Context(), req)
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer() // the book of the fake must not grow without end
		end := leaseRequest("", logical.RevokeOperation, resp.Secret)
		end.Storage = w.storage
		if _, err := w.b.HandleRequest(b.Context(), end); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}

func BenchmarkRotate(b *testing.B) {
	w := benchWorld(b)
	b.ReportAllocs()
	for b.Loop() {
		req := &logical.Request{
			Operation: logical.UpdateOperation, Path: "rotate-role/app", Storage: w.storage,
			Data: map[string]any{"grace_period": 0},
		}
		if _, err := w.b.HandleRequest(b.Context(), req); err != nil {
			b.Fatal(err)
		}
	}
}

func benchWorld(b *testing.B) *world {
	b.Helper()
	w := newWorld(b)
	w.openai()
	w.write("roles/app", staticFields)
	w.write("roles/ci", dynamicFields)
	return w
}
