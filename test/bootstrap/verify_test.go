package bootstrap_test

import (
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/backend/provider/providertest"
	"github.com/ai-keys/vault-plugin-secrets-ai-keys/test/fakes"
	"github.com/ai-keys/vault-plugin-secrets-ai-keys/test/okta"
	"github.com/ai-keys/vault-plugin-secrets-ai-keys/test/servers"
)

// proofs verifies a file, and returns how the checks in it ended.
func (h *harness) proofs(file string, code int) map[string]string {
	h.t.Helper()
	out := map[string]string{}
	r := h.run("verify", "-f", file, "--json").exits(code)
	for _, p := range r.report().Proofs {
		if strings.HasPrefix(p.Proof, "check ") {
			out[p.Proof] = p.Outcome + ": " + p.Did + p.Why
		}
	}
	return out
}

// ended checks how checks ended: by the beginnings of what was said of them.
func ended(t *testing.T, got, want map[string]string) {
	t.Helper()
	for name, text := range want {
		if !strings.HasPrefix(got[name], text) {
			t.Errorf("%s: %q, want %q", name, got[name], text)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d checks, want %d: %q", len(got), len(want), got)
	}
}

func TestChecksOfDatabases(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, h *harness, d dialect, db *servers.Database) {
		db.Exec(t, d.robot)
		h.write("a.hcl", d.connection(db, "", d.roles())+`
check "database" "db/reader" {}
check "database" "db/robot" {}
check "database" "db/nobody" {}
check "kv" "elsewhere/entry" {}
`)
		least := h.least("a.hcl")
		least.run("apply", "-f", "a.hcl", "--auto-approve", "--no-checks").exits(0).
			says("check database db/nobody: mount db has no nobody in this file", "there is no mount elsewhere in this file").silent("FAILED")
		before := db.Accounts(t)
		ended(t, least.proofs("a.hcl", 4), map[string]string{
			"check database db/reader": "ok: had the account v-",
			"check database db/robot":  "ok: read the password of robot",
			"check database db/nobody": "failed: ",
			"check kv elsewhere/entry": "failed: ",
		})
		if diff := gocmp.Diff(before, db.Accounts(t)); diff != "" {
			t.Errorf("a check left accounts (-before +after):\n%s", diff)
		}

		// A failed check does not stop the others, and counts more than drift.
		h.vault("db/roles/reader", map[string]any{"db_name": "app", "creation_statements": "SELECT nonsense;"})
		h.write("a.hcl", d.connection(db, "", d.roles())+"check \"database\" \"db/reader\" {}\ncheck \"database\" \"db/robot\" {}\n")
		least.plan("a.hcl", updates("db role reader", "creation_statements"))
		ended(t, least.proofs("a.hcl", 4), map[string]string{
			"check database db/reader": "failed: reading db/creds/reader: 500",
			"check database db/robot":  "ok: ",
		})
		least.run("apply", "-f", "a.hcl", "--auto-approve").exits(0).says("check database db/reader", "had the account")
		least.run("apply", "-f", "a.hcl", "--auto-approve").exits(0).silent("check database")

		// An apply whose checks fail has done what it was asked to all the same.
		h.write("a.hcl", strings.ReplaceAll(h.read("a.hcl"), "'{{password}}'", "nonsense '{{password}}'"))
		least.run("apply", "-f", "a.hcl", "--auto-approve").exits(4).says("FAILED")
		least.plan("a.hcl")
	})
}

func TestChecksOfAWS(t *testing.T) {
	t.Parallel()
	h := start(t)
	cloud, _ := h.cloud()
	cloud.User(t, "robot", "iam:ListUsers")
	arn := cloud.Role(t, "deployer", "vault")
	h.write("a.hcl", awsFile(cloud, "", awsRoles(arn))+`
check "aws" "aws/lister" {}
check "aws" "aws/deployer" {}
check "aws" "aws/robot" {}
`)
	least := h.least("a.hcl")
	least.apply("a.hcl")
	before := cloud.Users(t)
	ended(t, least.proofs("a.hcl", 0), map[string]string{
		"check aws aws/lister":   "ok: had an IAM user with the access key AKIA",
		"check aws aws/deployer": "ok: had the credential ASIA",
		"check aws aws/robot":    "ok: read the access key AKIA",
	})
	if diff := gocmp.Diff(before, cloud.Users(t)); diff != "" {
		t.Errorf("a check left users (-before +after):\n%s", diff)
	}
	if err := cloud.Call(t.Context(), servers.AccessKey{ID: "AKIAXXXXXXXXXXXXXXXX", Secret: "x"}, "ListUsers", url.Values{}); err == nil {
		t.Error("moto takes any key")
	}
}

