package file

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"go.yaml.in/yaml/v3"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/schema"
)

// A tree turns what YAML or JSON has parsed into HCL's tree, in the shape of
// HCL's JSON syntax, so that there is one way of reading blocks and values.
// The description of the blocks is needed to tell a block's labels from the
// names of an object.
type tree struct {
	loader *loader
	name   string
	// aliased is what YAML's aliases have produced, in bytes.
	aliased int
	// within counts the aliases that surround the place.
	within int
	// refused: what is wrong has been said, and the rest is not looked at.
	refused bool
}

// body makes a body of a whole file.
func (l *loader) body(name string, root *yaml.Node) *hclsyntax.Body {
	t := &tree{loader: l, name: name}
	bodies := t.bodies(root, l.root, 1)
	whole := &hclsyntax.Body{Attributes: hclsyntax.Attributes{}}
	for _, b := range bodies {
		maps.Copy(whole.Attributes, b.body.Attributes)
		whole.Blocks = append(whole.Blocks, b.body.Blocks...)
	}
	if t.refused {
		l.broken[name] = true
		return nil
	}
	return whole
}

// misshapen reports what cannot be a block, and so leaves out what is in it.
func (t *tree) misshapen(n *yaml.Node, detail, format string, args ...any) {
	t.loader.broken[t.name] = true
	t.refuse(n, detail, format, args...)
}

func (t *tree) refuse(n *yaml.Node, detail, format string, args ...any) {
	t.loader.errorf(Position{File: t.name, Line: n.Line, Column: n.Column}, detail, format, args...)
}

// at is a range of no length where a node begins.
func (t *tree) at(n *yaml.Node) hcl.Range {
	p := hcl.Pos{Line: n.Line, Column: n.Column}
	return hcl.Range{Filename: t.name, Start: p, End: p}
}

// enter follows aliases, and refuses to go too deep or to expand too much.
func (t *tree) enter(n *yaml.Node, depth int) (node *yaml.Node, leave func(), ok bool) {
	leave = func() {}
	if t.refused {
		return n, leave, false
	}
	if depth > maxDepth {
		t.refused = true
		t.refuse(n, "", "nested more than %d deep", maxDepth)
		return n, leave, false
	}
	if n.Kind == yaml.AliasNode && n.Alias != nil {
		n = n.Alias
		t.within++
		leave = func() { t.within-- }
	}
	if t.within > 0 {
		if t.aliased += 16 + len(n.Value); t.aliased > maxFile {
			t.refused = true
			t.refuse(n, "Use locals.", "the aliases make more than %s of this file", megabytes(maxFile))
			return n, leave, false
		}
	}
	return n, leave, true
}

// A place is a body and where it begins.
type place struct {
	body *hclsyntax.Body
	at   hcl.Range
}

// bodies reads the contents of a block: an object, or a list of them for
// several blocks. Nothing at all is an empty block.
func (t *tree) bodies(n *yaml.Node, block *schema.Block, depth int) []place {
	n, leave, ok := t.enter(n, depth)
	defer leave()
	if !ok {
		return nil
	}
	switch {
	case n.Kind == yaml.MappingNode:
		return []place{{t.object(n, block, depth), t.at(n)}}
	case n.Kind == yaml.SequenceNode:
		var out []place
		for _, item := range n.Content {
			out = append(out, t.bodies(item, block, depth+1)...)
		}
		return out
	case n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null":
		return []place{{&hclsyntax.Body{}, t.at(n)}}
	}
	what := block.Name
	if what == "" {
		what = "the file"
	}
	t.misshapen(n, "", "%s has to be an object", what)
	return nil
}

// object reads one object as a block's contents.
func (t *tree) object(n *yaml.Node, block *schema.Block, depth int) *hclsyntax.Body {
	body := &hclsyntax.Body{Attributes: hclsyntax.Attributes{}, SrcRange: t.at(n), EndRange: t.at(n)}
	t.entries(n, func(key, value *yaml.Node) {
		if key.Value == "//" {
			return // HCL's JSON has comments of this kind
		}
		for _, inner := range block.Blocks {
			if inner.Name == key.Value {
				t.labels(body, inner, key, value, nil, depth+1)
				return
			}
		}
		body.Attributes[key.Value] = &hclsyntax.Attribute{
			Name: key.Value, Expr: t.expression(value, depth+1),
			SrcRange: t.at(key), NameRange: t.at(key), EqualsRange: t.at(key),
		}
	})
	return body
}

// entries walks an object's names, each of which can stand there once.
func (t *tree) entries(n *yaml.Node, each func(key, value *yaml.Node)) {
	seen := make(map[string]int)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		switch {
		case key.Kind == yaml.ScalarNode && key.ShortTag() == "!!merge":
			t.refuse(key, "Use locals, or write the entries out.", "<< is not supported")
		case key.Kind != yaml.ScalarNode:
			t.refuse(key, "Write the name itself.", "the name of an entry has to be text")
		case seen[key.Value] > 0:
			t.refuse(key, fmt.Sprintf("The first is at %s:%d; one of them has to go.", t.name, seen[key.Value]), "%q stands here a second time", key.Value)
		default:
			seen[key.Value] = key.Line
			each(key, value)
		}
	}
}

// A label is one label of a block, and where it stands.
type label struct {
	text string
	at   hcl.Range
}

// labels takes off the objects that stand for a block's labels.
func (t *tree) labels(body *hclsyntax.Body, block *schema.Block, key, value *yaml.Node, labels []label, depth int) {
	if len(labels) == len(block.Labels) {
		t.block(body, block, key, value, labels, depth)
		return
	}
	value, leave, ok := t.enter(value, depth)
	defer leave()
	switch {
	case !ok:
	case value.Kind == yaml.ScalarNode && value.ShortTag() == "!!null":
	case value.Kind == yaml.SequenceNode:
		for _, item := range value.Content {
			t.labels(body, block, key, item, labels, depth+1)
		}
	case value.Kind == yaml.MappingNode:
		t.entries(value, func(name, inner *yaml.Node) {
			more := append(slices.Clip(labels), label{name.Value, t.at(name)})
			t.labels(body, block, name, inner, more, depth+1)
		})
	default:
		t.misshapen(value, "Write "+shape(block)+".", "%s takes %s", block.Name, labelCount(block))
	}
}

// shape is how a block begins in YAML.
func shape(block *schema.Block) string {
	var b strings.Builder
	b.WriteString(block.Name + ": { ")
	for _, label := range block.Labels {
		b.WriteString("<" + label + ">: { ")
	}
	return b.String() + "…" + strings.Repeat(" }", 1+len(block.Labels))
}

func (t *tree) block(body *hclsyntax.Body, block *schema.Block, key, value *yaml.Node, labels []label, depth int) {
	var (
		texts  []string
		ranges []hcl.Range
	)
	for _, label := range labels {
		texts = append(texts, label.text)
		ranges = append(ranges, label.at)
	}
	described := block
	if len(texts) > 0 {
		described = block.Variant(texts[0])
	}
	bodies := t.bodies(value, described, depth)
	for _, b := range bodies {
		at := t.at(key)
		if len(bodies) > 1 {
			at = b.at
		}
		body.Blocks = append(body.Blocks, &hclsyntax.Block{
			Type: block.Name, Labels: texts, LabelRanges: ranges, Body: b.body,
			TypeRange: at, OpenBraceRange: at, CloseBraceRange: at,
		})
	}
}
