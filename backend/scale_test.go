package backend

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/hashicorp/vault/sdk/logical"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/backend/provider/providertest"
)

// manyRoles is the size of the mount in the measurements here.
const manyRoles = 10_000

// populate stores many static roles, a few of which are due, without asking a
// provider for each: copies of one role's entries under other names.
func (w *world) populate(n, due int) {
	w.t.Helper()
	ctx := w.t.Context()
	w.openai()
	w.write("roles/app", map[string]any{"account": "oa", "type": "static", "project_id": providertest.MainProject, "rotation_period": "24h", "grace_period": "10m"})
	role, err := load[roleEntry](ctx, w.storage, rolePrefix+"app")
	if err != nil {
		w.t.Fatal(err)
	}
	e, err := load[keyEntry](ctx, w.storage, keyPrefix+"app")
	if err != nil {
		w.t.Fatal(err)
	}
	raw, err := w.b.keyring.Open(ctx, w.storage, keyPrefix+"app", e.Current.Secret)
	if err != nil {
		w.t.Fatal(err)
	}
	for i := range n {
		name := fmt.Sprintf("team-%04d-application", i)
		mine, current := e.clone(), *e.Current
		if current.Secret, err = w.b.keyring.Seal(ctx, w.storage, keyPrefix+name, raw); err != nil {
			w.t.Fatal(err)
		}
		current.Tag = "vault-" + current.Tag
		mine.Current = &current
		if i >= n-due {
			mine.LastRotation = mine.LastRotation.Add(-25 * time.Hour)
		}
		for path, v := range map[string]any{rolePrefix + name: role, keyPrefix + name: mine} {
			if err := save(ctx, w.storage, path, v); err != nil {
				w.t.Fatal(err)
			}
		}
	}
}

func heapInUse() float64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}

// BenchmarkStart measures a start on a mount with many roles: until the first read
// is answered, until what is due begins, until every role has been looked at; and
// what memory keeps.
func BenchmarkStart(b *testing.B) {
	for _, with := range []string{"agenda", "without"} {
		b.Run(with, func(b *testing.B) {
			w := newWorld(b)
			w.populate(manyRoles, 0)
			w.stop()
			w.start()
			until(w.b.surveyed.Load)
			w.stop() // stores the agenda
			var read, begun, all time.Duration
			var kept float64
			for b.Loop() {
				if with == "without" {
					if err := w.storage.InmemStorage.Delete(b.Context(), agendaPath(0)); err != nil {
						b.Fatal(err)
					}
				}
				w.b = nil // or the former mount would count as well
				before, started := heapInUse(), time.Now()
				reads := w.storage.reads.Load()
				w.start()
				if _, err := w.call(logical.ReadOperation, "creds/team-7777-application", nil); err != nil {
					b.Fatal(err)
				}
				read += time.Since(started)
				until(func() bool { return w.b.queue.backlog().waiting >= manyRoles })
				begun += time.Since(started)
				if with == "agenda" {
					b.Logf("%d reads of storage until all due times are known", w.storage.reads.Load()-reads)
				}
				until(w.b.surveyed.Load)
				all += time.Since(started)
				kept += heapInUse() - before
				w.stop()
			}
			n := float64(b.N)
			b.ReportMetric(read.Seconds()*1e3/n, "ms-to-first-read")
			b.ReportMetric(begun.Seconds()*1e3/n, "ms-to-all-due-times")
			b.ReportMetric(all.Seconds()*1e3/n, "ms-to-survey")
			b.ReportMetric(kept/n/1e6, "MB-kept")
		})
	}
}

func until(ready func() bool) {
	for !ready() {
		runtime.Gosched()
	}
}
