package bootstrap_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/vault/api"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/test/okta"
)

const pushFile = `
secret "okta" { from = "env:OKTA_API_TOKEN" }

auth "okta" "okta" {
  config {
    org_name        = "acme"
    api_token       = secret.okta
    base_url        = "okta.com"
    bypass_okta_mfa = true
  }
}

identity_group "security" {
  type     = "external"
  policies = ["ai-security"]

  alias {
    name  = "AI-Security"
    mount = "okta"
  }
}

mfa "okta" "push" {
  org_name        = "acme"
  api_token       = secret.okta
  username_format = "{{identity.entity.aliases.${auth_accessor("okta")}.name}}"
}

login_enforcement "people" {
  mfa_methods  = ["push"]
  auth_methods = ["okta"]
}
`

const (
	alice    = "alice@acme.com"
	password = "correct horse battery staple"
)

// organisation runs an Okta with alice in it, whose telephone says yes.
func organisation(t *testing.T) *okta.Server {
	t.Helper()
	org, err := okta.Start(t.Context(), okta.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := org.Close(); err != nil {
			t.Error(err)
		}
	})
	if _, err := org.AddUser(okta.User{Login: alice, Password: password, Groups: []string{"AI-Security"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := org.Enroll(alice, okta.Factor{Type: okta.Push}); err != nil {
		t.Fatal(err)
	}
	return org
}

// signIn logs somebody in with a password.
func (h *harness) signIn(mount, name, password string) *api.SecretAuth {
	h.t.Helper()
	c, err := h.server.Client("")
	if err != nil {
		h.t.Fatal(err)
	}
	s, err := c.Logical().WriteWithContext(h.t.Context(), "auth/"+mount+"/login/"+name, map[string]any{"password": password})
	if err != nil {
		h.t.Fatal(err)
	}
	return s.Auth
}

// signInByPush is a login that a push has to follow, and does.
func (h *harness) signInByPush() *api.SecretAuth {
	h.t.Helper()
	auth := h.signIn("okta", alice, password)
	if auth.ClientToken != "" || auth.MFARequirement == nil {
		h.t.Fatal("the second factor was not asked for")
	}
	c, err := h.server.Client("")
	if err != nil {
		h.t.Fatal(err)
	}
	s, err := c.Sys().MFAValidateWithContext(h.t.Context(), auth.MFARequirement.MFARequestID, map[string]any{"push": []string{}})
	if err != nil {
		h.t.Fatal(err)
	}
	return s.Auth
}

// An auth method that is made anew has a new accessor. Vault forgets the
// second factor without a word; the program does not.
func TestStaleAccessor(t *testing.T) {
	t.Parallel()
	org := organisation(t)
	h := start(t, serverEnv(org.Environment()...))
	h.secret("OKTA_API_TOKEN", org.APIToken())
	h.write("vault.hcl", pushFile)
	least := h.least("vault.hcl")
	least.apply("vault.hcl")
	if auth := h.signInByPush(); !slices.Contains(auth.IdentityPolicies, "ai-security") {
		t.Errorf("alice has %q", auth.IdentityPolicies)
	}

	old := h.authAccessor("okta")
	if err := h.api.Sys().DisableAuthWithContext(t.Context(), "okta"); err != nil {
		t.Fatal(err)
	}
	h.vault("sys/auth/okta", map[string]any{"type": "okta"})
	h.vault("auth/okta/config", map[string]any{
		"org_name": "acme", "base_url": "okta.com", "api_token": org.APIToken(), "bypass_okta_mfa": true,
	})
	auth := h.signIn("okta", alice, password)
	if auth.MFARequirement != nil || slices.Contains(auth.IdentityPolicies, "ai-security") {
		t.Errorf("a stale accessor works: %+v", auth)
	}

	r := least.plan("vault.hcl",
		updates("identity group security alias", "mount_accessor"),
		updates("mfa method okta push", "username_format"),
		updates("login enforcement people", "auth_method_accessors"),
	)
	dead := old + " belongs to no mount any more"
	for _, c := range r.Changes {
		if !strings.HasPrefix(c.Fields[0].Why, "stale: "+dead) {
			t.Errorf("%s: %q", c.Object, c.Fields[0].Why)
		}
	}
	if notes := r.find(t, "login enforcement people").Notes; !slices.Equal(notes, []string{"MFA is OFF for logins at auth/okta: " + dead}) {
		t.Errorf("%q", notes)
	}
	least.run("plan", "-f", "vault.hcl").exits(2).says("MFA is OFF for logins at auth/okta")

	// Where another enforcement falls on the mount, it is not off.
	h.vault("identity/mfa/login-enforcement/all", map[string]any{
		"mfa_method_ids": []any{h.mfaMethod("push")["id"]}, "auth_method_types": []string{"okta"},
	})
	least.run("plan", "-f", "vault.hcl").exits(2).says("stale: " + dead).silent("MFA is OFF")
	if _, err := h.api.Logical().DeleteWithContext(t.Context(), "identity/mfa/login-enforcement/all"); err != nil {
		t.Fatal(err)
	}

	least.apply("vault.hcl")
	if auth := h.signInByPush(); !slices.Contains(auth.IdentityPolicies, "ai-security") {
		t.Errorf("alice has %q", auth.IdentityPolicies)
	}
}

const lockOutFile = `
auth "userpass" "userpass" {}
auth "userpass" "other" {}

identity_group "operators" {
  member_entities = ["olga"]
}
identity_group "all" {
  member_groups = ["operators"]
}

mfa "totp" "codes" { issuer = "Acme" }
mfa "totp" "spare" { issuer = "Acme" }

login_enforcement "people" {
  mfa_methods = ["codes"]
  TARGET
}
`

// olga logs in as an operator who may do everything.
func (h *harness) olga() *api.SecretAuth {
	h.t.Helper()
	h.vault("sys/policies/acl/operator", map[string]any{"policy": `path "*" { capabilities = ["create", "read", "update", "delete", "list", "sudo"] }`})
	h.vault("sys/auth/userpass", map[string]any{"type": "userpass"})
	h.vault("auth/userpass/users/olga", map[string]any{"password": password, "token_policies": "operator"})
	entity := h.vault("identity/entity/name/olga", nil).Data["id"]
	h.vault("identity/entity-alias", map[string]any{"name": "olga", "canonical_id": entity, "mount_accessor": h.authAccessor("userpass")})
	return h.signIn("userpass", "olga", password)
}

// An enforcement that falls on the operator's own login is refused.
func TestLockOut(t *testing.T) {
	t.Parallel()
	h := start(t)
	token := h.olga().ClientToken
	olga := h.as(token)
	child, err := h.clientOf(token).Auth().Token().CreateWithContext(t.Context(), &api.TokenCreateRequest{Policies: []string{"operator"}})
	if err != nil {
		t.Fatal(err)
	}
	write := func(target string) { h.write("vault.hcl", strings.Replace(lockOutFile, "TARGET", target, 1)) }
	for target, why := range map[string]string{
		`auth_methods = ["userpass"]`:      "the login at auth/userpass",
		`auth_method_types = ["userpass"]`: "the login at auth/userpass",
		`identity_entities = ["olga"]`:     "the identity entity",
	} {
		write(target)
		for _, who := range []*harness{olga, h.as(child.Auth.ClientToken)} {
			who.run("plan", "-f", "vault.hcl").exits(2).says("this enforcement falls on " + why)
			who.run("apply", "-f", "vault.hcl", "--auto-approve").exits(1).says("nothing was written", why, "--allow-lockout")
		}
	}
	if h.has("identity/group/name/operators") != nil {
		t.Error("something was written")
	}

	// Here the group is made in the same apply: it is found out just before
	// the enforcement would be written, and on the next run before anything.
	write(`identity_groups = ["all"]`)
	olga.run("apply", "-f", "vault.hcl", "--auto-approve").exits(3).says("an identity group that this token's entity is in")
	olga.run("apply", "-f", "vault.hcl", "--auto-approve").exits(1).says("nothing was written", "an identity group that this token's entity is in")
	if h.has("identity/mfa/login-enforcement/people") != nil {
		t.Fatal("the enforcement was written")
	}

	// Somebody else's logins, or a token that no login made.
	write(`auth_methods = ["other"]`)
	olga.apply("vault.hcl")
	write(`auth_methods = ["other", "userpass"]`)
	h.plan("vault.hcl", updates("login enforcement people", "auth_method_accessors"))
	olga.run("apply", "-f", "vault.hcl", "--auto-approve").exits(1).says("--allow-lockout")
	olga.run("apply", "-f", "vault.hcl", "--auto-approve", "--allow-lockout").exits(0)
	olga.plan("vault.hcl")

	// It falls on olga already. One more method to choose from shuts nobody out;
	// other methods may.
	write(`auth_methods = ["userpass"]`)
	h.write("vault.hcl", strings.Replace(h.read("vault.hcl"), `["codes"]`, `["codes", "spare"]`, 1))
	olga.apply("vault.hcl")
	h.write("vault.hcl", strings.Replace(h.read("vault.hcl"), `["codes", "spare"]`, `["spare"]`, 1))
	olga.run("apply", "-f", "vault.hcl", "--auto-approve").exits(1).says("--allow-lockout")
	h.apply("vault.hcl")
	if auth := h.signIn("userpass", "olga", password); auth.MFARequirement == nil {
		t.Error("the enforcement does nothing")
	}
}

func (h *harness) clientOf(token string) *api.Client {
	h.t.Helper()
	c, err := h.server.Client(token)
	if err != nil {
		h.t.Fatal(err)
	}
	return c
}
