package file

import (
	"encoding/json"
	"path/filepath"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/schema"
)

// secretMark is on every value that comes from a secret.
type secretMark struct{}

// evaluate gives an expression its value. It reports what is wrong, and answers
// false then; also, silently, if the expression depends on what is wrong
// elsewhere.
func (l *loader) evaluate(expr hclsyntax.Expression) (cty.Value, bool) {
	ctx, ok := l.scope(expr)
	if !ok || !l.inspect(expr, ctx) {
		return cty.NilVal, false
	}
	value, diags := expr.Value(ctx)
	if diags.HasErrors() {
		l.found(diags, nil)
		return cty.NilVal, false
	}
	if !value.IsWhollyKnown() {
		return cty.NilVal, false // the parser could not read it, and said so
	}
	return value, l.afford(expr, value)
}

// afford counts what a value costs against [maxValues].
func (l *loader) afford(expr hclsyntax.Expression, values ...cty.Value) bool {
	if l.spent > maxValues {
		return false // it was said once
	}
	m := measure{size: l.spent, limit: maxValues}
	for _, v := range values {
		m.add(v, 1)
	}
	l.spent = m.size
	if l.spent > maxValues {
		m.problem = "the references and functions make more than " + megabytes(maxValues) + " of values"
	}
	if m.problem != "" {
		l.errorf(position(expr.StartRange()), "", "%s", m.problem)
	}
	return m.problem == ""
}

// scope makes the names that an expression refers to, and checks that they are
// there. It answers false if the expression cannot be evaluated.
func (l *loader) scope(expr hclsyntax.Expression) (*hcl.EvalContext, bool) {
	var (
		ok       = true
		locals   = make(map[string]cty.Value)
		secrets  = make(map[string]cty.Value)
		referred []cty.Value
	)
	for _, t := range expr.Variables() {
		name, there := l.referred(t)
		if !there {
			ok = false
			continue
		}
		if t.RootName() == "secret" {
			l.secrets[name].used = true
			token := schema.Reference{Of: schema.RefSecret, Name: name}.Token()
			secrets[name] = cty.StringVal(token).Mark(secretMark{})
			continue
		}
		l.resolve(name)
		if v := l.locals[name]; v.known {
			locals[name] = v.value
			referred = append(referred, v.value)
		} else {
			ok = false
		}
	}
	if !ok || !l.afford(expr, referred...) {
		return nil, false
	}
	return &hcl.EvalContext{
		Variables: map[string]cty.Value{"local": cty.ObjectVal(locals), "secret": cty.ObjectVal(secrets)},
		Functions: l.functions(expr),
	}, true
}

// referred is the name that a reference refers to: after "local." or
// "secret.".
func (l *loader) referred(t hcl.Traversal) (name string, there bool) {
	root, at := t.RootName(), position(t.SourceRange())
	var known []string
	switch root {
	case "local":
		known = sortedNames(l.locals)
	case "secret":
		known = sortedNames(l.secrets)
	default:
		// The word is not shown: it may be a secret without quotes.
		detail := "Text stands in quotes; local.name and secret.name are what can be referred to."
		if n := Nearest(root, []string{"local", "secret"}); n != "" && len(t) > 1 {
			detail = "Did you mean " + n + ".…?"
		}
		l.errorf(at, detail, "a word that is not known")
		return "", false
	}
	name = step(t)
	if name == "" {
		l.errorf(at, "Write "+root+".name.", "%s stands without a name", root)
		return "", false
	}
	if root == "local" {
		_, there = l.locals[name]
	} else {
		_, there = l.secrets[name]
	}
	if !there && !l.perhaps[root+" "+name] {
		detail := declaring(root, name, at)
		if unread := l.unread(); len(unread) > 0 {
			detail += " Perhaps it stands in " + unread[0] + ", of which not everything could be read."
		}
		if n := Nearest(name, known); n != "" {
			detail = "Did you mean " + root + "." + n + "? " + detail
		}
		l.errorf(at, detail, "there is no %s %q", root, name)
	}
	return name, there
}

// step is the name after the first dot of a reference, or "".
func step(t hcl.Traversal) string {
	if len(t) < 2 {
		return ""
	}
	switch s := t[1].(type) {
	case hcl.TraverseAttr:
		return s.Name
	case hcl.TraverseIndex:
		if s.Key.Type() == cty.String && !s.Key.IsNull() {
			return s.Key.AsString()
		}
	}
	return ""
}

// declaring says how something that can be referred to is declared.
func declaring(root, name string, at Position) string {
	switch {
	case root == "local" && isHCL(at.File):
		return "Declare it: locals { " + name + " = … }."
	case root == "local":
		return "Declare it: locals: { " + name + ": … }."
	case isHCL(at.File):
		return `Declare it: secret "` + name + `" { from = "env:…" }.`
	}
	return "Declare it: secret: { " + name + `: { from: "env:…" } }.`
}

// plain is a value in Go's JSON shapes. What is null counts as left out, unless
// nulls are wanted.
func plain(v cty.Value, nulls bool) any {
	v, _ = v.Unmark()
	if v.IsNull() {
		return nil
	}
	switch t := v.Type(); {
	case t == cty.String:
		return v.AsString()
	case t == cty.Bool:
		return v.True()
	case t == cty.Number:
		f := v.AsBigFloat()
		if f.IsInt() {
			return json.Number(f.Text('f', 0))
		}
		return json.Number(f.Text('g', -1))
	case t.IsObjectType() || t.IsMapType():
		out := make(map[string]any, v.LengthInt())
		for it := v.ElementIterator(); it.Next(); {
			key, item := it.Element()
			if nulls || !item.IsNull() {
				out[key.AsString()] = plain(item, nulls)
			}
		}
		return out
	}
	out := make([]any, 0, v.LengthInt())
	for it := v.ElementIterator(); it.Next(); {
		_, item := it.Element()
		out = append(out, plain(item, nulls))
	}
	return out
}

// folder is where the file of an expression lies.
func folder(expr hclsyntax.Expression) string {
	name, _, _ := strings.Cut(expr.Range().Filename, pin)
	return filepath.Dir(name)
}
