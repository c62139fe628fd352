package bootstrap

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// What is written as a policy is read as the same rules again, parameters too.
func TestAPolicyIsWrittenAsItIsRead(t *testing.T) {
	t.Parallel()
	rule := map[string]any{
		"capabilities":       []string{"create", "update"},
		"allowed_parameters": map[string]any{"name": []any{"a", `b "c"`}, "*": []any{}},
		"denied_parameters":  map[string]any{"x": []any{}},
		"min_wrapping_ttl":   int64(60),
	}
	var b strings.Builder
	writeRule(&b, `secret/${x}/"y"`, rule)
	rules, err := parsePolicy(b.String())
	if err != nil {
		t.Fatalf("%v in\n%s", err, b.String())
	}
	if len(rules) != 1 {
		t.Fatalf("%d rules are read", len(rules))
	}
	if diff := cmp.Diff(rule, rules[0].fields); diff != "" {
		t.Errorf("not as it was written (-want +got):\n%s", diff)
	}
	if got := canonicalPolicy(b.String()); got != canonicalPolicy(canonicalPolicy(b.String())) {
		t.Errorf("the canonical form is not canonical:\n%v", got)
	}
}
