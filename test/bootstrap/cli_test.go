package bootstrap_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/hashicorp/vault/api"
)

// basics is a file that needs no secret and no other server.
const basics = `
policy "reader" {
  path "secret/data/*" { capabilities = ["read", "list"] }
}

mount "transit" "transit" {
  description       = "Encryption"
  default_lease_ttl = "90m"
}

auth "okta" "okta" {
  description = "People"
}
`

// withSecret has a secret that Vault does not return.
const withSecret = `
secret "okta" { from = "env:OKTA_API_TOKEN" }

auth "okta" "okta" {
  config {
    org_name  = "acme"
    api_token = secret.okta
  }
}
`

func TestAStory(t *testing.T) {
	t.Parallel()
	h := start(t)
	h.story(basics, func(*api.Client) {
		h.vault("sys/policies/acl/reader", map[string]any{"policy": `path "x" { capabilities = ["read"] }`})
		h.vault("sys/mounts/transit/tune", map[string]any{"description": "other"})
	}, updates("policy reader", "document"), updates("mount transit", "description"))
}

func TestWhatIsPrintedAndHowItEnds(t *testing.T) {
	t.Parallel()
	h := start(t)
	h.write("vault.hcl", basics)
	h.run("validate", "-f", "vault.hcl").exits(0).says("vault.hcl: 3 objects, 0 secrets, 0 checks; no mistakes.")
	first := h.run("plan", "-f", "vault.hcl").exits(2)
	want := `+ policy reader    vault.hcl:2
      document
        +path "secret/data/*" {
        +  capabilities = ["list","read"]
        +}
+ mount transit    vault.hcl:6
      type               "transit"
      description        "Encryption"
      default_lease_ttl  1h30m
+ mount auth/okta  vault.hcl:11
      type         "okta"
      description  "People"

In no file, and left alone (1):
  mount  secret

Plan: 3 to create, 0 to change, 0 to delete, 0 to rotate; 0 unchanged. 1 unmanaged.
`
	if diff := gocmp.Diff(want, first.stdout); diff != "" {
		t.Error(diff)
	}
	h.run("verify", "-f", "vault.hcl").exits(2).says("Drift: 3 missing, 0 different; 0 as the file says.")
	h.run("apply", "-f", "vault.hcl", "--auto-approve").exits(0).says(
		"Plan: 3 to create", "[1/3] policy reader … created (", "[2/3] mount transit … created (", "[3/3] mount auth/okta … created (", "Done: 3 created in ",
	).silent("In no file")
	h.run("apply", "-f", "vault.hcl").exits(0).says("Nothing to do: 3 objects are as the file says.").silent("Done")
	h.run("verify", "-f", "vault.hcl").exits(0).says("No drift: 3 objects are as the file says.")
	h.env["LC_ALL"] = "C"
	h.vault("sys/mounts/transit/tune", map[string]any{"description": "Verschlüsselung"})
	r := h.run("apply", "-f", "vault.hcl", "--auto-approve").exits(0).says(`"Verschl`, ` -> "Encryption"`, "[1/1] mount transit ... updated")
	if strings.ContainsAny(r.stdout, "→…") {
		t.Errorf("there are symbols that an ASCII terminal does not have:\n%s", r.stdout)
	}
}