// live is how many keys of OpenAI could be used now.
func live(f *fakes.Server) int { return len(f.Cloud.Live(providertest.ProviderOpenAI)) }

func TestChecksOfTheEngine(t *testing.T) {
	t.Parallel()
	h, f := engine(t)
	h.write("a.hcl", h.engineFile(f)+`
check "ai-keys" "ai-keys/ci" {}
check "ai-keys" "ai-keys/search" {}
`)
	least := h.least("a.hcl")
	least.run("apply", "-f", "a.hcl", "--auto-approve").exits(0)
	before := live(f)
	ended(t, least.proofs("a.hcl", 0), map[string]string{
		"check ai-keys ai-keys/ci":     "ok: had the key key_",
		"check ai-keys ai-keys/search": "ok: read the key key_",
	})
	if now := live(f); now != before {
		t.Errorf("a check left keys: %d before it, and %d now", before, now)
	}

	// What is response-wrapped is unwrapped, and withdrawn as well.
	h.vault("ai-keys/roles/ci", map[string]any{"wrap_ttl": "5m"})
	ended(t, least.proofs("a.hcl", 2), map[string]string{
		"check ai-keys ai-keys/ci":     "ok: had the key key_",
		"check ai-keys ai-keys/search": "ok: read the key key_",
	})
	if now := live(f); now != before {
		t.Errorf("a check left wrapped keys: %d before it, and %d now", before, now)
	}
}

func TestChecksOfEntries(t *testing.T) {
	t.Parallel()
	h := start(t)
	h.secret("TOKEN")
	h.write("a.hcl", `
secret "token" { from = "env:TOKEN" }
mount "kv-v2" "team/secret" {
  data "ai/hook" {
    values = { url = "https://hooks.example", token = secret.token, note = "" }
  }
}
mount "kv" "old" {
  data "hook" {
    values = { token = secret.token }
  }
}
check "kv" "team/secret/ai/hook" { fields = ["url", "token"] }
check "kv" "old/hook" {}
check "kv" "team/secret/ai/other" {}
check "read" "sys/mounts" { fields = ["team/secret/"] }
check "read" "team/secret/data/nothing" {}
`)
	least := h.least("a.hcl")
	least.run("apply", "-f", "a.hcl", "--auto-approve").exits(4)
	ended(t, least.proofs("a.hcl", 4), map[string]string{
		"check kv team/secret/ai/hook":        "ok: has token, url",
		"check kv old/hook":                   "ok: has 1 value",
		"check kv team/secret/ai/other":       "failed: there is no such entry",
		"check read sys/mounts":               "ok: has team/secret/",
		"check read team/secret/data/nothing": "failed: there is nothing at team/secret/data/nothing",
	})
	h.write("a.hcl", strings.ReplaceAll(h.read("a.hcl"), `["url", "token"]`, `["note", "user"]`))
	if _, err := h.api.Logical().DeleteWithContext(t.Context(), "old/hook"); err != nil {
		t.Fatal(err)
	}
	ended(t, least.proofs("a.hcl", 4), map[string]string{
		"check kv team/secret/ai/hook":        `failed: these are missing, or empty: "note", "user"`,
		"check kv old/hook":                   "skipped: it is not there yet",
		"check kv team/secret/ai/other":       "failed: ",
		"check read sys/mounts":               "ok: ",
		"check read team/secret/data/nothing": "failed: ",
	})
	if _, err := h.api.Logical().DeleteWithContext(t.Context(), "team/secret/data/ai/hook"); err != nil {
		t.Fatal(err)
	}
	h.write("b.hcl", "check \"kv\" \"team/secret/ai/hook\" {}\nmount \"kv-v2\" \"team/secret\" {}\n")
	ended(t, least.proofs("b.hcl", 4), map[string]string{
		"check kv team/secret/ai/hook": "failed: its latest version, 1, is deleted: vault kv undelete -versions=1 team/secret/ai/hook",
	})
}

