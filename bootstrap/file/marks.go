package file

import (
	"slices"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
)

// An inspector walks an expression before it is evaluated. A secret is looked
// up only when it is needed, so all that can be done with it here is to refer
// to it or to put it into a string: a comparison would compare its name, and a
// choice would tell something about it.
type inspector struct {
	loader *loader
	ctx    *hcl.EvalContext
	// through are the operations that surround the place.
	through []string
	ok      bool
}

// inspect reports what an expression must not do.
func (l *loader) inspect(expr hclsyntax.Expression, ctx *hcl.EvalContext) bool {
	i := &inspector{loader: l, ctx: ctx, ok: true}
	_ = hclsyntax.Walk(expr, i) // the inspector reports by itself
	return i.ok
}

// Enter looks at a part of the expression.
func (i *inspector) Enter(n hclsyntax.Node) hcl.Diagnostics {
	switch n := n.(type) {
	case *hclsyntax.ScopeTraversalExpr:
		i.reference(n)
	case *hclsyntax.LiteralValueExpr:
		if v := n.Val; v.Type() == cty.String && v.IsKnown() && !v.IsNull() {
			if what := odd(v.AsString()); what != "" {
				i.refuse(n.Range(), "Remove it.", "the text contains "+what)
			}
		}
	case *hclsyntax.FunctionCallExpr:
		if !slices.Contains(functionNames, n.Name) {
			i.refuse(n.NameRange, meant(n.Name, functionNames), "an unknown function")
		}
	case *hclsyntax.ForExpr:
		i.refuse(n.OpenRange, "Write the items out.", "for is not part of this language")
	}
	if what := operation(n); what != "" {
		i.through = append(i.through, what)
	}
	return nil
}

// Exit leaves a part of the expression.
func (i *inspector) Exit(n hclsyntax.Node) hcl.Diagnostics {
	if operation(n) != "" {
		i.through = i.through[:len(i.through)-1]
	}
	return nil
}

func (i *inspector) refuse(r hcl.Range, detail, summary string) {
	i.ok = false
	i.loader.errorf(position(r), detail, "%s", summary)
}

// reference refuses a secret inside an operation.
func (i *inspector) reference(n *hclsyntax.ScopeTraversalExpr) {
	if len(i.through) == 0 {
		return
	}
	v, diags := n.Traversal.TraverseAbs(i.ctx)
	if diags.HasErrors() || !v.ContainsMarked() {
		return
	}
	i.refuse(n.Range(),
		"Its content is not known until it is needed: refer to it alone, or inside a string; or make a secret of the whole value.",
		"a secret cannot go through "+i.through[len(i.through)-1])
}

// operation names a part of an expression that looks into the values in it;
// empty for what only puts them together.
func operation(n hclsyntax.Node) string {
	switch n := n.(type) {
	case *hclsyntax.FunctionCallExpr:
		if slices.Contains(functionNames, n.Name) {
			return n.Name
		}
		return "a function"
	case *hclsyntax.ConditionalExpr:
		return "a condition"
	case *hclsyntax.BinaryOpExpr, *hclsyntax.UnaryOpExpr:
		return "an operator"
	case *hclsyntax.IndexExpr, *hclsyntax.RelativeTraversalExpr:
		return "an index"
	case *hclsyntax.SplatExpr:
		return "a splat"
	case *hclsyntax.ForExpr, *hclsyntax.TemplateJoinExpr:
		return "for"
	case *hclsyntax.ObjectConsKeyExpr:
		return "the name of an entry"
	}
	return ""
}

// firstSecret is where an expression refers to a secret.
func (l *loader) firstSecret(expr hclsyntax.Expression) Position {
	for _, t := range expr.Variables() {
		v := l.locals[step(t)]
		if t.RootName() == "secret" || t.RootName() == "local" && v != nil && v.known && v.value.ContainsMarked() {
			return position(t.SourceRange())
		}
	}
	return position(expr.StartRange())
}
