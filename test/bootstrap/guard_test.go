package bootstrap_test

import (
	"strings"
	"testing"

	"github.com/hashicorp/vault/api"
)

// What prunes whole kinds must not take away what the program itself stands on.
func TestPruneSparesTheOperator(t *testing.T) {
	t.Parallel()
	h := start(t)
	h.write("vault.hcl", `
policy "reader" {
  path "secret/*" { capabilities = ["read"] }
}
ownership { prune = ["policy", "auth", "audit"] }
`)
	h.run("apply", "-f", "vault.hcl", "--auto-approve").exits(0)
	h.vault("sys/policies/acl/team-admins", map[string]any{"policy": `path "*" { capabilities = ["create", "read", "update", "delete", "list", "sudo"] }`})
	h.vault("sys/policies/acl/stray", map[string]any{"policy": `path "x" { capabilities = ["read"] }`})
	h.vault("sys/auth/userpass", map[string]any{"type": "userpass"})
	pw := h.canary()
	h.vault("auth/userpass/users/op", map[string]any{"password": pw, "token_policies": "team-admins"})
	if err := h.server.EnableAudit(t.Context()); err != nil {
		t.Fatal(err)
	}
	op := h.as(h.signIn("userpass", "op", pw).ClientToken)

	r := op.run("apply", "-f", "vault.hcl", "--prune", "--auto-approve").exits(1)
	for _, why := range []string{"mount auth/userpass", "this token comes from a login there", "policy team-admins", "this token has its rights from it", "audit file", "no audit device would be left"} {
		if !strings.Contains(r.stdout+r.stderr, why) {
			t.Errorf("the refusal does not say %q:\n%s%s", why, r.stdout, r.stderr)
		}
	}
	if h.has("sys/policies/acl/stray") == nil {
		t.Error("something was deleted although the apply was refused")
	}

	h.write("vault.hcl", `
policy "reader" {
  path "secret/*" { capabilities = ["read"] }
}
ownership {
  prune   = ["policy", "auth", "audit"]
  protect = ["policy team-admins", "mount auth/userpass", "audit file file"]
}
`)
	op.run("apply", "-f", "vault.hcl", "--prune", "--auto-approve").exits(0)
	if h.has("sys/policies/acl/stray") != nil || h.has("sys/policies/acl/team-admins") == nil || h.has("sys/policies/acl/reader") == nil {
		t.Error("what is pruned is not what is in no file and not protected")
	}
}

// The policy that the program prints is enough to prune, also kinds of which the
// file has none.
func TestPruneWithTheLeastRights(t *testing.T) {
	t.Parallel()
	h := start(t)
	h.write("vault.hcl", `
auth "approle" "approle" {
  role "kept" {}
}
ownership { prune = ["policy", "approle role", "identity group"] }
`)
	least := h.least("vault.hcl")
	least.apply("vault.hcl")
	for path, data := range map[string]map[string]any{
		"sys/policies/acl/stray":     {"policy": `path "x" { capabilities = ["read"] }`},
		"auth/approle/role/stray":    {},
		"identity/group/name/stray":  {},
		"auth/approle/role/stray-ok": {},
	} {
		h.vault(path, data)
	}
	h.write("protecting.hcl", h.read("vault.hcl")[:strings.Index(h.read("vault.hcl"), "ownership")]+`
ownership {
  prune   = ["policy", "approle role", "identity group"]
  protect = ["auth/approle role stray-ok"]
}
`)
	// The token's own policy is in no file either.
	r := least.run("plan", "-f", "protecting.hcl", "--prune", "--json").exits(2).report()
	deleted := make(map[string]bool)
	for _, c := range r.Changes {
		deleted[c.Object] = c.Action == "delete"
	}
	for _, name := range []string{"policy stray", "auth/approle role stray", "identity group stray"} {
		if !deleted[name] {
			t.Errorf("%s is not pruned", name)
		}
	}
	if deleted["auth/approle role stray-ok"] || deleted["auth/approle role kept"] {
		t.Error("what is protected, or in the file, is pruned")
	}
}

// Other tools put passwords into addresses, and Vault answers them in clear.
func TestAPasswordInTheServersAddressIsNotShown(t *testing.T) {
	t.Parallel()
	h := start(t)
	h.vault("sys/mounts/database", map[string]any{"type": "database"})
	for name, address := range map[string]string{
		"my": "root:" + h.canary() + "@tcp(127.0.0.1:3306)/",
		"pg": "host=127.0.0.1 user=root password=" + h.canary() + " dbname=app",
	} {
		plugin := map[string]string{"my": "mysql-database-plugin", "pg": "postgresql-database-plugin"}[name]
		h.vault("database/config/"+name, map[string]any{"plugin_name": plugin, "connection_url": address, "verify_connection": false})
	}
	h.secret("DB_PASSWORD")
	h.write("vault.hcl", `
secret "pw" { from = "env:DB_PASSWORD" }
mount "database" "database" {
  connection "my" {
    plugin_name       = "mysql-database-plugin"
    connection_url    = "{{username}}:{{password}}@tcp(127.0.0.1:3306)/"
    username          = "root"
    password          = secret.pw
    verify_connection = false
  }
  connection "pg" {
    plugin_name       = "postgresql-database-plugin"
    connection_url    = "postgresql://{{username}}:{{password}}@127.0.0.1/app"
    username          = "root"
    password          = secret.pw
    verify_connection = false
  }
}
`)
	for _, args := range [][]string{{"plan"}, {"plan", "--json"}, {"plan", "--out", "saved.json"}, {"verify"}} {
		h.run(append(args, "-f", "vault.hcl")...).exits(2).says("connection_url")
	}
	h.run("export") // whatever it makes of them
	h.run("apply", "-f", "vault.hcl", "--auto-approve").exits(0)
	h.plan("vault.hcl")
}

// The latest version of the lock may be deleted by hand; the next apply takes it.
func TestADeletedLockIsTaken(t *testing.T) {
	t.Parallel()
	h := start(t)
	h.write("vault.hcl", `
policy "reader" {
  path "secret/*" { capabilities = ["read"] }
}
`)
	h.story("vault.hcl", func(c *api.Client) {
		for _, path := range []string{"ai-keys-bootstrap/record/data/lock", "sys/policies/acl/reader"} {
			if _, err := c.Logical().DeleteWithContext(t.Context(), path); err != nil {
				t.Fatal(err)
			}
		}
	}, creates("policy reader"))
}
