package file

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/schema"
)

// title is how a block is called in an error.
func (n *Node) title() string {
	var b strings.Builder
	b.WriteString(n.Block.Name)
	for _, label := range n.Labels {
		b.WriteString(" " + strconv.Quote(label))
	}
	return b.String()
}

// in is title before what is wrong with the block; nothing for the file itself.
func (n *Node) in() string {
	if n.Block.Name == "" {
		return ""
	}
	return n.title() + ": "
}

// blocks adds the blocks of a body to their parent.
func (l *loader) blocks(parent *Node, blocks []*hclsyntax.Block) {
	var (
		first = make(map[string]Position)
		count = make(map[string]int)
	)
	for _, b := range blocks {
		at := position(b.TypeRange)
		block := l.description(parent, b)
		if block == nil || !l.labels(block, b) {
			continue
		}
		n := &Node{Block: block, Labels: slices.Clip(b.Labels), Values: make(map[string]Value), At: at}
		if len(n.Labels) == 0 {
			n.Labels = nil
		} else {
			key := b.Type + "\x00" + strings.Join(b.Labels, "\x00")
			if place, there := first[key]; there {
				l.errorf(at, "The first is at "+place.String()+"; put them together, or take one out.", "%s stands here a second time", n.title())
			} else {
				first[key] = at
			}
		}
		if count[b.Type]++; block.Most > 0 && count[b.Type] == block.Most+1 {
			l.errorf(at, "Put them together, or take some out.", "%sthere can be only %d %s here", parent.in(), block.Most, n.Block.Name)
		}
		if block = l.variant(block, b); block != nil {
			n.Block = block
			before := len(l.diags)
			l.fill(n, b.Body)
			n.Wrong = n.Wrong || l.diags[before:].HasErrors()
		} else {
			n.Wrong = true
		}
		parent.Nodes = append(parent.Nodes, n)
	}
}

// description finds what may stand in a block.
func (l *loader) description(parent *Node, b *hclsyntax.Block) *schema.Block {
	at := position(b.TypeRange)
	known := make([]string, 0, len(parent.Block.Blocks))
	for _, block := range parent.Block.Blocks {
		if block.Name == b.Type {
			return block
		}
		known = append(known, block.Name)
	}
	if f, _ := parent.Block.Field(b.Type); f != nil {
		l.errorf(at, "Write "+b.Type+" = … .", "%s%q is an attribute, not a block", parent.in(), b.Type)
		return nil
	}
	detail := meant(b.Type, known)
	if detail == "" {
		detail = "It takes no blocks."
	}
	name := " " + strconv.Quote(b.Type)
	if b.OpenBraceRange == b.TypeRange { // HCL found no brace: it may be anything
		name = l.naming(at, b.Type, known)
	}
	l.errorf(at, detail, "%sunknown block%s", parent.in(), name)
	return nil
}

// naming is a name that is not known, for an error. Where HCL has syntax
// errors, it may be a secret that lost its quotation marks.
func (l *loader) naming(at Position, name string, known []string) string {
	if isHCL(at.File) && l.broken[at.File] && Nearest(name, known) == "" {
		return ""
	}
	return " " + strconv.Quote(name)
}

// labels checks how many labels a block has, and that they are names.
func (l *loader) labels(block *schema.Block, b *hclsyntax.Block) bool {
	if len(b.Labels) != len(block.Labels) {
		l.errorf(position(b.TypeRange), "Write "+Header(block)+".", "%s takes %s", block.Name, labelCount(block))
		return false
	}
	for i, label := range b.Labels {
		switch what := odd(label); {
		case label == "":
			l.errorf(position(b.LabelRanges[i]), "Write "+Header(block)+".", "%s: the %s is empty", block.Name, block.Labels[i])
			return false
		case what != "":
			l.errorf(position(b.LabelRanges[i]), "Remove it.", "%s: the %s contains %s", block.Name, block.Labels[i], what)
			return false
		}
	}
	return true
}

func labelCount(block *schema.Block) string {
	switch n := len(block.Labels); n {
	case 0:
		return "no labels"
	case 1:
		return "one label: its " + block.Labels[0]
	default:
		return fmt.Sprintf("%d labels: its %s", n, strings.Join(block.Labels, " and its "))
	}
}

// Header is how a block begins.
func Header(block *schema.Block) string {
	var b strings.Builder
	b.WriteString(block.Name)
	for _, label := range block.Labels {
		b.WriteString(" \"<" + label + ">\"")
	}
	return b.String() + " { … }"
}

