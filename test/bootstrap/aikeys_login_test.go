package bootstrap_test

import (
	"fmt"
	"strings"
	"testing"
)

func TestTheEnginesOwnLogin(t *testing.T) {
	t.Parallel()
	h, _ := engine(t)
	h.write("a.hcl", h.catalogEntry()+`
mount "ai-keys" "team/ai" {
  transit { key = "sealing/keys" }
}
`)
	plan := h.run("plan", "-f", "a.hcl", "--json").exits(2).report()
	plan.wants(t, creates("plugin secret ai-keys"), creates("mount team/ai"), creates("team/ai transit"),
		creates("policy ai-keys-team-ai-transit"), creates("mount sealing"), creates("sealing key keys"),
		creates("mount auth/approle"), creates("auth/approle role ai-keys-team-ai-transit"))
	h.least("a.hcl").apply("a.hcl")
	role := "auth/approle/role/ai-keys-team-ai-transit"
	before := h.engineLogins(role)
	if len(before) != 1 {
		t.Fatalf("%d secret-ids were issued", len(before))
	}
	h.run("verify", "-f", "a.hcl").exits(0)

	// What is set otherwise on mounts that the file does not mention is left alone.
	h.vault("sys/mounts/sealing/tune", map[string]any{"description": "everybody's"})
	h.vault("sealing/keys/keys/config", map[string]any{"deletion_allowed": true})
	h.plan("a.hcl")

	drifts := map[string]struct {
		drift func()
		wants []want
	}{
		"destroyed": {func() { h.vault(role+"/secret-id-accessor/destroy", map[string]any{"secret_id_accessor": before[0]}) }, []want{updates("team/ai transit", "secret_id")}},
		"another role": {func() {
			if _, err := h.api.Logical().DeleteWithContext(t.Context(), role); err != nil {
				t.Fatal(err)
			}
		}, []want{creates("auth/approle role ai-keys-team-ai-transit"), updates("team/ai transit", "role_id", "secret_id")}},
		"record lost": {func() {
			if _, err := h.api.Logical().DeleteWithContext(t.Context(), "ai-keys-bootstrap/record/metadata/objects/team%2Fai%20transit"); err != nil {
				t.Fatal(err)
			}
		}, []want{updates("team/ai transit", "secret_id")}},
		"wider policy": {func() {
			h.vault("sys/policies/acl/ai-keys-team-ai-transit", map[string]any{"policy": `path "sealing/*" { capabilities = ["update"] }`})
		}, []want{updates("policy ai-keys-team-ai-transit", "document")}},
		"another key": {func() {
			h.vault("sealing/keys/other", nil)
			h.vault("sys/policies/acl/ai-keys-team-ai-transit", map[string]any{"policy": `path "sealing/*" { capabilities = ["update"] }`})
			h.vault("team/ai/config/transit", map[string]any{"key": "other"})
		}, []want{updates("policy ai-keys-team-ai-transit", "document"), updates("team/ai transit", "key")}},
	}
	for _, name := range []string{"destroyed", "another role", "record lost", "wider policy", "another key"} {
		drifts[name].drift()
		h.plan("a.hcl", drifts[name].wants...)
		h.least("a.hcl").apply("a.hcl")
		if now := h.engineLogins(role); len(now) != 1 {
			t.Errorf("%s: %d secret-ids after the apply", name, len(now))
		}
		h.run("verify", "-f", "a.hcl").exits(0)
	}
}

// engineLogins are the accessors of a role's secret-ids.
func (h *harness) engineLogins(role string) []string {
	h.t.Helper()
	list, err := h.api.Logical().ListWithContext(h.t.Context(), role+"/secret-id")
	if err != nil {
		h.t.Fatal(err)
	}
	var out []string
	if list != nil {
		for _, name := range list.Data["keys"].([]any) {
			out = append(out, name.(string))
		}
	}
	return out
}

// What the file says itself counts, wherever it stands.
func TestTheEnginesLoginAsTheFileHasIt(t *testing.T) {
	t.Parallel()
	h, _ := engine(t)
	h.secret("SECRET_ID", h.canary())
	for _, c := range []struct{ name, file string }{ // in this order: what comes next begins with the second
		{"after", `
mount "ai-keys" "ai" {
  transit {
    key     = "transit/ai-keys"
    address = "ADDRESS"
  }
}
mount "transit" "transit" {
  description = "keys"
  key "ai-keys" {
    type = "chacha20-poly1305"
  }
}
auth "approle" "approle" {
  description = "machines"
  role "ai-keys-ai-transit" {
    token_policies = ["ai-keys-ai-transit"]
    token_ttl      = "5m"
  }
}`},
		{"another", `
auth "approle" "machines" {}
mount "transit" "transit" {
  key "ai-keys" {
    type = "chacha20-poly1305"
  }
}
mount "ai-keys" "ai" {
  transit {
    key        = "transit/ai-keys"
    auth_mount = "machines"
    address    = "ADDRESS"
    timeout    = "10s"
  }
}`},
	} {
		h.write("a.hcl", h.catalogEntry()+strings.ReplaceAll(c.file, "ADDRESS", h.server.Addr))
		h.run("apply", "-f", "a.hcl", "--auto-approve").exits(0)
		h.plan("a.hcl")
		h.run("verify", "-f", "a.hcl").exits(0)
		if kind := h.has("transit/keys/ai-keys")["type"]; kind != "chacha20-poly1305" {
			t.Errorf("%s: a key of type %v", c.name, kind)
		}
	}
	bound := fmt.Sprint(h.has("auth/machines/role/ai-keys-ai-transit")["secret_id_bound_cidrs"])
	if bound != "[127.0.0.1/32]" {
		t.Errorf("a login may come from %s", bound)
	}

	// A login that is not made here.
	h.vault("auth/approle/role/own", map[string]any{"token_policies": "ai-keys-ai-transit"})
	h.vault("auth/approle/role/own/custom-secret-id", map[string]any{"secret_id": h.env["SECRET_ID"]})
	roleID := h.has("auth/approle/role/own/role-id")["role_id"]
	h.write("a.hcl", h.catalogEntry()+fmt.Sprintf(`
secret "id" { from = "env:SECRET_ID" }
mount "ai-keys" "ai" {
  transit {
    role_id   = "%s"
    secret_id = secret.id
    timeout   = "10s"
  }
}`, roleID))
	h.plan("a.hcl", updates("ai transit", "role_id", "secret_id", "auth_mount"))
	h.apply("a.hcl")
	h.secret("SECRET_ID")
	h.plan("a.hcl", updates("ai transit", "secret_id"))
	// The engine proves it before it saves it.
	h.run("apply", "-f", "a.hcl", "--auto-approve").exits(3).says("not saved")
	if status := h.has("ai/status"); status["healthy"] != true {
		t.Errorf("the engine's settings do not work any more: %v", status)
	}
}

