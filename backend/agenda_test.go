package backend

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
)

// restart stops the mount in good order and starts it again later.
func (w *world) restart(later time.Duration) {
	w.t.Helper()
	w.stop()
	time.Sleep(later)
	w.start()
}

// What is due after a start is found without reading every role first.
func TestAgendaFindsWhatIsDue(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		w.openai()
		w.team("oa", 250)
		w.pass(time.Minute)
		w.write("roles/early", map[string]any{"account": "oa", "type": "static", "project_id": "proj_main", "rotation_period": "2h", "grace_period": "10m"})
		w.stop()
		time.Sleep(3 * time.Hour)

		began := int64(-1)
		w.storage.beforePut(func(path string) { // the first write of a rotation is its intent
			if path == keyPrefix+"early" && began < 0 {
				began = w.storage.reads.Load()
			}
		})
		before := w.storage.reads.Load()
		w.storage.onGet = func(path string) {
			// Not where the mount holds a mutex meanwhile, which stops the bubble's clock.
			if strings.HasPrefix(path, rolePrefix) || strings.HasPrefix(path, keyPrefix) || strings.HasPrefix(path, ledgerPrefix) {
				time.Sleep(time.Millisecond)
			}
		}
		w.start()
		w.pass(time.Minute)
		if w.read("creds/early")["version"] != 2 {
			t.Error("what was due at the start is not rotated")
		}
		if n := began - before; began < 0 || n > 40 { // the survey's, beside it, included
			t.Errorf("the rotation began after %d reads of a mount with 250 roles", n)
		}
		if !w.b.surveyed.Load() {
			t.Error("the roles were not gone through")
		}
	})
}

// Whatever the agenda says, the roles decide.
func TestAgendaIsNotTrusted(t *testing.T) {
	t.Parallel()
	past := time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC).Unix()
	future := time.Date(2040, 1, 1, 0, 0, 0, 0, time.UTC).Unix()
	agendas := map[string]string{
		"missing":                "",
		"damaged":                `{"pages": 1, "due": {"oa": "soon"`,
		"a page is missing":      fmt.Sprintf(`{"pages": 3, "due": {"oa": {"app": %d}}}`, future),
		"absurd":                 `{"pages": -7, "due": null}`,
		"too early":              fmt.Sprintf(`{"pages": 1, "due": {"oa": {"app": %d}}}`, past),
		"too late":               fmt.Sprintf(`{"pages": 1, "due": {"oa": {"app": %d}}}`, future),
		"of roles that are gone": fmt.Sprintf(`{"pages": 1, "due": {"nobody": {"ghost": %d}}}`, past),
		"under another account":  fmt.Sprintf(`{"pages": 1, "due": {"nobody": {"app": %d}}}`, past),
	}
	for name, stored := range agendas {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inWorld(t, func(w *world) {
				w.openai()
				w.write("roles/app", staticFields)
				w.stop()
				if err := w.storage.InmemStorage.Delete(w.t.Context(), agendaPath(0)); err != nil {
					t.Fatal(err)
				}
				if stored != "" {
					if err := w.storage.InmemStorage.Put(w.t.Context(), &logical.StorageEntry{Key: agendaPath(0), Value: []byte(stored)}); err != nil {
						t.Fatal(err)
					}
				}
				w.start()
				w.pass(time.Hour)
				if v := w.read("creds/app")["version"]; v != 1 {
					t.Errorf("version %v before the role was due", v)
				}
				w.pass(24 * time.Hour)
				if v := w.read("creds/app")["version"]; v != 2 {
					t.Errorf("version %v after the role was due", v)
				}
				if strings.Contains(w.log.String(), "[ERROR]") {
					t.Error("a bad agenda is no error: it only costs time")
				}
				w.restart(0)
				w.pass(agendaEvery)
				page, err := load[agendaPage](w.t.Context(), w.storage, agendaPath(0))
				if err != nil || page.Pages != 1 || page.Due["oa"]["app"] < time.Now().Unix() || len(page.Due) != 1 {
					t.Errorf("the agenda afterwards: %+v, %v", page, err)
				}
			})
		})
	}
}

