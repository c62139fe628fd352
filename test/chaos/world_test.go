package chaos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/backend/provider/providertest"
	"github.com/ai-keys/vault-plugin-secrets-ai-keys/test/devvault"
	"github.com/ai-keys/vault-plugin-secrets-ai-keys/test/fakes"
	"github.com/ai-keys/vault-plugin-secrets-ai-keys/test/servers"
)

// mark is in every secret of these tests.
const mark = "CANARYdoNOTleak9c1xWz"

// mount is where the engine is.
const mount = "keys"

type fields = map[string]any

// A world is a server with the engine, its providers, and what happened there.
type world struct {
	testing.TB

	seed   uint64
	nodes  []*devvault.Server // Vault's; one is enough
	fakes  *fakes.Server
	cloud  *providertest.Cloud
	client *api.Client // of root, at whichever node answers
	roles  int         // how many calm ones: see load_test.go
	aim    aim

	serials atomic.Uint64 // of sequences: see chance
	brought atomic.Uint64 // keys that a person made for import: no name comes twice

	mu sync.Mutex
	// everything below is guarded by mu
	events []string
	done   map[string]int // what succeeded, by kind
	// unanswered are imported keys, by id, of which nobody knows whether they arrived.
	unanswered map[string]bool
	gone       map[string]bool // roles whose deletion was asked for
}

// number reads a number from the environment.
func number(t *testing.T, name string, otherwise uint64) uint64 {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s must be a number: %v", name, err)
	}
	return n
}

// newWorld starts the providers. A server comes next: see begin.
func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{
		TB: t, seed: number(t, "SEED", rand.Uint64()), roles: 6,
		done: map[string]int{}, unanswered: map[string]bool{}, gone: map[string]bool{},
	}
	t.Logf("SEED=%d", w.seed)
	t.Cleanup(w.tell)
	var err error
	if w.fakes, err = fakes.Start(t.Context(), fakes.Config{Cloud: providertest.Options{Marker: mark}}); err != nil {
		t.Fatal(err)
	}
	w.cloud = w.fakes.Cloud
	t.Cleanup(func() {
		if err := w.fakes.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

func options(t *testing.T) devvault.Options {
	t.Helper()
	return devvault.Options{Binaries: servers.Binaries(t), Dir: t.TempDir(), Persistent: true, LogLevel: "debug"}
}

// begin mounts the engine, with an account "main". The first node leads; the
// address is where the engine finds Vault.
func (w *world) begin(address string, nodes ...*devvault.Server) {
	w.Helper()
	w.nodes = nodes
	w.Cleanup(w.search)
	first := nodes[0]
	_, err := first.PluginProcesses()
	if errors.Is(err, errors.ErrUnsupported) {
		w.Skip(err)
	}
	if w.client, err = first.Client(first.RootToken); err != nil {
		w.Fatal(err)
	}
	if err := w.client.SetAddress(address); err != nil {
		w.Fatal(err)
	}
	w.client.SetClientTimeout(10 * time.Second)
	engine := devvault.Engine{Path: mount, SecretID: mark + "-secret-id", Settings: fields{"address": address}}
	err = errors.Join(first.EnableAudit(w.Context()), first.Prepare(w.Context()))
	if err = errors.Join(err, first.Mount(w.Context(), engine)); err != nil {
		w.Fatal(err)
	}
	w.must("config", fields{"settle_after": "1s", "provider_timeout": providerTimeout.String(), "verify_timeout": "2s"})
	w.must("accounts/main", fields{"provider": "openai", "base_url": w.fakes.OpenAI.BaseURL, "admin_key": w.fakes.OpenAI.AdminKey})
}

// search reads the logs, before the servers are stopped.
func (w *world) search() {
	w.Helper()
	files := []string{w.nodes[0].AuditFile()} // all nodes write to one
	for _, s := range w.nodes {
		files = append(files, s.LogFile())
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			w.Error(err)
		}
		for _, secret := range []string{mark, w.nodes[0].RootToken, "panic in a request"} {
			if before, after, found := strings.Cut(string(content), secret); found {
				w.Errorf("%s holds what it must not: %s[…]%s", file, before[max(0, len(before)-200):], after[:min(len(after), 100)])
			}
		}
	}
}

// chance makes the next sequence of choices. Sequences are made in one order, by
// one goroutine, so that each is the same in every run with the seed.
func (w *world) chance() *rand.Rand { return rand.New(rand.NewPCG(w.seed, w.serials.Add(1))) }

// note keeps what happened, for the end.
func (w *world) note(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events = append(w.events, time.Now().Format("15:04:05.000 ")+fmt.Sprintf(format, args...))
	w.events = w.events[max(0, len(w.events)-80):]
}

// count notes the result of an operation of the load. A failure is no fault in
// itself: processes are being killed.
func (w *world) count(kind, path string, err error) bool {
	if err != nil {
		text := strings.Join(strings.Fields(err.Error()), " ")
		if _, said, found := strings.Cut(text, "Code: "); found {
			text = said
		}
		w.note("%s %s: %s", kind, path, text)
		return false
	}
	w.note("%s %s: done", kind, path)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.done[kind]++
	return true
}

// tell says how to do it again, and what came last.
func (w *world) tell() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.Logf("done: %v", w.done)
	if w.Failed() {
		w.Logf("do it again: SEED=%d scripts/chaos.sh; the last events:\n%s", w.seed, strings.Join(w.events, "\n"))
	}
}

// write, read and remove send a request to the mount.
func (w *world) write(ctx context.Context, path string, data fields) (*api.Secret, error) {
	return w.client.Logical().WriteWithContext(ctx, mount+"/"+path, data)
}

// ask writes what is answered with data. An answer without is none: a node that
// has lost the lead may point elsewhere, which the client takes for success.
func (w *world) ask(ctx context.Context, path string, data fields) error {
	s, err := w.write(ctx, path, data)
	if err == nil && (s == nil || len(s.Data) == 0) {
		err = errAbsent
	}
	return err
}

func (w *world) read(ctx context.Context, path string) (*api.Secret, error) {
	s, err := w.client.Logical().ReadWithContext(ctx, mount+"/"+path)
	if err == nil && (s == nil || len(s.Data) == 0) {
		err = errAbsent
	}
	return s, err
}

func (w *world) remove(ctx context.Context, path string) error {
	_, err := w.client.Logical().DeleteWithContext(ctx, mount+"/"+path)
	return err
}

var errAbsent = errors.New("there is none")

// must writes while nothing is being killed.
func (w *world) must(path string, data fields) {
	w.Helper()
	if _, err := w.write(w.Context(), path, data); err != nil {
		w.Fatalf("writing %s: %v", path, err)
	}
}

// until polls. What it waits for takes seconds; the rest is for slow machines.
// The condition says what is still missing.
func (w *world) until(missing func() string) {
	w.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	late := time.NewTimer(2 * time.Minute)
	defer late.Stop()
	for {
		what := missing()
		if what == "" {
			return
		}
		select {
		case <-tick.C:
		case <-late.C:
			w.Fatalf("it never came to rest: %s", what)
		}
	}
}

// pause waits a random time, at most d, and reports whether there is more to do.
func pause(ctx context.Context, r *rand.Rand, d time.Duration) bool {
	timer := time.NewTimer(time.Duration(r.Int64N(int64(d))))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