// Killed after any of its writes, the next apply finishes, and leaves one
// secret-id.
func TestTheEnginesLoginIsCutOff(t *testing.T) {
	t.Parallel()
	h, _ := engine(t)
	h.write("a.hcl", h.catalogEntry()+"mount \"ai-keys\" \"ai-keys\" {\n  transit { key = \"transit/ai-keys\" }\n}\n")
	h.apply("a.hcl")
	const role = "auth/approle/role/ai-keys-transit"
	record := "ai-keys-bootstrap/record/data/objects/ai-keys%20transit"
	tagged := map[string]any{"metadata": `{"issued_by":"ai-keys-bootstrap","issued_as":"ai-keys transit","issue":"n"}`}

	// Dead after the nonce, and after the secret-id was issued.
	h.vault(record, map[string]any{"data": map[string]any{"issued": map[string]any{"engine": map[string]any{"nonce": "n"}}}})
	h.vault(role+"/secret-id", tagged)
	h.plan("a.hcl", updates("ai-keys transit", "secret_id"))
	h.apply("a.hcl")
	if n := len(h.engineLogins(role)); n != 1 {
		t.Errorf("%d secret-ids", n)
	}

	// Dead after the engine took it: what it had before is still there.
	made := h.vault(role+"/secret-id", tagged)
	secretID := made.Data["secret_id"].(string)
	h.hide(secretID)
	h.vault("ai-keys/config/transit", map[string]any{"secret_id": secretID})
	h.vault(record, map[string]any{"data": map[string]any{"issued": map[string]any{"engine": map[string]any{"nonce": "n"}}}})
	h.plan("a.hcl", updates("ai-keys transit", "secret_id"))
	h.apply("a.hcl")
	if n := len(h.engineLogins(role)); n != 1 {
		t.Errorf("%d secret-ids", n)
	}
	h.run("verify", "-f", "a.hcl").exits(0)

	// Another's secret-id of the role is not touched.
	h.vault(role+"/secret-id", nil)
	h.vault(record, map[string]any{"data": map[string]any{}})
	h.apply("a.hcl")
	if n := len(h.engineLogins(role)); n != 2 {
		t.Errorf("%d secret-ids beside one of another", n)
	}
}

// The engine opens its data keys with the former transit key for the last time.
func TestTheEngineMovesToAnotherKey(t *testing.T) {
	t.Parallel()
	h, f := engine(t)
	file := h.engineFile(f)
	h.write("a.hcl", file)
	h.apply("a.hcl")
	h.write("a.hcl", strings.Replace(file, `key          = "transit/ai-keys"`, `key          = "other/keys"`, 1))
	h.plan("a.hcl", updates("policy ai-keys-transit", "document"), creates("mount other"), creates("other key keys"), updates("ai-keys transit", "key", "mount"))
	// An apply that ends before the engine is told: it may still use both.
	h.run("apply", "-f", "a.hcl", "--target", "policy ai-keys-transit", "--auto-approve").exits(0)
	if policy, _ := h.has("sys/policies/acl/ai-keys-transit")["policy"].(string); !strings.Contains(policy, "transit/decrypt/ai-keys") || !strings.Contains(policy, "other/decrypt/keys") {
		t.Errorf("the engine may not use both keys:\n%s", policy)
	}
	h.plan("a.hcl", updates("policy ai-keys-transit", "document"), creates("mount other"), creates("other key keys"), updates("ai-keys transit", "key", "mount"))
	h.least("a.hcl").apply("a.hcl")
	if policy, _ := h.has("sys/policies/acl/ai-keys-transit")["policy"].(string); strings.Contains(policy, "transit/decrypt") {
		t.Errorf("the engine may still use the former key:\n%s", policy)
	}
	h.vault("transit/keys/ai-keys/config", map[string]any{"deletion_allowed": true})
	if _, err := h.api.Logical().DeleteWithContext(t.Context(), "transit/keys/ai-keys"); err != nil {
		t.Fatal(err)
	}
	if h.has("ai-keys/creds/search") == nil {
		t.Error("no key is served")
	}
}
