package bootstrap_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/hashicorp/vault/api"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/backend/provider/providertest"
	"github.com/ai-keys/vault-plugin-secrets-ai-keys/test/fakes"
)

// engine is a harness with the engine registered, and fake providers.
func engine(t *testing.T, options ...option) (*harness, *fakes.Server) {
	t.Helper()
	h := start(t, append(options, withPlugin)...)
	f, err := fakes.Start(t.Context(), fakes.Config{Cloud: providertest.Options{Marker: "CANARYofTheFakes"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	h.hide("CANARYofTheFakes")
	h.secret("OPENAI_ADMIN", f.OpenAI.AdminKey)
	h.secret("ANTHROPIC_ADMIN", f.Anthropic.AdminKey)
	h.secret("AZURE_SECRET", f.Azure.ClientSecret)
	ca, err := os.ReadFile(f.Azure.CAFile)
	if err != nil {
		t.Fatal(err)
	}
	h.write("azure.pem", string(ca))
	return h, f
}

// catalogEntry registers the engine as the server has it.
func (h *harness) catalogEntry() string {
	h.t.Helper()
	program, err := os.ReadFile(h.server.Plugin)
	if err != nil {
		h.t.Fatal(err)
	}
	h.write("plugin", string(program))
	return "plugin \"secret\" \"ai-keys\" {\n  command = \"vault-plugin-secrets-ai-keys\"\n  sha256  = filesha256(\"plugin\")\n}\n"
}

func (h *harness) engineFile(f *fakes.Server) string {
	return h.catalogEntry() + fmt.Sprintf(`
secret "openai" { from = "env:OPENAI_ADMIN" }
secret "anthropic" { from = "env:ANTHROPIC_ADMIN" }
secret "azure" { from = "env:AZURE_SECRET" }
mount "ai-keys" "ai-keys" {
  config {
    settle_after     = "1s"
    provider_timeout = "2s"
    verify_timeout   = "2s"
  }
  transit {
    key          = "transit/ai-keys"
    bound_cidrs  = ["127.0.0.1/32"]
    data_key_ttl = "1m"
  }
  account "acme" {
    provider            = "openai"
    base_url            = "%[1]s"
    admin_key           = secret.openai
    requests_per_second = 50.5
  }
  account "claude" {
    provider      = "anthropic"
    base_url      = "%[2]s"
    admin_key     = secret.anthropic
    allowed_roles = ["cl*", "draw"]
  }
  account "cloud" {
    provider        = "azure-openai"
    base_url        = "%[3]s"
    authority_host  = "%[4]s"
    ca_cert         = file("azure.pem")
    tenant_id       = "%[5]s"
    client_id       = "%[6]s"
    subscription_id = "%[7]s"
    client_secret   = secret.azure
  }
  role "ci" {
    account    = "acme"
    project_id = "%[8]s"
    scopes     = ["model.request", "api.responses.write"]
    ttl        = "30m"
    max_ttl    = "4h"
    max_active = 20
    metadata   = { team = "ml" }
  }
  role "search" {
    account         = "acme"
    type            = "static"
    project_id      = "%[8]s"
    rotation_period = "24h"
  }
  role "nightly" {
    account           = "cloud"
    resource_group    = "%[9]s"
    resource_name     = "%[10]s"
    rotation_schedule = "0 3 * * SAT"
    rotation_window   = "2h"
    grace_period      = "10m"
  }
  role "claude" {
    account = "claude"
  }
}
`, f.OpenAI.BaseURL, f.Anthropic.BaseURL, f.Azure.BaseURL, f.Azure.AuthorityHost, f.Azure.TenantID, f.Azure.ClientID, f.Azure.SubscriptionID,
		f.OpenAI.ProjectID, f.Azure.ResourceGroup, f.Azure.ResourceName)
}

func TestTheEngine(t *testing.T) {
	t.Parallel()
	h, f := engine(t)
	h.story(h.engineFile(f), func(*api.Client) {
		h.vault("ai-keys/config", map[string]any{"workers": 5, "settle_after": "1m"})
		h.vault("ai-keys/config/transit", map[string]any{"data_key_ttl": "2m", "timeout": 9})
		h.vault("ai-keys/accounts/acme", map[string]any{"allowed_roles": "ci,search", "requests_per_second": 1})
		h.vault("ai-keys/accounts/claude", map[string]any{"verify_connection": false})
		h.vault("ai-keys/accounts/cloud", map[string]any{"disabled": true})
		h.vault("ai-keys/roles/ci", map[string]any{"scopes": "model.request", "max_active": 0, "metadata": map[string]string{}, "key_name_template": "x-{{.RoleName}}"})
		h.vault("ai-keys/roles/search", map[string]any{"rotation_period": "12h", "grace_period": "10m"})
		h.vault("ai-keys/roles/nightly", map[string]any{"rotation_period": "48h", "disabled": true})
		h.vault("ai-keys/roles/claude", map[string]any{"wrap_ttl": "1h"})
	},
		updates("ai-keys config", "workers", "settle_after"),
		updates("ai-keys transit", "data_key_ttl", "timeout"),
		updates("ai-keys account acme", "allowed_roles", "requests_per_second"),
		updates("ai-keys account claude", "verify_connection"),
		updates("ai-keys account cloud", "disabled"),
		updates("ai-keys role ci", "scopes", "max_active", "metadata", "key_name_template"),
		updates("ai-keys role search", "rotation_period", "grace_period"),
		updates("ai-keys role nightly", "rotation_period", "rotation_schedule", "rotation_window", "disabled"),
		updates("ai-keys role claude", "wrap_ttl"),
	)
	if key, _ := h.has("ai-keys/creds/ci")["api_key"].(string); key == "" {
		t.Error("no key is minted")
	}

	// A role that needs a person is said, and is no failure; one whose keys were
	// revoked is.
	h.least("story.hcl").run("verify", "-f", "story.hcl").exits(0).says("vault write ai-keys/import/claude")
	h.vault("ai-keys/revoke/search", nil)
	h.least("story.hcl").run("verify", "-f", "story.hcl").exits(4).says("vault write -f ai-keys/rotate-role/search", "revoked:")
	h.vault("ai-keys/rotate-role/search", nil)

	// What the credential is: asked for again when it changes, and only then.
	second := f.Cloud.OpenAI.AddAdminKey("another")
	h.secret("OPENAI_ADMIN", second.Secret)
	h.plan("story.hcl", updates("ai-keys account acme", "admin_key"))
	h.apply("story.hcl")

	// What cannot change is said at once.
	h.write("story.hcl", strings.Replace(h.read("story.hcl"), `subscription_id = "`, `subscription_id = "x`, 1))
	h.plan("story.hcl", blocks("ai-keys account cloud", "subscription_id"))
}

// The engine has replaced the admin credential: what the file names is old.
func TestARotatedAdminCredential(t *testing.T) {
	t.Parallel()
	h, f := engine(t)
	file := strings.Replace(h.engineFile(f), "requests_per_second = 50.5", "rotation_period = \"720h\"", 1)
	h.story(file, func(*api.Client) {
		h.vault("ai-keys/accounts/acme", map[string]any{"rotation_schedule": "0 3 * * SAT", "rotation_window": "2h"})
	}, updates("ai-keys account acme", "rotation_period", "rotation_schedule", "rotation_window"))
	h.vault("ai-keys/rotate-root/acme", nil)
	rotated := h.has("ai-keys/accounts/acme")["credential_id"]
	h.plan("story.hcl")
	// Neither another source nor another setting sends the old one again.
	h.secret("OPENAI_ADMIN")
	h.write("story.hcl", strings.Replace(file, `rotation_period = "720h"`, `rotation_period = "360h"`, 1))
	h.plan("story.hcl", updates("ai-keys account acme", "rotation_period"))
	h.apply("story.hcl")
	if now := h.has("ai-keys/accounts/acme")["credential_id"]; now != rotated {
		t.Errorf("the admin credential is %v, and the engine had made %v", now, rotated)
	}
	if h.has("ai-keys/creds/ci") == nil {
		t.Error("the engine cannot mint any more")
	}
	// Unless somebody asks for it.
	another := f.Cloud.OpenAI.AddAdminKey("another")
	h.secret("OPENAI_ADMIN", another.Secret)
	h.run("plan", "-f", "story.hcl", "--resend-secret", "openai").exits(2).says("admin_key")
	h.run("apply", "-f", "story.hcl", "--resend-secret", "openai", "--auto-approve").exits(0)
	if now := h.has("ai-keys/accounts/acme")["credential_id"]; now == rotated {
		t.Error("the admin credential was not sent")
	}
	h.plan("story.hcl")
}

// With the mount goes all that is known of its keys: they are ended first.
func TestUnmountingTheEngine(t *testing.T) {
	t.Parallel()
	h, f := engine(t)
	file := h.engineFile(f)
	h.write("a.hcl", file)
	h.apply("a.hcl")
	for range 3 {
		if h.has("ai-keys/creds/ci") == nil {
			t.Fatal("no key")
		}
	}
	if n := len(f.Cloud.Live("openai")); n < 4 {
		t.Fatalf("%d keys live", n)
	}
	h.write("a.hcl", h.catalogEntry()+`
ownership {
  prune   = ["mount"]
  protect = ["mount transit", "mount secret"]
}`)
	h.run("plan", "-f", "a.hcl").exits(0)
	f.Cloud.Fault(providertest.Fault{Kind: providertest.Status, Status: 500, Provider: "openai", Method: "DELETE", Times: 2})
	h.run("apply", "-f", "a.hcl", "--prune", "--auto-approve").exits(0)
	if all := h.has("sys/mounts"); all["ai-keys/"] != nil {
		t.Error("it is still mounted")
	}
	for _, key := range f.Cloud.Live("openai") {
		if !strings.Contains(key.Name, "admin") && !strings.HasPrefix(key.Secret, "sk-admin") {
			t.Errorf("%s is still live", key.Name)
		}
	}
}

func TestEngineMistakes(t *testing.T) {
	t.Parallel()
	h, f := engine(t)
	in := func(text string) string { return "mount \"ai-keys\" \"ai-keys\" {\n" + text + "\n}\n" }
	for text, says := range map[string]string{
		`role "a/b" { account = "x" }`:                                                                     "the engine does not take this name",
		"role \"a\" {\n account = \"x\"\n type = \"static\"\n ttl = \"1h\"\n}":                             "ttl does not go with a static role",
		"role \"a\" {\n account = \"x\"\n rotation_period = \"1h\"\n ttl = \"1h\"\n}":                      "ttl does not go with rotation_period",
		"role \"a\" {\n account = \"x\"\n rotation_period = \"1h\"\n rotation_schedule = \"* * * * *\"\n}": "rotation_period does not go with rotation_schedule",
		`transit { address = "http://vault.example.com:8200" }`:                                            "the engine takes https",
		`transit { auth_method = "jwt" }`:                                                                  "needs its credential",
		"transit {\n role_id = \"x\"\n bound_cidrs = [\"10.0.0.0/8\"]\n}":                                  "bound_cidrs is for a login that is made here",
		"transit {\n key = \"a/b\"\n mount = \"c\"\n}":                                                     "key names a mount, and mount does too",
		"account \"a\" {\n provider = \"openai\"\n admin_key = \"sk-literal-key\"\n}":                      "a literal secret",
		"account \"a\" {\n provider = \"openai\"\n requests_per_second = \"many\"\n}":                      "a number is wanted",
	} {
		h.write("a.hcl", in(text))
		h.run("validate", "-f", "a.hcl").exits(1).says(says, "a.hcl:")
	}
	// Two mounts that would share a policy for different keys.
	h.write("a.hcl", "mount \"ai-keys\" \"a/b\" {\n transit { key = \"t/x\" }\n}\nmount \"ai-keys\" \"a-b\" {\n transit { key = \"t/y\" }\n}")
	h.run("validate", "-f", "a.hcl").exits(1).says("policy ai-keys-a-b-transit stands here a second time")

	// What only the engine knows of a provider is asked before anything is written.
	h.write("a.hcl", h.catalogEntry()+in(`config { encryption = "barrier" }`))
	h.apply("a.hcl")
	account := func(more string) string {
		return "secret \"k\" { from = \"env:OPENAI_ADMIN\" }\n" + h.catalogEntry() + in("config { encryption = \"barrier\" }\naccount \"acme\" {\n provider = \"openai\"\n base_url = \""+f.OpenAI.BaseURL+"\"\n"+more+"\n}")
	}
	for more, says := range map[string]string{
		"admin_key = secret.k\n tenant_id = \"x\"": "tenant_id is no field of provider openai, which takes admin_key, organization_id",
		"client_secret = secret.k":                 "client_secret is no field of provider openai",
		"":                                         "admin_key is missing: Admin API key",
	} {
		h.write("a.hcl", account(more))
		h.run("plan", "-f", "a.hcl").exits(1).says(says, "a.hcl:")
	}
	h.write("a.hcl", strings.Replace(account("admin_key = secret.k"), `"openai"`, `"opneai"`, 1))
	h.run("plan", "-f", "a.hcl").exits(1).says(`the engine has no provider "opneai"`)
	h.run("validate", "-f", "a.hcl").exits(0).says(`the provider "opneai" does not come with the engine`, `Did you mean "openai"?`)
	providers, err := h.api.Logical().ListWithContext(t.Context(), "ai-keys/providers")
	if err != nil || providers == nil {
		t.Fatalf("%v: the providers are %v", err, providers)
	}
	for _, name := range providers.Data["keys"].([]any) {
		h.write("b.hcl", in(fmt.Sprintf("account \"a\" {\n provider = %q\n}", name)))
		h.run("validate", "-f", "b.hcl").exits(0).silent("does not come with the engine")
	}

	// The provider is away: an account can be disabled all the same.
	h.write("a.hcl", account("admin_key = secret.k"))
	h.apply("a.hcl")
	f.Cloud.Fault(providertest.Fault{Kind: providertest.Status, Status: 500, Provider: "openai"})
	h.write("a.hcl", account("admin_key = secret.k\n disabled = true"))
	h.apply("a.hcl")
}
