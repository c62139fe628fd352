package backend

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/backend/provider/providertest"
)

const canary = "CANARY-in-the-wrong-place"

func TestBadInput(t *testing.T) {
	t.Parallel()
	role := func(changes ...any) map[string]any {
		m := map[string]any{"account": "oa", "type": "static", "project_id": providertest.MainProject}
		for i := 0; i < len(changes); i += 2 {
			m[changes[i].(string)] = changes[i+1]
		}
		return m
	}
	dynamic := func(changes ...any) map[string]any { return role(append([]any{"type", "dynamic"}, changes...)...) }
	account := func(changes ...any) map[string]any {
		m := map[string]any{"provider": "openai", "admin_key": canary}
		for i := 0; i < len(changes); i += 2 {
			m[changes[i].(string)] = changes[i+1]
		}
		return m
	}
	for _, tc := range []struct {
		name, path string
		data       map[string]any
		says       string
	}{
		{"unknown provider", "accounts/x", account("provider", "opnai"), "did you mean openai?"},
		{"no provider", "accounts/x", map[string]any{"admin_key": canary}, "provider is required"},
		{"no admin key", "accounts/x", map[string]any{"provider": "openai"}, "admin_key is required"},
		{"refused admin key", "accounts/x", account(), "did not accept"},
		{"unknown field", "accounts/x", account("admin_kye", "x"), `did you mean "admin_key"?`},
		{"field of another provider", "accounts/x", account("tenant_id", "x"), "not a field of provider openai"},
		{"nested secret", "accounts/x", account("admin_key", map[string]any{"v": canary}), "admin_key: expected a text"},
		{"list as secret", "accounts/x", account("admin_key", []any{canary}), "admin_key: expected a text"},
		{"text as bool", "accounts/x", account("disabled", "perhaps"), "disabled: expected true or false"},
		{"plain http", "accounts/x", account("base_url", "http://api.example.com/v1"), "base_url"},
		{"no URL", "accounts/x", account("base_url", "::::"), "base_url"},
		{"no certificate", "accounts/x", account("ca_cert", "x"), "ca_cert"},
		{"negative rate", "accounts/x", account("requests_per_second", -1), "requests_per_second"},
		{"long name", "accounts/" + strings.Repeat("x", 300), account(), "longest is 64"},
		{"unicode name", "accounts/schlüssel", account(), "use letters"},
		{"climbing name", "accounts/a..b", account(), "use letters"},

		{"no account", "roles/x", map[string]any{"type": "static"}, "account is required"},
		{"absent account", "roles/x", role("account", "nobody"), "write accounts/nobody first"},
		{"no project", "roles/x", map[string]any{"account": "oa", "type": "static"}, "project_id is required"},
		{"climbing project", "roles/x", role("project_id", "../../admin_api_keys"), ""},
		{"other type", "roles/x", role("type", "sometimes"), "use dynamic or static"},
		{"field of the other type", "roles/x", role("ttl", "1h"), "does not apply to a static role"},
		{"negative period", "roles/x", role("rotation_period", "-1h"), "cannot be negative"},
		{"tiny period", "roles/x", role("rotation_period", "1ms"), "shortest duration is 1s"},
		{"huge period", "roles/x", role("rotation_period", "999999h"), "longer than ten years"},
		{"overflowing period", "roles/x", role("rotation_period", "99999999999999999999h"), "rotation_period: expected a duration"},
		{"overflowing number", "roles/x", role("rotation_period", json.Number("99999999999999999999")), "rotation_period"},
		{"no duration", "roles/x", role("rotation_period", "soon"), "rotation_period: expected a duration"},
		{"period and schedule", "roles/x", role("rotation_period", "1h", "rotation_schedule", "0 0 * * *"), "exclude each other"},
		{"bad cron", "roles/x", role("rotation_schedule", "whenever"), "five cron fields"},
		{"cron that never comes", "roles/x", role("rotation_schedule", "0 0 31 2 *"), "never comes"},
		{"short window", "roles/x", role("rotation_schedule", "0 0 * * *", "rotation_window", "60s"), "3600 seconds"},
		{"window alone", "roles/x", role("rotation_window", "2h"), "belongs to rotation_schedule"},
		{"grace past the period", "roles/x", role("rotation_period", "1h", "grace_period", "1h"), "shorter than rotation_period"},
		{"bad template", "roles/x", role("key_name_template", "{{.Nobody}}"), "key_name_template"},
		{"ttl past max_ttl", "roles/x", dynamic("ttl", "2h", "max_ttl", "1h"), "longer than max_ttl"},
		{"max_ttl past the provider's", "roles/x", dynamic("max_ttl", "8760h"), "keeps a key for at most"},
		{"negative max_active", "roles/x", dynamic("max_active", -1), "cannot be negative"},
		{"fraction", "roles/x", dynamic("max_active", "1.5"), "a whole number"},
		{"nested metadata", "roles/x", role("metadata", map[string]any{"a": map[string]any{"b": canary}}), "metadata: expected pairs"},
		{"unprintable project", "roles/x", role("project_id", "proj\x00\n1"), "do not print"},
		{"endless project", "roles/x", role("project_id", strings.Repeat("x", 5000)), "the longest is 1024"},
		{"secret sent elsewhere", "accounts/oa", map[string]any{"base_url": "https://elsewhere.example.com/v1"}, "admin_key: give it again"},
		{"fixed field set late", "accounts/oa", map[string]any{"organization_id": "org_other"}, "cannot change"},
		{"dynamic import", "roles/x", map[string]any{"account": "an", "type": "dynamic"}, "cannot mint"},

		{"unknown encryption", "config", map[string]any{"encryption": "rot13"}, "use transit or barrier"},
		{"no workers", "config", map[string]any{"workers": 0}, "between 1 and 256"},
		{"transit over http", "config/transit", map[string]any{"address": "http://vault.example.com", "role_id": "r", "secret_id": canary}, "address must be https"},
		{"import without key", "import/good", map[string]any{}, "api_key is required"},
		{"import of a dynamic role", "import/dyn", map[string]any{"api_key": canary}, "for static roles"},
		{"rotation of a dynamic role", "rotate-role/dyn", nil, "for static roles"},
		{"import of a stranger", "import/good", map[string]any{"api_key": canary}, "refuses this key"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			inWorld(t, func(w *world) {
				w.openai()
				w.anthropic()
				w.write("roles/good", role())
				w.write("roles/dyn", dynamic())
				before := w.stored()
				says := w.refused(statusInvalid, logical.UpdateOperation, tc.path, tc.data)
				if !strings.Contains(says, tc.says) {
					t.Errorf("answer %q does not say %q", says, tc.says)
				}
				if strings.Contains(says, canary) || strings.Contains(w.log.String(), canary) {
					t.Errorf("the answer or the log quotes a secret: %q", says)
				}
				w.pass(5 * time.Minute) // what was unresolved is settled
				if after := w.stored(); after != before {
					t.Errorf("storage changed:\n%s\nto\n%s", before, after)
				}
				if n := len(w.live("openai")); n != 1 {
					t.Errorf("%d keys live", n)
				}
			})
		})
	}
}

