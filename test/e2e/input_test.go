package e2e

import (
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/backend/provider/providertest"
)

// mistake is a request that must be refused, and what the answer must say.
type mistake struct {
	path   string
	data   fields
	status int
	parts  []string
}

func (m mistake) refusedBy(s *story) {
	s.Helper()
	s.refused(m.status, http.MethodPut, m.path, m.data, m.parts...)
}

func TestMistakesInAccounts(t *testing.T) {
	t.Parallel()
	s := begin(t)
	account := func(more fields) fields {
		return with(fields{"provider": "openai", "base_url": s.fakes.OpenAI.BaseURL, "admin_key": s.fakes.OpenAI.AdminKey}, more)
	}
	for _, m := range []mistake{
		{"accounts/x", fields{"provider": "opnai", "admin_key": mark}, 400, []string{"did you mean openai?"}},
		{"accounts/x", fields{"provider": "mainframe", "admin_key": mark}, 400, []string{"this build has", "anthropic"}},
		{"accounts/x", fields{"admin_key": mark}, 400, []string{"provider is required"}},
		{"accounts/x", fields{"provider": "openai"}, 400, []string{"admin_key is required"}},
		{"accounts/x", account(fields{"admin_kee": mark}), 400, []string{`did you mean "admin_key"?`}},
		{"accounts/x", account(fields{"zzzzzzzzzz": 1}), 400, []string{`unknown field "zzzzzzzzzz"`}},
		{"accounts/x", account(fields{"tenant_id": "t"}), 400, []string{"tenant_id is not a field of provider openai"}},
		{"accounts/x", account(fields{"admin_key": fields{"nested": mark}}), 400, []string{"admin_key: expected a text"}},
		{"accounts/x", account(fields{"admin_key": []string{mark}}), 400, []string{"admin_key: expected a text"}},
		{"accounts/x", account(fields{"admin_key": 42}), 400, []string{"admin_key: expected a text"}},
		{"accounts/x", account(fields{"admin_key": nil}), 400, []string{"admin_key: expected a text"}},
		{"accounts/x", account(fields{"disabled": "perhaps"}), 400, []string{"disabled: expected true or false"}},
		{"accounts/x", account(fields{"requests_per_second": "many"}), 400, []string{"requests_per_second: expected a number"}},
		{"accounts/x", account(fields{"requests_per_second": -1}), 400, []string{"requests_per_second"}},
		{"accounts/x", account(fields{"base_url": "http://example.com/v1"}), 400, []string{"https"}},
		{"accounts/x", account(fields{"base_url": "ftp://127.0.0.1"}), 400, nil},
		{"accounts/x", account(fields{"base_url": "https://user:" + mark + "@127.0.0.1/v1"}), 400, nil},
		{"accounts/x", account(fields{"base_url": ":"}), 400, nil},
		{"accounts/x", account(fields{"ca_cert": "/etc/ca.pem"}), 400, []string{"certificate"}},
		{"accounts/x", account(fields{"admin_key": mark + " with\nlines"}), 400, nil},
		{"accounts/x", account(fields{"admin_key": "sk-admin-wrong-" + mark}), 400, []string{"not saved", "verify_connection=false"}},
		{"accounts/x", account(fields{"admin_key": strings.Repeat("k", 1<<16)}), 400, nil},
		{"accounts/x", account(fields{"cas": "first"}), 400, []string{"cas: expected a whole number"}},
	} {
		m.refusedBy(s)
		s.refused(http.StatusNotFound, http.MethodGet, "accounts/x", nil)
	}
	s.refused(http.StatusServiceUnavailable, http.MethodPut, "accounts/x", account(fields{"base_url": "http://127.0.0.1:1/v1"}), "not saved")

	s.openAI("main", nil)
	for _, m := range []mistake{
		{"accounts/main", fields{"provider": "anthropic"}, 400, []string{`provider is "openai" and cannot change`}},
		{"accounts/main", fields{"admin_key": ""}, 400, []string{"admin_key is required"}},
	} {
		m.refusedBy(s)
	}
	if a := s.read("accounts/main"); (key{fields: a}).number("version") != 1 {
		t.Errorf("a refused write left version %v", a["version"])
	}
}

