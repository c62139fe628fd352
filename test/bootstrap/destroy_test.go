package bootstrap_test

import (
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/backend/provider/providertest"
	"github.com/ai-keys/vault-plugin-secrets-ai-keys/test/fakes"
	"github.com/ai-keys/vault-plugin-secrets-ai-keys/test/okta"
	"github.com/ai-keys/vault-plugin-secrets-ai-keys/test/servers"
)

// deletes are the objects that a plan of a destroy takes away, in their order.
func deletes(changes []change) []string {
	var out []string
	for _, c := range changes {
		if c.Action == "delete" {
			out = append(out, c.Object)
		}
	}
	return out
}

// destroys checks what a destroy would take away, in which order.
func (h *harness) destroys(file string, want ...string) report {
	h.t.Helper()
	r := h.run("destroy", "-f", file, "--dry-run", "--json").report()
	if got := deletes(r.Changes); !slices.Equal(got, want) {
		h.t.Errorf("what goes is %q, want %q", got, want)
	}
	return r
}

const ownRecords = "records of ai-keys-bootstrap"

const destroyFile = `
secret "token" { from = "env:TOKEN" }
policy "reader" {
  path "x" { capabilities = ["read"] }
}
mount "transit" "transit" {
  key "a" { deletion_allowed = true }
}
mount "kv-v2" "team" {
  config { max_versions = 5 }
  data "ai" { values = { token = secret.token } }
}
auth "okta" "okta" {
  config {
    org_name  = "acme"
    api_token = secret.token
  }
  group "dev" { policies = ["reader"] }
}
identity_group "inner" {}
identity_group "outer" { member_groups = ["inner"] }
mfa "totp" "codes" { issuer = "Acme" }
login_enforcement "people" {
  mfa_methods  = ["codes"]
  auth_methods = ["okta"]
}
`