func TestWhatIsPrintedForPrograms(t *testing.T) {
	t.Parallel()
	h := start(t)
	h.write("vault.hcl", basics)
	if r := h.run("validate", "-f", "vault.hcl", "--json").exits(0).report(); !r.Valid || r.Objects != 3 || r.Command != "validate" {
		t.Errorf("validate: %+v", r)
	}
	r := h.plan("vault.hcl", creates("policy reader"), creates("mount transit"), creates("mount auth/okta"))
	if at := r.find(t, "mount transit").At; at.File != "vault.hcl" || at.Line != 6 {
		t.Errorf("the plan shows another place: %+v", at)
	}
	if r.Command != "plan" || r.Server != h.server.Addr || r.Summary["create"] != 3 || len(r.Unmanaged) != 1 || r.Unmanaged[0].Object != "mount secret" {
		t.Errorf("plan: %+v", r)
	}
	applied := h.run("apply", "-f", "vault.hcl", "--json", "--auto-approve").exits(0).says("[3/3]")
	if strings.Contains(applied.stdout, "[3/3]") {
		t.Error("there is more than the document on standard output")
	}
	if r := applied.report(); len(r.Done) != 3 || r.Done[0].Action != "create" || r.Summary["created"] != 3 || len(r.Left) != 0 || r.Error != nil {
		t.Errorf("apply: %+v", r)
	}
	if r := h.run("apply", "-f", "vault.hcl", "--json").exits(0).report(); len(r.Done) != 0 || r.Summary["unchanged"] != 3 {
		t.Errorf("apply with nothing to do: %+v", r)
	}
	h.vault("sys/mounts/transit/tune", map[string]any{"default_lease_ttl": "60"})
	drifted := h.run("verify", "-f", "vault.hcl", "--json").exits(2).report()
	drifted.wants(t, updates("mount transit", "default_lease_ttl"))
	if f := drifted.find(t, "mount transit").Fields[0]; f.Old != 60.0 || f.New != 5400.0 {
		t.Errorf("a duration is not in seconds: %+v", f)
	}
	if r := h.run("policy", "-f", "vault.hcl", "--json").exits(0).report(); !strings.Contains(r.Policy, `path "sys/policies/acl/reader"`) {
		t.Errorf("policy: %+v", r)
	}
}

func TestEveryErrorIsADocumentToo(t *testing.T) {
	t.Parallel()
	h := start(t)
	h.write("vault.hcl", basics)
	h.write("wrong.hcl", `policy "a" { polcies = ["b"] }`)
	for _, row := range []struct {
		kind string
		h    *harness
		args []string
	}{
		{"usage", h, []string{"plan", "--prun"}},
		{"usage", h, []string{"plan"}},
		{"usage", h, []string{"aply"}},
		{"usage", h, []string{"apply", "-f", "vault.hcl"}},
		{"usage", h, []string{"apply", "vault.hcl"}},
		{"file", h, []string{"plan", "-f", "wrong.hcl"}},
		{"file", h, []string{"validate", "-f", "wrong.hcl"}},
		{"file", h, []string{"validate", "-f", "absent.hcl"}},
		{"token", h.as("hvs.nobodyhasthistoken"), []string{"plan", "-f", "vault.hcl"}},
		{"token", h.as(""), []string{"plan", "-f", "vault.hcl"}},
		{"server", h.at("http://127.0.0.1:1"), []string{"plan", "-f", "vault.hcl"}},
	} {
		r := row.h.run(append(row.args, "--json")...).exits(1)
		if got := r.report(); got.Error == nil || got.Error.Kind != row.kind || got.Error.Message == "" {
			t.Errorf("%v: %+v, not of the kind %s", row.args, got.Error, row.kind)
		}
		if r.stderr != "" {
			t.Errorf("%v: on standard error: %s", row.args, r.stderr)
		}
		h.run(row.args...).silent("panic")
	}
	found := h.run("validate", "-f", "wrong.hcl", "--json").report().Diagnostics
	if len(found) == 0 || found[0].At.File != "wrong.hcl" || found[0].At.Line != 1 || found[0].Severity != "error" {
		t.Errorf("validate: %+v", found)
	}
}

func TestAWrongCommandLineIsAnswered(t *testing.T) {
	t.Parallel()
	h := start(t)
	for _, row := range []struct {
		args []string
		want string
	}{
		{[]string{"aply"}, `there is no command "aply" (did you mean apply?)`},
		{[]string{"plan", "--prun"}, "has no flag --prun (did you mean --prune?)"},
		{[]string{"plan", "vault.hcl"}, `plan does not take "vault.hcl"; a file is named with -f`},
		{[]string{"plan", "--wait", "soon"}, `invalid argument "soon" for "--wait"`},
		{[]string{"plan"}, "there is no bootstrap.hcl or bootstrap.yaml here: name a file or a folder with -f"},
	} {
		h.run(row.args...).exits(1).says("Error: ", row.want)
	}
	h.run("--version").exits(0).says("ai-keys-bootstrap ")
	h.run().exits(0).says("Exit codes:", "validate", "plan", "apply", "verify", "policy")
	h.run("help", "apply").exits(0).says("Examples:", "--auto-approve")
	h.run("--help").exits(0).says("VAULT_NAMESPACE", "ai-keys-bootstrap help file")
	h.write("bootstrap.hcl", basics)
	h.run("__complete", "plan", "--target", "").exits(0).says("policy reader\n", "mount auth/okta\n")
	h.run("validate").exits(0)
	h.write("bootstrap.yaml", "{}")
	h.run("validate").exits(1).says("there are bootstrap.hcl and bootstrap.yaml here: name the one that is meant with -f")
}

