package chaos

import (
	"context"
	"math/rand/v2"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/backend/provider/providertest"
	"github.com/ai-keys/vault-plugin-secrets-ai-keys/test/devvault"
)

// TestKills: see the package's documentation.
func TestKills(t *testing.T) { //nolint:paralleltest // it wants the machine's time for itself
	w := newWorld(t)
	kills := number(t, "KILLS", 10)
	vault, err := devvault.Start(t.Context(), options(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := vault.Stop(); err != nil {
			t.Error(err)
		}
	})
	w.begin(vault.Addr, vault)
	w.populate("3s")
	w.cloud.Before(func(r *http.Request) error { return w.aim.meet(before, r) })
	w.cloud.After(func(r *http.Request) error { return w.aim.meet(after, r) })
	killer := w.chance()
	w.under(func(ctx context.Context) {
		for n := range kills {
			if !t.Failed() && ctx.Err() == nil {
				w.kill(ctx, killer, n)
			}
		}
	})
	w.didEverything(map[string]uint64{
		"read": 5 * kills, "rotate": kills / 10, "revoke-lease": kills / 20, "create": kills / 20, "delete": kills / 20,
		"revoke": kills / 40, "import": kills / 40, "renew": kills / 40, "rotate-root": kills / 50,
		"kill-server": 1, "kill-plugin": kills / 2,
	})
	if done := w.done["kill-server"] + w.done["kill-plugin"]; uint64(done) != kills {
		t.Errorf("%d kills, want %d", done, kills)
	}
}

// under does something under load, and then holds the engine to its rules.
func (w *world) under(act func(context.Context)) {
	w.Helper()
	person := w.cloud.OpenAI.AddUserKey(providertest.MainProject, persons)
	admin := w.cloud.OpenAI.AddAdminKey(persons)
	w.cloud.SetLatency(10 * time.Millisecond)
	ctx, stop := context.WithCancel(w.Context())
	var running sync.WaitGroup
	defer running.Wait()
	defer stop()
	w.load(ctx, &running)
	act(ctx)
	w.serveAgain(ctx)
	stop()
	running.Wait()
	if w.Failed() {
		w.FailNow()
	}
	w.settle()
	w.atRest()
	w.end()
	for _, id := range []string{person.ID, admin.ID} {
		if !w.alive()[id] {
			w.Errorf("%s, which a person made, was touched", id)
		}
	}
}

// kill ends the plugin, or the server and the plugin, once.
func (w *world) kill(ctx context.Context, r *rand.Rand, n uint64) {
	w.Helper()
	server, moment := r.IntN(6) == 0, []moment{anyTime, before, after}[r.IntN(3)]
	if n == 0 {
		server = true // at least once, also in a short run
	}
	pause(ctx, r, time.Second)
	// Vault may not get over a plugin that dies while Vault is starting it: it keeps
	// the dead process for its connection, and answers 500 until it is restarted.
	w.serveAgain(ctx)
	struck := w.aim.at(ctx, moment)
	defer struck()
	if server {
		w.note("kill %d: the server, %s", n+1, moment)
		if err := w.nodes[0].Kill(); err != nil {
			w.Fatal(err)
		}
		struck()
		if err := w.nodes[0].Restart(ctx); err != nil {
			w.Fatal(err)
		}
		w.count("kill-server", "", nil)
		return
	}
	for ctx.Err() == nil { // Vault may not have started it again yet
		killed, err := w.nodes[0].KillPlugin()
		if err != nil {
			w.note("kill %d: %v", n+1, err) // it has ended in between
			continue
		}
		if killed > 0 {
			w.note("kill %d: the plugin, %s", n+1, moment)
			w.count("kill-plugin", "", nil)
			return
		}
		struck()
		w.serveAgain(ctx)
	}
}

// serveAgain waits until the engine answers, which makes Vault start it.
func (w *world) serveAgain(ctx context.Context) {
	w.Helper()
	w.until(func() string {
		if _, err := w.read(ctx, "status"); err != nil {
			return err.Error()
		}
		return ""
	})
}

// A moment is when to kill.
type moment string

const (
	anyTime moment = "at any time"
	before  moment = "before the provider acts"
	after   moment = "after the provider has acted"
)

// An aim holds a call at the provider while its caller is being killed.
type aim struct {
	mu  sync.Mutex
	now moment
	hit chan struct{} // closed when a call is held
	let chan struct{} // closed when it may go on
}

// at waits until a call is at the moment, or none comes for a while. The call
// goes on when the function it returns is called.
func (a *aim) at(ctx context.Context, m moment) (release func()) {
	if m == anyTime {
		return func() {}
	}
	a.mu.Lock()
	hit, let := make(chan struct{}), make(chan struct{})
	a.now, a.hit, a.let = m, hit, let
	a.mu.Unlock()
	late := time.NewTimer(2 * time.Second)
	defer late.Stop()
	select {
	case <-hit:
	case <-late.C:
	case <-ctx.Done():
	}
	a.mu.Lock()
	a.now = anyTime
	a.mu.Unlock()
	return sync.OnceFunc(func() { close(let) })
}

// meet is called at each moment of each call that changes something.
func (a *aim) meet(m moment, r *http.Request) error {
	if r.Method == http.MethodGet {
		return nil
	}
	a.mu.Lock()
	held := a.now == m
	let := a.let
	if held {
		a.now = anyTime
		close(a.hit)
	}
	a.mu.Unlock()
	if held {
		<-let
	}
	return nil
}