func TestDestroy(t *testing.T) {
	t.Parallel()
	h := start(t)
	h.secret("TOKEN")
	h.write("a.hcl", destroyFile)
	least := h.least("a.hcl")
	least.run("destroy", "-f", "a.hcl", "--auto-approve").exits(0).says("Nothing to destroy: nothing of the file is on the server")
	if h.has("sys/mounts/ai-keys-bootstrap/record") != nil {
		t.Error("a destroy of nothing has made a mount")
	}
	least.apply("a.hcl")
	h.vault("team/data/others", map[string]any{"data": map[string]any{"a": "b"}})
	h.vault("auth/okta/groups/others", map[string]any{"policies": "x"})
	h.vault("sys/policies/acl/others", map[string]any{"policy": `path "y" { capabilities = ["read"] }`})

	r := least.destroys("a.hcl", "mount auth/okta", "login enforcement people", "mfa method totp codes", "identity group outer", "identity group inner",
		"mount team", "mount transit", "policy reader", ownRecords)
	if notes := strings.Join(r.find(t, "mount auth/okta").Notes, "\n"); !strings.Contains(notes, "1 object that no file names included: auth/okta group others") {
		t.Errorf("the notes are %q", notes)
	}
	if notes := strings.Join(r.find(t, "mount transit").Notes, "\n"); !strings.Contains(notes, "can never be read again") {
		t.Errorf("the notes are %q", notes)
	}
	least.run("destroy", "-f", "a.hcl").exits(1).says("there is nobody to ask", "Destroy: 9 to delete")
	least.plan("a.hcl")

	done := least.run("destroy", "-f", "a.hcl", "--auto-approve", "--json").exits(0).report()
	if len(done.Done) != 9 || len(done.Left) != 0 {
		t.Errorf("%d were done", len(done.Done))
	}
	if h.has("sys/policies/acl/others") == nil {
		t.Error("a policy of others is gone")
	}
	mounts, err := h.api.Sys().ListMountsWithContext(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for path := range mounts {
		if strings.HasPrefix(path, "ai-keys-bootstrap/") {
			t.Errorf("%s is left", path)
		}
	}
	for _, c := range least.run("plan", "-f", "a.hcl", "--json").exits(2).report().Changes {
		if c.Action != "create" {
			t.Errorf("%s: %s", c.Action, c.Object)
		}
	}
	least.apply("a.hcl")
}

// Killed after any of its writes, the next one takes the rest away.
func TestADestroyIsKilled(t *testing.T) {
	t.Parallel()
	h := start(t)
	h.secret("TOKEN")
	h.write("a.hcl", destroyFile)
	for dies := 1; ; dies++ {
		if dies > 40 {
			t.Fatal("it never comes to an end")
		}
		h.apply("a.hcl")
		var writes atomic.Int32
		ready := make(chan *running, 1)
		dying := h.through(func(r *http.Request, forward func()) {
			if r.Method == http.MethodGet || r.URL.Path == "/v1/sys/capabilities-self" {
				forward()
				return
			}
			forward()
			if int(writes.Add(1)) == dies {
				p := <-ready
				if err := p.cmd.Process.Kill(); err != nil {
					t.Error(err)
				}
				<-r.Context().Done() // the program has gone
			}
		})
		p := dying.begin("destroy", "-f", "a.hcl", "--auto-approve")
		ready <- p
		killed := p.end().code != 0
		h.run("destroy", "-f", "a.hcl", "--auto-approve").exits(0)
		h.run("destroy", "-f", "a.hcl", "--auto-approve").exits(0).says("Nothing to destroy: nothing of the file is on the server")
		if !killed {
			return
		}
	}
}

// What is protected stays, and what it needs.
func TestWhatADestroySpares(t *testing.T) {
	t.Parallel()
	h := start(t)
	h.secret("TOKEN")
	h.write("a.hcl", destroyFile+`
policy "default" {
  path "z" { capabilities = ["read"] }
}
ownership {
  protect = ["team data ai", "mount transit", "auth/okta group others", "policy other"]
}
`)
	h.apply("a.hcl")
	h.vault("auth/okta/groups/others", map[string]any{"policies": "x"})
	r := h.destroys("a.hcl", "auth/okta group dev", "identity group outer", "identity group inner", "policy reader", ownRecords)
	for object, why := range map[string]string{
		"team data ai":    "stays: it is protected",
		"mount team":      "stays: it holds team data ai, which is protected",
		"mount transit":   "stays: it is protected",
		"transit key a":   "stays: it is in mount transit, which is protected",
		"mount auth/okta": "stays: it holds auth/okta group others, which is protected",
		"policy default":  "stays: it is Vault's own; its settings stay as they are",
		// A login that stays is not left without its second factor.
		"login enforcement people": "stays: it guards the logins at auth/okta, which stays",
		"mfa method totp codes":    "stays: login enforcement people works with it, which stays",
	} {
		if c := r.find(t, object); c.Action != "none" || !slices.Equal(c.Notes, []string{why}) {
			t.Errorf("%s: %s %q", object, c.Action, c.Notes)
		}
	}
	h.run("destroy", "-f", "a.hcl", "--auto-approve").exits(0)
	if h.has("team/data/ai")["data"] == nil {
		t.Error("what is protected is gone")
	}
	h.destroys("a.hcl")
}

// What cannot be done stops everything before anything is deleted.
func TestADestroyThatIsNotPossible(t *testing.T) {
	t.Parallel()
	h := start(t)
	h.write("key.hcl", `
policy "reader" {
  path "x" { capabilities = ["read"] }
}
mount "transit" "transit" {
  key "a" {}
}
`)
	h.apply("key.hcl")
	h.run("destroy", "-f", "key.hcl", "--auto-approve").exits(1).explains("mount transit: nothing was written: the key a may not be deleted").
		explains(`ownership { protect = ["mount transit"] }`)
	h.plan("key.hcl")
	h.write("key.hcl", h.read("key.hcl")+`ownership { protect = ["mount transit"] }`)
	h.run("destroy", "-f", "key.hcl", "--auto-approve").exits(0)
	if h.has("transit/keys/a") == nil {
		t.Error("the key is gone")
	}

	// A token that would end on the way.
	olga := h.as(h.olga().ClientToken)
	h.write("own.hcl", `
auth "userpass" "userpass" {}
policy "operator" {
  path "*" { capabilities = ["create", "read", "update", "delete", "list", "sudo"] }
}
`)
	olga.run("destroy", "-f", "own.hcl", "--auto-approve").exits(1).explains("this token comes from a login there")
	olga.run("destroy", "-f", "own.hcl", "--target", "policy operator", "--auto-approve").exits(1).explains("this token has its rights from it")
	h.run("destroy", "-f", "own.hcl", "--auto-approve").exits(0)

	// A second factor that others ask for.
	h.write("mfa.hcl", `mfa "totp" "codes" { issuer = "Acme" }`)
	h.apply("mfa.hcl")
	h.vault("sys/auth/userpass", map[string]any{"type": "userpass"})
	h.vault("identity/mfa/login-enforcement/others", map[string]any{"mfa_method_ids": []any{h.mfaMethod("codes")["id"]}, "auth_method_types": "userpass"})
	h.run("destroy", "-f", "mfa.hcl", "--auto-approve").exits(1).explains("the login enforcement others asks for it")
}

// A second factor goes after the logins that it guards: a destroy that stops
// part-way leaves none without it. Where it goes alone, the plan says so.
func TestADestroyAndSecondFactors(t *testing.T) {
	t.Parallel()
	h := start(t)
	h.secret("TOKEN")
	h.write("a.hcl", destroyFile)
	h.apply("a.hcl")
	r := h.run("destroy", "-f", "a.hcl", "--target", "login enforcement people", "--dry-run", "--json").exits(2).report()
	if notes := strings.Join(r.find(t, "login enforcement people").Notes, "\n"); notes != "MFA is OFF from then on for logins at auth/okta" {
		t.Errorf("the notes are %q", notes)
	}
	if notes := h.run("destroy", "-f", "a.hcl", "--dry-run", "--json").report().find(t, "login enforcement people").Notes; len(notes) != 0 {
		t.Errorf("the notes are %q", notes)
	}
	h.through(func(r *http.Request, forward func()) {
		if r.Method == http.MethodDelete && r.URL.Path == "/v1/sys/auth/okta" {
			panic(http.ErrAbortHandler)
		}
		forward()
	}).run("destroy", "-f", "a.hcl", "--auto-approve").exits(3)
	if h.has("identity/mfa/login-enforcement/people") == nil {
		t.Error("auth/okta is there, and its second factor is not")
	}

	// One that finds people by a group keeps the group with it.
	h.write("a.hcl", strings.Replace(destroyFile, `auth_methods = ["okta"]`, `identity_groups = ["outer"]`, 1)+`
ownership { protect = ["mount auth/okta"] }
`)
	h.apply("a.hcl")
	h.destroys("a.hcl", "identity group inner", "mount team", "mount transit", "policy reader", ownRecords)
	h.run("destroy", "-f", "a.hcl", "--target", "identity group outer", "--dry-run").exits(2).explains("MFA is OFF from then on for its members: the login enforcement people finds them by it")
}

// Only the destroy of a whole file takes the program's own mounts with it.
func TestADestroyOfATargetKeepsTheLock(t *testing.T) {
	t.Parallel()
	h := start(t)
	h.write("a.hcl", `
policy "one" {
  path "x" { capabilities = ["read"] }
}
policy "two" {
  path "x" { capabilities = ["read"] }
}
`)
	h.apply("a.hcl")
	for range 2 {
		h.run("destroy", "-f", "a.hcl", "--target", "policy one", "--auto-approve").exits(0)
		if h.has("ai-keys-bootstrap/record/data/lock") == nil {
			t.Error("the program's own mount is gone")
		}
	}
	h.run("destroy", "-f", "a.hcl", "--target", "policy one", "--auto-approve").exits(0).says("Nothing to destroy")
	h.run("destroy", "-f", "a.hcl", "--auto-approve").exits(0)
	if h.has("sys/mounts/ai-keys-bootstrap/record") != nil {
		t.Error("the program's own mount is left")
	}
}

// engineAndOrganisation is the engine, on a server that reaches an Okta.
func engineAndOrganisation(t *testing.T) (*harness, *fakes.Server, *okta.Server) {
	t.Helper()
	org := organisation(t)
	h, f := engine(t, serverEnv(org.Environment()...))
	return h, f, org
}

// With the engine its keys go, and what it has made at the provider, also that
// of roles in no file.
func TestDestroyOfTheEngine(t *testing.T) {
	t.Parallel()
	h, f := engine(t)
	h.write("a.hcl", strings.Replace(h.engineFile(f), `mount "ai-keys" "ai-keys" {`, `mount "transit" "transit" {
  key "ai-keys" { deletion_allowed = true }
}
mount "ai-keys" "ai-keys" {`, 1))
	least := h.least("a.hcl")
	least.run("apply", "-f", "a.hcl", "--auto-approve", "--no-checks").exits(0)
	h.vault("ai-keys/roles/stray", map[string]any{"account": "acme", "type": "static", "project_id": f.OpenAI.ProjectID, "rotation_period": "24h"})
	for range 3 {
		h.has("ai-keys/creds/ci")
	}
	if live(f) < 4 {
		t.Fatalf("%d keys are live", live(f))
	}
	r := least.destroys("a.hcl",
		"ai-keys role claude", "ai-keys role nightly", "ai-keys role search", "ai-keys role ci", "ai-keys role stray",
		"ai-keys account cloud", "ai-keys account claude", "ai-keys account acme", "mount ai-keys",
		"auth/approle role ai-keys-transit", "mount transit", "policy ai-keys-transit", "plugin secret ai-keys", ownRecords)
	if notes := r.find(t, "ai-keys role stray").Notes; len(notes) != 1 || !strings.HasPrefix(notes[0], "in no file") {
		t.Errorf("%q", notes)
	}
	least.run("destroy", "-f", "a.hcl", "--auto-approve").exits(0)
	if n := live(f); n != 0 {
		t.Errorf("%d keys are live at OpenAI", n)
	}
	for _, owner := range f.Cloud.Owners() {
		if owner.Provider == providertest.ProviderOpenAI && owner.Live {
			t.Errorf("the service account %s is left", owner.Name)
		}
	}

	// A mount that stays keeps what it works with.
	least.run("apply", "-f", "a.hcl", "--auto-approve", "--no-checks").exits(0)
	h.write("a.hcl", h.read("a.hcl")+`ownership { protect = ["mount ai-keys"] }`)
	least.destroys("a.hcl")
	h.run("destroy", "-f", "a.hcl", "--auto-approve").exits(0)
	h.run("verify", "-f", "a.hcl", "--target", "ai-keys config").exits(0)
}

// The password that only Vault knows is lost, and the plan says so.
func TestDestroyAfterARootRotation(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, h *harness, d dialect, db *servers.Database) {
		db.Exec(t, d.robot)
		h.rotating(d, db)
		h.issues(db)
		before := len(db.Accounts(t))
		h.run("destroy", "-f", "a.hcl", "--dry-run").exits(2).explains("which only Vault knows, is lost: set another there").
			explains("drops the accounts that it made")
		h.run("destroy", "-f", "a.hcl", "--auto-approve").exits(0)
		if after := len(db.Accounts(t)); after != before-1 {
			t.Errorf("there were %d accounts, and there are %d", before, after)
		}
		h.run("destroy", "-f", "a.hcl", "--auto-approve").exits(0).says("Nothing to destroy")
	})
}

// Vault cannot unmount while an account cannot be dropped. Then the mount is
// there and answers nothing, and a destroy goes on all the same.
func TestADestroyWithoutItsDatabase(t *testing.T) {
	t.Parallel()
	d := dialects[0]
	db := servers.PostgreSQL(t)
	h := start(t)
	db.Exec(t, d.robot)
	h.secret("DB_PASSWORD", db.Password)
	h.write("a.hcl", d.connection(db, "", d.roles()))
	h.apply("a.hcl")
	h.issues(db)
	h.vault("db/config/app", map[string]any{"plugin_name": db.Plugin, "verify_connection": false, "connection_url": "postgresql://127.0.0.1:1/app"})
	for range 2 {
		h.run("destroy", "-f", "a.hcl", "--auto-approve").exits(3).explains("give it up with vault lease revoke -force -prefix db/")
	}
	h.vault("sys/leases/revoke-force/db", nil)
	h.run("destroy", "-f", "a.hcl", "--auto-approve").exits(0)
	h.run("destroy", "-f", "a.hcl", "--auto-approve").exits(0).says("Nothing to destroy")
}
