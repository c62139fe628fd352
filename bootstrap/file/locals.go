package file

import (
	"maps"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/schema"
)

// localsBlock names values that the file uses more than once.
var localsBlock = &schema.Block{
	Name: "locals",
	Doc:  "Values by name, for use in the file.",
	Rest: &schema.Field{Name: "value", Type: schema.Any, Secrecy: schema.Sensitive},
}

// A local is one attribute of a locals block.
type local struct {
	at    Position
	expr  hclsyntax.Expression
	value cty.Value
	// known is false while the value is being evaluated, and stays so if that
	// goes wrong: then whatever refers to it is silently left out, because the
	// mistake has been reported already.
	begun, known bool
}

func (l *loader) declareLocals(b *hclsyntax.Block) {
	if len(b.Labels) > 0 {
		l.errorf(position(b.LabelRanges[0]), "Write locals { … }.", "locals takes no labels")
	}
	for _, inner := range b.Body.Blocks {
		l.errorf(position(inner.TypeRange), "Write "+inner.Type+" = { … }.", "block %q in locals", inner.Type)
	}
	for _, attr := range inOrder(b.Body.Attributes) {
		at := position(attr.NameRange)
		if first, there := l.locals[attr.Name]; there {
			l.errorf(at, "The first is at "+first.at.String()+"; one of them has to go.", "local %q stands here a second time", attr.Name)
			continue
		}
		if !hclsyntax.ValidIdentifier(attr.Name) {
			l.errorf(at, "It takes letters, digits, _ and -, and begins with a letter.", "%q cannot be the name of a local", attr.Name)
		}
		l.locals[attr.Name] = &local{at: at, expr: attr.Expr}
	}
}

// resolve evaluates a local and those that it refers to.
func (l *loader) resolve(name string) {
	v := l.locals[name]
	switch {
	case v.known:
		return
	case slices.Contains(l.chain, name):
		circle := append(slices.Clone(l.chain[slices.Index(l.chain, name):]), name)
		l.errorf(v.at, "Take one of the references out.", "locals refer to one another in a circle: %s", strings.Join(circle, " → "))
		return
	case v.begun:
		return
	case len(l.chain) >= maxLocals:
		l.errorf(v.at, "", "more than %d locals refer to one another in a row", maxLocals)
		return
	}
	v.begun = true
	l.chain = append(l.chain, name)
	v.value, v.known = l.evaluate(v.expr)
	l.chain = l.chain[:len(l.chain)-1]
}

func sortedNames[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