// stored lists the entries in storage.
func (w *world) stored() string {
	w.t.Helper()
	keys, err := logical.CollectKeys(w.t.Context(), &w.storage.InmemStorage)
	if err != nil {
		w.t.Fatal(err)
	}
	return strings.Join(keys, "\n")
}

// TestStrangeReplies lets the vendor misbehave while a role is made: an error
// that says so, nothing half-written, nothing left alive.
func TestStrangeReplies(t *testing.T) {
	t.Parallel()
	for _, kind := range []providertest.Kind{
		providertest.HTML, providertest.Redirect, providertest.OtherSuccess, providertest.EmptyKey, providertest.Huge,
		providertest.CutShort, providertest.Broken, providertest.Hang, providertest.Throttled, providertest.Status,
	} {
		for _, path := range []string{"/service_accounts", "/api_keys"} {
			if kind == providertest.EmptyKey && path == "/service_accounts" {
				continue // the key that comes with an account is thrown away in any case
			}
			t.Run(fmt.Sprint(kind, path), func(t *testing.T) {
				t.Parallel()
				inWorld(t, func(w *world) {
					w.openai()
					w.cloud.Fault(providertest.Fault{Kind: kind, Method: "POST", Path: path, Times: 1, Status: map[bool]int{true: 500}[kind == providertest.Status], RetryAfter: "7"})
					_, err := w.call(logical.UpdateOperation, "roles/app", staticFields)
					if status := statusOf(err); status < 400 || status > 599 {
						t.Fatalf("answered %d: %v", status, err)
					}
					if kind == providertest.Throttled && !strings.Contains(err.Error(), "7s") {
						t.Errorf("the provider's delay is not told: %v", err)
					}
					resp, err := w.call(logical.ReadOperation, "roles/app", nil)
					if resp != nil || err != nil {
						t.Errorf("a role was left half-written: %v %v", resp, err)
					}
					w.pass(5 * time.Minute)
					w.atRest()
					if n := len(w.live("openai")); n != 0 {
						t.Errorf("%d keys live", n)
					}
					w.write("roles/app", staticFields) // and it works the next time
					w.sample()
					w.tearDown()
				})
			})
		}
	}
}