func TestMistakesInRoles(t *testing.T) {
	t.Parallel()
	s := begin(t)
	s.openAI("main", nil)
	s.write("roles/there", s.dynamic("main", nil))
	dynamic := func(more fields) fields { return s.dynamic("main", more) }
	static := func(more fields) fields { return s.static("main", more) }
	for _, m := range []mistake{
		{"roles/x", fields{"project_id": "p"}, 400, []string{"account is required"}},
		{"roles/x", fields{"account": "nowhere", "project_id": "p"}, 400, []string{`no account named "nowhere"`}},
		{"roles/x", fields{"account": "main"}, 400, []string{"project_id is required"}},
		{"roles/x", dynamic(fields{"projct_id": "p"}), 400, []string{`did you mean "project_id"?`}},
		{"roles/x", dynamic(fields{"workspace_id": "w"}), 400, []string{"workspace_id is not a field of provider openai"}},
		{"roles/x", dynamic(fields{"type": "frozen"}), 400, []string{"dynamic or static"}},
		{"roles/x", dynamic(fields{"rotation_period": "1h"}), 400, []string{"rotation_period does not apply to a dynamic role"}},
		{"roles/x", static(fields{"max_active": 3}), 400, []string{"max_active does not apply to a static role"}},
		{"roles/x", dynamic(fields{"ttl": -5}), 400, []string{"ttl: a duration cannot be negative"}},
		{"roles/x", dynamic(fields{"ttl": "-1h"}), 400, []string{"ttl: a duration cannot be negative"}},
		{"roles/x", dynamic(fields{"ttl": "1ms"}), 400, []string{"ttl: the shortest duration is 1s"}},
		{"roles/x", dynamic(fields{"ttl": "1752000h"}), 400, []string{"longer than ten years"}},
		{"roles/x", dynamic(fields{"ttl": "9223372036854775807"}), 400, []string{"ttl"}},
		{"roles/x", dynamic(fields{"ttl": 1e30}), 400, []string{"ttl"}},
		{"roles/x", dynamic(fields{"ttl": "99999999999999999999h"}), 400, []string{"ttl: expected a duration"}},
		{"roles/x", dynamic(fields{"ttl": "soon"}), 400, []string{"ttl: expected a duration"}},
		{"roles/x", dynamic(fields{"ttl": true}), 400, []string{"ttl: expected a duration"}},
		{"roles/x", dynamic(fields{"ttl": "2h", "max_ttl": "1h"}), 400, []string{"ttl: 2h0m0s is longer than max_ttl"}},
		{"roles/x", dynamic(fields{"max_ttl": "9000h"}), 400, []string{"max_ttl"}},
		{"roles/x", dynamic(fields{"max_active": -1}), 400, []string{"max_active"}},
		{"roles/x", dynamic(fields{"max_active": "some"}), 400, []string{"max_active: expected a whole number"}},
		{"roles/x", dynamic(fields{"metadata": "nothing"}), 400, []string{"metadata: expected pairs"}},
		{"roles/x", dynamic(fields{"scopes": []any{1, 2}}), 400, []string{"scopes: expected a list"}},
		{"roles/x", dynamic(fields{"key_name_template": "{{.Secret}}"}), 400, []string{"key_name_template", ".RoleName"}},
		{"roles/x", dynamic(fields{"key_name_template": "{{"}), 400, []string{"key_name_template"}},
		{"roles/x", static(fields{"rotation_period": "1h", "grace_period": "1h"}), 400, []string{"grace_period", "shorter than rotation_period"}},
		{"roles/x", static(fields{"rotation_period": "1h", "rotation_schedule": "0 3 * * *"}), 400, []string{"exclude each other"}},
		{"roles/x", static(fields{"rotation_window": "1h"}), 400, []string{"rotation_window belongs to rotation_schedule"}},
		{"roles/x", static(fields{"project_id": "proj_elsewhere"}), 400, nil},
		{"roles/x", static(fields{"project_id": "../../admin_api_keys"}), 400, nil},
		{"roles/x", static(fields{"service_account_id": "user-nobody"}), 400, nil},
	} {
		m.refusedBy(s)
		s.refused(http.StatusNotFound, http.MethodGet, "roles/x", nil)
	}
	for _, m := range []mistake{
		{"roles/there", fields{"project_id": "other"}, 400, []string{"project_id", "cannot change"}},
		{"roles/there", fields{"account": "other"}, 400, []string{"cannot change"}},
		{"rotate-role/there", nil, 400, []string{"is dynamic"}},
		{"import/there", fields{"api_key": mark}, 400, []string{"is dynamic"}},
		{"rotate-role/gone", nil, 404, []string{`no role named "gone"`}},
		{"revoke/gone", nil, 404, []string{`no role named "gone"`}},
		{"revoke-account/gone", nil, 404, []string{`no account named "gone"`}},
		{"import/gone", fields{"api_key": mark}, 404, []string{`no role named "gone"`}},
	} {
		m.refusedBy(s)
	}
	s.until("nothing was made that is not known", func() bool { return len(s.minted()) == 0 })
}

