package bootstrap_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/hashicorp/vault/api"
)

const secretIDFile = `
auth "approle" "machines" {
  role "ci" {
    role_id            = "ci-role"
    secret_id_num_uses = 9
    token_policies     = ["Deployer"]
    issue_secret_id "Runner 1" {
      to                = "out/ci.wrap"
      wrap_ttl          = "30m"
      metadata          = { team = "a" }
      cidr_list         = ["127.0.0.1/32"]
      token_bound_cidrs = ["127.0.0.0/8"]
      ttl               = "2h"
      num_uses          = 3
    }
  }
}
`

const runner = "auth/machines role ci secret-id Runner 1"

// login is a login with AppRole, as nobody.
func (h *harness) login(mount, roleID, secretID string) (*api.SecretAuth, error) {
	h.t.Helper()
	c, err := h.server.Client("")
	if err != nil {
		h.t.Fatal(err)
	}
	s, err := c.Logical().WriteWithContext(h.t.Context(), "auth/"+mount+"/login", map[string]any{"role_id": roleID, "secret_id": secretID})
	if err != nil {
		return nil, err
	}
	return s.Auth, nil
}

// unwrap takes a wrapped answer out, as whoever has the wrapping token.
func (h *harness) unwrap(token string) (map[string]any, error) {
	h.t.Helper()
	c, err := h.server.Client(token)
	if err != nil {
		h.t.Fatal(err)
	}
	s, err := c.Logical().UnwrapWithContext(h.t.Context(), "")
	if err != nil {
		return nil, err
	}
	return s.Data, nil
}

// folder makes a folder in the program's.
func (h *harness) folder(name string) {
	h.t.Helper()
	if err := os.Mkdir(filepath.Join(h.dir, name), 0o700); err != nil {
		h.t.Fatal(err)
	}
}

// secretIDs are the role's secret-ids, by accessor.
func (h *harness) secretIDs(role string) map[string]map[string]any {
	h.t.Helper()
	path := "auth/machines/role/" + role
	list, err := h.api.Logical().ListWithContext(h.t.Context(), path+"/secret-id")
	if err != nil {
		h.t.Fatal(err)
	}
	found := make(map[string]map[string]any)
	if list == nil {
		return found
	}
	for _, accessor := range list.Data["keys"].([]any) {
		text := accessor.(string)
		found[text] = h.vault(path+"/secret-id-accessor/lookup", map[string]any{"secret_id_accessor": text}).Data
	}
	return found
}

// takes takes what was handed over out of its file, and logs in with it.
func (h *harness) takes(file, roleID string) *api.SecretAuth {
	h.t.Helper()
	token := strings.TrimSpace(h.read(file))
	h.hide(token)
	data, err := h.unwrap(token)
	if err != nil {
		h.t.Fatal(err)
	}
	id := data["secret_id"].(string)
	h.hide(id)
	auth, err := h.login("machines", roleID, id)
	if err != nil {
		h.t.Fatal(err)
	}
	return auth
}

func TestSecretIDIsHandedOver(t *testing.T) {
	t.Parallel()
	h := start(t)
	h.folder("out")
	h.story(secretIDFile, nil)
	info, err := os.Stat(filepath.Join(h.dir, "out/ci.wrap"))
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode() != 0o600 {
		t.Errorf("the file has mode %v", info.Mode())
	}
	auth := h.takes("out/ci.wrap", "ci-role")
	if diff := gocmp.Diff([]string{"default", "deployer"}, auth.Policies); diff != "" || auth.Metadata["team"] != "a" || auth.Metadata["issued_by"] != "ai-keys-bootstrap" {
		t.Errorf("metadata %v, policies (-want +got):\n%s", auth.Metadata, diff)
	}
	// Its taker may remove the file, and logins use it up: both are as meant.
	if err := os.Remove(filepath.Join(h.dir, "out/ci.wrap")); err != nil {
		t.Fatal(err)
	}
	h.least("story.hcl").apply("story.hcl")
	if entries, err := os.ReadDir(filepath.Join(h.dir, "out")); err != nil || len(entries) > 0 {
		t.Errorf("%v: there is a file again: %v", err, entries)
	}

	for accessor := range h.secretIDs("ci") {
		h.vault("auth/machines/role/ci/secret-id-accessor/destroy", map[string]any{"secret_id_accessor": accessor})
	}
	h.run("plan", "-f", "story.hcl").exits(2).says("used up, expired or destroyed")
	least := h.least("story.hcl")
	least.plan("story.hcl", creates(runner))
	least.apply("story.hcl")
	h.takes("out/ci.wrap", "ci-role")
	if n := len(h.secretIDs("ci")); n != 1 {
		t.Errorf("the role has %d secret-ids", n)
	}
}