func TestCheckAndSet(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		w.openai()
		admin := w.cloud.Options().OpenAI.AdminKey
		w.refused(statusConflict, logical.UpdateOperation, "accounts/oa", map[string]any{"cas": 0, "admin_key": admin})
		w.write("accounts/oa", map[string]any{"cas": 1, "requests_per_second": 2.5})
		if a := w.read("accounts/oa"); a["version"] != 2 || a["requests_per_second"] != 2.5 || a["admin_key"] != nil {
			t.Errorf("account: %v", a)
		}
		w.write("roles/app", map[string]any{"cas": 0, "account": "oa", "project_id": providertest.MainProject})
		w.refused(statusConflict, logical.UpdateOperation, "roles/app", map[string]any{"cas": 0, "ttl": "1h"})
		w.write("roles/app", map[string]any{"cas": 1, "ttl": "1h"})
		w.refused(statusInvalid, logical.UpdateOperation, "roles/app", map[string]any{"project_id": "other"})
		w.refused(statusInvalid, logical.UpdateOperation, "roles/app", map[string]any{"account": "other"})
		w.refused(statusInvalid, logical.UpdateOperation, "accounts/oa", map[string]any{"provider": "anthropic"})
		w.refused(statusInvalid, logical.DeleteOperation, "accounts/oa", nil)
	})
}

func TestPaging(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		w.openai()
		for i := range 5 {
			w.write(fmt.Sprintf("roles/r%d", i), map[string]any{"account": "oa", "project_id": providertest.MainProject, "max_active": 3})
		}
		got := w.must(logical.ListOperation, "roles/", map[string]any{"after": "r1", "limit": "2"})["keys"]
		if fmt.Sprint(got) != "[r2 r3]" {
			t.Errorf("after r1, two: %v", got)
		}
		for range 3 {
			w.lease("r0", nil)
		}
		w.refused(statusExhausted, logical.ReadOperation, "creds/r0", nil)
		all := w.must(logical.ListOperation, "keys/oa/", nil)
		info := all["key_info"].(map[string]any)
		if len(info) != 3 {
			t.Fatalf("inventory: %v", all)
		}
		for tag, v := range info {
			k := w.read("keys/oa/" + tag)
			if v.(map[string]any)["state"] != "live" || k["role"] != "r0" || k["key_id"] == "" || k["expires"] == "" {
				t.Errorf("key %s: %v", tag, k)
			}
		}
		w.write("revoke-account/oa", nil)
		if n := len(w.live("openai")); n != 0 {
			t.Errorf("%d keys live after revoke-account", n)
		}
		w.lease("r0", nil) // room again
	})
}

func TestDisabledAndWrapped(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		w.openai()
		w.write("roles/app", staticFields)
		w.write("roles/app", map[string]any{"wrap_ttl": "5m", "metadata": map[string]any{"team": "search"}})
		resp, err := w.call(logical.ReadOperation, "creds/app", nil)
		if err != nil || resp.WrapInfo == nil || resp.WrapInfo.TTL != 5*time.Minute || fmt.Sprint(resp.Data["metadata"]) != "map[team:search]" {
			t.Fatalf("wrapped: %v %v", resp, err)
		}
		w.write("roles/app", map[string]any{"disabled": true})
		w.refused(statusForbidden, logical.ReadOperation, "creds/app", nil)
		w.pass(50 * time.Hour) // no rotation meanwhile
		w.write("roles/app", map[string]any{"disabled": false})
		w.pass(time.Second)
		if v := w.read("creds/app")["version"]; v != 2 {
			t.Errorf("version %v: the overdue rotation did not happen when the role was enabled", v)
		}
		w.write("accounts/oa", map[string]any{"disabled": true})
		w.refused(statusForbidden, logical.ReadOperation, "creds/app", nil)
		w.write("accounts/oa", map[string]any{"disabled": false, "allowed_roles": "ci-*"})
		w.refused(statusForbidden, logical.ReadOperation, "creds/app", nil)
		w.refused(statusMissing, logical.ReadOperation, "creds/nobody", nil)
	})
}

