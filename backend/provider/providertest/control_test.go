package providertest_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/backend/provider/providertest"
)

func TestControl(t *testing.T) {
	t.Parallel()
	cloud := providertest.New(providertest.Options{})
	srv := httptest.NewServer(cloud)
	t.Cleanup(srv.Close)
	c := caller{t, srv.Client(), http.Header{}}
	fake := srv.URL + "/_fake/"

	made := c.want(201, "POST", fake+"keys", `{"provider":"anthropic","name":"by hand","workspace_id":"wrkspc_a"}`)
	user := c.with("X-Api-Key", text(t, made, "secret"), "Anthropic-Version", "2023-06-01")
	user.want(200, "GET", srv.URL+"/anthropic/v1/models", "")
	c.want(201, "POST", fake+"keys", `{"provider":"openai","name":"somebody's"}`)
	c.want(400, "POST", fake+"keys", `{"provider":"azure-openai","name":"x"}`)
	c.want(400, "POST", fake+"keys", `{"provider":"anthropic"}`)
	c.want(400, "POST", fake+"keys", `{"provider":"anthropic","label":"x"}`)

	c.want(204, "POST", fake+"faults", `{"kind":"status","status":500,"path":"models","times":1,"latency":"1ms"}`)
	if n := len(c.want(200, "GET", fake+"faults", "")["faults"].([]any)); n != 1 {
		t.Errorf("%d faults in force, want 1", n)
	}
	user.want(500, "GET", srv.URL+"/anthropic/v1/models", "")
	user.want(200, "GET", srv.URL+"/anthropic/v1/models", "")
	for _, bad := range []string{`{"kind":"made-up"}`, `{"kind":"slow","latency":"soon"}`, `{"kind":"status","status":42}`, `{}`, `{"kind":"slow","x":1}`} {
		c.want(400, "POST", fake+"faults", bad)
	}
	c.want(204, "POST", fake+"faults", `{"kind":"redirect"}`)
	user.want(200, "GET", srv.URL+"/anthropic/v1/models", "") // a client that follows
	c.want(204, "DELETE", fake+"faults", "")
	if n := cloud.Counts().RedirectsFollowed; n != 1 {
		t.Errorf("%d redirects followed, want 1", n)
	}
	c.want(204, "POST", fake+"settings", `{"latency":"1ms","propagation":"1h","azure_async":"0s"}`)
	c.want(400, "POST", fake+"settings", `{"latency":"-1s"}`)
	young := c.want(201, "POST", fake+"keys", `{"provider":"anthropic","name":"young"}`)
	c.with("X-Api-Key", text(t, young, "secret"), "Anthropic-Version", "2023-06-01").want(401, "GET", srv.URL+"/anthropic/v1/models", "")

	c.want(204, "DELETE", fake+"keys/"+text(t, made, "id"), "")
	c.want(404, "DELETE", fake+"keys/"+text(t, made, "id"), "")
	user.want(401, "GET", srv.URL+"/anthropic/v1/models", "")
	c.want(404, "GET", fake+"nothing", "")

	calls := c.want(200, "GET", fake+"calls", "")
	if n := calls["counts"].(map[string]any)["dead_uses"]; n != 1.0 {
		t.Errorf("dead uses: %v, want 1", n)
	}
	c.want(204, "POST", fake+"reset", "")
	if n := len(c.want(200, "GET", fake+"calls", "")["calls"].([]any)); n != 0 {
		t.Errorf("%d calls after a reset", n)
	}
}

// TestNothingTellsSecrets reads all that the control endpoint shows unasked.
func TestNothingTellsSecrets(t *testing.T) {
	t.Parallel()
	cloud := providertest.New(providertest.Options{Marker: "XMARKX"})
	admin := openAIAdmin(t, cloud)
	_, secret := admin.mint(admin.member("a"), `{"name":"<b>tag</b>"}`)
	admin.want(404, "GET", openAI+secret, "")
	admin.with("Authorization", "Bearer "+secret).want(200, "GET", openAI+"models?x="+secret, "")
	if n := cloud.Counts().SecretsInURLs; n != 2 {
		t.Errorf("%d secrets in URLs, want 2", n)
	}
	ask := func(path, from string) *httptest.ResponseRecorder {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, http.NoBody)
		r.RemoteAddr = from
		w := httptest.NewRecorder()
		cloud.ServeHTTP(w, r)
		return w
	}
	for _, path := range []string{"/_fake/", "/_fake/keys", "/_fake/calls", "/_fake/faults"} {
		w := ask(path, "127.0.0.1:1")
		if w.Code != 200 || bytes.Contains(w.Body.Bytes(), []byte(secret)) || strings.Contains(w.Body.String(), "XMARKX") {
			t.Errorf("%s: status %d; a secret shows", path, w.Code)
		}
		if strings.Contains(w.Body.String(), "<b>") {
			t.Errorf("%s: a name is not escaped", path)
		}
	}
	if w := ask("/_fake/keys?secrets=true&live=true", "[::1]:1"); !bytes.Contains(w.Body.Bytes(), []byte(secret)) || !json.Valid(w.Body.Bytes()) {
		t.Error("the secret does not show when asked for")
	}
	if w := ask("/_fake/keys", "192.0.2.1:1"); w.Code != http.StatusForbidden {
		t.Errorf("a caller from elsewhere: status %d", w.Code)
	}
}