func TestASavedPlan(t *testing.T) {
	t.Parallel()
	h := start(t)
	h.write("vault.hcl", basics+withSecretInto("apps"))
	h.secret("OKTA_API_TOKEN")
	h.run("plan", "-f", "vault.hcl", "--out", "./vault.hcl").exits(1).says("--out ./vault.hcl is the file itself")
	h.run("plan", "-f", "vault.hcl", "--out", "absent/plan.json").exits(1).says("saving the plan")
	h.run("plan", "-f", "vault.hcl", "--out", "plan.json").exits(2).says("To do it: ai-keys-bootstrap apply plan.json")
	if info, err := os.Stat(filepath.Join(h.dir, "plan.json")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the saved plan: %v, %v", info, err)
	}
	h.write("vault.hcl", `policy "other" {`) // the plan holds what it was
	h.run("apply", "plan.json", "-f", "vault.hcl").exits(1).says("a saved plan holds its file and its flags")
	h.run("apply", "plan.json", "--prune").exits(1).says("a saved plan holds its file and its flags")
	h.run("apply", "absent.json").exits(1).says("opening the saved plan")
	h.run("apply", "vault.hcl").exits(1).says("vault.hcl: this is no saved plan")
	h.at(strings.Replace(h.server.Addr, "127.0.0.1", "localhost", 1)).run("apply", "plan.json").exits(1).
		says("the plan was made for "+h.server.Addr, "and this is http://localhost:")
	h.vault("sys/policies/acl/reader", map[string]any{"policy": `path "x" { capabilities = ["read"] }`})
	h.run("apply", "plan.json").exits(1).says("the server has changed since the plan was made: nothing was written; make a new plan")
	if r := h.run("apply", "plan.json", "--json").exits(1).report(); r.Error.Kind != "changed" {
		t.Errorf("the error is of the kind %s", r.Error.Kind)
	}
	if h.has("sys/mounts/transit") != nil {
		t.Error("something was written")
	}
	if err := h.api.Sys().DeletePolicyWithContext(t.Context(), "reader"); err != nil {
		t.Fatal(err)
	}
	h.run("apply", "plan.json").exits(0).says("Done: 5 created")
	h.run("apply", "plan.json").exits(1).says("the server has changed since")
}

// withSecretInto is withSecret at another mount.
func withSecretInto(mount string) string {
	return strings.Replace(withSecret, `auth "okta" "okta"`, `auth "okta" "`+mount+`"`, 1)
}

func TestASavedPlanThatWasMadeWithoutTheSecrets(t *testing.T) {
	t.Parallel()
	h := start(t)
	h.write("vault.hcl", withSecret)
	h.run("plan", "-f", "vault.hcl", "--out", "plan.json").exits(2).says(`secret "okta" was not read: the environment variable OKTA_API_TOKEN is not set`)
	h.run("apply", "plan.json").exits(1).says("nothing was written, because secrets are missing", `secret "okta", for auth/okta config`)
	h.secret("OKTA_API_TOKEN")
	h.run("apply", "plan.json").exits(0)
	h.plan("vault.hcl")
}

func TestASecretIsComparedWithoutBeingKept(t *testing.T) {
	t.Parallel()
	h := start(t)
	h.secret("OKTA_API_TOKEN")
	h.write("vault.hcl", withSecret)
	h.secretStory("vault.hcl", "OKTA_API_TOKEN", updates("auth/okta config", "api_token"))
	delete(h.env, "OKTA_API_TOKEN")
	r := h.run("plan", "-f", "vault.hcl").exits(0).says("? auth/okta config", "api_token  ? a secret that was not read: not compared", "1 secret not compared.", "OKTA_API_TOKEN is not set")
	if strings.Contains(r.stdout, "~") {
		t.Errorf("a secret that is not there is a change:\n%s", r.stdout)
	}
}

