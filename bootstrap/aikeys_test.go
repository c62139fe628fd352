package bootstrap

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/file"
	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/schema"
	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/secret"
	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/vault"
)

// mounted is something in an ai-keys mount at that path.
func mounted(path string, values map[string]any) *Object {
	o := &Object{Kind: aikeysTransitKind, Parent: &Object{Kind: mountKind, Labels: []string{"ai-keys", path}}}
	for name, v := range values {
		o.Set(name, v)
	}
	return o
}

func TestWhatIsBroughtForTheEngine(t *testing.T) {
	t.Parallel()
	o := mounted("team/Ai", map[string]any{"key": "seal/ing/keys", "auth_mount": "auth/machines/", "address": "https://127.0.0.1:8200"})
	if diags := prepareAIKeysTransit(o, &file.Node{}); len(diags) > 0 {
		t.Fatal(diags)
	}
	var names []string
	for _, d := range deriveWiring(o) {
		names = append(names, d.Name())
		for _, r := range d.secrets(nil) {
			t.Errorf("%s wants the secret %s", d.Name(), r)
		}
	}
	want := []string{
		"policy ai-keys-team-ai-transit", "mount seal/ing", "seal/ing key keys",
		"mount auth/machines", "auth/machines role ai-keys-team-ai-transit",
	}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Error(diff)
	}
	role := deriveWiring(o)[4]
	if diff := cmp.Diff([]any{"127.0.0.1/32"}, role.Values["secret_id_bound_cidrs"].V); diff != "" {
		t.Error(diff)
	}
	if got := o.Text("role_id"); got != (schema.Reference{Of: schema.RefRoleID, Name: "machines/role/ai-keys-team-ai-transit"}).Token() {
		t.Errorf("role_id is %q", got)
	}
	const policy = `path "seal/ing/datakey/plaintext/keys" {
  capabilities = ["update"]
}
path "seal/ing/decrypt/keys" {
  capabilities = ["update"]
}
path "seal/ing/rewrap/keys" {
  capabilities = ["update"]
}
`
	if diff := cmp.Diff(policy, deriveWiring(o)[0].Text("document")); diff != "" {
		t.Error(diff)
	}
	for _, own := range []map[string]any{{"role_id": "x"}, {"auth_method": "token", "token": "x"}} {
		o := mounted("x", own)
		if diags := prepareAIKeysTransit(o, &file.Node{}); len(diags) > 0 || len(deriveWiring(o)) > 0 {
			t.Errorf("%v: %v, and %d objects are brought", own, diags, len(deriveWiring(o)))
		}
	}
	if got := wiringName(mounted("ai-keys", nil)); got != "ai-keys-transit" {
		t.Errorf("the policy of the usual mount is called %s", got)
	}
}

func TestWhereTheEngineLogsInFrom(t *testing.T) {
	t.Parallel()
	for address, want := range map[string][]any{
		"https://vault.example.com:8200": nil,
		"":                               nil,
		"http://127.0.0.1:8200":          {"127.0.0.1/32"},
		"https://[::1]:8200":             {"::1/128"},
		"https://localhost:8200":         {"127.0.0.1/32", "::1/128"},
	} {
		if diff := cmp.Diff(want, boundTo(mounted("x", map[string]any{"address": address}))); diff != "" {
			t.Errorf("%s: %s", address, diff)
		}
	}
	if diff := cmp.Diff([]any{"10.0.0.0/8"}, boundTo(mounted("x", map[string]any{"bound_cidrs": "10.0.0.0/8"}))); diff != "" {
		t.Error(diff)
	}
}

func TestGracePeriodIsTheEngines(t *testing.T) {
	t.Parallel()
	for period, want := range map[any]int64{nil: 3600, "24h": 3600, "90m": 2700, json.Number("61"): 30, "": 3600} {
		o := &Object{Kind: aikeysRoleKind, Labels: []string{"r"}}
		if period != nil {
			o.Set("rotation_period", period)
		}
		if got := defaultGrace(o); got != want {
			t.Errorf("rotation_period %v: %d, not %d", period, got, want)
		}
	}
}

