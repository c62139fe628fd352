package bootstrap_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/hashicorp/vault/api"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/test/fakes"
	"github.com/ai-keys/vault-plugin-secrets-ai-keys/test/servers"
)

// everything is a file with every kind of object and of check in it.
func (h *harness) everything(f *fakes.Server, db *servers.Database, cloud *servers.AWS, jwks string) string {
	d := dialects[0]
	logs := h.t.TempDir()
	return h.engineFile(f) + d.connection(db, "rotate_root = true", d.roles()) + awsFile(cloud, "rotate_root = true", awsRoles(cloud.Role(h.t, "deployer", "vault"))) +
		strings.ReplaceAll(loginFile, "ISSUER", jwks) + fmt.Sprintf(`
audit "file" "main" { file_path = "%s/audit.log" }
secret "token" { from = "env:TOKEN" }
mount "transit" "transit" {
  key "ai-keys" { deletion_allowed = true }
  key "tokens" {
    type             = "ed25519"
    deletion_allowed = true
  }
}
mount "kv-v2" "secret" {
  config { max_versions = 5 }
  data "ai" { values = { token = secret.token } }
}
identity_group "people" {
  type     = "external"
  policies = ["developer"]
  alias {
    name  = "People"
    mount = "okta"
  }
}
identity_group "all" { member_groups = ["people"] }
mfa "totp" "codes" { issuer = "Acme" }
auth "userpass" "userpass" {}
login_enforcement "people" {
  mfa_methods     = ["codes"]
  auth_methods    = ["userpass"]
  identity_groups = ["all"]
}
quota "logins" {
  path = "auth/userpass"
  rate = 50
}
check "database" "db/reader" {}
check "database" "db/robot" {}
check "aws" "aws/lister" {}
check "aws" "aws/deployer" {}
check "ai-keys" "ai-keys/ci" {}
check "ai-keys" "ai-keys/search" {}
check "kv" "secret/ai" { fields = ["token"] }
check "read" "sys/auth" {}
`, logs)
}

// A token with the policy that the program prints, and nothing else, can plan,
// apply, verify and destroy a file with everything in it.
func TestThePolicyIsEnough(t *testing.T) {
	t.Parallel()
	h, f, org := engineAndOrganisation(t)
	i := issuer(t)
	db := servers.PostgreSQL(t)
	db.Exec(t, dialects[0].robot)
	h.secret("DB_PASSWORD", db.Password)
	cloud, _ := h.cloud()
	cloud.User(t, "robot", "iam:ListUsers")
	h.secret("OKTA_API_TOKEN", org.APIToken())
	h.secret("ROBOT_PASSWORD", password)
	h.secret("TOKEN")
	token, err := i.Sign(map[string]any{"sub": "repo", "aud": "vault"})
	if err != nil {
		t.Fatal(err)
	}
	h.secret("JWT", token)
	h.write("all.hcl", h.everything(f, db, cloud, i.JWKSURL()))

	least := h.least("all.hcl")
	least.run("plan", "-f", "all.hcl").exits(2)
	least.run("apply", "-f", "all.hcl", "--auto-approve", "--no-checks").exits(0)
	least.plan("all.hcl")
	for name, outcome := range least.proofs("all.hcl", 0) {
		if !strings.HasPrefix(outcome, "ok: ") {
			t.Errorf("%s: %s", name, outcome)
		}
	}
	least.run("destroy", "-f", "all.hcl", "--auto-approve").exits(0)
	for _, path := range []string{"sys/mounts/db", "sys/mounts/ai-keys", "sys/policies/acl/developer", "identity/group/name/people", "sys/mounts/ai-keys-bootstrap/record"} {
		if s, err := h.api.Logical().ReadWithContext(t.Context(), path); err == nil && s != nil {
			t.Errorf("%s is still there", path)
		}
	}
	if n := live(f); n != 0 {
		t.Errorf("%d keys are live at OpenAI", n)
	}
	if names := cloud.Users(t); len(names) != 2 {
		t.Errorf("the IAM users are %q", names)
	}
	least.run("destroy", "-f", "all.hcl", "--auto-approve").exits(0).says("Nothing to destroy")
}

// The policy names no more than the file does.
func TestThePolicyIsNarrow(t *testing.T) {
	t.Parallel()
	h := start(t)
	h.write("a.hcl", `
mount "database" "db" {
  role "app" { db_name = "main" }
}
auth "okta" "okta" {
  config { org_name = "acme" }
}
secret "p" { from = "env:P" }
check "database" "db/app" {}
check "okta" "okta/robot" { password = secret.p }
`)
	r := h.run("policy", "-f", "a.hcl").exits(0)
	if _, err := h.api.Logical().WriteWithContext(t.Context(), "sys/policies/acl/narrow", map[string]any{"policy": r.stdout}); err != nil {
		t.Fatal(err)
	}
	made, err := h.api.Auth().Token().CreateOrphanWithContext(t.Context(), &api.TokenCreateRequest{Policies: []string{"narrow"}, NoDefaultPolicy: true})
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"db/creds/app":                              "read",
		"sys/leases/revoke/db/creds/app/x":          "update",
		"sys/leases/revoke/db/creds/other/x":        "deny",
		"sys/leases/revoke":                         "deny",
		"db/creds/other":                            "deny",
		"db/roles/other":                            "deny",
		"auth/token/create":                         "deny",
		"sys/policies/acl/narrow":                   "deny",
		"ai-keys-bootstrap/fingerprints/export/x/y": "deny",
	} {
		got, err := h.api.Sys().CapabilitiesWithContext(t.Context(), made.Auth.ClientToken, path)
		if err != nil || strings.Join(got, " ") != want {
			t.Errorf("%s: %q, want %q (%v)", path, got, want, err)
		}
	}
}
