package bootstrap

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/schema"
	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/secret"
	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/vault"
)

// A shelf is a server with one entry, two/entry, of a kv of version 2.
type shelf struct {
	version int
	values  map[string]any // nil: deleted
	// meanwhile is what somebody else does after a read.
	meanwhile func()
}

func (k *shelf) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	reply := func(status int, body any) {
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(body) // the reader is gone
	}
	switch r.Method + " " + strings.TrimPrefix(r.URL.Path, "/v1/") {
	case "GET sys/mounts":
		reply(http.StatusOK, map[string]any{"data": map[string]any{"two/": map[string]any{"type": "kv", "options": map[string]any{"version": "2"}}}})
	case "GET two/data/entry":
		status := http.StatusOK
		if k.values == nil {
			status = http.StatusNotFound
		}
		reply(status, map[string]any{"data": map[string]any{"data": k.values, "metadata": map[string]any{"version": k.version}}})
		if k.meanwhile != nil {
			k.meanwhile()
		}
	case "GET two/metadata/entry":
		reply(http.StatusOK, map[string]any{"data": map[string]any{"current_version": k.version}})
	case "POST two/data/entry":
		var body struct {
			Data    map[string]any `json:"data"`
			Options struct {
				CAS int `json:"cas"`
			} `json:"options"`
		}
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil || body.Options.CAS != k.version {
			reply(http.StatusBadRequest, map[string]any{"errors": []string{"check-and-set parameter did not match the current version"}})
			return
		}
		k.version, k.values = k.version+1, body.Data
		reply(http.StatusOK, map[string]any{"data": map[string]any{"version": k.version}})
	case "DELETE two/data/entry":
		k.values = nil
		w.WriteHeader(http.StatusNoContent)
	default:
		reply(http.StatusMethodNotAllowed, map[string]any{"errors": []string{"nobody expected " + r.Method + " " + r.URL.Path}})
	}
}

// session starts a session with the shelf, and an object of a file for its entry.
func (k *shelf) session(t *testing.T, mode string, values map[string]any) (*Session, *Object) {
	t.Helper()
	server := httptest.NewServer(k)
	t.Cleanup(server.Close)
	t.Setenv("VAULT_ADDR", server.URL)
	t.Setenv("VAULT_TOKEN", "root-of-the-test")
	c, err := vault.Connect(vault.Options{})
	if err != nil {
		t.Fatal(err)
	}
	r := &secret.Redactor{}
	mount := &Object{Kind: mountKind, Labels: []string{"kv", "two"}}
	o := &Object{Kind: kvDataKind, Parent: mount, Labels: []string{"entry"}}
	o.Set("mode", mode)
	o.Set("values", values)
	return NewSession(c, secret.NewStore(secret.World{}, r), r, Options{}), o
}

func TestDeletingAnEntry(t *testing.T) {
	for _, row := range []struct {
		name, mode    string
		before, after map[string]any
		version       int
	}{
		{"its own", kvReplace, map[string]any{"ours": "1", "more": "2"}, nil, 3},
		{"merged into others'", kvMerge, map[string]any{"ours": "1", "theirs": "2"}, map[string]any{"theirs": "2"}, 4},
		{"merged into nothing", kvMerge, map[string]any{"ours": "1"}, nil, 3},
		{"merged, and taken out already", kvMerge, map[string]any{"theirs": "2"}, map[string]any{"theirs": "2"}, 3},
		{"deleted already", kvReplace, nil, nil, 3},
	} {
		t.Run(row.name, func(t *testing.T) {
			k := &shelf{version: 3, values: row.before}
			s, o := k.session(t, row.mode, map[string]any{"ours": "x"})
			if err := deleteKVData(t.Context(), s, o); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(row.after, k.values); diff != "" || k.version != row.version {
				t.Errorf("version %d, not %d (-want +got):\n%s", k.version, row.version, diff)
			}
		})
	}
}

// Who writes at the same moment does not lose what was written.
func TestTwoWritersOfAnEntry(t *testing.T) {
	k := &shelf{version: 3, values: map[string]any{"theirs": "1"}}
	s, o := k.session(t, kvMerge, map[string]any{"ours": "x"})
	c := &Change{Object: o, Action: Update}
	k.meanwhile = func() { k.version, k.values = 4, map[string]any{"theirs": "2"} }
	if err := writeKVData(t.Context(), s, c); err == nil || !strings.Contains(err.Error(), "somebody else") {
		t.Errorf("the error is %v", err)
	}
	k.meanwhile = nil
	if err := writeKVData(t.Context(), s, c); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]any{"ours": "x", "theirs": "2"}, k.values); diff != "" {
		t.Error(diff)
	}
	if err := writeKVData(t.Context(), s, c); err != nil || k.version != 5 {
		t.Errorf("an equal write made version %d (%v)", k.version, err)
	}
}

func TestVersionOfAKV(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		options any
		want    string
	}{
		{nil, "1"},
		{map[string]any{"version": "2"}, "2"},
		{map[string]any{"version": json.Number("2")}, "2"},
		{map[string]any{"version": "1"}, "1"},
		{map[string]any{"other": "x"}, "1"},
	} {
		mount := &Object{Kind: mountKind, Labels: []string{"kv", "x"}}
		if row.options != nil {
			mount.Set("options", row.options)
		}
		if got := (&Object{Kind: kvDataKind, Parent: mount}).fileVersion(); got != row.want {
			t.Errorf("%v is version %s", row.options, got)
		}
	}
	if got := kvConfigKind.Block.Fields[2]; !schema.Equal(got.Normal(int64(-5)), int64(-1)) || !schema.Equal(got.Normal(int64(5)), int64(5)) {
		t.Error("a negative delete_version_after is not -1 as Vault answers it")
	}
}
