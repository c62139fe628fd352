// Package bootstrap_test runs the built program against real servers.
//
// A test starts a harness, which has a Vault of its own, writes files and runs
// commands:
//
//	h := start(t)
//	h.secret("okta", "OKTA_API_TOKEN")
//	h.write("vault.hcl", `auth "okta" "okta" { … }`)
//	h.run("apply", "-f", "vault.hcl", "--auto-approve").exits(0)
//
// The proof that every kind of object needs is [harness.story]. Whatever a
// harness made a secret is looked for, when the test ends, in everything that
// the program has printed or saved.
package bootstrap_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/hashicorp/vault/api"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/test/devvault"
	"github.com/ai-keys/vault-plugin-secrets-ai-keys/test/servers"
)

// A harness is a Vault, a folder of files, and the program.
type harness struct {
	t      *testing.T
	server *devvault.Server
	api    *api.Client // as root
	// dir is the program's working directory.
	dir string
	// token is what the program is given.
	token string
	// env is more environment for the program. A test may change it between runs.
	env   map[string]string
	watch *watch
}

// A watch looks for secrets in what was printed.
type watch struct {
	mu       sync.Mutex
	canaries []string
	printed  [][]byte
}

// settings are what a server is started with.
type settings struct {
	devvault.Options
	plugin bool
}

type option func(*settings)

// withPlugin puts the engine into the server's plugin directory.
func withPlugin(s *settings) { s.plugin = true }

// persistent makes a server that can be sealed, and started again.
func persistent(s *settings) { s.Persistent = true }

// serverEnv is environment for the server: a proxy, a CA.
func serverEnv(env ...string) option {
	return func(s *settings) { s.Env = append(s.Env, env...) }
}

// start starts a Vault for one test.
func start(t *testing.T, options ...option) *harness {
	t.Helper()
	s := settings{Options: devvault.Options{Binaries: servers.Binaries(t), Dir: t.TempDir()}}
	for _, change := range options {
		change(&s)
	}
	if !s.plugin {
		s.Plugin = ""
	}
	server, err := devvault.Start(t.Context(), s.Options)
	if err != nil {
		t.Fatal(err)
	}
	root, err := server.Client(server.RootToken)
	if err != nil {
		t.Fatal(err)
	}
	h := &harness{
		t: t, server: server, api: root, dir: t.TempDir(), token: server.RootToken,
		env: make(map[string]string), watch: &watch{},
	}
	h.hide(server.RootToken)
	t.Cleanup(func() {
		h.search()
		if err := server.Stop(); err != nil {
			t.Error(err)
		}
	})
	return h
}

// as is the same harness with another token.
func (h *harness) as(token string) *harness {
	if token != "" {
		h.hide(token)
	}
	other := *h
	other.token = token
	return &other
}

// least is the same harness with a token that may do what the program says
// that the file needs, and nothing else.
func (h *harness) least(file string) *harness {
	h.t.Helper()
	policy := h.as(h.server.RootToken).run("policy", "-f", file).exits(0).stdout
	name := "least-" + strings.ToLower(rand.Text())
	ctx := h.t.Context()
	if err := h.api.Sys().PutPolicyWithContext(ctx, name, policy); err != nil {
		h.t.Fatal(err)
	}
	made, err := h.api.Auth().Token().CreateOrphanWithContext(ctx, &api.TokenCreateRequest{Policies: []string{name}, NoDefaultPolicy: true})
	if err != nil {
		h.t.Fatal(err)
	}
	return h.as(made.Auth.ClientToken)
}

// hide makes a value a secret: it must be in nothing that is printed.
func (h *harness) hide(value string) {
	h.watch.mu.Lock()
	defer h.watch.mu.Unlock()
	if len(value) < 8 {
		h.t.Fatalf("a secret of %d bytes would be found by chance", len(value))
	}
	if !slices.Contains(h.watch.canaries, value) {
		h.watch.canaries = append(h.watch.canaries, value)
	}
}

// canary is a secret that is found wherever it turns up.
func (h *harness) canary() string {
	v := "CANARY-" + rand.Text()
	h.hide(v)
	return v
}

// secret puts a secret into the program's environment: a new canary, or value.
func (h *harness) secret(variable string, value ...string) string {
	v := strings.Join(value, "")
	if v == "" {
		v = h.canary()
	}
	h.hide(v)
	h.env[variable] = v
	return v
}

// write writes a file into the program's folder.
func (h *harness) write(name, text string) string {
	h.t.Helper()
	path := filepath.Join(h.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		h.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		h.t.Fatal(err)
	}
	return path
}

