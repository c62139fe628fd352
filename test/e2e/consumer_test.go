package e2e

import (
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"os"
	"strings"

	"github.com/hashicorp/vault/api"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/backend/provider/providertest"
)

// openAI writes an account at OpenAI.
func (s *story) openAI(name string, more fields) {
	s.Helper()
	s.write("accounts/"+name, with(fields{
		"provider": "openai", "base_url": s.fakes.OpenAI.BaseURL, "admin_key": s.fakes.OpenAI.AdminKey,
	}, more))
}

func (s *story) anthropic(name string) {
	s.Helper()
	s.write("accounts/"+name, fields{
		"provider": "anthropic", "base_url": s.fakes.Anthropic.BaseURL, "admin_key": s.fakes.Anthropic.AdminKey,
	})
}

func (s *story) azure(name string) {
	s.Helper()
	pem, err := os.ReadFile(s.fakes.Azure.CAFile)
	if err != nil {
		s.Fatal(err)
	}
	a := s.fakes.Azure
	s.write("accounts/"+name, fields{
		"provider": "azure-openai", "base_url": a.BaseURL, "authority_host": a.AuthorityHost, "ca_cert": string(pem),
		"tenant_id": a.TenantID, "client_id": a.ClientID, "client_secret": a.ClientSecret, "subscription_id": a.SubscriptionID,
	})
}

// dynamic and static are roles at OpenAI.
func (s *story) dynamic(account string, more fields) fields {
	return with(fields{"account": account, "type": "dynamic", "project_id": s.fakes.OpenAI.ProjectID}, more)
}

func (s *story) static(account string, more fields) fields {
	return with(fields{"account": account, "type": "static", "project_id": s.fakes.OpenAI.ProjectID}, more)
}

func with(base, more fields) fields {
	maps.Copy(base, more)
	return base
}

// A key is what a reader of creds got.
type key struct {
	fields

	lease string
	ttl   int
}

func (k key) secret() string { return k.fields["api_key"].(string) }
func (k key) id() string     { return k.fields["key_id"].(string) }

func (k key) number(name string) int64 {
	n, ok := k.fields[name].(json.Number)
	if !ok {
		return -1
	}
	i, err := n.Int64()
	if err != nil {
		return -1
	}
	return i
}

// creds reads a role's key.
func (s *story) creds(role string) key {
	s.Helper()
	return s.credsOf(s.do(http.MethodGet, "creds/"+role, nil))
}

func (s *story) credsOf(secret *api.Secret) key {
	s.Helper()
	k := key{fields: secret.Data, lease: secret.LeaseID, ttl: secret.LeaseDuration}
	for _, name := range []string{"api_key", "key_id", "role", "account", "provider", "api_base"} {
		if text, _ := k.fields[name].(string); text == "" {
			s.Fatalf("creds have no %s", name)
		}
	}
	return k
}

// ownServiceAccount makes a service account as an operator does, without a key.
func (s *story) ownServiceAccount() (id string) {
	s.Helper()
	admin := func(path, body string) (answer struct{ ID string }) {
		url := s.fakes.OpenAI.BaseURL + "/organization/projects/" + providertest.MainProject + "/service_accounts" + path
		req, err := http.NewRequestWithContext(s.Context(), http.MethodPost, url, strings.NewReader(body))
		if err != nil {
			s.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Authorization", "Bearer "+s.fakes.OpenAI.AdminKey)
		resp, err := s.caller.Do(req)
		if err != nil {
			s.Fatal(err)
		}
		defer resp.Body.Close()
		if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || answer.ID == "" {
			s.Fatalf("making a service account: status %d, %v", resp.StatusCode, err)
		}
		return answer
	}
	made := admin("", `{"name":"by hand","create_service_account_only":true}`)
	return admin("/"+made.ID, `{"role":"member"}`).ID
}

// use asks the provider something with a key, the way a consumer does, and
// returns the status.
func (s *story) use(k key) int {
	s.Helper()
	path, header, value := "/chat/completions", "Authorization", "Bearer "+k.secret()
	body := `{"model":"fake","messages":[{"role":"user","content":"hello"}]}`
	switch k.fields["provider"] {
	case providertest.ProviderAnthropic:
		path, header, value = "/v1/messages", "X-Api-Key", k.secret()
		body = `{"model":"fake","max_tokens":8,"messages":[{"role":"user","content":"hello"}]}`
	case providertest.ProviderAzure:
		header, value = "Api-Key", k.secret()
	}
	req, err := http.NewRequestWithContext(s.Context(), http.MethodPost, k.fields["api_base"].(string)+path, strings.NewReader(body))
	if err != nil {
		s.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Anthropic-Version", "2023-06-01")
	req.Header.Set(header, value)
	resp, err := s.caller.Do(req)
	if err != nil {
		s.Fatal(err)
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode
}

func (s *story) works(k key, what string) {
	s.Helper()
	if status := s.use(k); status != http.StatusOK {
		s.Fatalf("%s: the provider answers %d, want 200", what, status)
	}
}

func (s *story) dead(k key, what string) {
	s.Helper()
	if status := s.use(k); status != http.StatusUnauthorized {
		s.Fatalf("%s: the provider answers %d, want 401", what, status)
	}
}

func (s *story) dies(k key, what string) {
	s.Helper()
	s.until(what+" dies", func() bool { return s.use(k) == http.StatusUnauthorized })
}
