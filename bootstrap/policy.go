package bootstrap

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/hashicorp/hcl"
	"github.com/hexops/gotextdiff"
	"github.com/hexops/gotextdiff/myers"
	"github.com/hexops/gotextdiff/span"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/file"
	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/schema"
)

// ruleFields are what may be said of a path in a policy.
var ruleFields = []*schema.Field{
	{
		Name: "capabilities", Type: schema.Set, Required: true, Doc: "What is allowed: create, read, update, patch, delete, list, sudo, subscribe, recover, deny.",
		Check: func(v any) error {
			known := []string{"create", "read", "update", "patch", "delete", "list", "sudo", "subscribe", "recover", "deny"}
			caps, _ := v.([]string)
			for _, c := range caps {
				if !slices.Contains(known, c) {
					return fmt.Errorf("%q is no capability; there are %s", c, strings.Join(known, ", "))
				}
			}
			return nil
		},
	},
	{Name: "required_parameters", Type: schema.Set, Doc: "Parameters that a request must have."},
	{Name: "allowed_parameters", Type: schema.Any, Doc: "Parameters that a request may have, with their values; [] is any."},
	{Name: "denied_parameters", Type: schema.Any, Doc: "Parameters that a request must not have."},
	{Name: "min_wrapping_ttl", Type: schema.Duration, Doc: "Shortest response wrapping that is allowed."},
	{Name: "max_wrapping_ttl", Type: schema.Duration, Doc: "Longest response wrapping that is allowed."},
	{Name: "subscribe_event_types", Type: schema.Set, Doc: "Events that may be subscribed to."},
}

var policyKind = &Kind{
	Name: "policy", Stage: StagePolicy,
	Block: &schema.Block{
		Name: "policy", Labels: []string{"name"}, Doc: "An ACL policy: its rules here, or its text in document.",
		Fields: []*schema.Field{{
			Name: "document", Type: schema.String, ReadAs: "policy", WriteAs: "policy", Normal: canonicalPolicy,
			Doc: `The policy's text, as in file("reader.hcl").`,
		}},
		Blocks: []*schema.Block{
			{Name: "path", Labels: []string{"path"}, Doc: "What is allowed at a path.", Fields: ruleFields},
			{
				Name: "rule", Doc: "What is allowed at a path that is put together, as in path = \"${local.mount}/creds/*\".",
				Fields: append([]*schema.Field{{Name: "path", Required: true, Doc: "The path."}}, ruleFields...),
			},
		},
	},
	Path:     func(o *Object) string { return "sys/policies/acl/" + o.Key() },
	ListPath: func(*Object) string { return "sys/policies/acl" },
	Builtin:  []string{"root", "default", "default-ceiling", "agent-registry"},
	Prepare:  preparePolicy,
	Review:   reviewPolicy,
}

// reviewPolicy shows what differs, and looks whether the operator would take
// their own rights away: the apply would stop half-way, and nobody might be left
// who can repair it.
func reviewPolicy(ctx context.Context, s *Session, c *Change) error {
	for i, f := range c.Fields {
		c.Fields[i].Diff = textDiff(c.Object.Key(), f.Old, f.New)
	}
	if len(c.Fields) == 0 || !c.State.Exists || s.Options.AllowLockout {
		return nil
	}
	token, err := s.view(ctx, "auth/token/lookup-self")
	if err != nil {
		return fmt.Errorf("finding out whose token this is: %w", err)
	}
	policies := append(stringsOf(token["policies"]), stringsOf(token["identity_policies"])...)
	if !slices.Contains(policies, c.Object.Key()) || slices.Contains(policies, "root") {
		return nil
	}
	have, wanted := canonicalPolicy(c.Fields[0].Old), canonicalPolicy(c.Fields[0].New)
	if text, _ := have.(string); text != "" && wider(text, wanted) {
		return nil
	}
	c.Refused = "this token has its rights from it, and would lose some: use another token, or give --allow-lockout"
	c.Notes = append(c.Notes, c.Refused)
	return nil
}

// wider tells whether a policy has every rule of another as it was: more rules
// take no right away.
func wider(have string, wanted any) bool {
	text, _ := wanted.(string)
	for rule := range strings.SplitSeq(have, "\n\n") {
		if !strings.Contains(text, strings.TrimSpace(rule)) {
			return false
		}
	}
	return !strings.Contains(text, `"deny"`) || strings.Contains(have, `"deny"`)
}

func preparePolicy(o *Object, n *file.Node) file.Diagnostics {
	o.Labels[0] = strings.ToLower(o.Labels[0])
	wrong := func(at file.Position, what, out string) file.Diagnostics {
		return file.Diagnostics{{Severity: file.Error, At: at, Summary: what, Detail: out}}
	}
	if o.Key() == "root" {
		return wrong(n.At, "policy root is Vault's own and cannot be changed", "Give the policy another name.")
	}
	_, document := o.Value("document")
	switch {
	case document && len(n.Nodes) > 0:
		return wrong(n.At, "policy "+o.Key()+" has a document and rules of its own", "Keep one of them.")
	case !document && len(n.Nodes) == 0:
		return wrong(n.At, "policy "+o.Key()+" is empty", `Give it path "…" { capabilities = […] } blocks, or document = file("…").`)
	case document:
		if text := o.Text("document"); len(schema.References(text)) == 0 {
			if _, err := parsePolicy(text); err != nil {
				return wrong(o.Values["document"].At, "this is no policy", err.Error())
			}
		}
		return nil
	}
	o.Set("document", policyText(n.Nodes))
	return nil
}

