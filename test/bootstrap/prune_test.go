package bootstrap_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/hashicorp/vault/api"
)

// losing has the program lose the answer of every write at a path.
func (h *harness) losing(path string) *harness {
	return h.through(func(r *http.Request, forward func()) {
		forward()
		if r.Method != http.MethodGet && r.URL.Path == path {
			panic(http.ErrAbortHandler) // before what was answered is sent
		}
	})
}

// accessor is that of an auth mount.
func (h *harness) accessor(path string) string {
	h.t.Helper()
	m, _ := h.has("sys/auth")[path+"/"].(map[string]any)
	accessor, _ := m["accessor"].(string)
	if accessor == "" {
		h.t.Fatalf("there is no auth mount at %s", path)
	}
	return accessor
}

// A mount that others made, and that the file only works with, is theirs.
func TestPruneLeavesTheMountsOfOthers(t *testing.T) {
	t.Parallel()
	h, f := engine(t)
	h.vault("sys/mounts/transit", map[string]any{"type": "transit"})
	h.vault("sys/auth/approle", map[string]any{"type": "approle"})
	h.vault("transit/keys/payroll", nil)
	h.vault("transit/keys/temp", nil)
	h.vault("transit/keys/temp/config", map[string]any{"deletion_allowed": true})
	h.vault("auth/approle/role/other-team", map[string]any{})
	h.write("a.hcl", h.engineFile(f)+`
ownership { prune = ["approle role", "transit key", "ai-keys role"] }
`)
	h.run("apply", "-f", "a.hcl", "--auto-approve", "--no-checks").exits(0)
	h.vault("ai-keys/roles/stray", map[string]any{"account": "acme", "type": "static", "project_id": f.OpenAI.ProjectID, "rotation_period": "24h"})

	r := h.run("apply", "-f", "a.hcl", "--prune", "--auto-approve", "--no-checks", "--json").exits(0).report()
	if got := deletes(r.Done); len(got) != 1 || got[0] != "ai-keys role stray" {
		t.Errorf("what was pruned is %q", got)
	}
	for _, path := range []string{"transit/keys/payroll", "transit/keys/temp", "auth/approle/role/other-team"} {
		if h.has(path) == nil {
			t.Errorf("%s is gone", path)
		}
	}
}

