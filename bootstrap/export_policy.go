package bootstrap

import (
	"context"
	"slices"
	"strings"

	"github.com/hashicorp/hcl"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/schema"
)

// exportPolicy writes a policy as path blocks, if they say all of it. Otherwise
// its text stands there as it is: also where people have put comments into it.
func exportPolicy(_ context.Context, e *exporter, x *exported) error {
	text := textOf(x.state.Answer, "policy")
	if odd([]string{text}) != "" {
		x.without = "its text has a private-use character in it"
		return nil
	}
	rules, err := parsePolicy(text)
	if err == nil && !commented(text) && plainRules(rules) && canonicalPolicy(rulesText(rules)) == canonicalPolicy(text) {
		delete(x.Values, "document")
		for _, r := range rules {
			fields, _ := eachText(r.fields, e.withAccessors).(map[string]any) // of the same type
			x.rules = append(x.rules, policyRule{e.withAccessors(r.path), fields})
		}
		return nil
	}
	x.Set("document", e.withAccessors(text))
	return nil
}

// commented tells whether a policy's text has comments in it.
func commented(text string) bool {
	f, err := hcl.Parse(text)
	return err != nil || len(f.Comments) > 0
}

// plainRules tells whether rules have nothing but what a path block takes, and
// stand there once.
func plainRules(rules []policyRule) bool {
	seen := make(map[string]bool)
	for _, r := range rules {
		if seen[r.path] || r.path == "" {
			return false
		}
		seen[r.path] = true
		for name := range r.fields {
			if !slices.ContainsFunc(ruleFields, func(f *schema.Field) bool { return f.Name == name }) {
				return false
			}
		}
		if r.fields["capabilities"] == nil {
			return false
		}
	}
	return true
}

// rulesText is what a file's path blocks would make of rules.
func rulesText(rules []policyRule) string {
	var b strings.Builder
	for _, r := range rules {
		writeRule(&b, r.path, r.fields)
	}
	return b.String()
}