// policyText writes the rules of a block in the policy language.
func policyText(nodes []*file.Node) string {
	var b strings.Builder
	for i, n := range nodes {
		path := n.String("path")
		if n.Block.Name == "path" {
			path = n.Labels[0]
		}
		if i > 0 {
			b.WriteString("\n")
		}
		rule := make(map[string]any)
		for _, f := range ruleFields {
			v, ok := n.Value(f.Name)
			if !ok {
				continue
			}
			c, _ := f.Canonical(v) // checked when the file was read
			if f.Type == schema.Any || c == nil {
				c = v
			}
			rule[f.Name] = c
		}
		writeRule(&b, path, rule)
	}
	return b.String()
}

// writeRule writes one rule, its fields in the order of their names.
func writeRule(b *strings.Builder, path string, rule map[string]any) {
	fmt.Fprintf(b, "path %s {\n", jsonText(path))
	for _, name := range sortedKeys(rule) {
		fmt.Fprintf(b, "  %s = %s\n", name, policyValue(rule[name]))
	}
	b.WriteString("}\n")
}

// policyValue writes a value as HCL 1 reads it: as JSON, but for objects, which
// have no colons there.
func policyValue(v any) string {
	object, ok := v.(map[string]any)
	if !ok {
		return jsonText(v)
	}
	parts := make([]string, 0, len(object))
	for _, name := range sortedKeys(object) {
		parts = append(parts, jsonText(name)+" = "+policyValue(object[name]))
	}
	return "{" + strings.Join(parts, ", ") + "}"
}

// jsonText writes a value as JSON, with "<" and "&" as they are.
func jsonText(v any) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return `""`
	}
	return strings.TrimSpace(b.String())
}

// canonicalPolicy writes a policy's rules in one order and one form, so that
// two texts that mean the same are the same. What cannot be parsed stays.
func canonicalPolicy(v any) any {
	text, _ := v.(string)
	rules, err := parsePolicy(text)
	if err != nil {
		return strings.TrimSpace(text)
	}
	written := make([]string, 0, len(rules))
	for _, r := range rules {
		var b strings.Builder
		writeRule(&b, r.path, r.fields)
		written = append(written, b.String())
	}
	slices.Sort(written)
	return strings.Join(written, "\n")
}

type policyRule struct {
	path   string
	fields map[string]any
}

// parsePolicy reads a policy in the language that Vault reads it in: HCL 1, or JSON.
func parsePolicy(text string) ([]policyRule, error) {
	var top map[string]any
	if err := hcl.Decode(&top, text); err != nil {
		return nil, fmt.Errorf("it cannot be parsed: %w", err)
	}
	for name := range top {
		if name != "path" && name != "name" {
			return nil, fmt.Errorf("it has %q where only path blocks may stand", name)
		}
	}
	var rules []policyRule
	for _, paths := range objects(top["path"]) {
		for _, path := range sortedKeys(paths) {
			for _, fields := range objects(paths[path]) {
				rules = append(rules, policyRule{path, plainRule(fields)})
			}
		}
	}
	if len(rules) == 0 {
		return nil, errors.New("it has no path block")
	}
	return rules, nil
}

// objects are the objects that HCL 1 finds at a name: it always makes a list.
func objects(v any) []map[string]any {
	switch v := v.(type) {
	case []map[string]any:
		return v
	case map[string]any:
		return []map[string]any{v}
	case []any:
		var out []map[string]any
		for _, item := range v {
			out = append(out, objects(item)...)
		}
		return out
	}
	return nil
}

// plainRule brings the fields of a rule to one form.
func plainRule(fields map[string]any) map[string]any {
	out := make(map[string]any, len(fields))
	for name, v := range fields {
		if parts := objects(v); len(parts) > 0 {
			merged := make(map[string]any)
			for _, m := range parts {
				maps.Copy(merged, m)
			}
			v = merged
		}
		out[name] = v
		for _, f := range ruleFields {
			if f.Name != name || f.Type == schema.Any {
				continue
			}
			if c, err := f.Canonical(v); err == nil {
				out[name] = c
			}
		}
	}
	return out
}

// textDiff is a unified diff of two texts, with references shown by name.
func textDiff(name string, old, want any) string {
	before, _ := schema.Show(old).(string)
	after, _ := schema.Show(want).(string)
	edits := myers.ComputeEdits(span.URIFromPath(name), before, after)
	return fmt.Sprint(gotextdiff.ToUnified("server", "file", before, edits))
}