func TestAgendaIsStored(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		w.openai()
		w.write("roles/app", staticFields)
		unfinished := newBackend(&logical.BackendConfig{BackendUUID: w.b.uuid, Logger: w.b.Logger()})
		unfinished.queue.at(roleItem("app"), time.Now())
		if err := unfinished.storeAgenda(w.t.Context(), w.storage); err != nil {
			t.Fatal(err)
		}
		if keys, err := w.storage.List(w.t.Context(), agendaPrefix); err != nil || len(keys) > 0 {
			t.Errorf("half an agenda is stored: %v, %v", keys, err)
		}
		writes := 0
		w.stop()
		w.storage.beforePut(func(path string) {
			if strings.HasPrefix(path, agendaPrefix) {
				writes++
			}
		})
		w.start()
		w.pass(6 * agendaEvery)
		if writes != 1 {
			t.Errorf("%d writes in an hour in which nothing changed, want 1", writes)
		}
		w.must(logical.DeleteOperation, "roles/app", nil)
		w.pass(agendaEvery)
		if keys, err := w.storage.List(w.t.Context(), agendaPrefix); err != nil || len(keys) > 0 {
			t.Errorf("an agenda without roles is stored as %v, %v", keys, err)
		}
		// One that cannot be stored is stored later, and the end does not wait for it.
		w.write("roles/app", staticFields)
		w.storage.dead.Store(true)
		w.pass(agendaEvery)
		w.storage.dead.Store(false)
		w.pass(agendaEvery)
		if writes != 3 {
			t.Errorf("%d writes, want one that failed and one that did not", writes-1)
		}
	})
}

// A long agenda is cut into pages that Vault takes, and a shorter one leaves none behind.
func TestAgendaPages(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		w.pass(time.Second)
		long := strings.Repeat("x", 200)
		in := func(n int) {
			for i := range 5000 {
				name := roleItem(fmt.Sprintf("%s-%04d", long, i))
				if i < n {
					w.b.queue.enter(name, fmt.Sprintf("account-%d", i%3), time.Now().Add(time.Hour))
				} else {
					w.b.queue.enter(name, "", time.Now()) // is no role: finds nothing to do
				}
			}
			w.pass(time.Second)
			if err := w.b.storeAgenda(w.t.Context(), w.storage); err != nil {
				t.Fatal(err)
			}
		}
		stored := func() (pages, roles int) {
			keys, err := w.storage.List(w.t.Context(), agendaPrefix)
			if err != nil {
				t.Fatal(err)
			}
			for _, key := range keys {
				e, err := w.storage.Get(w.t.Context(), agendaPrefix+key)
				if err != nil || len(e.Value) > 512<<10 {
					t.Errorf("page %s has %d bytes, %v", key, len(e.Value), err)
				}
			}
			for _, of := range w.recalled() {
				roles += len(of)
			}
			return len(keys), roles
		}
		in(5000)
		if pages, roles := stored(); pages < 4 || pages > 8 || roles != 5000 {
			t.Errorf("%d pages with %d roles, want about 5 with 5000", pages, roles)
		}
		in(10)
		if pages, roles := stored(); pages != 1 || roles != 10 {
			t.Errorf("%d pages with %d roles, want 1 with 10", pages, roles)
		}
	})
}

// recalled is the stored agenda, as a mount that starts takes it up.
func (w *world) recalled() map[string]map[string]time.Time {
	w.t.Helper()
	fresh := newBackend(&logical.BackendConfig{BackendUUID: w.b.uuid, Logger: w.b.Logger()})
	if !fresh.recall(w.t.Context(), w.storage) {
		w.t.Error("there is no agenda")
	}
	due, _ := fresh.queue.dueRoles()
	return due
}