func TestMistakesInConfig(t *testing.T) {
	t.Parallel()
	s := begin(t)
	for _, m := range []mistake{
		{"config", fields{"encryption": "rot13"}, 400, []string{"transit or barrier"}},
		{"config", fields{"workers": 0}, 400, []string{"workers: between 1 and 256"}},
		{"config", fields{"provider_timeout": "1h"}, 400, []string{"provider_timeout: between"}},
		{"config", fields{"verify_timeout": -1}, 400, []string{"verify_timeout"}},
		{"config", fields{"encryptoin": "barrier"}, 400, []string{`did you mean "encryption"?`}},
		{"config/transit", fields{"address": "http://vault.example.com:8200"}, 400, []string{"https"}},
		{"config/transit", fields{"address": "vault"}, 400, []string{"address must be a plain URL"}},
		{"config/transit", fields{"key": "../../sys/health"}, 400, []string{"key must be"}},
		{"config/transit", fields{"mount": "../sys"}, 400, []string{"mount must be"}},
		{"config/transit", fields{"auth_method": "guess"}, 400, []string{"approle"}},
		{"config/transit", fields{"secret_id": mark + "-wrong"}, 400, []string{"not saved", "refuses the login"}},
		{"config/transit", fields{"secret_id": fields{"a": mark}}, 400, []string{"secret_id: expected a text"}},
		{"config/transit", fields{"key": "another"}, 400, []string{"not saved", "policies do not grant"}},
		{"config/transit", fields{"mount": "nowhere"}, 400, []string{"not saved"}},
		{"config/transit", fields{"address": "http://127.0.0.1:1"}, 503, []string{"unreachable"}},
		{"config/transit", fields{"data_key_ttl": "200y"}, 400, []string{"data_key_ttl"}},
		{"config/transit", fields{"ca_cert": "no"}, 400, []string{"ca_cert"}},
	} {
		m.refusedBy(s)
	}
	if c := s.read("config/transit"); (key{fields: c}).number("version") != 1 || c["key"] != s.engine.Key {
		t.Errorf("a refused write left %v at version %v", c["key"], c["version"])
	}
	s.openAI("main", nil) // it still works
	s.refused(http.StatusConflict, http.MethodDelete, "config/transit", nil, "sealed with this transit key")
}

func TestNames(t *testing.T) {
	t.Parallel()
	s := begin(t)
	s.openAI("main", nil)
	for _, name := range []string{"a", "A-1", "team_x.y", "_", strings.Repeat("n", 64)} {
		s.write("roles/"+name, s.dynamic("main", nil))
	}
	for _, name := range []string{
		strings.Repeat("n", 65), strings.Repeat("n", 300), "a..b", "-a", "a-", ".a", "a b", "роль", "名", "a%00b", "{{.X}}", "*", "a'b",
	} {
		s.refused(http.StatusBadRequest, http.MethodPut, "roles/"+name, s.dynamic("main", nil), "name")
		s.refused(http.StatusBadRequest, http.MethodPut, "accounts/"+name, fields{"provider": "openai"}, "name")
		if a := s.try(http.MethodGet, "creds/"+name, nil); a.status != http.StatusNotFound {
			t.Errorf("creds/%q: status %d, want 404", name, a.status)
		}
	}
	if n := len(s.list("roles")); n != 5 {
		t.Errorf("there are %d roles, want 5", n)
	}
	// What Vault's client would tidy away before it is sent.
	for _, path := range []string{"roles/a/b", "roles/%2e%2e", "creds/%2e%2e%2fa", "creds/a%2f..", "keys/main/%2e%2e%2fa"} {
		if status := s.rawGet(path); status < 400 || status >= 500 {
			t.Errorf("GET %s: status %d, want a refusal", path, status)
		}
	}
}

