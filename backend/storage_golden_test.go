package backend

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/vault/sdk/logical"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/backend/provider/providertest"
)

var update = flag.Bool("update", false, "write testdata/storage.golden anew")

// TestStorageLayout freezes what is stored and where: a mount must be readable
// by the next version. A difference here needs a migration, or a very good look.
func TestStorageLayout(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		w.openai()
		w.write("roles/app", staticFields)
		w.write("rotate-role/app", nil)
		w.write("roles/ci", dynamicFields)
		w.lease("ci", nil) // over by the time of the dump
		w.cloud.Fault(providertest.Fault{Kind: providertest.Broken, Method: "POST", Path: "/api_keys"})
		w.pass(24 * time.Hour) // a rotation that does not succeed
		w.cloud.ClearFaults()
		w.lease("ci", nil)
		got := w.dump()
		if strings.Contains(got, providertest.DefaultMarker) {
			t.Error("storage holds a secret outside a seal")
		}
		const golden = "testdata/storage.golden"
		if *update {
			if err := os.WriteFile(golden, []byte(got), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), got); diff != "" {
			t.Errorf("what is stored changed (-want +got); if it must, run: go test ./backend -run TestStorageLayout -update\n%s", diff)
		}
	})
}

var masks = []struct {
	what *regexp.Regexp
	by   string
}{
	{regexp.MustCompile(`v1:[0-9a-zA-Z_-]+:[0-9a-zA-Z+/=_-]{20,}`), "SEALED"},
	{regexp.MustCompile(`(vault-[a-z]+-[0-9a-f]{8})-[a-z2-7]{16}`), "$1-RANDOM"},
	{regexp.MustCompile(`2000-01-0\dT[0-9:.]+Z`), "TIME"},
	{regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`), "UUID"},
	{regexp.MustCompile(`"(plain|check|mac)": "[^"]+"`), `"$1": "MASKED"`},
	{regexp.MustCompile(`"[a-z2-7]{6}": "TIME"`), `"ERA": "TIME"`},
	{regexp.MustCompile(`"attempts": \d+`), `"attempts": N`},
	{regexp.MustCompile(`"app": \d{9}`), `"app": SECONDS`},
	{regexp.MustCompile(`datakey/\S+`), "datakey/ID"},
	{regexp.MustCompile(`"(id|tag)": "[0-9a-z]{20,}"`), `"$1": "ID"`},
}

// dump prints all of storage, with what differs from run to run masked.
func (w *world) dump() string {
	w.t.Helper()
	keys, err := logical.CollectKeys(w.t.Context(), &w.storage.InmemStorage)
	if err != nil {
		w.t.Fatal(err)
	}
	var entries []string
	for _, key := range keys {
		e, err := w.storage.Get(w.t.Context(), key)
		if err != nil {
			w.t.Fatal(err)
		}
		var value bytes.Buffer
		if err := json.Indent(&value, e.Value, "", "  "); err != nil {
			w.t.Fatal(err)
		}
		text := "== " + key + "\n" + strings.TrimSpace(value.String()) + "\n"
		for _, m := range masks {
			text = m.what.ReplaceAllString(text, m.by)
		}
		entries = append(entries, text)
	}
	slices.Sort(entries) // random parts of paths are masked by now
	return strings.Join(entries, "")
}
