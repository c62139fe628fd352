package bootstrap

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const referring = `
secret "s" { from = "env:S" }
policy "reader" {
  path "x" { capabilities = ["read"] }
}
auth "okta" "okta" {
  config {
    org_name       = "acme"
    api_token      = secret.s
    token_policies = ["default", "Reader"]
  }
  group "g" { policies = ["readr", "reader", "other"] }
}
auth "approle" "approle" {
  role "r" { token_policies = ["ai-keys-transit"] }
}
mount "ai-keys" "ai-keys" {
  transit {}
  account "acme" {
    provider  = "openai"
    admin_key = secret.s
  }
  role "r" { account = "acne" }
}
mount "ai-keys" "second" {
  transit {}
  role "r" { account = "acme" }
}
mount "database" "db" {
  role "r" { db_name = "app" }
}
mfa "okta" "push" {
  org_name        = "acme"
  api_token       = secret.s
  username_format = "{{identity.entity.aliases.${auth_accessor("oktaa")}.name}}"
}
identity_group "people" {
  policies      = ["nobody"]
  member_groups = ["poeple"]
}
login_enforcement "e" {
  mfa_methods  = ["pussh", "push"]
  auth_methods = ["okta", "ldap"]
}
`

// What refers to nothing in the file is warned of, with what was probably
// meant; what Vault has itself, or what comes with the engine, is there.
func TestDangling(t *testing.T) {
	t.Parallel()
	want := []string{
		`warning: policy "other" is not in this file. Unless it is on the server already`,
		`warning: policy "readr" is not in this file. Did you mean "reader"?`,
		`warning: ai-keys account "acne" is not in this file. Did you mean "acme"?`,
		`warning: ai-keys account "acme" is not in this file. It has to be on the server already`,
		`warning: database connection "app" is not in this file. It has to be on the server already`,
		`warning: auth method "oktaa" is not in this file. Did you mean "okta"?`,
		`warning: policy "nobody" is not in this file. Unless`,
		`warning: identity group "poeple" is not in this file. Did you mean "people"?`,
		`warning: mfa method "pussh" is not in this file. Did you mean "push"?`,
		`warning: auth method "ldap" is not in this file. It has to be`,
	}
	warned := func(text string) []string {
		d, diags := Load([]string{written(t, "vault.hcl", text)})
		if d != nil {
			diags = append(diags, d.Doubts()...).Sorted()
		}
		var out []string
		for _, d := range diags {
			line := d.Severity.String() + ": " + d.Summary
			if d.Detail != "" {
				line += ". " + d.Detail
			}
			for _, w := range want {
				if strings.HasPrefix(line, w) {
					line = w
				}
			}
			out = append(out, line)
		}
		return out
	}
	if diff := cmp.Diff(want, warned(referring)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	// Mistakes elsewhere do not hide it, unless it may stand where nobody can read.
	const wrong = `error: unknown block "quoto". Did you mean "quota"?`
	if diff := cmp.Diff(append(slices.Clip(want), wrong), warned(referring+"quoto \"q\" {}\n")); diff != "" {
		t.Errorf("with a mistake (-want +got):\n%s", diff)
	}
	if found := warned(referring + "quota \"q\" { rate = 1 path = \"x\" }\n"); len(found) != 1 {
		t.Errorf("with an error of syntax: %q", found)
	}
}