// A secret-id cannot be changed, and another one would shut its user out.
func TestSecretIDCannotBeChanged(t *testing.T) {
	t.Parallel()
	h := start(t)
	h.folder("out")
	h.story(secretIDFile, nil)
	h.write("story.hcl", strings.NewReplacer(`"2h"`, `"3h"`, `team = "a"`, `team = "b"`, "127.0.0.0/8", "127.0.0.1/32", `["127.0.0.1/32"]`, "[]").Replace(secretIDFile))
	r := h.plan("story.hcl", blocks(runner, "ttl", "metadata", "cidr_list", "token_bound_cidrs"))
	accessor := slices.Collect(func(yield func(string) bool) {
		for a := range h.secretIDs("ci") {
			yield(a)
		}
	})[0]
	if notes := strings.Join(r.find(t, runner).Notes, " "); !strings.Contains(notes, "secret-id-accessor/destroy secret_id_accessor="+accessor) {
		t.Errorf("the way out is not in %q", notes)
	}
	h.run("apply", "-f", "story.hcl", "--auto-approve").exits(1)
	h.vault("auth/machines/role/ci/secret-id-accessor/destroy", map[string]any{"secret_id_accessor": accessor})
	h.apply("story.hcl")
}

// Without the record nobody knows what was handed over; what is there is taken
// for it, because somebody may be using it.
func TestSecretIDOutlivesTheRecord(t *testing.T) {
	t.Parallel()
	h := start(t)
	h.folder("out")
	h.story(secretIDFile, nil)
	h.vault("auth/machines/role/ci/secret-id", map[string]any{"metadata": `{"issued_as": "Runner 1"}`}) // somebody else's
	if err := h.api.Sys().UnmountWithContext(t.Context(), "ai-keys-bootstrap/record"); err != nil {
		t.Fatal(err)
	}
	h.least("story.hcl").apply("story.hcl")
	h.takes("out/ci.wrap", "ci-role")
}

func TestSecretIDThatNobodyTook(t *testing.T) {
	t.Parallel()
	h := start(t)
	h.folder("out")
	h.story(strings.ReplaceAll(secretIDFile, "30m", "1s"), nil)
	token := strings.TrimSpace(h.read("out/ci.wrap"))
	h.hide(token)
	for tick := time.NewTicker(100 * time.Millisecond); ; <-tick.C { // until it has expired
		if _, err := h.api.Logical().WriteWithContext(t.Context(), "sys/wrapping/lookup", map[string]any{"token": token}); err != nil {
			break
		}
	}
	h.run("plan", "-f", "story.hcl", "--json").exits(0).says("its wrapping token has expired")
	for accessor := range h.secretIDs("ci") {
		h.vault("auth/machines/role/ci/secret-id-accessor/destroy", map[string]any{"secret_id_accessor": accessor})
	}
	h.write("story.hcl", secretIDFile)
	h.apply("story.hcl")
	h.takes("out/ci.wrap", "ci-role")
}

