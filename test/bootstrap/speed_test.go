package bootstrap_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

// large is a file with 500 policies and 200 roles, and a secret.
func large() string {
	var b strings.Builder
	b.WriteString(withSecret)
	for i := range 500 {
		fmt.Fprintf(&b, "policy \"p%d\" {\n  path \"secret/data/%d/*\" { capabilities = [\"read\", \"list\"] }\n}\n", i, i)
	}
	b.WriteString("auth \"approle\" \"machines\" {\n")
	for i := range 200 {
		fmt.Fprintf(&b, "  role \"r%d\" {\n    token_policies = [\"p%d\"]\n    token_ttl = \"1h\"\n  }\n", i, i)
	}
	b.WriteString("}\n")
	return b.String()
}

// A plan of a large file that changes nothing is quick, reads side by side, and
// writes nothing: Vault's audit log says so.
func TestAPlanIsQuickAndOnlyReads(t *testing.T) {
	t.Parallel()
	h := start(t)
	h.secret("OKTA_API_TOKEN")
	h.write("vault.hcl", large())
	h.run("apply", "-f", "vault.hcl", "--auto-approve").exits(0)
	h.audit("file", map[string]any{"type": "file", "options": map[string]any{"file_path": h.server.AuditFile()}})
	from := len(recorded(t, h.server.AuditFile()))

	// The machine may be busy with other tests: the best of three counts.
	took := time.Hour
	for try := 0; try < 3 && took > 5*time.Second; try++ {
		cmd := h.command("plan", "-f", "vault.hcl")
		cmd.Path = h.server.Bootstrap // the race detector would be measured too
		began := time.Now()
		h.finish(cmd).exits(0).says("Nothing to do: 703 objects")
		took = min(took, time.Since(began))
	}
	t.Logf("a plan of 703 objects takes %s", took.Round(time.Millisecond))
	if took > 5*time.Second {
		t.Errorf("it takes %s", took)
	}

	var (
		mu        sync.Mutex
		now, most int
	)
	h.through(func(_ *http.Request, forward func()) {
		mu.Lock()
		now++
		most = max(most, now)
		mu.Unlock()
		forward()
		mu.Lock()
		now--
		mu.Unlock()
	}).run("plan", "-f", "vault.hcl", "--json").exits(0)
	if most < 4 {
		t.Errorf("at most %d reads were under way at once", most)
	}
	h.run("verify", "-f", "vault.hcl", "--target", "policy p1").exits(0)
	if n := len(recorded(t, h.server.AuditFile())) - from; n < 1400 {
		t.Errorf("only %d requests are on record", n)
	}
	if writes := writesSince(t, h.server.AuditFile(), from); len(writes) > 0 {
		t.Errorf("it writes: %q", writes)
	}
}

// A request is one that stands in Vault's audit log.
type request struct{ Operation, Path string }

// recorded are the requests in an audit log, in their order.
func recorded(t *testing.T, name string) []request {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var all []request
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var line struct {
			Type    string
			Request request
		}
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			t.Fatal(err)
		}
		if line.Type == "request" {
			all = append(all, line.Request)
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

// writesSince are the requests on record, from some number on, that may change
// something.
func writesSince(t *testing.T, name string, from int) []string {
	t.Helper()
	var out []string
	for _, r := range recorded(t, name)[from:] {
		if r.changes() {
			out = append(out, r.Operation+" "+r.Path)
		}
	}
	return out
}

// changes tells whether a request may change something. A fingerprint is asked
// for by a write, and so is what a token may do. Whether a plugin starts is
// asked by an entry of the catalog that Vault does not keep.
func (r request) changes() bool {
	if r.Operation != "update" {
		return r.Operation != "read" && r.Operation != "list"
	}
	return !strings.HasPrefix(r.Path, "ai-keys-bootstrap/fingerprints/hmac/") && !strings.HasPrefix(r.Path, "sys/capabilities") &&
		r.Path != "sys/plugins/catalog/ai-keys"
}