func TestProviderFieldsAreTextsOrLists(t *testing.T) {
	t.Parallel()
	for _, same := range [][]any{
		{[]any{"b", "a"}, "a, b", []any{"a", "b"}},
		{[]any{"a"}, "a", " a "},
		{[]any{}, "", nil},
	} {
		want, err := providerRest.Canonical(same[0])
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range same[1:] {
			got, err := providerRest.Canonical(v)
			if diff := cmp.Diff(want, got); err != nil || diff != "" {
				t.Errorf("%v is not %v: %v %s", v, same[0], err, diff)
			}
		}
	}
	for v, fine := range map[any]bool{nil: true, int64(3): true, 0.5: true, int64(-1): false, 0.0001: false, "3": false} {
		if err := checkRate(v); (err == nil) != fine {
			t.Errorf("%v calls a second: %v", v, err)
		}
	}
}

// answering is a session with a server that answers these paths.
func answering(t *testing.T, answers map[string]string) *Session {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer, ok := answers[strings.TrimPrefix(r.URL.Path, "/v1/")]
		if !ok {
			w.WriteHeader(http.StatusNotFound)
			answer = `{"errors":[]}`
		}
		if _, err := w.Write([]byte(answer)); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(server.Close)
	t.Setenv("VAULT_ADDR", server.URL)
	t.Setenv("VAULT_TOKEN", "root-of-the-test")
	c, err := vault.Connect(vault.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return NewSession(c, &secret.Store{}, &secret.Redactor{}, Options{})
}

func TestVerifySaysWhatTheEngineSays(t *testing.T) {
	type proof func(context.Context, *Session, *Object) (string, error)
	for _, row := range []struct {
		name, status string
		proof        proof
		done, err    string
	}{
		{"healthy", `{"data":{"healthy":true}}`, verifyAIKeys, "healthy", ""},
		{
			"not healthy", `{"data":{"healthy":false,"overdue":["a","b"],"withdrawn":[],"failing":{"c":"no"},"transit":{"failing":true,"last_error":"away"}}}`,
			verifyAIKeys, "", "the engine says that it is not healthy (ai-keys/status): overdue: a; overdue: b; c: no; transit: away",
		},
		{"role", `{"data":{"role":"r","key_id":"key_1","phase":"stable"}}`, verifyAIKeysRole, "serves key_1", ""},
		{"dynamic role", `{"data":{"role":"r"}}`, verifyAIKeysRole, "no error", ""},
		{"disabled role", `{"data":{"disabled":true,"last_error":"x"}}`, verifyAIKeysRole, "disabled", ""},
		{"role without a key", `{"data":{"phase":"empty","provider":"mints"}}`, verifyAIKeysRole, "", "it has no key yet: vault write -f ai-keys/rotate-role/r"},
		{"role that waits", `{"data":{"phase":"empty","provider":"imports"}}`, verifyAIKeysRole, "waits for a person to bring a key: vault write ai-keys/import/r", ""},
		{
			"healthy but for a role that waits", `{"data":{"healthy":false,"overdue":["r"],"phase":"empty","provider":"imports"}}`,
			verifyAIKeys, "healthy, but for roles that wait for a person to bring a key: r", "",
		},
		{"account", `{"data":{}}`, verifyAIKeysAccount, "no error", ""},
		{"rotated account", `{"data":{"last_vault_rotation":"then"}}`, verifyAIKeysAccount, "admin credential rotated at then", ""},
		{"failing account", `{"data":{"last_error":"refused"}}`, verifyAIKeysAccount, "", "the last rotation of its admin credential failed: refused"},
		{"failing role", `{"data":{"last_error":"refused"}}`, verifyAIKeysRole, "", "the last attempt failed: refused"},
		{"withdrawn role", `{"data":{"phase":"withdrawn"}}`, verifyAIKeysRole, "", "its keys were revoked: vault write -f ai-keys/rotate-role/r"},
		{"overdue role", `{"data":{"overdue":true,"next_rotation":"then"}}`, verifyAIKeysRole, "", "its rotation is overdue since then"},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := answering(t, map[string]string{
				"ai-keys/status": row.status, "ai-keys/status/r": row.status, "ai-keys/accounts/r": row.status,
				"ai-keys/providers/mints": `{"data":{"life":"mint"}}`, "ai-keys/providers/imports": `{"data":{"life":"import"}}`,
			})
			o := &Object{Kind: aikeysAccountKind, Parent: &Object{Kind: mountKind, Labels: []string{"ai-keys", "ai-keys"}}, Labels: []string{"r"}}
			done, err := row.proof(t.Context(), s, o)
			text := ""
			if err != nil {
				text = err.Error()
			}
			if done != row.done || text != row.err {
				t.Errorf("%q, %v", done, err)
			}
		})
	}
}