// What stands in the way is found before anything is written.
func TestSecretIDFileInTheWay(t *testing.T) {
	t.Parallel()
	h := start(t)
	h.write("story.hcl", secretIDFile)
	refused := func(why string) {
		t.Helper()
		h.run("plan", "-f", "story.hcl", "--json").exits(2).says(why)
		h.run("apply", "-f", "story.hcl", "--auto-approve").exits(1).says("nothing was written")
		if mounts, err := h.api.Sys().ListAuthWithContext(t.Context()); err != nil || mounts["machines/"] != nil {
			t.Errorf("%v: the mount was made", err)
		}
	}
	refused("the folder out is not there")
	h.folder("out")
	h.write("out/ci.wrap", "-----BEGIN PRIVATE KEY-----\n")
	refused("holds no wrapping token")

	other, err := h.api.Logical().WriteWithContext(t.Context(), "sys/wrapping/wrap", map[string]any{"a": "b"})
	if err != nil {
		t.Fatal(err)
	}
	h.write("out/ci.wrap", other.WrapInfo.Token+"\n")
	h.hide(other.WrapInfo.Token)
	h.run("apply", "-f", "story.hcl", "--auto-approve").exits(3).says("a wrapping token of sys/wrapping/wrap")
	if got := len(h.secretIDs("ci")); got != 0 {
		t.Errorf("the role has %d secret-ids", got)
	}
	if _, err := h.unwrap(other.WrapInfo.Token); err != nil {
		t.Fatal(err)
	}
	h.apply("story.hcl") // an old token is overwritten
	h.takes("out/ci.wrap", "ci-role")
}

// The program dies by SIGKILL before or after each of its writes; the next run
// leaves one secret-id, and whoever gets the file can log in with it.
func TestSecretIDAfterEveryDeath(t *testing.T) {
	t.Parallel()
	h := start(t)
	h.folder("out")
	h.vault("sys/auth/machines", map[string]any{"type": "approle"})
	h.write("empty.hcl", `policy "x" {
		path "x" { capabilities = ["read"] }
	}`)
	h.apply("empty.hcl") // makes the record mount
	deaths := 0
	for _, forwarded := range []bool{false, true} {
		for n := 1; ; n++ {
			role := fmt.Sprintf("r%d-%v", n, forwarded)
			h.vault("auth/machines/role/"+role, nil)
			h.write("story.hcl", fmt.Sprintf(`auth "approle" "machines" {
				role %q {
					role_id = %[1]q
					issue_secret_id "x" { to = "out/%[1]s" }
				}
			}`, role))
			h.vault("auth/machines/role/"+role+"/role-id", map[string]any{"role_id": role})
			// The secret-id of a proof ends by itself, a minute after such a death.
			died := h.diesAt(n, forwarded, "apply", "-f", "story.hcl", "--auto-approve", "--no-checks")
			h.run("apply", "-f", "story.hcl", "--auto-approve", "--no-checks").exits(0)
			h.plan("story.hcl")
			h.takes("out/"+role, role)
			if got := h.secretIDs(role); len(got) != 1 {
				t.Errorf("%s: the role has %d secret-ids", role, len(got))
			}
			if !died {
				break
			}
			deaths++
		}
	}
	if deaths < 8 { // intent, issue and record, and the lock around them, each twice
		t.Errorf("the program died only %d times", deaths)
	}
	entries, err := os.ReadDir(filepath.Join(h.dir, "out"))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") {
			t.Errorf("%s was left", e.Name())
		}
	}
}

// diesAt runs the program, and kills it at its n-th write: before the server
// gets it, or after it has answered. It tells whether there were so many.
func (h *harness) diesAt(n int, forwarded bool, args ...string) bool {
	h.t.Helper()
	target, err := url.Parse(h.server.Addr)
	if err != nil {
		h.t.Fatal(err)
	}
	pass := httputil.NewSingleHostReverseProxy(target)
	var (
		mu     sync.Mutex
		writes int
		victim *running
		begun  = make(chan struct{})
	)
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		<-begun
		mu.Lock()
		defer mu.Unlock()
		if r.Method != http.MethodGet {
			writes++
		}
		if writes < n {
			pass.ServeHTTP(w, r)
			return
		}
		if writes == n && forwarded {
			pass.ServeHTTP(httptest.NewRecorder(), r)
		}
		writes = n + 1
		// Here and now: or the program might end well without an answer.
		if err := victim.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
			h.t.Error(err)
		}
		panic(http.ErrAbortHandler)
	}))
	defer proxy.Close()
	victim = h.at(proxy.URL).begin(args...)
	close(begun)
	r := victim.end()
	mu.Lock()
	defer mu.Unlock()
	if writes <= n && r.code != 0 {
		h.t.Errorf("the program was let live, and failed: %s%s", r.stdout, r.stderr)
	}
	return writes > n
}