// rawGet sends a path as it is.
func (s *story) rawGet(path string) int {
	s.Helper()
	base, err := url.Parse(s.vault.Addr)
	if err != nil {
		s.Fatal(err)
	}
	req, err := http.NewRequestWithContext(s.Context(), http.MethodGet, s.vault.Addr, http.NoBody)
	if err != nil {
		s.Fatal(err)
	}
	req.URL = &url.URL{Scheme: base.Scheme, Host: base.Host, Opaque: "//" + base.Host + "/v1/" + s.engine.Path + "/" + path}
	req.Header.Set("X-Vault-Token", s.vault.RootToken)
	resp, err := s.caller.Do(req)
	if err != nil {
		s.Fatal(err)
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode
}

// TestStrangeReplies: whatever a provider answers to a create call, the caller
// gets a helpful refusal, no role is left half-written, and no key stays behind.
func TestStrangeReplies(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]providertest.Fault{
		"refused":       {Kind: providertest.Status, Status: http.StatusUnauthorized},
		"forbidden":     {Kind: providertest.Status, Status: http.StatusForbidden},
		"broken":        {Kind: providertest.Status, Status: http.StatusInternalServerError},
		"broken late":   {Kind: providertest.Status, Status: http.StatusInternalServerError, After: true},
		"throttled":     {Kind: providertest.Throttled, RetryAfter: "1"},
		"a page":        {Kind: providertest.HTML},
		"another 2xx":   {Kind: providertest.OtherSuccess, Status: http.StatusNonAuthoritativeInfo},
		"an empty key":  {Kind: providertest.EmptyKey},
		"two megabytes": {Kind: providertest.Huge, After: true},
		"half a reply":  {Kind: providertest.CutShort},
		"a redirect":    {Kind: providertest.Redirect},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := begin(t)
			s.openAI("main", nil)
			s.write("roles/dyn", s.dynamic("main", nil))
			owner := s.creds("dyn").fields["account"] // the first read makes the service account
			if owner != "main" {
				t.Fatal(owner)
			}
			before := len(s.minted())
			fault.Method, fault.Path = http.MethodPost, "/api_keys"
			s.cloud.Fault(fault)
			for _, call := range []struct {
				method, path string
				data         fields
			}{
				{http.MethodPut, "roles/sta", s.static("main", nil)},
				{http.MethodGet, "creds/dyn", nil},
			} {
				a := s.try(call.method, call.path, call.data)
				if a.status != http.StatusBadRequest && a.status != http.StatusServiceUnavailable {
					t.Fatalf("%s: status %d: %s", call.path, a.status, a.text)
				}
				s.check(a, a.status, call.path, "minting for role")
				if len(a.text) > 500 {
					t.Errorf("%s: the answer quotes the reply: %d characters", call.path, len(a.text))
				}
			}
			s.cloud.ClearFaults()
			s.refused(http.StatusNotFound, http.MethodGet, "roles/sta", nil)
			s.until("what may have been made is gone", func() bool { return len(s.minted()) == before })
			s.until("status is healthy", func() bool { return s.read("status")["healthy"] == true })
		})
	}
}

// TestKeyThatNeverWorks: a key that is not accepted by its own provider is not
// stored, and goes.
func TestKeyThatNeverWorks(t *testing.T) {
	t.Parallel()
	s := begin(t)
	s.openAI("main", nil)
	s.write("roles/old", s.static("main", nil))
	first := s.creds("old")
	s.cloud.SetPropagation(30 * time.Second) // longer than verify_timeout
	a := s.try(http.MethodPut, "roles/new", s.static("main", nil))
	s.check(a, a.status, "creating a role", "did not work within")
	s.refused(http.StatusNotFound, http.MethodGet, "roles/new", nil)
	a = s.try(http.MethodPut, "rotate-role/old", nil)
	s.check(a, a.status, "rotating a role", "did not work within")
	if k := s.creds("old"); k.secret() != first.secret() {
		t.Error("a key that does not work is served")
	}
	s.until("one key is left", func() bool { return len(s.minted()) == 1 })
	s.cloud.SetPropagation(300 * time.Millisecond) // patience with one that takes a moment
	s.write("rotate-role/old", nil)
	s.works(s.creds("old"), "a key that took a moment to work")
}
