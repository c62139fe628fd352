package bootstrap

import (
	"fmt"
	"maps"
	"reflect"
	"slices"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/file"
	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/schema"
	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/vault"
)

// A Desired is what the file wants, in the order of an apply.
type Desired struct {
	Objects   []*Object
	Checks    []*Check
	Ownership Ownership
	Secrets   []file.Secret
	Files     []string
	doubts    []Doubt
}

// An Ownership says what may be deleted although no file names it any more.
type Ownership struct {
	// Prune are kinds, by [Kind.Name].
	Prune []string `json:"prune,omitempty"`
	// Protect are objects, by [Object.Name], that are never deleted.
	Protect []string `json:"protect,omitempty"`
}

// Load reads files and folders, and returns what they want. The diagnostics
// hold every mistake and every warning.
func Load(paths []string) (*Desired, file.Diagnostics) {
	doc, diags := file.Load(paths, topBlocks())
	b := &builder{byName: make(map[string]*Object), brought: make(map[string]bool), diags: diags}
	for _, n := range doc.Nodes {
		switch n.Block.Name {
		case "check":
			if checkTypes[n.Labels[0]] != nil { // or it was said
				b.checks = append(b.checks, newCheck(n))
			}
		case "ownership":
			b.own(n)
		default:
			b.add(n, nil)
		}
	}
	slices.SortStableFunc(b.objects, func(x, y *Object) int { return int(x.Kind.Stage) - int(y.Kind.Stage) })
	b.diags = append(b.diags, settleIdentity(b.objects)...)
	if !doc.Partial { // or what seems to be missing may be there
		for _, o := range b.derived {
			b.bring(o)
		}
		b.settle()
		slices.SortStableFunc(b.objects, func(x, y *Object) int { return int(x.Kind.Stage) - int(y.Kind.Stage) })
		b.diags = append(b.diags, settleChecks(b.checks, b.objects)...)
	}
	if b.diags.HasErrors() {
		return nil, append(b.diags, doubtful(b.doubts)...).Sorted()
	}
	return &Desired{
		Objects: b.objects, Checks: b.checks, Ownership: b.ownership,
		Secrets: doc.Secrets, Files: doc.Files, doubts: b.doubts,
	}, b.diags.Sorted()
}

// A builder makes objects of a document.
type builder struct {
	objects   []*Object
	checks    []*Check
	ownership Ownership
	byName    map[string]*Object
	// derived are taken when the whole file is; brought are those that were.
	derived []*Object
	brought map[string]bool
	diags   file.Diagnostics
	doubts  []Doubt
}

// add makes the object of a node, and those of the nodes in it.
func (b *builder) add(n *file.Node, parent *Object) {
	kind := kindOf(n)
	if kind == nil {
		return // a part of its parent, which has taken it in Prepare
	}
	o := &Object{Kind: kind, Parent: parent, Labels: slices.Clone(n.Labels), Values: maps.Clone(n.Values), At: n.At}
	if !n.Wrong {
		b.diags = append(b.diags, o.literals()...)
		o.settleSwitches(n)
	}
	if kind.Prepare != nil && !n.Wrong {
		b.diags = append(b.diags, kind.Prepare(o, n)...)
	}
	b.put(o)
	for _, inner := range n.Nodes {
		b.add(inner, o)
	}
	if kind.Derive != nil && !n.Wrong {
		b.derived = append(b.derived, kind.Derive(o)...)
	}
}

// settleSwitches makes true and false of what was written as "true" or 0: who
// asks for a switch need not know how many ways there are.
func (o *Object) settleSwitches(n *file.Node) {
	for _, f := range o.fields() {
		v, set := o.Values[f.Name]
		if f.Type != schema.Bool || !set || len(schema.References(v.V)) > 0 {
			continue
		}
		c, _ := f.Canonical(v.V) // checked when the file was read
		v.V = c == true
		o.Values[f.Name], n.Values[f.Name] = v, v
	}
}

// bring takes a derived object. What the file says itself counts, wherever it
// stands there; two that bring the same agree, or it is a mistake.
func (b *builder) bring(o *Object) {
	if o.Parent != nil {
		if known := b.byName[o.Parent.Name()]; known != nil {
			o.Parent = known
		}
	}
	first, there := b.byName[o.Name()]
	switch {
	case !there:
		b.brought[o.Name()] = true
	case !b.brought[o.Name()], reflect.DeepEqual(plainValues(first), plainValues(o)):
		return
	}
	b.put(o)
}

func plainValues(o *Object) map[string]any {
	out := make(map[string]any, len(o.Values))
	for name, v := range o.Values {
		out[name] = v.V
	}
	return out
}

// put takes an object, unless another has its name: Vault's names are often
// not case-sensitive, so two blocks may be one object.
func (b *builder) put(o *Object) {
	name := o.Name()
	if o.Kind.Path != nil {
		if err := vault.CheckPath(o.Kind.Path(o)); err != nil {
			b.diags = append(b.diags, mistake(o.At, name+" has a name that Vault does not take", err.Error())...)
		}
	}
	if first, there := b.byName[name]; there {
		if slices.ContainsFunc(b.diags, func(d file.Diagnostic) bool { return d.Severity == file.Error && d.At == o.At }) {
			return // that the block stands there twice was said
		}
		b.diags = append(b.diags, file.Diagnostic{
			Severity: file.Error, At: o.At,
			Summary: name + " stands here a second time",
			Detail:  fmt.Sprintf("The first is at %s; one of them has to go.", first.At),
		})
		return
	}
	b.byName[name] = o
	b.objects = append(b.objects, o)
}

func (b *builder) own(n *file.Node) {
	b.ownership.Prune = append(b.ownership.Prune, texts(n, "prune")...)
	b.ownership.Protect = append(b.ownership.Protect, texts(n, "protect")...)
	for _, name := range b.ownership.Prune {
		if !slices.ContainsFunc(kinds, func(k *Kind) bool { return k.Name == name && k.ListPath != nil }) {
			b.diags = append(b.diags, file.Diagnostic{
				Severity: file.Error, At: n.At,
				Summary: fmt.Sprintf("ownership.prune names %q, which is no kind that can be pruned", name),
				Detail:  "These are: " + quotedList(prunable()),
			})
		}
	}
}

// texts is a node's list of strings.
func texts(n *file.Node, field string) []string {
	v, ok := n.Value(field)
	if !ok {
		return nil
	}
	f := schema.Field{Name: field, Type: schema.List}
	c, _ := f.Canonical(v) // the file was checked against the same type
	list, _ := c.([]string)
	return list
}
