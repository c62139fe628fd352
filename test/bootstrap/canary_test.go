package bootstrap_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/test/servers"
)

// A flock is canaries that are written differently in JSON, in URLs and in
// shells; their middle is the same in all of these.
type flock struct {
	h      *harness
	middle []string
	whole  []string
}

// hatch makes a canary.
func (f *flock) hatch() string {
	plain := f.h.canary()
	f.middle = append(f.middle, strings.TrimPrefix(plain, "CANARY-"))
	odd := `p%zz@:/"'<&> ` + plain + ` é\$` + "`"
	f.whole = append(f.whole, odd)
	return odd
}

// escaped looks for the canaries in a text, in every form that one has.
func (f *flock) escaped(t *testing.T, what string, text []byte) {
	t.Helper()
	look := func(form string) {
		if i := bytes.Index(text, []byte(form)); i >= 0 {
			t.Errorf("a canary is in %s: %s…", what, text[max(0, i-300):i])
		}
	}
	for _, m := range f.middle {
		look(m)
		look(hex.EncodeToString([]byte(m)))
	}
	for _, w := range f.whole {
		look(base64.RawStdEncoding.EncodeToString([]byte(w)))
		look(base64.RawURLEncoding.EncodeToString([]byte(w)))
	}
}

// everywhere looks at all that was printed and saved, and at Vault's audit log.
func (f *flock) everywhere(t *testing.T) {
	t.Helper()
	f.h.watch.mu.Lock()
	printed := bytes.Join(f.h.watch.printed, []byte("\n"))
	f.h.watch.mu.Unlock()
	if len(printed) < 1000 {
		t.Errorf("only %d bytes were printed", len(printed))
	}
	f.escaped(t, "what was printed", printed)
	saved, err := filepath.Glob(filepath.Join(f.h.dir, "*.json"))
	if err != nil || len(saved) == 0 {
		t.Errorf("no plan was saved (%v)", err)
	}
	for _, name := range append(saved, f.h.server.AuditFile()) {
		text, err := os.ReadFile(name)
		if err != nil || len(text) == 0 {
			t.Errorf("%s: %d bytes, %v", name, len(text), err)
		}
		f.escaped(t, filepath.Base(name), text)
	}
}

// guarded is a harness with an audit log, and somebody who looks at the list of
// processes all the time.
func guarded(t *testing.T) (*harness, *flock) {
	t.Helper()
	h := start(t)
	f := &flock{h: h}
	h.vault("sys/audit/file", map[string]any{"type": "file", "options": map[string]any{"file_path": h.server.AuditFile()}})
	var looking sync.WaitGroup
	stop := make(chan struct{})
	seen := new(bytes.Buffer)
	looking.Go(func() {
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
			}
			files, _ := filepath.Glob("/proc/[0-9]*/cmdline") // none where there is no /proc
			for _, name := range files {
				if line, err := os.ReadFile(name); err == nil && bytes.Contains(line, []byte("ai-keys-bootstrap\x00")) {
					seen.Write(line)
				}
			}
		}
	})
	t.Cleanup(func() {
		close(stop)
		looking.Wait()
		f.escaped(t, "the list of processes", seen.Bytes())
		if _, err := os.Stat("/proc/self/cmdline"); err == nil && !strings.Contains(seen.String(), "apply") {
			t.Error("nobody saw the program run")
		}
	})
	return h, f
}