// A changed period takes effect at once, and a schedule keeps to its window.
func TestSchedules(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		w.openai()
		w.write("roles/app", staticFields)
		w.pass(2 * time.Hour)
		w.write("roles/app", map[string]any{"rotation_period": "1h"})
		w.pass(time.Second)
		if v := w.read("creds/app")["version"]; v != 2 {
			t.Errorf("version %v: the shorter period did not take effect", v)
		}
		// The bubble begins at midnight; 02:00 is two hours old now.
		w.write("roles/app", map[string]any{"rotation_schedule": "0 3 * * *", "rotation_window": "1h"})
		if got := w.read("creds/app"); got["rotation_schedule"] != "0 3 * * *" || got["rotation_period"] != nil || got["ttl"].(int64) > 3600 {
			t.Errorf("schedule: %v", got)
		}
		w.cloud.Fault(providertest.Fault{Kind: providertest.Broken, Provider: "openai"}) // through the whole window
		w.pass(3 * time.Hour)
		if st := w.read("status/app"); st["version"] != 2 || st["attempts"] == 0 || st["last_error"] == "" {
			t.Errorf("while the provider is away: %v", st)
		}
		w.read("creds/app") // goes on being served
		w.cloud.ClearFaults()
		w.pass(30 * time.Minute)
		st := w.read("status/app")
		if st["version"] != 2 || st["phase"] != "minting" && st["phase"] != "stable" {
			t.Errorf("rotated outside its window: %v", st)
		}
		w.pass(24 * time.Hour)
		if v := w.read("creds/app")["version"]; v != 3 {
			t.Errorf("version %v after the next window, want 3", v)
		}
	})
}

// A request that Vault sends again, because the plugin died under it, is not
// carried out twice.
func TestRequestsSentAgain(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		w.openai()
		w.write("roles/app", staticFields)
		again := &logical.Request{ID: "the-same", Operation: logical.UpdateOperation, Path: "rotate-role/app"}
		if _, err := w.send(again); err != nil {
			t.Fatal(err)
		}
		w.crash()
		if resp, err := w.send(again); err != nil || resp.Data["version"] != 2 {
			t.Errorf("sent again: %v %v, want the version of the first run", resp, err)
		}
		w.write("roles/ci", map[string]any{"account": "oa", "project_id": providertest.MainProject, "max_active": 1})
		read := &logical.Request{ID: "a-read", Operation: logical.ReadOperation, Path: "creds/ci"}
		lost, err := w.send(read)
		if err != nil {
			t.Fatal(err)
		}
		w.crash() // the answer never reached Vault
		second, err := w.send(read)
		if err != nil {
			t.Fatalf("sent again: %v", err)
		}
		if w.works(lost.Data["api_key"]) || !w.works(second.Data["api_key"]) {
			t.Error("the key that nobody got must be dead, and the other alive")
		}
	})
}

// Every path answers an operator's question, and secrets are marked.
func TestHelpAndSensitivity(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		for _, p := range w.b.Paths {
			if p.HelpSynopsis == "" || len(p.HelpDescription) < 40 {
				t.Errorf("%s: no help", p.Pattern)
			}
			for name, f := range p.Fields {
				if f.Description == "" {
					t.Errorf("%s: field %s is not described", p.Pattern, name)
				}
			}
		}
		for path, name := range map[string]string{"accounts/x": "admin_key", "config/transit": "secret_id", "import/x": "api_key"} {
			if f := w.b.Route(path).Fields[name]; f.DisplayAttrs == nil || !f.DisplayAttrs.Sensitive {
				t.Errorf("%s: %s is not marked as sensitive", path, name)
			}
		}
		read := w.b.Route("creds/x").Operations[logical.ReadOperation].(*framework.PathOperation)
		if !read.Responses[200][0].Fields["api_key"].DisplayAttrs.Sensitive {
			t.Error("the answer of creds does not mark api_key")
		}
	})
}
