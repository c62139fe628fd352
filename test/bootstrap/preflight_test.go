package bootstrap_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/vault/api"
)

// preflightFile needs a secret, a plugin, rights at a dozen paths.
const preflightFile = `
secret "okta" { from = "env:OKTA_API_TOKEN" }
plugin "secret" "ai-keys" {
  command = "vault-plugin-secrets-ai-keys"
  sha256  = filesha256("plugin")
}
mount "ai-keys" "ai-keys" {
  transit { key = "transit/ai-keys" }
}
policy "reader" {
  path "secret/data/*" { capabilities = ["read"] }
}
auth "okta" "okta" {
  config {
    org_name  = "acme"
    api_token = secret.okta
  }
  group "ai" { policies = ["reader"] }
}
mount "kv-v2" "kv" {
  data "entry" { values = { a = secret.okta } }
}
`

// What keeps an apply from being done is said before anything is written: the
// audit log has no request that changes anything.
func TestNothingIsWrittenBeforeAllIsLookedAt(t *testing.T) {
	t.Parallel()
	h := start(t, withPlugin)
	h.catalogEntry() // writes the file plugin
	h.write("vault.hcl", preflightFile)
	h.audit("file", map[string]any{"type": "file", "options": map[string]any{"file_path": h.server.AuditFile()}})
	program := filepath.Join(h.server.Dir, "plugins", "vault-plugin-secrets-ai-keys")
	text, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	none := h.tokenWith("nothing")
	refused := func(who *harness, says ...string) {
		t.Helper()
		from := len(recorded(t, h.server.AuditFile()))
		who.run("apply", "-f", "vault.hcl", "--auto-approve").exits(1).says(says...)
		if writes := writesSince(t, h.server.AuditFile(), from); len(writes) > 0 {
			t.Errorf("before %q: %q", says, writes)
		}
	}
	refused(h, `secret "okta"`, "the environment variable OKTA_API_TOKEN is not set", "nothing was written")
	h.secret("OKTA_API_TOKEN")
	none.env = h.env
	refused(none, "the token may not do what", `path "sys/plugins/catalog`, `path "kv/data/entry`)
	if err := os.Remove(program); err != nil {
		t.Fatal(err)
	}
	refused(h, "there is no file vault-plugin-secrets-ai-keys in the server's plugin_directory", "nothing was written")
	h.place("vault-plugin-secrets-ai-keys", append(text, "changed"...))
	refused(h, "is another program: its SHA-256 is not", "nothing was written")
	h.place("vault-plugin-secrets-ai-keys", text)
	h.run("apply", "-f", "vault.hcl", "--auto-approve").exits(0)
	h.plan("vault.hcl")
}

// tokenWith is the harness with a token of some policy and of what a token
// needs to look at itself.
func (h *harness) tokenWith(policies ...string) *harness {
	h.t.Helper()
	made, err := h.api.Auth().Token().CreateOrphanWithContext(h.t.Context(), &api.TokenCreateRequest{Policies: append(policies, "default")})
	if err != nil {
		h.t.Fatal(err)
	}
	return h.as(made.Auth.ClientToken)
}

// The policy lines that are named as missing are all that is missing: with them
// the plan can be made, and with those that the apply names then, applied.
func TestTheMissingLinesAreSufficient(t *testing.T) {
	t.Parallel()
	h := start(t, withPlugin)
	h.catalogEntry()
	h.write("vault.hcl", preflightFile)
	h.secret("OKTA_API_TOKEN")
	less := h.tokenWith("less")
	given, rounds := "", 0
	for {
		r := less.run("apply", "-f", "vault.hcl", "--auto-approve", "--json")
		if r.code == 0 {
			break
		}
		doc := r.exits(1).report()
		if doc.Error == nil || doc.Error.Kind != "denied" || doc.Error.MissingPolicy == "" {
			t.Fatalf("the error is %+v", doc.Error)
		}
		if rounds++; rounds > 1 {
			t.Fatalf("after %d rounds something is still missing: %s", rounds, doc.Error.MissingPolicy)
		}
		given += doc.Error.MissingPolicy + "\n"
		h.vault("sys/policies/acl/less", map[string]any{"policy": given})
	}
	if strings.Contains(given, `path "*"`) || strings.Contains(given, "root") {
		t.Errorf("more is asked for than is needed:\n%s", given)
	}
	less.run("plan", "-f", "vault.hcl").exits(0)
}

// What is taken out of the file does not stay in force unseen, though Vault
// does not return it.
func TestASecretIsTakenOutOfTheFile(t *testing.T) {
	t.Parallel()
	h := start(t)
	h.secret("OKTA_API_TOKEN")
	h.secret("PASSWORD")
	file := withSecret + `
secret "password" { from = "env:PASSWORD" }
mount "database" "db" {
  connection "app" {
    plugin_name       = "mysql-database-plugin"
    connection_url    = "{{username}}:{{password}}@tcp(127.0.0.1:1)/"
    verify_connection = false
    username          = "vault"
    password          = secret.password
  }
}
`
	h.write("vault.hcl", file)
	h.least("vault.hcl").apply("vault.hcl")
	h.write("vault.hcl", strings.Replace(file, "    api_token = secret.okta\n", "", 1))
	least := h.least("vault.hcl")
	r := least.plan("vault.hcl", updates("auth/okta config", "api_token"))
	if f := r.find(t, "auth/okta config").Fields[0]; f.Why != "not in the file any more" {
		t.Errorf("the plan says %+v", f)
	}
	least.run("plan", "-f", "vault.hcl").exits(2).says("not in the file any more")
	least.apply("vault.hcl")
	stored, err := h.server.RawStorage(t.Context(), "auth/")
	if err != nil || len(stored) == 0 {
		t.Fatalf("%d entries are stored: %v", len(stored), err)
	}
	for path, text := range stored {
		if bytes.Contains(text, []byte(h.env["OKTA_API_TOKEN"])) {
			t.Errorf("Vault still has the token, at %s", path)
		}
	}
}