// A canary in every kind of source, through everything that a day has: a plan
// that is saved, applied, stale; at a terminal, for programs, with an error.
func TestCanariesOfEverySource(t *testing.T) {
	t.Parallel()
	h, f := guarded(t)
	h.secret("FROM_ENV", f.hatch())
	h.write("from.file", f.hatch()+"\n")
	h.vault("secret/data/from/vault", map[string]any{"data": map[string]any{"field": f.hatch()}})
	prompted, fed := f.hatch(), f.hatch()
	var blocks strings.Builder
	for name, from := range map[string]string{
		"env": "env:FROM_ENV", "file": "file:from.file", "vault": "vault:secret/from/vault#field", "prompt": "prompt:Say it", "stdin": "stdin:it",
	} {
		fmt.Fprintf(&blocks, `
secret %[1]q { from = %[2]q }
auth "okta" %[1]q {
  config {
    org_name  = "acme"
    api_token = secret.%[1]s
  }
}
mount "kv-v2" "kv-%[1]s" {
  data "entry" { values = { token = secret.%[1]s, list = [{ password = secret.%[1]s }] } }
}
`, name, from)
	}
	file := blocks.String()
	h.write("vault.hcl", file)
	without := strings.ReplaceAll(file, "stdin:it", "env:FROM_ENV")
	h.write("terminal.hcl", without)
	piped := strings.ReplaceAll(file, "prompt:Say it", "file:from.file")
	h.write("piped.hcl", piped)
	feed := func(code int, args ...string) {
		t.Helper()
		cmd := h.command(args...)
		text, err := json.Marshal(map[string]string{"it": fed})
		if err != nil {
			t.Fatal(err)
		}
		cmd.Stdin = bytes.NewReader(text)
		h.finish(cmd).exits(code)
	}

	feed(2, "plan", "-f", "piped.hcl", "--out", "plan.json")
	feed(2, "plan", "-f", "piped.hcl", "--json")
	feed(0, "apply", "plan.json")
	feed(1, "apply", "plan.json") // stale
	feed(0, "plan", "-f", "piped.hcl")
	feed(0, "verify", "-f", "piped.hcl", "--json")
	if _, err := h.api.Logical().DeleteWithContext(t.Context(), "kv-prompt/metadata/entry"); err != nil { // or nobody is asked
		t.Fatal(err)
	}
	at := h.atTerminal("apply", "-f", "terminal.hcl")
	at.answers("Say it", prompted+"\n")
	at.answers("(yes/no)", "yes\n")
	at.end().exits(0)
	// Somebody else's values, and another source: both are differences.
	for _, name := range []string{"env", "file", "vault"} {
		h.vault("kv-"+name+"/data/entry", map[string]any{"data": map[string]any{"token": f.hatch(), "more": f.hatch()}})
	}
	h.secret("FROM_ENV", f.hatch())
	feed(2, "plan", "-f", "piped.hcl", "--out", "stale.json")
	feed(2, "plan", "-f", "piped.hcl", "--json")
	feed(0, "apply", "-f", "piped.hcl", "--auto-approve", "--json")
	feed(0, "apply", "-f", "piped.hcl", "--auto-approve")
	feed(1, "plan", "-f", "piped.hcl", "--target", "nothing")
	h.run("export").exits(0)
	f.everywhere(t)
}

// everySecretField is a file with a canary in every field that takes a secret,
// but for those of the engine.
const everySecretField = `
auth "okta" "okta" {
  config {
    org_name  = "acme"
    api_token = secret.s1
  }
}
auth "oidc" "oidc" {
  config {
    oidc_discovery_url = "ISSUER"
    oidc_client_id     = "vault"
    oidc_client_secret = secret.s2
  }
}
mfa "okta" "push" {
  org_name  = "acme"
  api_token = secret.s3
  username_format = "{{identity.entity.name}}"
}
mfa "duo" "duo" {
  secret_key      = secret.s4
  integration_key = secret.s5
  api_hostname    = "api-x.duosecurity.com"
  username_format = "{{identity.entity.name}}"
}
mfa "pingid" "ping" {
  settings_file_base64 = secret.s6
  username_format      = "{{identity.entity.name}}"
}
plugin "secret" "made-up" {
  command = "made-up"
  sha256  = "0000000000000000000000000000000000000000000000000000000000000000"
  env     = { TOKEN = secret.s7 }
}
mount "aws" "aws" {
  root {
    access_key = secret.s8
    secret_key = secret.s9
  }
}
mount "database" "db" {
  connection "real" {
    plugin_name    = "postgresql-database-plugin"
    connection_url = "POSTGRES"
    username       = secret.s10
    password       = secret.s11
  }
  connection "mysql" {
    plugin_name         = "mysql-database-plugin"
    connection_url      = "{{username}}:{{password}}@tcp(127.0.0.1:1)/"
    username            = secret.s12
    password            = secret.s13
    tls_certificate_key = secret.s14
  }
  connection "snow" {
    plugin_name    = "snowflake-database-plugin"
    connection_url = "{{username}}:{{password}}@acme/db"
    username       = "vault"
    password       = secret.s15
    private_key    = secret.s16
  }
}
mount "kv-v2" "kv" {
  data "entry" { values = { token = secret.s17, deep = { list = [secret.s18] } } }
}
mount "kv" "old" {
  data "entry" { values = { token = secret.s19 } }
}
`