func TestSecretsComeFromWhereTheFileSays(t *testing.T) {
	t.Parallel()
	h := start(t)
	for _, row := range []struct{ from, secret string }{
		{"file:okta.token", h.canary()},
		{"vault:secret/okta/prod#token", h.canary()},
		{"stdin:", h.canary()},
	} {
		h.write("sub/vault.hcl", strings.ReplaceAll(withSecretInto(strings.Trim(strings.SplitN(row.from, ":", 2)[0], ":")), "env:OKTA_API_TOKEN", row.from))
		h.write("sub/okta.token", row.secret+"\n") // beside the file that names it
		h.vault("secret/data/okta/prod", map[string]any{"data": map[string]any{"token": row.secret}})
		cmd := h.command("apply", "-f", "sub/vault.hcl", "--auto-approve")
		cmd.Stdin = strings.NewReader(row.secret)
		h.finish(cmd).exits(0)
		cmd = h.command("plan", "-f", "sub/vault.hcl")
		cmd.Stdin = strings.NewReader(row.secret)
		h.finish(cmd).exits(0).silent("not read")
	}
}

func TestOnlyWhatIsAskedForIsDone(t *testing.T) {
	t.Parallel()
	h := start(t)
	h.write("vault.hcl", basics)
	h.run("plan", "-f", "vault.hcl", "--target", "polcy reader").exits(1).says("--target", "names nothing in the file")
	h.run("apply", "-f", "vault.hcl", "--target", "policy reader", "--auto-approve").exits(0).says("Done: 1 created")
	h.plan("vault.hcl", creates("mount transit"), creates("mount auth/okta"))
	h.run("apply", "-f", "vault.hcl").exits(1).says("there is nobody to ask", "--auto-approve")
	h.plan("vault.hcl", creates("mount transit"), creates("mount auth/okta"))
	h.run("plan", "-f", "vault.hcl", "--resend-secret", "okta").exits(1).says(`--resend-secret "okta": the file has no such secret`)
}

// A name that no file has is a warning as long as no server says that it is
// there.
func TestNamesThatOnlyTheServerHas(t *testing.T) {
	t.Parallel()
	h := start(t)
	h.write("a.hcl", `
policy "reader" {
  path "x" { capabilities = ["read"] }
}
auth "approle" "machines" {
  role "ci" { token_policies = ["readr", "theirs", "default"] }
}
`)
	readr, theirs := `warning: policy "readr" is not in this file`, `warning: policy "theirs" is not in this file`
	h.run("validate", "-f", "a.hcl").exits(0).says("a.hcl:6:15: "+readr, `Did you mean "reader"?`, theirs)
	h.run("plan", "-f", "a.hcl").exits(2).says(readr, theirs)
	h.vault("sys/policies/acl/theirs", map[string]any{"policy": `path "y" { capabilities = ["read"] }`})
	least := h.least("a.hcl")
	least.run("apply", "-f", "a.hcl", "--auto-approve").exits(0).says(readr).silent(theirs)
	least.run("destroy", "-f", "a.hcl", "--dry-run").exits(2).silent("warning")
}

// A target may leave out what it would be in, and what it refers to: that is
// said before anything is written.
func TestATargetInWhatIsNotThere(t *testing.T) {
	t.Parallel()
	h := start(t)
	h.write("a.hcl", `
auth "approle" "machines" {
  role "ci" {
    issue_secret_id "one" { to = "ci.wrapped" }
  }
}
mfa "totp" "codes" { issuer = "Acme" }
login_enforcement "all" {
  mfa_methods  = ["codes"]
  auth_methods = ["machines"]
}
`)
	apply := func(targets ...string) result {
		args := []string{"apply", "-f", "a.hcl", "--auto-approve"}
		for _, target := range targets {
			args = append(args, "--target", target)
		}
		return h.run(args...)
	}
	apply("auth/machines role ci").exits(1).says("nothing was written", "auth/machines role ci is in mount auth/machines", `--target "mount auth/machines" as well`)
	apply("auth/machines role ci secret-id one").exits(1).says("is in auth/machines role ci, which is neither on the server nor in the plan")
	apply("login enforcement all").exits(1).says("nothing was written", `there is no auth method "machines" on the server`, `there is no mfa method "codes"`)
	if h.has("sys/mounts/ai-keys-bootstrap/record") != nil {
		t.Error("something was written")
	}
	apply("mount auth/machines", "mfa method totp codes", "login enforcement all").exits(0)
	h.plan("a.hcl")
}

