package providertest_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/backend/provider/providertest"
)

// A caller is somebody who talks to the fakes.
type caller struct {
	t      *testing.T
	client *http.Client
	header http.Header
}

const (
	openAI    = "https://api.openai.com/v1/"
	anthropic = "https://api.anthropic.com/v1/"
	azure     = "https://management.azure.com"
)

func newCaller(t *testing.T, c *providertest.Cloud) caller {
	t.Helper()
	return caller{t, &http.Client{
		Transport:     c.Transport(),
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, http.Header{}}
}

func (c caller) with(header ...string) caller {
	c.header = c.header.Clone()
	for i := 0; i < len(header); i += 2 {
		c.header.Set(header[i], header[i+1])
	}
	return c
}

func openAIAdmin(t *testing.T, c *providertest.Cloud) caller {
	t.Helper()
	return newCaller(t, c).with("Authorization", "Bearer "+c.Options().OpenAI.AdminKey)
}

func anthropicAdmin(t *testing.T, c *providertest.Cloud) caller {
	t.Helper()
	return newCaller(t, c).with("X-Api-Key", c.Options().Anthropic.AdminKey, "Anthropic-Version", "2023-06-01")
}

// send makes a call; err is that of the network.
func (c caller) send(method, address, body string) (status int, out map[string]any, err error) {
	c.t.Helper()
	req, err := http.NewRequestWithContext(c.t.Context(), method, address, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	req.Header = c.header.Clone()
	if body != "" && req.Header.Get("Content-Type") == "" {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		return resp.StatusCode, nil, err
	}
	if strings.HasPrefix(resp.Header.Get("Content-Type"), "application/json") {
		if err := json.Unmarshal(raw, &out); err != nil {
			c.t.Fatalf("%s %s: the reply is not JSON: %v", method, address, err)
		}
	}
	return resp.StatusCode, out, nil
}

// want makes a call that must end in the given status.
func (c caller) want(status int, method, address, body string) map[string]any {
	c.t.Helper()
	got, out, err := c.send(method, address, body)
	if err != nil {
		c.t.Fatalf("%s %s: %v", method, address, err)
	}
	if got != status {
		c.t.Fatalf("%s %s %s: status %d, want %d; %v", method, address, body, got, status, out)
	}
	return out
}

func text(t *testing.T, v map[string]any, name string) string {
	t.Helper()
	s, ok := v[name].(string)
	if !ok {
		t.Fatalf("%q is %v, want a string", name, v[name])
	}
	return s
}

// member makes a service account that may use models.
func (c caller) member(name string) string {
	c.t.Helper()
	accounts := openAI + "organization/projects/proj_main/service_accounts"
	id := text(c.t, c.want(200, "POST", accounts, `{"name":"`+name+`","create_service_account_only":true}`), "id")
	c.want(200, "POST", accounts+"/"+id, `{"role":"member"}`)
	return id
}

func (c caller) mint(account, body string) (id, secret string) {
	c.t.Helper()
	out := c.want(200, "POST", openAI+"organization/projects/proj_main/service_accounts/"+account+"/api_keys", body)
	return text(c.t, out, "id"), text(c.t, out, "value")
}

func TestOpenAIKeyLife(t *testing.T) {
	t.Parallel()
	cloud := providertest.New(providertest.Options{Marker: "XMARKX"})
	admin := openAIAdmin(t, cloud)
	account := admin.member("role-one")
	id, secret := admin.mint(account, `{"name":"tag-one","expires_in_seconds":3600}`)
	if !strings.Contains(secret, "XMARKX") {
		t.Error("the secret lacks the marker")
	}
	user := admin.with("Authorization", "Bearer "+secret)
	user.want(200, "GET", openAI+"models", "")
	user.want(200, "POST", openAI+"chat/completions", `{"model":"gpt-fake","messages":[{"role":"user","content":"hello"}]}`)
	user.want(403, "GET", openAI+"organization/projects", "")

	listed := admin.want(200, "GET", openAI+"organization/projects/proj_main/api_keys?limit=1", "")
	item := listed["data"].([]any)[0].(map[string]any)
	hint := text(t, item, "redacted_value")
	before, after, _ := strings.Cut(hint, "...")
	if !strings.HasPrefix(secret, before) || !strings.HasSuffix(secret, after) || strings.Contains(hint, "XMARKX") {
		t.Errorf("the hint %q is not one of the secret", hint)
	}
	key := openAI + "organization/projects/proj_main/api_keys/" + id
	admin.want(200, "GET", key, "")
	admin.want(200, "DELETE", key, "")
	admin.want(404, "DELETE", key, "")
	admin.want(404, "GET", key, "")
	user.want(401, "GET", openAI+"models", "")

	got, ok := cloud.Key(secret)
	if !ok || got.ID != id || got.Name != "tag-one" || got.Owner != account || got.Live || got.Died.IsZero() || got.Uses != 3 || got.DeadUses != 1 {
		t.Errorf("the book says %+v", got)
	}
	if n := cloud.Counts().DeadUses; n != 1 {
		t.Errorf("%d uses of a dead key, want 1", n)
	}
	if live := cloud.Live(providertest.ProviderOpenAI); len(live) != 0 {
		t.Errorf("%d keys live, want none", len(live))
	}
}

func TestOpenAIServiceAccounts(t *testing.T) {
	t.Parallel()
	cloud := providertest.New(providertest.Options{})
	admin := openAIAdmin(t, cloud)
	accounts := openAI + "organization/projects/proj_main/service_accounts"

	whole := admin.want(200, "POST", accounts, `{"name":"with-key"}`)
	secret := text(t, whole["api_key"].(map[string]any), "value")
	if whole["role"] != "member" {
		t.Errorf("role %v, want member", whole["role"])
	}
	user := admin.with("Authorization", "Bearer "+secret)
	user.want(200, "GET", openAI+"models", "")

	alone := admin.want(200, "POST", accounts, `{"name":"alone","create_service_account_only":true}`)
	if alone["role"] != "none" || alone["api_key"] != nil {
		t.Errorf("an account made alone is %v", alone)
	}
	account := text(t, alone, "id")
	_, powerless := admin.mint(account, `{"name":"tag-powerless"}`)
	admin.with("Authorization", "Bearer "+powerless).want(403, "GET", openAI+"models", "")

	// A list that does not ask for the keys of powerless owners leaves them out.
	for access, want := range map[string]int{"": 1, "?owner_project_access=active": 1, "?owner_project_access=inactive": 1, "?owner_project_access=any": 2} {
		out := admin.want(200, "GET", openAI+"organization/projects/proj_main/api_keys"+access, "")
		if got := len(out["data"].([]any)); got != want {
			t.Errorf("%q lists %d keys, want %d", access, got, want)
		}
	}
	admin.want(200, "DELETE", accounts+"/"+text(t, whole, "id"), "")
	admin.want(404, "GET", accounts+"/"+text(t, whole, "id"), "")
	user.want(401, "GET", openAI+"models", "")
}

func TestOpenAIPages(t *testing.T) {
	t.Parallel()
	cloud := providertest.New(providertest.Options{})
	admin := openAIAdmin(t, cloud)
	account := admin.member("a")
	want := []string{}
	for range 25 {
		id, _ := admin.mint(account, `{}`)
		want = append(want, id)
	}
	got, after, pages := []string{}, "", 0
	for more := true; more; pages++ {
		q := url.Values{"owner_project_access": {"any"}}
		if after != "" {
			q.Set("after", after)
		}
		out := admin.want(200, "GET", openAI+"organization/projects/proj_main/api_keys?"+q.Encode(), "")
		for _, v := range out["data"].([]any) {
			got = append(got, text(t, v.(map[string]any), "id"))
		}
		after, more = text(t, out, "last_id"), out["has_more"].(bool)
	}
	if d := cmp.Diff(want, got); d != "" || pages != 2 {
		t.Errorf("%d pages; want 2; ids: %s", pages, d)
	}
}

func TestOpenAIAdminKeys(t *testing.T) {
	t.Parallel()
	cloud := providertest.New(providertest.Options{})
	admin := openAIAdmin(t, cloud)
	made := admin.want(200, "POST", openAI+"organization/admin_api_keys", `{"name":"next"}`)
	next := admin.with("Authorization", "Bearer "+text(t, made, "value"))
	next.want(200, "GET", openAI+"organization/projects?limit=1", "")
	next.want(200, "GET", openAI+"organization/admin_api_keys/"+text(t, made, "id"), "")
	listed := next.want(200, "GET", openAI+"organization/admin_api_keys?order=desc", "")
	if first := listed["data"].([]any)[0].(map[string]any); first["id"] != made["id"] {
		t.Errorf("the newest first is %v, want %v", first["id"], made["id"])
	}
	next.want(200, "DELETE", openAI+"organization/admin_api_keys/key_initial", "")
	admin.want(401, "GET", openAI+"organization/projects", "")
	next.want(403, "GET", openAI+"models", "")
}

func TestOpenAIUpdateAndScopes(t *testing.T) {
	t.Parallel()
	cloud := providertest.New(providertest.Options{})
	admin := openAIAdmin(t, cloud)
	id, secret := admin.mint(admin.member("a"), `{"name":"k","scopes":["model.request"]}`)
	user := admin.with("Authorization", "Bearer "+secret)
	user.want(403, "GET", openAI+"models", "")
	user.want(200, "POST", openAI+"chat/completions", `{"model":"gpt-fake","messages":[{}]}`)
	key := openAI + "organization/projects/proj_main/api_keys/" + id
	admin.want(200, "POST", key, `{"scopes":[]}`)
	user.want(200, "GET", openAI+"models", "")
	for _, bad := range []string{`{}`, `{"scopes":null}`, `{"expires_in_seconds":null}`, `{"name":"x"}`, `{"expires_in_seconds":0}`} {
		admin.want(400, "POST", key, bad)
	}
}

func TestOpenAIRefuses(t *testing.T) {
	t.Parallel()
	cloud := providertest.New(providertest.Options{})
	admin := openAIAdmin(t, cloud)
	account := admin.member("a")
	project := "organization/projects/proj_main/"
	keys := project + "service_accounts/" + account + "/api_keys"
	for _, tt := range []struct {
		name, method, path, body string
		status                   int
	}{
		{"unknown field", "POST", keys, `{"label":"x"}`, 400},
		{"other case", "POST", keys, `{"Name":"x"}`, 400},
		{"wrong type", "POST", keys, `{"name":1}`, 400},
		{"scopes as text", "POST", keys, `{"scopes":"a,b"}`, 400},
		{"empty scope", "POST", keys, `{"scopes":[""]}`, 400},
		{"null name", "POST", keys, `{"name":null}`, 400},
		{"expiry below", "POST", keys, `{"expires_in_seconds":0}`, 400},
		{"expiry above", "POST", keys, `{"expires_in_seconds":31536001}`, 400},
		{"expiry at its end", "POST", keys, `{"expires_in_seconds":31536000}`, 200},
		{"expiry fraction", "POST", keys, `{"expires_in_seconds":1.5}`, 400},
		{"not an object", "POST", keys, `[]`, 400},
		{"null", "POST", keys, `null`, 400},
		{"nameless account", "POST", project + "service_accounts", `{"create_service_account_only":true}`, 400},
		{"expiry without a key", "POST", project + "service_accounts", `{"name":"x","create_service_account_only":true,"expires_in_seconds":60}`, 400},
		{"default project", "POST", "organization/projects/proj_default/service_accounts", `{"name":"x"}`, 400},
		{"unknown project", "GET", "organization/projects/proj_gone/api_keys", "", 404},
		{"unknown account", "POST", project + "service_accounts/svc_gone/api_keys", `{}`, 404},
		{"wrong role", "POST", project + "service_accounts/" + account, `{"role":"none"}`, 400},
		{"limit above", "GET", project + "api_keys?limit=101", "", 400},
		{"limit below", "GET", project + "api_keys?limit=0", "", 400},
		{"unknown parameter", "GET", project + "api_keys?offset=1", "", 400},
		{"unknown cursor", "GET", project + "api_keys?after=key_gone", "", 400},
		{"wrong access", "GET", project + "api_keys?owner_project_access=all", "", 400},
		{"nameless admin key", "POST", "organization/admin_api_keys", `{}`, 400},
		{"unknown path", "GET", "organization/keys", "", 404},
	} {
		t.Log(tt.name)
		out := admin.want(tt.status, tt.method, openAI+tt.path, tt.body)
		if tt.status == 200 {
			continue
		}
		e, ok := out["error"].(map[string]any)
		if !ok {
			t.Fatalf("the error is %v", out)
		}
		for _, name := range []string{"message", "type", "param", "code"} {
			if _, ok := e[name]; !ok {
				t.Errorf("the error lacks %q", name)
			}
		}
	}
	admin.with("Content-Type", "text/plain").want(400, "POST", openAI+keys, `{}`)
	admin.with("Authorization", "Bearer sk-wrong").want(401, "GET", openAI+"organization/projects", "")
	admin.with("OpenAI-Organization", "org-other").want(401, "GET", openAI+"organization/projects", "")
	admin.with("OpenAI-Organization", "org-fake").want(200, "GET", openAI+"organization/projects", "")
	cloud.OpenAI.ArchiveProject("proj_main")
	admin.want(400, "POST", openAI+project+"service_accounts", `{"name":"x"}`)
}

func TestOpenAIPolicy(t *testing.T) {
	t.Parallel()
	cloud := providertest.New(providertest.Options{OpenAI: providertest.OpenAIOptions{MaxLifetime: 3600e9}})
	admin := openAIAdmin(t, cloud)
	keys := openAI + "organization/projects/proj_main/service_accounts/" + admin.member("a") + "/api_keys"
	admin.want(400, "POST", keys, `{}`)
	admin.want(400, "POST", keys, `{"expires_in_seconds":3601}`)
	admin.want(200, "POST", keys, `{"expires_in_seconds":3600}`)
}

func TestAnthropicKeyLife(t *testing.T) {
	t.Parallel()
	cloud := providertest.New(providertest.Options{})
	admin := anthropicAdmin(t, cloud)
	key := cloud.Anthropic.AddKey("by hand", "wrkspc_a", 0)
	user := admin.with("X-Api-Key", key.Secret)
	user.want(200, "GET", anthropic+"models?limit=1", "")
	user.want(200, "POST", anthropic+"messages", `{"model":"claude-fake","max_tokens":5,"messages":[{"role":"user","content":"hello"}]}`)
	user.want(401, "GET", anthropic+"organizations/me", "")
	admin.want(200, "GET", anthropic+"organizations/me", "")
	admin.want(401, "GET", anthropic+"models", "")

	one := anthropic + "organizations/api_keys/" + key.ID
	if got := admin.want(200, "GET", one, ""); got["partial_key_hint"] != key.Hint || got["status"] != "active" {
		t.Errorf("the key is %v", got)
	}
	for _, tt := range []struct {
		body, status string
		use          int
	}{
		{`{"status":"inactive"}`, "inactive", 401},
		{`{"status":"active"}`, "active", 200},
		{`{"name":"renamed"}`, "active", 200},
		{`{"status":"archived"}`, "archived", 401},
	} {
		if got := admin.want(200, "POST", one, tt.body); got["status"] != tt.status {
			t.Errorf("after %s the status is %v", tt.body, got["status"])
		}
		user.want(tt.use, "GET", anthropic+"models", "")
	}
	if got := cloud.Anthropic.Status(key.ID); got != "archived" {
		t.Errorf("the console says %q", got)
	}
	admin.want(400, "POST", one, `{"status":"inactive"}`)
	admin.want(404, "POST", anthropic+"organizations/api_keys/apikey_gone", `{"status":"inactive"}`)
}

func TestAnthropicList(t *testing.T) {
	t.Parallel()
	cloud := providertest.New(providertest.Options{})
	admin := anthropicAdmin(t, cloud)
	var ids []string
	for range 5 {
		ids = append(ids, cloud.Anthropic.AddKey("k", "", 0).ID)
	}
	other := cloud.Anthropic.AddKey("k", "wrkspc_b", 0)
	admin.want(200, "POST", anthropic+"organizations/api_keys/"+ids[0], `{"status":"inactive"}`)
	for query, want := range map[string][]string{
		"workspace_id=wrkspc_b":            {other.ID},
		"status=inactive":                  {ids[0]},
		"limit=2":                          {ids[0], ids[1]},
		"limit=2&after_id=" + ids[1]:       {ids[2], ids[3]},
		"limit=2&before_id=" + ids[3]:      {ids[1], ids[2]},
		"created_by_user_id=user_nobody":   {},
		"status=active&after_id=" + ids[4]: {other.ID},
	} {
		out := admin.want(200, "GET", anthropic+"organizations/api_keys?"+query, "")
		got := []string{}
		for _, v := range out["data"].([]any) {
			got = append(got, text(t, v.(map[string]any), "id"))
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s: %s", query, d)
		}
	}
	for _, query := range []string{"limit=0", "limit=1001", "status=dead", "page=2", "after_id=gone", "after_id=" + ids[0] + "&before_id=" + ids[1]} {
		out := admin.want(400, "GET", anthropic+"organizations/api_keys?"+query, "")
		if out["type"] != "error" || out["error"].(map[string]any)["type"] != "invalid_request_error" {
			t.Errorf("%s: the error is %v", query, out)
		}
	}
	key := anthropic + "organizations/api_keys/" + ids[1]
	for _, body := range []string{`{"status":"expired"}`, `{"status":null}`, `{"name":""}`, `{"state":"active"}`, `{"status":1}`} {
		admin.want(400, "POST", key, body)
	}
	admin.with("Anthropic-Version", "").want(400, "GET", anthropic+"organizations/me", "")
	admin.with("X-Api-Key", "sk-ant-wrong").want(401, "GET", anthropic+"organizations/me", "")
}

// azureAdmin signs in the way client libraries do.
func azureAdmin(t *testing.T, c *providertest.Cloud) caller {
	t.Helper()
	out := azureToken(t, c, 200, nil)
	return newCaller(t, c).with("Authorization", "Bearer "+text(t, out, "access_token"))
}

func azureToken(t *testing.T, c *providertest.Cloud, status int, change map[string]string) map[string]any {
	t.Helper()
	o := c.Options().Azure
	form := url.Values{
		"grant_type": {"client_credentials"}, "client_id": {o.ClientID}, "client_secret": {o.ClientSecret},
		"scope": {azure + "/.default openid offline_access profile"},
	}
	for name, value := range change {
		form.Set(name, value)
	}
	return newCaller(t, c).with("Content-Type", "application/x-www-form-urlencoded").
		want(status, "POST", "https://login.microsoftonline.com/"+o.TenantID+"/oauth2/v2.0/token", form.Encode())
}

const version = "?api-version=2025-06-01"

func azureResource(c *providertest.Cloud) string {
	return azure + "/subscriptions/" + c.Options().Azure.SubscriptionID +
		"/resourceGroups/RG-AI/providers/microsoft.cognitiveservices/accounts/AI-main"
}

func TestAzureSlots(t *testing.T) {
	t.Parallel()
	cloud := providertest.New(providertest.Options{Azure: providertest.AzureOptions{
		Resources: []providertest.AzureResource{{Group: "rg-ai", Name: "ai-main"}, {Group: "rg-ai", Name: "ai-two"}},
	}})
	admin := azureAdmin(t, cloud)
	resource := azureResource(cloud)
	properties := admin.want(200, "GET", resource+version, "")["properties"].(map[string]any)
	models := text(t, properties, "endpoint") + "openai/v1/models"
	old := admin.want(200, "POST", resource+"/listKeys"+version, "")
	fresh := admin.want(200, "POST", resource+"/regenerateKey"+version, `{"keyName":"Key1"}`)
	if old["key1"] == fresh["key1"] || old["key2"] != fresh["key2"] {
		t.Error("regenerating key 1 changed the wrong one")
	}
	user := newCaller(t, cloud)
	user.with("api-key", text(t, old, "key1")).want(401, "GET", models, "")
	user.with("api-key", text(t, old, "key2")).want(200, "GET", models, "")
	now := user.with("api-key", text(t, fresh, "key1"))
	now.want(200, "GET", models, "")
	now.want(200, "POST", strings.Replace(models, "models", "chat/completions", 1), `{"model":"gpt-fake","messages":[{}]}`)
	now.want(401, "GET", "https://ai-two.openai.azure.com/openai/v1/models", "")
	if n := len(cloud.Live(providertest.ProviderAzure)); n != 4 {
		t.Errorf("%d keys live, want 4", n)
	}
	subscription := azure + "/subscriptions/" + cloud.Options().Azure.SubscriptionID
	all := admin.want(200, "GET", subscription+"/providers/Microsoft.CognitiveServices/accounts"+version, "")
	if n := len(all["value"].([]any)); n != 2 {
		t.Errorf("%d resources, want 2", n)
	}
}

func TestAzureRefuses(t *testing.T) {
	t.Parallel()
	cloud := providertest.New(providertest.Options{})
	admin := azureAdmin(t, cloud)
	resource := azureResource(cloud)
	admin.want(400, "POST", resource+"/regenerateKey"+version, `{"keyName":"key1"}`)
	admin.want(400, "POST", resource+"/regenerateKey"+version, `{"KeyName":"Key1"}`)
	admin.want(400, "POST", resource+"/regenerateKey"+version, `{}`)
	admin.want(400, "GET", resource, "")
	admin.want(400, "GET", resource+"?api-version=2017-04-18", "")
	admin.want(404, "GET", resource+"x"+version, "")
	admin.want(404, "GET", strings.Replace(resource, "0c/", "0d/", 1)+version, "")
	admin.with("Authorization", "Bearer made-up").want(401, "GET", resource+version, "")
	azureToken(t, cloud, 401, map[string]string{"client_secret": "wrong"})
	azureToken(t, cloud, 400, map[string]string{"client_id": "wrong"})
	azureToken(t, cloud, 400, map[string]string{"grant_type": "password"})
	azureToken(t, cloud, 400, map[string]string{"scope": "openid"})
	elsewhere := azureToken(t, cloud, 200, map[string]string{"scope": "https://graph.microsoft.com/.default"})
	admin.with("Authorization", "Bearer "+text(t, elsewhere, "access_token")).want(401, "GET", resource+version, "")
	o := cloud.Options().Azure
	found := newCaller(t, cloud).want(200, "GET", "https://login.microsoftonline.com/"+o.TenantID+"/v2.0/.well-known/openid-configuration", "")
	if got := text(t, found, "issuer"); got != "https://login.microsoftonline.com/"+o.TenantID+"/v2.0" {
		t.Errorf("issuer %q", got)
	}
	newCaller(t, cloud).want(400, "GET", "https://login.microsoftonline.com/other/v2.0/.well-known/openid-configuration", "")
}

func TestNamesAreCounted(t *testing.T) {
	t.Parallel()
	cloud := providertest.New(providertest.Options{})
	admin := openAIAdmin(t, cloud)
	account := admin.member("a")
	id, _ := admin.mint(account, `{"name":"tag"}`)
	if got := cloud.Counts(); got.DuplicateNames != 0 || got.ReusedNames != 0 {
		t.Fatalf("counts of names: %+v", got)
	}
	admin.mint(account, `{"name":"tag"}`)
	if !cloud.Kill(providertest.ProviderOpenAI, id) || cloud.Kill(providertest.ProviderOpenAI, id) {
		t.Error("Kill does not tell a live key from a dead one")
	}
	second, _ := admin.mint(account, `{"name":"second"}`)
	cloud.Kill(providertest.ProviderOpenAI, second)
	admin.mint(account, `{"name":"second"}`)
	admin.member("a")
	if got := cloud.Counts(); got.DuplicateNames != 2 || got.ReusedNames != 1 {
		t.Errorf("counts of names: %+v", got)
	}
}

func TestReset(t *testing.T) {
	t.Parallel()
	cloud := providertest.New(providertest.Options{})
	admin := openAIAdmin(t, cloud)
	first := admin.member("a")
	cloud.Fault(providertest.Fault{Kind: providertest.Broken})
	cloud.Reset()
	if got := cloud.Counts(); got != (providertest.Counts{}) {
		t.Errorf("counts after a reset: %+v", got)
	}
	if second := admin.member("a"); second != first {
		t.Errorf("ids are not the same in each run: %s, %s", first, second)
	}
}

// FuzzRequests looks for requests that crash a fake: a crash of a fake would
// pass for a broken connection in a test of the engine.
func FuzzRequests(f *testing.F) {
	cloud := providertest.New(providertest.Options{})
	o := cloud.Options()
	f.Add("POST", "/v1/organization/projects/proj_main/service_accounts", `{"name":"x"}`)
	f.Add("GET", "/v1/organization/admin_api_keys/key_initial?limit=1", "")
	f.Add("POST", "/subscriptions/"+o.Azure.SubscriptionID+"/resourceGroups/rg-ai/providers/Microsoft.CognitiveServices/accounts/ai-main/regenerateKey"+version, `{"keyName":"Key1"}`)
	f.Add("GET", "/v1/organizations/api_keys?before_id=x", "")
	f.Add("POST", "/openai/v1/chat/completions", `{"model":"m","messages":[null]}`)
	f.Add("POST", "/_fake/faults", `{"kind":"slow"}`)
	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {o.Azure.ClientID}, "client_secret": {o.Azure.ClientSecret}, "scope": {"https://example.com/.default"}}
	rec := httptest.NewRecorder()
	sign := httptest.NewRequestWithContext(f.Context(), "POST", "/"+o.Azure.TenantID+"/oauth2/v2.0/token", strings.NewReader(form.Encode()))
	sign.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	cloud.Azure.ServeHTTP(rec, sign)
	var token struct {
		Value string `json:"access_token"`
	}
	if err := json.Unmarshal(rec.Body.Bytes(), &token); err != nil || token.Value == "" {
		f.Fatalf("signing in: %d", rec.Code)
	}
	f.Fuzz(func(t *testing.T, method, target, body string) {
		u, err := url.ParseRequestURI(target)
		if err != nil || strings.HasPrefix(u.Path, "/_fake/") {
			return // the control endpoint is not part of any vendor's API
		}
		for _, bearer := range []string{o.OpenAI.AdminKey, token.Value} {
			for _, h := range []http.Handler{cloud.OpenAI, cloud.Anthropic, cloud.Azure, cloud} {
				r := (&http.Request{
					Method: method, URL: u, Host: "example.com", RemoteAddr: "127.0.0.1:1", Body: io.NopCloser(bytes.NewBufferString(body)),
					Header: http.Header{
						"Authorization": {"Bearer " + bearer}, "X-Api-Key": {o.Anthropic.AdminKey},
						"Anthropic-Version": {"2023-06-01"}, "Content-Type": {"application/json"},
					},
				}).WithContext(t.Context())
				w := httptest.NewRecorder()
				h.ServeHTTP(w, r)
				if w.Code < 200 || w.Code > 404 && w.Code != 405 {
					t.Errorf("%s %s: status %d", method, target, w.Code)
				}
			}
		}
	})
}
