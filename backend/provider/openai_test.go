package provider

import (
	"io"
	"net/http"
	"testing"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/backend/provider/providertest"
)

// 201 is success for what creates something, and an unknown outcome for what does not.
func TestOpenAICreated(t *testing.T) {
	t.Parallel()
	answer := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(w, `{"id":"key_1","value":"sk-1","deleted":true}`)
	})
	c, err := NewClient(Options{
		BaseURL: openAI.BaseURL, Transport: providertest.Transport(map[string]http.Handler{"api.openai.com": answer}),
	})
	if err != nil {
		t.Fatal(err)
	}
	account := Account{Secrets: map[string]Secret{"admin_key": NewSecret("sk-admin")}}
	scope := Scope{"project_id": "p", "service_account_id": "s"}
	if k, err := openAI.Mint(c, account).Mint(t.Context(), Order{Tag: "t", Scope: scope}); err != nil || k.ID != "key_1" {
		t.Errorf("a key: %v, %v", k.ID, err)
	}
	if id, err := openAI.Owner.Open(c, account).Create(t.Context(), scope, "t"); err != nil || id != "key_1" {
		t.Errorf("a service account: %v, %v", id, err)
	}
	if k, err := openAI.Root.Open(c, account).Mint(t.Context(), "t"); err != nil || k.ID != "key_1" {
		t.Errorf("an admin key: %v, %v", k.ID, err)
	}
	if err := openAI.Mint(c, account).Revoke(t.Context(), scope, "key_1"); err == nil {
		t.Error("201 confirmed a deletion")
	}
}