func TestPruningTakesTheFileAndTheOperator(t *testing.T) {
	t.Parallel()
	h := start(t)
	h.write("vault.hcl", basics+`ownership {
  prune   = ["policy"]
  protect = ["policy keep"]
}`)
	h.apply("vault.hcl")
	for _, name := range []string{"keep", "old", "older"} {
		h.vault("sys/policies/acl/"+name, map[string]any{"policy": `path "x" { capabilities = ["read"] }`})
	}
	h.run("plan", "-f", "vault.hcl").exits(0).says("keep, old, older", "4 unmanaged.")
	pruned := h.run("plan", "-f", "vault.hcl", "--prune", "--json").exits(2).report()
	pruned.wants(t, want{"delete", "policy old", nil}, want{"delete", "policy older", nil})
	h.run("apply", "-f", "vault.hcl", "--prune", "--auto-approve").exits(0).says("- policy old", "Done: 2 deleted")
	if h.has("sys/policies/acl/old") != nil || h.has("sys/policies/acl/keep") == nil {
		t.Error("what was deleted is not what was to be deleted")
	}
}

func TestATokenWithoutTheRights(t *testing.T) {
	t.Parallel()
	h := start(t)
	h.write("vault.hcl", basics)
	h.write("less.hcl", `policy "reader" {
  path "secret/data/*" { capabilities = ["read", "list"] }
}`)
	less := h.least("less.hcl")
	less.run("plan", "-f", "less.hcl").exits(2)
	less.run("apply", "-f", "vault.hcl", "--auto-approve").exits(1).says(
		"the token may not do what", "These policy lines are missing:", `path "sys/mounts/transit" {`,
	)
	r := less.run("apply", "-f", "vault.hcl", "--auto-approve", "--json").exits(1).report()
	if r.Error.Kind != "denied" || !strings.Contains(r.Error.MissingPolicy, `path "sys/mounts/transit" {`) {
		t.Errorf("the error is %+v", r.Error)
	}
	if h.has("sys/policies/acl/reader") != nil {
		t.Error("something was written before the rights were looked at")
	}
	h.vault("sys/policies/acl/missing", map[string]any{"policy": r.Error.MissingPolicy})
}

func TestWhatWasAppliedIsProvedByUse(t *testing.T) {
	t.Parallel()
	h := start(t)
	h.write("vault.hcl", `
mount "transit" "transit" {
  key "orders" {}
}

check "read" "secret/data/present" {
  fields = ["data"]
}
`)
	r := h.run("apply", "-f", "vault.hcl", "--auto-approve").exits(4).says("Done: 2 created", "  ok      transit key orders", "  FAILED  check read secret/data/present  vault.hcl:6", "1 proof by use, 1 failed.")
	r.silent("Mend the cause")
	h.run("apply", "-f", "vault.hcl", "--auto-approve").exits(0).silent("FAILED") // it has nothing to do
	h.run("verify", "-f", "vault.hcl").exits(4).says("No drift: 2 objects are as the file says.", "1 proof by use, 1 failed.")
	h.vault("secret/data/present", map[string]any{"data": map[string]any{"a": "b"}})
	h.run("verify", "-f", "vault.hcl").exits(0).says("2 proofs by use.")
	h.vault("sys/mounts/transit/tune", map[string]any{"description": "other"})
	drifted := h.run("verify", "-f", "vault.hcl", "--json").exits(2).report()
	drifted.wants(t, updates("mount transit", "description"))
	if len(drifted.Proofs) != 2 || drifted.Proofs[0].Outcome != "ok" || drifted.Proofs[0].Proof != "transit key orders" || drifted.Proofs[0].Did == "" {
		t.Errorf("the proofs are %+v", drifted.Proofs)
	}
	if r := h.run("apply", "-f", "vault.hcl", "--json", "--auto-approve").exits(0).report(); len(r.Proofs) != 2 || len(r.Done) != 1 {
		t.Errorf("apply: %+v", r)
	}
}
