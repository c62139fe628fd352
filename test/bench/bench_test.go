package bench

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"
	"golang.org/x/sync/errgroup"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/backend/provider/providertest"
	"github.com/ai-keys/vault-plugin-secrets-ai-keys/test/devvault"
	"github.com/ai-keys/vault-plugin-secrets-ai-keys/test/fakes"
	"github.com/ai-keys/vault-plugin-secrets-ai-keys/test/servers"
)

// A size is how much is measured.
type size struct {
	rounds int           // of reads; an odd number has a median
	slice  time.Duration // how long one round of one path is
	due    int           // static roles that are due at once
	single int           // roles that are rotated one after another
	busy   int           // static roles that rotate all the time
	window time.Duration // how long those are watched
	some   int           // static roles of a small mount
	many   int           // static roles of a large one
	starts int           // of each mount
}

var (
	small = size{rounds: 1, slice: 100 * time.Millisecond, due: 40, single: 2, busy: 10, window: 7 * time.Second, some: 10, many: 40, starts: 1}
	full  = size{rounds: 9, slice: time.Second, due: 1000, single: 20, busy: 300, window: 20 * time.Second, some: 1000, many: 10_000, starts: 5}
)

// A bench is a server with everything that is measured on it.
type bench struct {
	*testing.T
	size

	server *devvault.Server
	client *api.Client
	fakes  *fakes.Server
	owner  string // a service account that all roles share
	http   *http.Client
	table  table
	began  time.Time
}

type fields = map[string]any

// TestTable: see the package's documentation. Nothing here is judged by the time
// it takes: a bar that a busy machine can fail is no test.
func TestTable(t *testing.T) { //nolint:paralleltest // it wants the machine's time for itself
	b := begin(t)
	b.reads()
	b.dueAtOnce()
	b.allTheTime()
	b.bigMount()
	b.table.print(os.Stdout, b.size == full)
	if want := 9; len(b.table) != want {
		t.Errorf("%d rows, want %d", len(b.table), want)
	}
}

// begin starts the server and the providers.
func begin(t *testing.T) *bench {
	t.Helper()
	b := &bench{T: t, size: small, began: time.Now()}
	if os.Getenv("AI_KEYS_BENCH") == "full" {
		b.size = full
	}
	found := servers.Binaries(t)
	b.say("starting a dev server and the fake providers")
	var err error
	if b.server, err = devvault.Start(t.Context(), devvault.Options{Binaries: found, Dir: t.TempDir(), LogLevel: "error"}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.server.Stop(); err != nil {
			t.Error(err)
		}
	})
	if b.fakes, err = fakes.Start(t.Context(), fakes.Config{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.fakes.Close(); err != nil {
			t.Error(err)
		}
	})
	if b.client, err = b.server.Client(b.server.RootToken); err != nil {
		t.Fatal(err)
	}
	if err := b.server.Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.client.SetClientTimeout(10 * time.Minute)
	b.http = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}, Timeout: time.Minute}
	b.owner = b.fakes.Cloud.OpenAI.AddServiceAccount(providertest.MainProject, "bench").ID
	return b
}

// say shows progress on a terminal, where the full size takes minutes.
func (b *bench) say(format string, args ...any) {
	if b.size == full {
		fmt.Fprintf(os.Stderr, "%6.1fs  %s\n", time.Since(b.began).Seconds(), fmt.Sprintf(format, args...))
	}
}

// mount mounts the engine, with an account "main".
func (b *bench) mount(path string) {
	b.Helper()
	if err := b.server.Mount(b.Context(), devvault.Engine{Path: path}); err != nil {
		b.Fatal(err)
	}
	b.write(path+"/accounts/main", fields{"provider": "openai", "base_url": b.fakes.OpenAI.BaseURL, "admin_key": b.fakes.OpenAI.AdminKey})
}

// role is a role of that account. Its keys share a service account, so that what
// is measured is keys.
func (b *bench) role(more fields) fields {
	f := fields{"account": "main", "project_id": b.fakes.OpenAI.ProjectID, "service_account_id": b.owner}
	maps.Copy(f, more)
	return f
}

// plugin builds a program of this module and makes it an external plugin.
func (b *bench) plugin(name, program string) {
	b.Helper()
	binary := filepath.Join(b.TempDir(), name)
	cmd := exec.CommandContext(b.Context(), "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", binary, program)
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("building %s: %v\n%s", program, err, out)
	}
	if err := b.server.AddPlugin(b.Context(), name, binary); err != nil {
		b.Fatal(err)
	}
}

func (b *bench) enable(path string, m *api.MountInput) {
	b.Helper()
	if err := b.client.Sys().MountWithContext(b.Context(), path, m); err != nil {
		b.Fatal(err)
	}
}

// unmount ends what was measured, so that it does not disturb what comes next.
func (b *bench) unmount(paths ...string) {
	b.Helper()
	for _, path := range paths {
		if err := b.client.Sys().UnmountWithContext(b.Context(), path); err != nil {
			b.Fatal(err)
		}
	}
}

func (b *bench) write(path string, data fields) {
	b.Helper()
	if err := b.try(path, data); err != nil {
		b.Fatal(err)
	}
}

func (b *bench) try(path string, data fields) error {
	if _, err := b.client.Logical().WriteWithContext(b.Context(), path, data); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return nil
}

func (b *bench) read(path string) fields {
	b.Helper()
	s, err := b.client.Logical().ReadWithContext(b.Context(), path)
	if err != nil || s == nil {
		b.Fatalf("reading %s: %v, %v", path, s, err)
	}
	return s.Data
}

// sideBySide does something for each of n, by eight at a time.
func (b *bench) sideBySide(n int, do func(i int) error) {
	b.Helper()
	var all errgroup.Group
	all.SetLimit(clients)
	for i := range n {
		all.Go(func() error { return do(i) })
	}
	if err := all.Wait(); err != nil {
		b.Fatal(err)
	}
}

// until polls for what takes seconds.
func (b *bench) until(what string, every time.Duration, ready func() bool) {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), 10*time.Minute)
	defer cancel()
	tick := time.NewTicker(every)
	defer tick.Stop()
	for !ready() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			b.Fatalf("it never came to this: %s", what)
		}
	}
}
