package bootstrap_test

import (
	"strings"
	"testing"

	"github.com/hashicorp/vault/api"
)

const methodsFile = `
secret "okta" { from = "env:OKTA_API_TOKEN" }
secret "duo" { from = "env:DUO_SECRET" }
secret "ping" { from = "env:PING_SETTINGS" }

locals { alias = "{{identity.entity.aliases.${auth_accessor("okta")}.name}}" }

auth "okta" "okta" {}

mfa "okta" "push" {
  org_name        = "acme"
  api_token       = secret.okta
  primary_email   = true
  username_format = local.alias
}

mfa "totp" "codes" {
  issuer    = "Acme"
  period    = "1m"
  algorithm = "SHA256"
  skew      = 0
}

mfa "duo" "duo" {
  secret_key      = secret.duo
  integration_key = secret.duo
  api_hostname    = "api-x.duosecurity.com"
  push_info       = "from=vault"
  username_format = local.alias
}

mfa "pingid" "ping" {
  settings_file_base64 = secret.ping
  username_format      = local.alias
}
`

// pingSettings are what Ping gives, in base64.
const pingSettings = "dXNlX2Jhc2U2NF9rZXk9YTJWNQp1c2Vfc2lnbmF0dXJlPXRydWUKdG9rZW49dG9rCmlkcF91cmw9aHR0cHM6Ly9pZHB4bnlsM20ucGluZ2lkZW50aXR5LmNvbS9waW5naWQKb3JnX2FsaWFzPWFsCmFkbWluX3VybD1odHRwczovL2FkbWluCmF1dGhlbnRpY2F0b3JfdXJsPWh0dHBzOi8vYS9wcG0K"

func TestMFAMethods(t *testing.T) {
	t.Parallel()
	h := start(t)
	h.secret("OKTA_API_TOKEN")
	h.secret("DUO_SECRET")
	h.secret("PING_SETTINGS", pingSettings)
	h.story(methodsFile, func(*api.Client) {
		h.vault("identity/mfa/method/okta", map[string]any{
			"method_name": "push", "org_name": "evil", "base_url": "example.com", "api_token": "x", "username_format": "{{identity.entity.name}}",
		})
		h.vault("identity/mfa/method/totp", map[string]any{"method_name": "codes", "issuer": "Acme", "digits": 8, "max_validation_attempts": 50})
		h.vault("identity/mfa/method/duo", map[string]any{
			"method_name": "duo", "secret_key": "x", "integration_key": "x", "api_hostname": "h", "use_passcode": true, "username_format": "",
		})
	},
		updates("mfa method okta push", "org_name", "base_url", "username_format"),
		updates("mfa method totp codes", "period", "algorithm", "digits", "skew", "max_validation_attempts"),
		updates("mfa method duo duo", "api_hostname", "push_info", "use_passcode", "username_format"),
	)
	h.secretStory("story.hcl", "OKTA_API_TOKEN", updates("mfa method okta push", "api_token"))
	h.secretStory("story.hcl", "DUO_SECRET", updates("mfa method duo duo", "secret_key", "integration_key"))

	// What Vault does not tell is compared too, once it was written.
	h.write("story.hcl", strings.Replace(methodsFile, "  primary_email   = true\n", "", 1))
	h.plan("story.hcl", updates("mfa method okta push", "primary_email"))
	h.apply("story.hcl")

	// Every write replaces all of it, so that its secrets are needed even
	// where something else differs.
	h.write("story.hcl", strings.Replace(methodsFile, `"acme"`, `"other"`, 1))
	delete(h.env, "OKTA_API_TOKEN")
	h.run("apply", "-f", "story.hcl", "--auto-approve").exits(1).says("nothing was written", "OKTA_API_TOKEN")
	if org := h.mfaMethod("push")["org_name"]; org != "acme" {
		t.Errorf("the organisation is %v", org)
	}
}

// mfaMethod is an MFA method, by its name.
func (h *harness) mfaMethod(name string) map[string]any {
	h.t.Helper()
	s, err := h.api.Logical().ListWithContext(h.t.Context(), "identity/mfa/method")
	if err != nil {
		h.t.Fatal(err)
	}
	info, _ := s.Data["key_info"].(map[string]any)
	for _, m := range info {
		if m, _ := m.(map[string]any); m["name"] == name {
			return m
		}
	}
	h.t.Fatalf("there is no MFA method %q", name)
	return nil
}

// Vault would turn a method into one of another type, and say nothing.
func TestMFAMethodOfAnotherType(t *testing.T) {
	t.Parallel()
	h := start(t)
	h.vault("identity/mfa/method/totp", map[string]any{"method_name": "push", "issuer": "x"})
	h.write("vault.hcl", methodsFile)
	h.secret("OKTA_API_TOKEN")
	h.secret("DUO_SECRET")
	h.secret("PING_SETTINGS", pingSettings)
	changed := h.run("plan", "-f", "vault.hcl", "--json").exits(2).report().find(t, "mfa method okta push")
	if changed.Action != "blocked" || len(changed.Fields) != 1 || changed.Fields[0].Field != "type" || len(changed.Notes) != 1 {
		t.Errorf("%+v", changed)
	}
	h.run("apply", "-f", "vault.hcl", "--auto-approve").exits(1).says("nothing was written")
	if kind := h.mfaMethod("push")["type"]; kind != "totp" {
		t.Errorf("it is a %v now", kind)
	}
}

