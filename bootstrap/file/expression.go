package file

import (
	"regexp"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"go.yaml.in/yaml/v3"
)

// expression makes an expression of a value. Strings are templates.
func (t *tree) expression(n *yaml.Node, depth int) hclsyntax.Expression {
	n, leave, ok := t.enter(n, depth)
	defer leave()
	at := t.at(n)
	if !ok {
		return &hclsyntax.LiteralValueExpr{Val: cty.DynamicVal, SrcRange: at}
	}
	switch n.Kind { //nolint:exhaustive // there are only values, and aliases are followed already
	case yaml.SequenceNode:
		list := &hclsyntax.TupleConsExpr{SrcRange: at, OpenRange: at}
		for _, item := range n.Content {
			list.Exprs = append(list.Exprs, t.expression(item, depth+1))
		}
		return list
	case yaml.MappingNode:
		object := &hclsyntax.ObjectConsExpr{SrcRange: at, OpenRange: at}
		t.entries(n, func(key, value *yaml.Node) {
			object.Items = append(object.Items, hclsyntax.ObjectConsItem{
				KeyExpr:   &hclsyntax.ObjectConsKeyExpr{Wrapped: t.text(key), ForceNonLiteral: true},
				ValueExpr: t.expression(value, depth+1),
			})
		})
		return object
	}
	return t.scalar(n)
}

// number is a number as JSON writes it, and so without the forms that readers
// of YAML disagree about: 0777, 0x1f, 1_000, .inf.
var number = regexp.MustCompile(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?$`)

func (t *tree) scalar(n *yaml.Node) hclsyntax.Expression {
	value := cty.DynamicVal
	switch tag := n.ShortTag(); tag {
	case "!!str":
		return t.text(n)
	case "!!timestamp":
		value = cty.StringVal(n.Value)
	case "!!null":
		value = cty.NullVal(cty.DynamicPseudoType)
	case "!!bool":
		switch strings.ToLower(n.Value) {
		case "true":
			value = cty.True
		case "false":
			value = cty.False
		default:
			t.refuse(n, "", "true or false is wanted")
		}
	case "!!int", "!!float":
		parsed, err := cty.ParseNumberVal(n.Value)
		if !number.MatchString(n.Value) || hugeNumber(n.Value) || err != nil {
			t.refuse(n, "Write it in plain digits; if it is text, put it into quotes.", "a number that is not plain")
			break
		}
		value = parsed
	default:
		t.refuse(n, "Remove the tag.", "a tag that is not supported")
	}
	return &hclsyntax.LiteralValueExpr{Val: value, SrcRange: t.at(n)}
}

// text makes an expression of a string, which is a template.
func (t *tree) text(n *yaml.Node) hclsyntax.Expression {
	at := t.at(n)
	if !strings.Contains(n.Value, "${") && !strings.Contains(n.Value, "%{") {
		return &hclsyntax.LiteralValueExpr{Val: cty.StringVal(n.Value), SrcRange: at}
	}
	name, start := t.name, hcl.Pos{Line: n.Line, Column: n.Column}
	switch {
	case n.Style&yaml.LiteralStyle != 0:
		// The lines are as in the file, one below the mark, and indented.
		name, start = t.name+pin, hcl.Pos{Line: n.Line + 1, Column: 1}
	case strings.Contains(n.Value, "\n"):
		name = pinned(t.name, start)
	case n.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle) != 0:
		start.Column++
	}
	tokens, _ := hclsyntax.LexTemplate([]byte(n.Value), name, start)
	if where, problem := tooDeep(tokens); problem != "" {
		t.loader.errorf(position(where), "", "%s", problem)
		return &hclsyntax.LiteralValueExpr{Val: cty.DynamicVal, SrcRange: at}
	}
	expr, diags := hclsyntax.ParseTemplate([]byte(n.Value), name, start)
	t.loader.found(diags, nil)
	if diags.HasErrors() {
		return &hclsyntax.LiteralValueExpr{Val: cty.DynamicVal, SrcRange: at}
	}
	return expr
}