const loginFile = `
secret "okta" { from = "env:OKTA_API_TOKEN" }
secret "robot" { from = "env:ROBOT_PASSWORD" }
secret "jwt" { from = "env:JWT" }

policy "developer" {
  path "secret/data/ai" { capabilities = ["read", "update"] }
}
auth "okta" "okta" {
  config {
    org_name  = "acme"
    api_token = secret.okta
  }
  group "AI-Security" { policies = ["developer"] }
}
auth "jwt" "ci" {
  config { jwks_url = "ISSUER" }
  role "Deploy" {
    user_claim              = "sub"
    bound_audiences         = ["vault"]
    token_policies          = ["developer"]
    token_no_default_policy = true
  }
}
auth "approle" "approle" {
  role "Build" {
    token_policies = ["developer"]
    token_type     = "batch"
    token_ttl      = "2m"
  }
  role "once" {
    token_num_uses = 1
    token_ttl      = "2m"
  }
}
check "okta" "okta/alice@acme.com" {
  password = secret.robot
  policies = ["Developer"]
  allowed  = { "secret/data/ai" = ["read"] }
  denied   = ["secret/data/other", "sys/policies/acl/developer"]
}
check "jwt" "auth/ci/Deploy" {
  token   = secret.jwt
  allowed = { "secret/data/ai" = "update" }
  denied  = ["secret/data/other"]
}
check "approle" "approle/build" {
  allowed = { "secret/data/ai" = ["update", "read"] }
  denied  = ["secret/data/other"]
}
check "approle" "approle/once" {
  policies = ["default"]
  denied   = ["secret/data/ai"]
}
`

// logins are the accessors of all tokens that logins gave.
func (h *harness) logins() int {
	h.t.Helper()
	s, err := h.api.Logical().ListWithContext(h.t.Context(), "auth/token/accessors")
	if err != nil {
		h.t.Fatal(err)
	}
	return len(s.Data["keys"].([]any))
}

func TestChecksOfLogins(t *testing.T) {
	t.Parallel()
	org, i := organisation(t), issuer(t)
	h := start(t, serverEnv(org.Environment()...))
	h.secret("OKTA_API_TOKEN", org.APIToken())
	h.secret("ROBOT_PASSWORD", password)
	token, err := i.Sign(map[string]any{"sub": "repo", "aud": "vault"})
	if err != nil {
		t.Fatal(err)
	}
	h.secret("JWT", token)
	h.write("a.hcl", strings.ReplaceAll(loginFile, "ISSUER", i.JWKSURL()))
	least := h.least("a.hcl")
	least.apply("a.hcl")
	before := h.logins()
	ended(t, least.proofs("a.hcl", 0), map[string]string{
		"check okta okta/alice@acme.com": "ok: logged in; policies: default, developer; may do what it should at 1 path; may do nothing at 2 paths",
		"check jwt auth/ci/Deploy":       "ok: logged in; policies: developer; may",
		"check approle approle/build":    "ok: logged in; policies: default, developer; may",
		"check approle approle/once":     "ok: logged in; policies: default; may do nothing at 1 path",
	})
	if after := h.logins(); after != before {
		t.Errorf("there were %d tokens, and there are %d", before, after)
	}

	// Too much, too little, and not at all.
	h.vault("sys/policies/acl/developer", map[string]any{"policy": `path "secret/data/other" { capabilities = ["list"] }`})
	if err := org.SetPassword(alice, "another one than that"); err != nil {
		t.Fatal(err)
	}
	delete(h.env, "JWT")
	got := least.proofs("a.hcl", 4)
	ended(t, got, map[string]string{
		"check okta okta/alice@acme.com": "failed: logging in: writing auth/okta/login/alice@acme.com: 400",
		"check jwt auth/ci/Deploy":       `skipped: the secret "jwt" was not read: `,
		"check approle approle/build":    "failed: logged in; it may not read or update secret/data/ai; it may list secret/data/other, where it should be allowed nothing",
		"check approle approle/once":     "ok: ",
	})
	h.run("verify", "-f", "a.hcl").exits(4).says("FAILED", "a.hcl:47")
	h.run("verify", "-f", "a.hcl", "--target", "auth/ci").exits(0).silent("okta", "approle")
}