const enforcementsFile = `
auth "okta" "okta" {}
auth "userpass" "userpass" {}

identity_group "Staff" {}

mfa "totp" "codes" { issuer = "Acme" }
mfa "totp" "spare" { issuer = "Acme" }

login_enforcement "people" {
  mfa_methods       = ["codes", "spare"]
  auth_methods      = ["auth/okta/", "userpass"]
  auth_method_types = ["okta"]
  identity_groups   = ["staff"]
  identity_entities = ["robot"]
}
`

func TestLoginEnforcements(t *testing.T) {
	t.Parallel()
	h := start(t)
	h.vault("identity/entity/name/robot", nil)
	h.story(enforcementsFile, func(*api.Client) {
		h.vault("identity/mfa/login-enforcement/people", map[string]any{
			"mfa_method_ids": []any{h.mfaMethod("codes")["id"]}, "auth_method_accessors": []string{},
			"auth_method_types": []string{"userpass"}, "identity_group_ids": []string{}, "identity_entity_ids": []string{},
		})
	}, updates("login enforcement people", "mfa_method_ids", "auth_method_accessors", "auth_method_types", "identity_group_ids", "identity_entity_ids"))

	// What the file leaves out is taken away.
	h.write("story.hcl", enforcementsFile[:strings.Index(enforcementsFile, "  auth_method_types")]+"}\n")
	h.plan("story.hcl", updates("login enforcement people", "auth_method_types", "identity_group_ids", "identity_entity_ids"))
	h.apply("story.hcl")

	// A group that is made anew has another id, and Vault does not mind.
	h.write("story.hcl", enforcementsFile)
	h.apply("story.hcl")
	if _, err := h.api.Logical().DeleteWithContext(t.Context(), "identity/group/name/staff"); err != nil {
		t.Fatal(err)
	}
	h.vault("identity/group/name/Staff", nil)
	r := h.least("story.hcl").plan("story.hcl", updates("login enforcement people", "identity_group_ids"))
	if c := r.find(t, "login enforcement people"); !strings.HasPrefix(c.Fields[0].Why, "stale: there is no group ") || len(c.Notes) != 1 {
		t.Errorf("%+v", c)
	}
	h.least("story.hcl").apply("story.hcl")

	// A method that is asked for cannot go, and it is said by whom.
	h.write("pruned.hcl", strings.Replace(strings.Replace(enforcementsFile, `mfa "totp" "spare" { issuer = "Acme" }`, "", 1), `"codes", "spare"`, `"codes"`, 1)+
		"ownership { prune = [\"mfa method\", \"login enforcement\", \"identity group\", \"quota\"] }\n")
	h.vault("identity/mfa/login-enforcement/another", map[string]any{
		"mfa_method_ids": []any{h.mfaMethod("spare")["id"]}, "auth_method_types": []string{"userpass"},
	})
	h.vault("identity/group/name/Spare", nil)
	h.vault("sys/quotas/rate-limit/spare", map[string]any{"rate": 10000})
	h.write("keeping.hcl", strings.Replace(h.read("pruned.hcl"), `"login enforcement", `, "", 1))
	h.run("apply", "-f", "keeping.hcl", "--prune", "--auto-approve").exits(1).says("nothing was written: the login enforcement another asks for it")
	h.run("apply", "-f", "pruned.hcl", "--prune", "--auto-approve").exits(0)
	h.run("plan", "-f", "pruned.hcl", "--prune").exits(0).silent("spare", "another")
}

const quotasFile = `
auth "approle" "approle" {}
auth "okta" "okta" {}

quota "logins" {
  path           = "auth/okta"
  rate           = 500.5
  interval       = "2s"
  block_interval = "1m"
}

quota "role" {
  path = "auth/approle/"
  rate = 300
  role = "ci"
}

quota "all" { rate = 100000 }
`

func TestQuotas(t *testing.T) {
	t.Parallel()
	h := start(t)
	h.story(quotasFile, func(c *api.Client) {
		h.vault("sys/quotas/rate-limit/logins", map[string]any{"rate": 1000, "path": "auth/okta/login/x"})
		if _, err := c.Logical().DeleteWithContext(t.Context(), "sys/quotas/rate-limit/role"); err != nil {
			t.Fatal(err)
		}
		h.vault("sys/quotas/rate-limit/role", map[string]any{"rate": 300, "path": "auth/approle", "role": "other"})
		h.vault("sys/quotas/rate-limit/all", map[string]any{"rate": 100000, "interval": "3s"})
	},
		updates("quota logins", "rate", "path", "interval", "block_interval"),
		updates("quota role", "role"),
		updates("quota all", "interval"),
	)
}
