package e2e

import (
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/backend/provider/providertest"
)

func TestDisabled(t *testing.T) {
	t.Parallel()
	s := begin(t)
	s.openAI("main", nil)
	s.write("roles/dyn", s.dynamic("main", nil))
	s.write("roles/sta", s.static("main", nil))
	leased := s.creds("dyn")
	s.write("roles/dyn", fields{"disabled": true})
	s.refused(http.StatusForbidden, http.MethodGet, "creds/dyn", nil, `role "dyn" is disabled`)
	s.works(s.creds("sta"), "another role's key")
	s.write("accounts/main", fields{"disabled": true})
	s.refused(http.StatusForbidden, http.MethodGet, "creds/sta", nil, `account "main" is disabled`)
	s.refused(http.StatusForbidden, http.MethodPut, "rotate-role/sta", nil, "disabled")
	if err := s.client.Sys().Revoke(leased.lease); err != nil { // withdrawing goes on
		t.Fatal(err)
	}
	s.dies(leased, "the leased key of a disabled account")
	s.write("accounts/main", fields{"disabled": false})
	s.write("roles/dyn", fields{"disabled": false})
	s.works(s.creds("dyn"), "a key of an enabled role")
}

func TestCheckAndSet(t *testing.T) {
	t.Parallel()
	s := begin(t)
	account := fields{
		"provider": "openai", "base_url": s.fakes.OpenAI.BaseURL, "admin_key": s.fakes.OpenAI.AdminKey, "cas": 0,
	}
	s.write("accounts/main", account)
	s.refused(http.StatusConflict, http.MethodPut, "accounts/main", account, "cas is 0", "version 1")
	s.write("accounts/main", fields{"cas": 1, "requests_per_second": 50})
	if a := s.read("accounts/main"); (key{fields: a}).number("version") != 2 {
		t.Errorf("the account is at version %v, want 2", a["version"])
	}
	s.refused(http.StatusConflict, http.MethodPut, "roles/app", s.dynamic("main", fields{"cas": 4}), "cas is 4")
	s.refused(http.StatusNotFound, http.MethodGet, "roles/app", nil)
	s.write("roles/app", s.dynamic("main", fields{"cas": 0}))
	s.refused(http.StatusConflict, http.MethodPut, "roles/app", fields{"cas": 0, "ttl": "1m"}, "version 1")
	s.refused(http.StatusConflict, http.MethodPut, "config/transit", fields{"cas": 7, "timeout": "4s"}, "cas is 7")
}

func TestListsHavePages(t *testing.T) {
	t.Parallel()
	s := begin(t)
	for _, name := range []string{"a1", "a2", "a3", "a4"} {
		s.openAI(name, nil)
	}
	for _, name := range []string{"r1", "r2", "r3"} {
		s.write("roles/"+name, s.dynamic("a1", nil))
		s.creds(name)
	}
	for path, want := range map[string][]string{
		"accounts":                  {"a1", "a2", "a3", "a4"},
		"accounts?limit=2":          {"a1", "a2"},
		"accounts?after=a2":         {"a3", "a4"},
		"accounts?after=a1&limit=1": {"a2"},
		"accounts?after=a25":        {"a3", "a4"}, // a name that is not there
		"roles?after=r1&limit=1":    {"r2"},
		"roles?after=r3":            nil,
		"providers?limit=2":         {"anthropic", "azure-openai"},
	} {
		if diff := cmp.Diff(want, s.list(path)); diff != "" {
			t.Errorf("%s: %s", path, diff)
		}
	}
	tags := s.list("keys/a1")
	if len(tags) != 3 {
		t.Fatalf("there are %d keys, want 3", len(tags))
	}
	if diff := cmp.Diff(tags[1:2], s.list("keys/a1?limit=1&after="+tags[0])); diff != "" {
		t.Error(diff)
	}
	s.refused(http.StatusBadRequest, "LIST", "roles?limit=-1", nil, "limit")
}

func TestAllowedRoles(t *testing.T) {
	t.Parallel()
	s := begin(t)
	s.openAI("main", fields{"allowed_roles": "app-*,batch"})
	s.write("roles/app-1", s.dynamic("main", nil))
	s.refused(http.StatusBadRequest, http.MethodPut, "roles/other", s.dynamic("main", nil), "does not allow role", "allowed_roles")
	s.write("accounts/main", fields{"allowed_roles": []string{"batch"}})
	s.refused(http.StatusForbidden, http.MethodGet, "creds/app-1", nil, "does not allow role")
}

func TestProvidersDescribeThemselves(t *testing.T) {
	t.Parallel()
	s := begin(t)
	lives := map[string]any{}
	for _, name := range s.list("providers") {
		lives[name] = s.read("providers/" + name)["life"]
	}
	want := map[string]any{
		providertest.ProviderOpenAI: "mint", providertest.ProviderAzure: "two-slot", providertest.ProviderAnthropic: "import",
	}
	if diff := cmp.Diff(want, lives); diff != "" {
		t.Error(diff)
	}
	account := s.read("providers/openai")["account_fields"].(map[string]any)
	if account["admin_key"].(map[string]any)["secret"] != true {
		t.Errorf("admin_key is described as %v", account["admin_key"])
	}
	s.refused(http.StatusNotFound, http.MethodGet, "providers/opnai", nil, "did you mean openai?")
}