// A login may be asked for more, by Vault or by Okta.
func TestChecksWithASecondFactor(t *testing.T) {
	t.Parallel()
	org := organisation(t)
	h := start(t, serverEnv(org.Environment()...))
	h.secret("OKTA_API_TOKEN", org.APIToken())
	h.secret("ROBOT_PASSWORD", password)
	h.write("a.hcl", `
secret "okta" { from = "env:OKTA_API_TOKEN" }
secret "robot" { from = "env:ROBOT_PASSWORD" }
secret "codes" { from = "env:CODES" }
auth "okta" "okta" {
  config {
    org_name        = "acme"
    api_token       = secret.okta
    bypass_okta_mfa = true
  }
}
mfa "totp" "codes" {
  issuer    = "Acme"
  period    = 2
  algorithm = "SHA512"
  digits    = 8
}
login_enforcement "people" {
  mfa_methods  = ["codes"]
  auth_methods = ["okta"]
}
check "okta" "okta/alice@acme.com" {
  password = secret.robot
  mfa      = true
  WITH
}
`)
	file := h.read("a.hcl")
	with := func(text string) { h.write("a.hcl", strings.ReplaceAll(file, "WITH", text)) }
	check := func(code int, want string) {
		t.Helper()
		ended(t, h.least("a.hcl").proofs("a.hcl", code), map[string]string{"check okta okta/alice@acme.com": want})
	}
	with("")
	h.least("a.hcl").apply("a.hcl")
	check(0, "ok: the first factor was accepted, and a second is asked for: codes")
	with(`policies = ["default"]`)
	check(0, "skipped: a second factor is asked for (codes): give totp")

	// A robot has a key of its own; a code counts once, and the next one does.
	entity := h.vault("identity/lookup/entity", map[string]any{"alias_name": alice, "alias_mount_accessor": h.authAccessor("okta")}).Data["id"]
	enrolled := h.vault("identity/mfa/method/totp/admin-generate", map[string]any{"method_id": h.mfaMethod("codes")["id"], "entity_id": entity})
	h.secret("CODES", enrolled.Data["url"].(string))
	with("policies = [\"default\"]\n  totp = secret.codes")
	for range 3 {
		check(0, "ok: logged in; policies: default")
	}
	h.secret("CODES", "otpauth://totp/x?secret=GEZDGNBVGY3TQOJQ&period=1&digits=8")
	check(4, "failed: the second factor was refused")

	// Without the enforcement anybody gets in with a password.
	if _, err := h.api.Logical().DeleteWithContext(t.Context(), "identity/mfa/login-enforcement/people"); err != nil {
		t.Fatal(err)
	}
	check(4, "failed: logged in; Vault asked for no second factor")

	// Okta asks itself.
	factor, err := org.Enroll(alice, okta.Factor{Type: okta.TOTP})
	if err != nil {
		t.Fatal(err)
	}
	org.RequireMFA(true)
	h.secret("CODES", factor.Secret)
	h.write("a.hcl", strings.NewReplacer("mfa      = true", "", "WITH", "totp = secret.codes", "bypass_okta_mfa = true", "").Replace(file))
	h.vault("auth/okta/config", map[string]any{"bypass_okta_mfa": false})
	check(2, "ok: logged in; policies: default")
	if n := len(org.Transactions()); n == 0 {
		t.Error("Okta has verified nothing")
	}
}

// Interrupted between making a credential and taking it away, a check takes it
// away all the same.
func TestAnInterruptedCheckLeavesNothing(t *testing.T) {
	t.Parallel()
	h, f := engine(t)
	h.write("a.hcl", h.engineFile(f)+"check \"ai-keys\" \"ai-keys/ci\" {}\n")
	h.run("apply", "-f", "a.hcl", "--auto-approve", "--no-checks").exits(0)
	before := live(f)
	var program atomic.Pointer[running]
	ready := make(chan struct{})
	slow := h.through(func(r *http.Request, forward func()) {
		if strings.HasPrefix(r.URL.Path, "/v1/ai-keys/creds/") {
			<-ready
			if err := program.Load().cmd.Process.Signal(syscall.SIGINT); err != nil {
				t.Error(err)
			}
		}
		forward()
	})
	p := slow.begin("verify", "-f", "a.hcl")
	program.Store(p)
	close(ready)
	p.end().exits(1).says("interrupted")
	if now := live(f); now != before {
		t.Errorf("there were %d keys, and there are %d", before, now)
	}
}