// What cannot go is refused before anything is written, and what goes says what
// is lost, as in a destroy.
func TestPruneSaysWhatIsLost(t *testing.T) {
	t.Parallel()
	h := start(t)
	h.write("a.hcl", `
mount "transit" "transit" {
  key "kept" {}
}
auth "userpass" "people" {}
auth "userpass" "others" {}
mfa "totp" "codes" { issuer = "Acme" }
ownership {
  prune   = ["transit key", "mount", "auth", "mfa method", "login enforcement", "policy"]
  protect = ["old data ai"]
}
`)
	h.apply("a.hcl")
	h.vault("sys/policies/acl/stray", map[string]any{"policy": `path "x" { capabilities = ["read"] }`})
	h.vault("transit/keys/payroll", nil)
	h.vault("sys/mounts/old", map[string]any{"type": "kv"})
	h.vault("old/ai", map[string]any{"a": "b"})
	h.vault("sys/mounts/spare", map[string]any{"type": "kv"})
	h.vault("spare/ai", map[string]any{"a": "b"})
	h.vault("sys/auth/stray", map[string]any{"type": "approle"})
	h.vault("auth/stray/role/one", map[string]any{})
	h.vault("identity/mfa/method/totp", map[string]any{"method_name": "extra", "issuer": "x"})
	h.vault("identity/mfa/login-enforcement/everybody", map[string]any{
		"mfa_method_ids": []any{h.mfaMethod("codes")["id"]}, "auth_method_types": "userpass",
	})
	h.vault("identity/mfa/login-enforcement/others", map[string]any{
		"mfa_method_ids": []any{h.mfaMethod("codes")["id"]}, "auth_method_accessors": h.accessor("others"),
	})

	r := h.run("plan", "-f", "a.hcl", "--prune", "--json").exits(2).report()
	for object, want := range map[string]string{
		"mount spare":                 "every entry in it is lost",
		"mount auth/stray":            "1 object that no file names included: auth/stray role one",
		"transit key payroll":         `not possible: the key payroll may not be deleted`,
		"login enforcement everybody": "MFA is OFF from then on for logins at auth/people",
	} {
		c := r.find(t, object)
		if notes := strings.Join(c.Notes, "\n"); c.Action != "delete" || c.Notes[0] != "in no file" || !strings.Contains(notes, want) {
			t.Errorf("%s: %s %q does not say %q", object, c.Action, notes, want)
		}
	}
	if notes := strings.Join(r.find(t, "transit key payroll").Notes, "\n"); !strings.Contains(notes, `protect = ["transit key payroll"]`) {
		t.Errorf("the way out is not said: %q", notes)
	}
	for _, object := range r.Changes {
		if object.Object == "mount old" {
			t.Error("a mount that holds what is protected is pruned")
		}
	}
	h.least("a.hcl").run("apply", "-f", "a.hcl", "--prune", "--auto-approve").exits(1).explains("transit key payroll: nothing was written")
	if h.has("sys/policies/acl/stray") == nil || h.has("spare/ai") == nil {
		t.Error("something was deleted although the apply was refused")
	}

	h.write("a.hcl", strings.Replace(h.read("a.hcl"), `["old data ai"`, `["old data ai", "transit key payroll"`, 1))
	h.run("apply", "-f", "a.hcl", "--prune", "--auto-approve").exits(0)
	if h.has("transit/keys/payroll") == nil || h.has("old/ai") == nil || h.has("sys/policies/acl/stray") != nil {
		t.Error("what is pruned is not what is in no file and not protected")
	}
	h.run("plan", "-f", "a.hcl", "--prune").exits(0)
}

// A method that an enforcement asks for cannot go without it.
func TestPruneOfASecondFactor(t *testing.T) {
	t.Parallel()
	h := start(t)
	h.vault("sys/auth/userpass", map[string]any{"type": "userpass"})
	h.vault("identity/mfa/method/totp", map[string]any{"method_name": "codes", "issuer": "x"})
	h.vault("identity/mfa/login-enforcement/people", map[string]any{
		"mfa_method_ids": []any{h.mfaMethod("codes")["id"]}, "auth_method_types": "userpass",
	})
	h.write("a.hcl", `ownership { prune = ["mfa method"] }`)
	h.run("apply", "-f", "a.hcl", "--prune", "--auto-approve").exits(1).explains("nothing was written: the login enforcement people asks for it, and stays")
	h.write("a.hcl", `ownership { prune = ["mfa method", "login enforcement"] }`)
	h.run("apply", "-f", "a.hcl", "--prune", "--auto-approve").exits(0).explains("MFA is OFF from then on for logins at auth/userpass")
	h.run("plan", "-f", "a.hcl", "--prune").exits(0)
}

// The file's own new audit device takes the place of those that are pruned.
func TestPruneOfAnAuditDeviceThatIsReplaced(t *testing.T) {
	t.Parallel()
	h := start(t)
	logs := t.TempDir()
	h.audit("old", map[string]any{"type": "file", "options": map[string]string{"file_path": logs + "/old.log"}})
	h.write("a.hcl", `
audit "file" "new" { file_path = "`+logs+`/new.log" }
ownership { prune = ["audit"] }
`)
	h.run("apply", "-f", "a.hcl", "--prune", "--auto-approve").exits(0)
	if devices := h.has("sys/audit"); devices["old/"] != nil || devices["new/"] == nil {
		t.Errorf("the devices are %v", devices)
	}
}

