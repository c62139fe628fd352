package file

import (
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/schema"
)

// value evaluates an attribute and checks it against its field. It answers
// false for what it reported.
func (l *loader) value(n *Node, f *schema.Field, attr *hclsyntax.Attribute) (any, bool) {
	evaluated, ok := l.evaluate(attr.Expr)
	if !ok {
		return nil, false
	}
	v := plain(evaluated, false)
	if v == nil {
		return nil, true
	}
	if !l.secrecy(n, f, attr.Expr, v) {
		return nil, false
	}
	at := position(attr.Expr.StartRange())
	if oddName(v) {
		l.errorf(at, "A name has to be plain text.", "%sfield %q: the name of an entry is not known until it is needed", n.in(), f.Name)
		return nil, false
	}
	c, err := f.Canonical(v)
	if err != nil {
		l.errorf(at, f.Doc, "%sfield %q: %s", n.in(), f.Name, err.Error())
		return nil, false
	}
	if len(schema.References(v)) > 0 {
		return v, true // it can be checked only when it is known
	}
	return v, l.allowed(n, f, at, v, c)
}

// secrecy lets secrets flow only to where they are expected, and there nothing
// else.
func (l *loader) secrecy(n *Node, f *schema.Field, expr hclsyntax.Expression, v any) bool {
	switch {
	case f.Secrecy == schema.Plain && schema.HasSecret(v):
		at := l.firstSecret(expr)
		l.errorf(at, "Vault would show it to everybody who may read this; only fields that are declared for secrets take them.",
			"%ssecret %s would be shown: field %q is not secret", n.in(), quoted(secretNames(v)), f.Name)
		return false
	case f.Secrecy == schema.Secret && !f.Literal && literal(v):
		at := position(expr.StartRange())
		l.errorf(at, insteadOf(f, at), "%sa literal secret in field %q", n.in(), f.Name)
		return false
	}
	return true
}

// insteadOf says what to write in place of a literal secret.
func insteadOf(f *schema.Field, at Position) string {
	const declare, write = "Nothing secret stands in the file: declare ", " and write "
	if isHCL(at.File) {
		return declare + `secret "` + f.Name + `" { from = "env:…" }` + write + "secret." + f.Name + " here."
	}
	return declare + "secret: { " + f.Name + `: { from: "env:…" } }` + write + `"${secret.` + f.Name + `}" here.`
}

// secretNames are the secrets that a value refers to.
func secretNames(v any) []string {
	var names []string
	for _, r := range schema.References(v) {
		if r.Of == schema.RefSecret {
			names = append(names, r.Name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// literal tells whether any part of a value does not come from a secret.
func literal(v any) bool {
	switch v := v.(type) {
	case []any:
		return slices.ContainsFunc(v, literal)
	case map[string]any:
		for _, item := range v {
			if literal(item) {
				return true
			}
		}
		return false
	}
	return !schema.HasSecret(v)
}

// oddName tells whether the name of an entry holds a reference: only values
// are looked up.
func oddName(v any) bool {
	switch v := v.(type) {
	case []any:
		return slices.ContainsFunc(v, oddName)
	case map[string]any:
		for name, item := range v {
			if odd(name) != "" || oddName(item) {
				return true
			}
		}
	}
	return false
}

// allowed checks a value that is known against what the field takes.
func (l *loader) allowed(n *Node, f *schema.Field, at Position, v, c any) bool {
	if len(f.OneOf) > 0 {
		if wrong, ok := oneOf(f, v, c); !ok {
			detail := "It takes: " + quoted(f.OneOf) + "."
			if near := Nearest(wrong, f.OneOf); near != "" {
				detail = "Did you mean " + quoted([]string{near}) + "? " + detail
			}
			l.errorf(at, detail, "%sfield %q: a value that is not possible", n.in(), f.Name)
			return false
		}
	}
	if f.Check == nil {
		return true
	}
	err := f.Check(c)
	if err == nil {
		return true
	}
	text := err.Error()
	if f.Secrecy != schema.Plain && quotes(text, v) {
		text = "the value is not possible"
	}
	l.errorf(at, "", "%sfield %q: %s", n.in(), f.Name, text)
	return false
}

// oneOf finds a string of the value that the field does not take.
func oneOf(f *schema.Field, v, c any) (wrong string, ok bool) {
	given, _ := v.(string)
	switch c := c.(type) {
	case nil:
		return given, given == "" && slices.Contains(f.OneOf, "") || v != any("")
	case string:
		return c, slices.Contains(f.OneOf, c) || slices.Contains(f.OneOf, given)
	case []string:
		for _, s := range c {
			if !slices.Contains(f.OneOf, s) {
				return s, false
			}
		}
	}
	return "", true
}

// quotes tells whether a text holds any string of a value.
func quotes(text string, v any) bool {
	switch v := v.(type) {
	case string:
		return v != "" && strings.Contains(text, v)
	case []any:
		return slices.ContainsFunc(v, func(item any) bool { return quotes(text, item) })
	case map[string]any:
		for _, item := range v {
			if quotes(text, item) {
				return true
			}
		}
	}
	return false
}
