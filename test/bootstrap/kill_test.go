package bootstrap_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/test/servers"
)

// A reaper stands between the program and Vault, and kills the program by
// SIGKILL at a write: before Vault has it, or when Vault has done it and the
// answer is not there yet.
type reaper struct {
	h     *harness
	vault *httputil.ReverseProxy

	mu sync.Mutex
	// kills decides, for a write of this run, whether it is the last.
	kills  func(write string) (before, after bool)
	victim *running
	begun  chan struct{} // closed when the victim is known
	seen   map[string]int
	died   string
}

func (h *harness) reaper() *reaper {
	h.t.Helper()
	to, err := url.Parse(h.server.Addr)
	if err != nil {
		h.t.Fatal(err)
	}
	r := &reaper{h: h, vault: httputil.NewSingleHostReverseProxy(to)}
	r.vault.ErrorLog = log.New(io.Discard, "", 0) // programs go away on purpose here
	return r
}

// What is asked by POST and changes nothing: to die there is to die before the
// next write.
var harmless = regexp.MustCompile(`/(hmac|capabilities[^/]*|lookup|lookup-self)(/|$)`)

// What is different each time: a kill is remembered without it.
var random = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f-]{27}|(creds/[^/]+)/.*`)

// ServeHTTP passes a request on, or is the last thing that the program sees.
func (r *reaper) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	req.Body = io.NopCloser(bytes.NewReader(body))
	if req.Method == http.MethodGet || req.Method == "LIST" || harmless.MatchString(req.URL.Path) {
		r.vault.ServeHTTP(w, req)
		return
	}
	<-r.begun
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.died != "" {
		panic(http.ErrAbortHandler)
	}
	write := req.Method + " " + random.ReplaceAllString(req.URL.Path, "$1*") + shape(body)
	r.seen[write]++
	before, after := r.kills(fmt.Sprintf("%s (%d)", write, r.seen[write]))
	switch {
	case before:
		r.kill(write + ", not done")
	case after:
		r.vault.ServeHTTP(httptest.NewRecorder(), req)
		r.kill(write + ", done")
	}
	r.vault.ServeHTTP(w, req)
}

// shape tells the steps of one object apart: what its request has, without the
// values, but for what is true or false.
func shape(body []byte) string {
	var request any
	if json.Unmarshal(body, &request) != nil {
		return ""
	}
	var of func(v any) string
	of = func(v any) string {
		switch v := v.(type) {
		case map[string]any:
			var parts []string
			for _, name := range slices.Sorted(maps.Keys(v)) {
				parts = append(parts, " "+name+of(v[name]))
			}
			return " {" + strings.Join(parts, "") + " }"
		case bool:
			return fmt.Sprintf("=%t", v)
		}
		return ""
	}
	return of(request)
}

// kill ends the program, and the request: nobody hears of it.
func (r *reaper) kill(at string) {
	r.died = at
	if err := r.victim.cmd.Process.Signal(syscall.SIGKILL); err != nil && !errors.Is(err, os.ErrProcessDone) {
		r.h.t.Error(err)
	}
	panic(http.ErrAbortHandler)
}

// run runs the program once, and says at what it died; empty: it did not.
func (r *reaper) run(args ...string) (died string, ended result) {
	r.h.t.Helper()
	r.seen, r.died, r.begun = make(map[string]int), "", make(chan struct{})
	proxy := httptest.NewServer(r)
	defer proxy.Close()
	r.victim = r.h.at(proxy.URL).begin(args...)
	close(r.begun)
	ended = r.victim.end()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.died != "" && ended.code != -1 {
		r.h.t.Errorf("the program lived on after %s, and ended with %d", r.died, ended.code)
	}
	return r.died, ended
}

// The production example is applied, and the program dies at every write that
// it ever makes, once before Vault has it and once after; the next run goes on
// from there until it dies in its turn. The last one finishes, and nothing is
// there twice.
//
// That is one Vault with many deaths; see [TestEverythingAfterOneDeath].
func TestEverythingAfterEveryDeath(t *testing.T) {
	t.Parallel()
	p := inProduction(t)
	r := p.reaper()
	deaths := r.chain("apply", "-f", "vault.hcl", "--auto-approve")
	if deaths < 140 {
		t.Errorf("it died only %d times", deaths)
	}
	p.isWhole()
	// The proofs: what they made ends by itself, and is no difference.
	if deaths := r.chain("verify", "-f", "vault.hcl"); deaths < 16 {
		t.Errorf("verify died only %d times", deaths)
	}
	p.plan("vault.hcl")
}

// chain runs the program again and again, until it has died at every write.
func (r *reaper) chain(args ...string) (deaths int) {
	r.h.t.Helper()
	before, after := make(map[string]bool), make(map[string]bool)
	r.kills = func(write string) (bool, bool) {
		switch {
		case !before[write]:
			before[write] = true
			return true, false
		case !after[write]:
			after[write] = true
			return false, true
		}
		return false, false
	}
	for {
		died, ended := r.run(args...)
		if died == "" {
			ended.exits(0)
			r.h.t.Logf("%s: %d deaths at %d writes", args[0], deaths, len(before))
			return deaths
		}
		if deaths++; deaths > 1000 {
			r.h.t.Fatal("it never comes to an end")
		}
	}
}

// Here it is an empty Vault for each death, and one apply that has to finish:
// at a few of the writes, and with AI_KEYS_LONG=1 (ten minutes) at each.
func TestEverythingAfterOneDeath(t *testing.T) { //nolint:tparallel // one after the other: they share the databases' accounts
	t.Parallel()
	steps := 25
	if os.Getenv("AI_KEYS_LONG") == "1" {
		steps = 1
	}
	world := counterparts(t)
	for n, died := steps, true; died && !t.Failed(); n += steps {
		for _, done := range []bool{false, true} {
			if steps > 1 && done == (n%2 == 0) {
				continue
			}
			t.Run(fmt.Sprintf("at write %d, done: %t", n, done), func(t *testing.T) {
				p := world.again(t)
				r, writes := p.reaper(), 0
				r.kills = func(string) (bool, bool) {
					writes++
					return writes == n && !done, writes == n && done
				}
				at, ended := r.run("apply", "-f", "vault.hcl", "--auto-approve")
				if died = at != ""; !died {
					ended.exits(0)
				}
				t.Log(at)
				p.run("apply", "-f", "vault.hcl", "--auto-approve").exits(0)
				p.isWhole()
			})
		}
	}
}

// lasting are a role's secret-ids without those that a proof was killed with:
// they are good for one login within a minute, and end by themselves.
func (p *production) lasting(role string) []string {
	p.t.Helper()
	return slices.DeleteFunc(p.engineLogins(role), func(accessor string) bool {
		s, err := p.api.Logical().WriteWithContext(p.t.Context(), role+"/secret-id-accessor/lookup", map[string]any{"secret_id_accessor": accessor})
		if err != nil || s == nil {
			return true // it has ended since
		}
		return fmt.Sprint(s.Data["secret_id_num_uses"], " ", s.Data["secret_id_ttl"]) == "1 60"
	})
}

// isWhole checks that everything is there, works, and is there once.
func (p *production) isWhole() {
	t, ctx := p.t, p.t.Context()
	t.Helper()
	p.run("plan", "-f", "vault.hcl").exits(0).says("Nothing to do")
	p.run("verify", "-f", "vault.hcl").exits(0)
	for _, role := range []string{"search", "ai-keys-transit"} {
		if left := p.lasting("auth/approle/role/" + role); len(left) != 1 {
			t.Errorf("%s has the secret-ids %v, not one", role, left)
		}
	}
	for path, n := range map[string]int{
		"identity/group-alias/id": 1, "identity/group/name": 1, "identity/mfa/method": 2, "identity/mfa/login-enforcement": 1,
	} {
		list, err := p.api.Logical().ListWithContext(ctx, path)
		if err != nil || list == nil || len(list.Data["keys"].([]any)) != n {
			t.Errorf("at %s there are %v, not %d (%v)", path, list, n, err)
		}
	}
	if got := p.version("secret/metadata/ai/webhook"); got != "1" {
		t.Errorf("the entry has version %s", got)
	}
	wrapped := strings.TrimSpace(p.read("search-1.wrapped"))
	p.hide(wrapped)
	data, err := p.unwrap(wrapped)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.login("approle", p.has("auth/approle/role/search/role-id")["role_id"].(string), data["secret_id"].(string)); err != nil {
		t.Error(err)
	}
	if left, err := filepath.Glob(filepath.Join(p.dir, ".*")); err != nil || len(left) > 0 {
		t.Errorf("%v: left behind: %v", err, left)
	}
	for what, try := range map[string]error{
		"PostgreSQL's root of the file": p.app.Login(ctx, "vault", p.app.Password),
		"MariaDB's root of the file":    p.reports.Login(ctx, "vaulter", p.vaulter),
	} {
		if !errors.Is(try, servers.ErrRefused) {
			t.Errorf("%s: %v, want refused", what, try)
		}
	}
	creds := p.has("database/creds/app")
	if err := p.app.Login(ctx, creds["username"].(string), creds["password"].(string)); err != nil {
		t.Error(err)
	}
	p.vault("database/rotate-role/reports", nil) // with the root's password
	if err := p.reports.Login(ctx, "reports", p.has("database/static-creds/reports")["password"].(string)); err != nil {
		t.Error(err)
	}
	if keys := p.cloud.AccessKeys(t, p.awsUser); len(keys) != 1 || keys[0] != p.has("aws/config/root")["access_key"] {
		t.Errorf("Vault's user has the keys %v", keys)
	}
	if key := p.has("ai-keys/creds/search"); key == nil {
		t.Error("no AI key is served")
	}
	if n := len(p.fakes.Cloud.Live("openai")); n != 1 {
		t.Errorf("%d keys are live at OpenAI", n)
	}
}
