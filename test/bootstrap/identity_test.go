package bootstrap_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/vault/api"
)

const groupsFile = `
auth "okta" "okta" {}

# Members come after the group that they are in: the program finds the order.
identity_group "Everybody" {
  policies        = ["Reader"]
  metadata        = { team = "all" }
  member_groups   = ["AI-Security", "inner"]
  member_entities = ["robot"]
}

identity_group "inner" {}

identity_group "AI-Security" {
  type     = "external"
  policies = ["ai-security"]

  alias {
    name  = "AI-Security"
    mount = "okta"
  }
}
`

func TestIdentityGroups(t *testing.T) {
	t.Parallel()
	h := start(t)
	h.vault("identity/entity/name/robot", nil)
	h.story(groupsFile, func(*api.Client) {
		inner := h.has("identity/group/name/inner")["id"]
		h.vault("identity/group/name/everybody", map[string]any{
			"policies": "other", "metadata": map[string]any{}, "member_entity_ids": []string{}, "member_group_ids": []any{inner},
		})
		h.vault("identity/group/name/inner", map[string]any{"metadata": map[string]any{"left": "over"}})
		h.vault("identity/group/name/ai-security", map[string]any{"policies": "admin"})
		h.vault("identity/group-alias/id/"+h.aliasID("ai-security"), map[string]any{
			"name": "Everyone", "mount_accessor": h.authAccessor("okta"),
		})
	},
		updates("identity group everybody", "name", "policies", "metadata", "member_entity_ids", "member_group_ids"),
		updates("identity group inner", "metadata"),
		updates("identity group ai-security", "name", "policies"),
		updates("identity group ai-security alias", "name"),
	)
	if policies := h.has("identity/group/name/everybody")["policies"].([]any); !slices.Equal(policies, []any{"reader"}) {
		t.Errorf("everybody has %v", policies)
	}

	// An alias that is in no file any more brings no members any more.
	without := groupsFile[:strings.Index(groupsFile, "  alias {")] + "}\n"
	h.write("story.hcl", without)
	h.least("story.hcl").plan("story.hcl", updates("identity group ai-security", "alias"))
	h.least("story.hcl").apply("story.hcl")
	if h.aliasID("ai-security") != "" {
		t.Error("the alias is still there")
	}

	// The type cannot be changed, and the members of an external group are its logins'.
	h.write("story.hcl", strings.Replace(without, `type     = "external"`, "", 1))
	h.plan("story.hcl", blocks("identity group ai-security", "type"))
}

// aliasID is the id of a group's alias.
func (h *harness) aliasID(group string) string {
	alias, _ := h.has("identity/group/name/" + group)["alias"].(map[string]any)
	id, _ := alias["id"].(string)
	return id
}

func (h *harness) authAccessor(mount string) string {
	m, _ := h.has("sys/auth")[mount+"/"].(map[string]any)
	accessor, _ := m["accessor"].(string)
	return accessor
}

// An alias belongs to one group, in whatever case it is written.
func TestAliasOfAnotherGroup(t *testing.T) {
	t.Parallel()
	h := start(t)
	h.write("vault.hcl", groupsFile[:strings.Index(groupsFile, "# Members")]+`
identity_group "security" {
  type = "external"
  alias {
    name  = "ai-SECURITY"
    mount = "okta"
  }
}
`)
	h.vault("sys/auth/okta", map[string]any{"type": "okta"})
	old := h.vault("identity/group/name/Old", map[string]any{"type": "external"}).Data["id"]
	h.vault("identity/group-alias", map[string]any{"name": "AI-Security", "mount_accessor": h.authAccessor("okta"), "canonical_id": old})
	const says = `the alias "ai-SECURITY" belongs to the identity group Old`
	if notes := h.plan("vault.hcl", creates("identity group security"), creates("identity group security alias")).
		find(t, "identity group security alias").Notes; len(notes) != 1 || !strings.HasPrefix(notes[0], says) {
		t.Errorf("%q", notes)
	}
	h.run("apply", "-f", "vault.hcl", "--auto-approve").exits(3).says(says)
	if _, err := h.api.Logical().DeleteWithContext(t.Context(), "identity/group/name/old"); err != nil {
		t.Fatal(err)
	}
	h.apply("vault.hcl")
}

func TestIdentityMistakes(t *testing.T) {
	t.Parallel()
	h := start(t)
	h.write("vault.hcl", `
identity_group "a" { member_groups = ["b"] }
identity_group "B" { member_groups = ["c"] }
identity_group "c" { member_groups = ["A"] }
identity_group "C" {}
identity_group "internal" {
  alias {
    name  = "x"
    mount = "okta"
  }
}
identity_group "external" {
  type          = "external"
  member_groups = ["a"]
  alias { name = "x" }
}
mfa "totp" "one" { issuer = "x" }
mfa "duo" "one" {
  secret_key      = secret.duo
  integration_key = secret.duo
  api_hostname    = "h"
  username_format = "{{identity.entity.name}}"
}
mfa "okta" "two" {
  org_name  = "acme"
  api_token = secret.duo
}
mfa "okta" "three" {
  org_name        = "acme"
  api_token       = secret.duo
  username_format = "alice"
}
mfa "totp" "four" {
  issuer = "x"
  digits = 7
}
login_enforcement "nobody" { mfa_methods = ["one"] }
login_enforcement "nothing" { auth_methods = ["okta"] }
quota "auth" {
  path = "auth/"
  rate = 1
}
quota "none" { rate = 0 }
secret "duo" { from = "env:DUO" }
`)
	h.run("validate", "-f", "vault.hcl").exits(1).says(
		`vault.hcl:35:12: error: mfa "totp" "four": field "digits": it is one of 6 8`,
		"a number greater than 0 is wanted",
	)
	text := h.read("vault.hcl")
	text = strings.Replace(text, "  digits = 7\n", "", 1)
	text = strings.Replace(text, `quota "none" { rate = 0 }`, "", 1)
	h.write("vault.hcl", text)
	h.run("validate", "-f", "vault.hcl").exits(1).says(
		"identity group c stands here a second time",
		"identity groups are members of each other: a → b → c → a",
		"only an external group has an alias",
		"an external group has the members that its auth method says",
		"the alias does not say of which auth method",
		`two MFA methods are called "one"`,
		"without username_format Vault asks for the name of its own entity",
		"username_format is no template",
		"the enforcement falls on nobody",
		"the enforcement has no method",
		"there is no quota for all of auth/",
	)
}