// read reads one of them.
func (h *harness) read(name string) string {
	h.t.Helper()
	text, err := os.ReadFile(filepath.Join(h.dir, name))
	if err != nil {
		h.t.Fatal(err)
	}
	return string(text)
}

// command is the program, not started yet.
func (h *harness) command(args ...string) *exec.Cmd {
	cmd := exec.Command(program(h.t), args...)
	cmd.Dir = h.dir
	// The race detector would have each run wait for a second before it ends.
	cmd.Env = append(h.server.Environment(h.token), "LC_ALL=C.UTF-8", "GORACE=halt_on_error=1 atexit_sleep_ms=0")
	for _, name := range slices.Sorted(maps.Keys(h.env)) {
		cmd.Env = append(cmd.Env, name+"="+h.env[name])
	}
	return cmd
}

// run runs the program.
func (h *harness) run(args ...string) result {
	h.t.Helper()
	return h.finish(h.command(args...))
}

// finish runs a command, and remembers what it printed.
func (h *harness) finish(cmd *exec.Cmd) result {
	h.t.Helper()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if _, exited := errors.AsType[*exec.ExitError](err); err != nil && !exited {
		h.t.Fatal(err)
	}
	h.keep(stdout.Bytes(), stderr.Bytes())
	return result{h.t, cmd.Args[1:], cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

// keep keeps what was printed, for the search at the end.
func (h *harness) keep(printed ...[]byte) {
	h.watch.mu.Lock()
	defer h.watch.mu.Unlock()
	h.watch.printed = append(h.watch.printed, printed...)
}

// search looks for every secret, in several forms, in everything that was
// printed and in every file that looks like a plan.
func (h *harness) search() {
	err := filepath.WalkDir(h.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".json" {
			return err
		}
		text, err := os.ReadFile(path)
		h.keep(text)
		return err
	})
	if err != nil {
		h.t.Error(err)
	}
	h.watch.mu.Lock()
	defer h.watch.mu.Unlock()
	for _, canary := range h.watch.canaries {
		for _, form := range []string{canary, base64.StdEncoding.EncodeToString([]byte(canary))} {
			for _, text := range h.watch.printed {
				if i := bytes.Index(text, []byte(form)); i >= 0 {
					h.t.Errorf("a secret was printed: %s…", text[max(0, i-300):i])
				}
			}
		}
	}
}

// plan plans a file and checks that these are the changes.
func (h *harness) plan(file string, wants ...want) report {
	h.t.Helper()
	code := 0
	if len(wants) > 0 {
		code = 2
	}
	r := h.run("plan", "-f", file, "--json").exits(code).report()
	r.wants(h.t, wants...)
	return r
}

// apply applies a file, and checks that the plan is empty afterwards.
func (h *harness) apply(file string) {
	h.t.Helper()
	h.run("apply", "-f", file, "--auto-approve").exits(0)
	h.plan(file)
	h.run("plan", "-f", file).exits(0).says("Nothing to do")
}

// story is the proof that a kind of object is understood: applied, its plan is
// empty; changed behind the program's back, the plan shows exactly that;
// applied again, it is empty again. The program has no more rights than it
// says that it needs; drift has them all.
func (h *harness) story(file string, drift func(c *api.Client), wants ...want) {
	h.t.Helper()
	if strings.Contains(file, "{") {
		h.write("story.hcl", file)
		file = "story.hcl"
	}
	least := h.least(file)
	least.apply(file)
	if drift == nil {
		return
	}
	drift(h.api)
	least.plan(file, wants...)
	least.apply(file)
}

// secretStory is the proof for a secret that Vault does not return: the plan is
// silent while its source is the same, and says that it was changed.
func (h *harness) secretStory(file, variable string, wants ...want) {
	h.t.Helper()
	least := h.least(file)
	least.apply(file)
	h.secret(variable)
	least.plan(file, wants...)
	least.apply(file)
}

// vault writes to the server as root.
func (h *harness) vault(path string, data map[string]any) *api.Secret {
	h.t.Helper()
	s, err := h.api.Logical().WriteWithContext(h.t.Context(), path, data)
	if err != nil {
		h.t.Fatal(err)
	}
	return s
}

// has reads from the server as root; nil if there is nothing.
func (h *harness) has(path string) map[string]any {
	h.t.Helper()
	s, err := h.api.Logical().ReadWithContext(context.WithoutCancel(h.t.Context()), path)
	if err != nil && strings.Contains(err.Error(), "No secret engine mount at") {
		return nil
	}
	if err != nil {
		h.t.Fatal(err)
	}
	if s == nil {
		return nil
	}
	return s.Data
}