// variant is the block as its first label makes it; nil if there is none for
// the label.
func (l *loader) variant(block *schema.Block, b *hclsyntax.Block) *schema.Block {
	if len(block.Variants) == 0 || len(b.Labels) == 0 {
		return block
	}
	if _, ok := block.Variants[b.Labels[0]]; !ok {
		l.errorf(position(b.LabelRanges[0]), meant(b.Labels[0], block.VariantNames()),
			"%s: unknown %s %q", block.Name, block.Labels[0], b.Labels[0])
		return nil
	}
	return block.Variant(b.Labels[0])
}

// fill reads what stands in a block.
func (l *loader) fill(n *Node, body *hclsyntax.Body) {
	given := make(map[string]Position) // by the field's real name
	for _, attr := range inOrder(body.Attributes) {
		f := l.field(n, attr)
		if f == nil {
			continue
		}
		at := position(attr.NameRange)
		if first, there := given[f.Name]; there {
			l.errorf(at, "It stands at "+first.String()+" too, under another name; one of them has to go.", "%sfield %q is given twice", n.in(), f.Name)
			continue
		}
		given[f.Name] = at
		v, ok := l.value(n, f, attr)
		switch {
		case !ok:
			n.Wrong = true // also where what is wrong stands elsewhere, and was said there
		case v == nil:
			delete(given, f.Name) // null is left out
		default:
			n.Values[f.Name] = Value{V: v, At: at}
		}
	}
	for _, f := range n.Block.Fields {
		_, there := given[f.Name]
		switch {
		case !f.Required || there:
		case l.sound(n.At.File, body):
			l.errorf(n.At, f.Doc, "%sfield %q is missing", n.in(), f.Name)
		default: // it may stand where the parser did not get to
			n.Wrong = true
		}
	}
	l.blocks(n, body.Blocks)
	n.Wrong = n.Wrong || slices.ContainsFunc(n.Nodes, func(inner *Node) bool { return inner.Wrong })
}

// field finds the description of an attribute.
func (l *loader) field(n *Node, attr *hclsyntax.Attribute) *schema.Field {
	f, alias := n.Block.Field(attr.Name)
	switch {
	case alias:
		l.warnf(position(attr.NameRange), "Write "+f.Name+".", "%s%q is called %q here", n.in(), attr.Name, f.Name)
		return f
	case f != nil:
		return f
	case n.Block.Rest != nil:
		if odd(attr.Name) != "" || attr.Name == "" {
			l.errorf(position(attr.NameRange), "", "%sa name that is empty or has a character that is not allowed", n.in())
			return nil
		}
		rest := *n.Block.Rest
		rest.Name = attr.Name
		return &rest
	}
	l.unknownField(n, attr)
	return nil
}

func (l *loader) unknownField(n *Node, attr *hclsyntax.Attribute) {
	at := position(attr.NameRange)
	var known []string
	for _, f := range n.Block.Fields {
		known = append(known, f.Name)
	}
	for _, b := range n.Block.Blocks {
		if b.Name == attr.Name {
			l.errorf(at, "Write "+Header(b)+", without \"=\".", "%s%q is a block, not an attribute", n.in(), attr.Name)
			return
		}
		known = append(known, b.Name)
	}
	detail := meant(attr.Name, known)
	if detail == "" {
		detail = "It takes none."
	}
	what := "field"
	if n.Block.Name == "" {
		what = "block"
	}
	l.errorf(at, detail, "%sunknown %s%s", n.in(), what, l.naming(at, attr.Name, known))
	_ = l.names(attr.Expr)
}

// names checks the references of an expression that has no place to go to, and
// counts them as used.
func (l *loader) names(expr hclsyntax.Expression) bool {
	_, ok := l.evaluate(expr)
	return ok
}

// inOrder are attributes as they stand in the file.
func inOrder(attrs hclsyntax.Attributes) []*hclsyntax.Attribute {
	return slices.SortedFunc(maps.Values(attrs), func(a, b *hclsyntax.Attribute) int {
		return cmp.Or(
			strings.Compare(a.NameRange.Filename, b.NameRange.Filename),
			cmp.Compare(a.NameRange.Start.Line, b.NameRange.Start.Line),
			cmp.Compare(a.NameRange.Start.Column, b.NameRange.Start.Column),
			strings.Compare(a.Name, b.Name),
		)
	})
}