// Whatever Vault puts of a request into its error, in whatever form, is masked:
// first by a server that echoes all of it, then by the real one, which refuses
// most of this.
func TestCanariesThatVaultEchoes(t *testing.T) {
	t.Parallel()
	h, f := guarded(t)
	const secrets = 19
	file := strings.NewReplacer("ISSUER", issuer(t).URL, "POSTGRES", servers.PostgreSQL(t).URL).Replace(everySecretField)
	h.write("mounts.hcl", `
auth "okta" "okta" {}
auth "oidc" "oidc" {}
mount "aws" "aws" {}
mount "database" "db" {}
mount "kv-v2" "kv" {}
mount "kv" "old" {}
`)
	h.apply("mounts.hcl")
	for i := 1; i <= secrets; i++ {
		variable := "S" + strconv.Itoa(i)
		h.secret(variable, f.hatch())
		file = fmt.Sprintf("secret \"s%d\" { from = \"env:%s\" }\n", i, variable) + file
	}
	h.write("vault.hcl", file)

	echo, echoed := h.parrot()
	planned := h.run("plan", "-f", "vault.hcl", "--json", "--out", "plan.json").exits(2).report()
	if len(planned.Changes) < 10 {
		t.Fatalf("only %d changes are planned", len(planned.Changes))
	}
	for _, c := range planned.Changes {
		echo.run("apply", "-f", "vault.hcl", "--auto-approve", "--target", c.Object).says("echo")
		h.run("apply", "-f", "vault.hcl", "--auto-approve", "--target", c.Object, "--json")
	}
	if n := echoed.Load(); n < 10 {
		t.Errorf("%d requests were echoed", n)
	}
	h.run("apply", "-f", "vault.hcl", "--auto-approve")
	f.everywhere(t)
}

// parrot is the same harness at a server that answers each write with an error
// that repeats it, as a whole and string by string.
func (h *harness) parrot() (*harness, *atomic.Int32) {
	h.t.Helper()
	to, err := url.Parse(h.server.Addr)
	if err != nil {
		h.t.Fatal(err)
	}
	echoed := new(atomic.Int32)
	vault := httputil.NewSingleHostReverseProxy(to)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet || r.Method == "LIST" || strings.Contains(r.URL.Path, "/ai-keys-bootstrap/") || strings.Contains(r.URL.Path, "capabilities") {
			vault.ServeHTTP(w, r)
			return
		}
		echoed.Add(1)
		body, err := io.ReadAll(r.Body)
		if err != nil {
			h.t.Error(err)
		}
		w.WriteHeader(http.StatusBadRequest)
		if err := json.NewEncoder(w).Encode(map[string]any{"errors": echoes(body)}); err != nil {
			h.t.Error(err)
		}
	}))
	h.t.Cleanup(server.Close)
	return h.at(server.URL), echoed
}

// echoes are ways in which programs put what they were given into errors.
func echoes(body []byte) []string {
	text := string(body)
	all := []string{"echo: " + text, strconv.Quote(text), url.QueryEscape(text), fmt.Sprintf("%+q", text)}
	var request any
	if json.Unmarshal(body, &request) != nil {
		return all
	}
	all = append(all, fmt.Sprintf("%v", request), fmt.Sprintf("%#v", request))
	for _, leaf := range leaves(request) {
		inJSON, _ := json.Marshal(leaf) // a string always has a form
		all = append(all,
			leaf, string(inJSON), strconv.QuoteToASCII(leaf), url.QueryEscape(leaf), url.PathEscape(leaf), url.UserPassword("vault", leaf).String(),
			base64.StdEncoding.EncodeToString([]byte(leaf)), base64.RawURLEncoding.EncodeToString([]byte(leaf)), hex.EncodeToString([]byte(leaf)),
			strings.Repeat("x", 4090)+leaf, // cut where an error is too long
		)
	}
	return all
}

// leaves are the strings in a document.
func leaves(v any) []string {
	switch v := v.(type) {
	case string:
		return []string{v}
	case []any:
		var all []string
		for _, e := range v {
			all = append(all, leaves(e)...)
		}
		return all
	case map[string]any:
		var all []string
		for _, name := range slices.Sorted(maps.Keys(v)) {
			all = append(all, leaves(v[name])...)
		}
		return all
	}
	return nil
}