// What may not be read is named as a policy that helps.
func TestPruneWithoutTheRights(t *testing.T) {
	t.Parallel()
	h := start(t)
	h.write("a.hcl", `
policy "reader" {
  path "x" { capabilities = ["read"] }
}
ownership { prune = ["policy"] }
`)
	h.apply("a.hcl")
	h.vault("sys/policies/acl/stray", map[string]any{"policy": `path "y" { capabilities = ["read"] }`})
	h.vault("sys/policies/acl/blind", map[string]any{"policy": strings.Replace(h.run("policy", "-f", "a.hcl").exits(0).stdout,
		`path "sys/policies/acl/*"`, `path "nothing/*"`, 1)})
	made, err := h.api.Auth().Token().CreateOrphanWithContext(t.Context(), &api.TokenCreateRequest{Policies: []string{"blind"}, NoDefaultPolicy: true})
	if err != nil {
		t.Fatal(err)
	}
	r := h.as(made.Auth.ClientToken).run("plan", "-f", "a.hcl", "--prune", "--json").exits(1).report()
	if r.Error == nil || !strings.Contains(r.Error.MissingPolicy, `path "sys/policies/acl/stray"`) {
		t.Errorf("%+v", r.Error)
	}
}

// What is in no file is not compared; but that a second factor is off because of
// a dead accessor is said all the same.
func TestStaleAccessorsInNoFile(t *testing.T) {
	t.Parallel()
	h := start(t)
	h.write("a.hcl", `auth "userpass" "people" {}`)
	h.apply("a.hcl")
	h.vault("identity/mfa/method/totp", map[string]any{"method_name": "codes", "issuer": "x"})
	dead := h.accessor("people")
	h.vault("identity/mfa/login-enforcement/people", map[string]any{
		"mfa_method_ids": []any{h.mfaMethod("codes")["id"]}, "auth_method_accessors": dead,
	})
	h.vault("identity/group/name/Staff", map[string]any{"type": "external"})
	h.vault("identity/group-alias", map[string]any{"name": "staff", "mount_accessor": dead, "canonical_id": h.has("identity/group/name/Staff")["id"]})
	if r := h.run("plan", "-f", "a.hcl", "--json").exits(0).report(); len(r.Changes) != 0 {
		t.Errorf("%+v", r.Changes)
	}
	if err := h.api.Sys().DisableAuthWithContext(t.Context(), "people"); err != nil {
		t.Fatal(err)
	}
	h.run("apply", "-f", "a.hcl", "--auto-approve").exits(0)
	r := h.run("verify", "-f", "a.hcl", "--json").exits(0).report()
	for object, want := range map[string]string{
		"login enforcement people": "in no file; stale: " + dead + " belongs to no mount any more: MFA is OFF for the logins that it was made for",
		"identity group staff":     "in no file; stale: " + dead + " belongs to no mount any more: logins do not get this group",
	} {
		if c := r.find(t, object); c.Action != "none" || len(c.Notes) != 1 || c.Notes[0] != want {
			t.Errorf("%s: %s %q", object, c.Action, c.Notes)
		}
	}
	h.run("verify", "-f", "a.hcl").exits(0).explains("MFA is OFF for the logins that it was made for")
}

// The answer to a change of an audit device may be lost. What was done counts.
func TestAnAuditDeviceWhoseAnswerIsLost(t *testing.T) {
	t.Parallel()
	h := start(t)
	logs := t.TempDir()
	h.write("a.hcl", `audit "file" "main" { file_path = "`+logs+`/a.log" }`)
	h.apply("a.hcl")
	h.write("a.hcl", `audit "file" "main" { file_path = "`+logs+`/b.log" }`)
	h.losing("/v1/sys/audit/main").run("apply", "-f", "a.hcl", "--auto-approve").exits(0)
	if now := h.has("sys/audit")["main/"].(map[string]any)["options"].(map[string]any)["file_path"]; now != logs+"/b.log" {
		t.Errorf("the device logs to %v", now)
	}
}
