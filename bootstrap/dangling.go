package bootstrap

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/file"
	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/schema"
)

// A Doubt is a warning of a name that no object of the file has. Only a server
// can tell whether that is wrong.
type Doubt struct {
	file.Diagnostic
	kind   *Kind
	parent *Object
	name   string
}

// doubtful are the warnings of doubts.
func doubtful(doubts []Doubt) file.Diagnostics {
	out := make(file.Diagnostics, len(doubts))
	for i, d := range doubts {
		out[i] = d.Diagnostic
	}
	return out.Sorted()
}

// Doubts are the warnings of names that nobody has asked a server about.
func (d *Desired) Doubts() file.Diagnostics { return doubtful(d.doubts) }

// Doubts are those of a file's doubts that are right: there is nothing of that
// name on the server either, or it does not say so.
func (s *Session) Doubts(ctx context.Context, d *Desired) file.Diagnostics {
	type place struct {
		kind   *Kind
		parent *Object
	}
	found := make(map[place][]*Object)
	return doubtful(slices.DeleteFunc(slices.Clone(d.doubts), func(doubt Doubt) bool {
		at := place{doubt.kind, doubt.parent}
		if _, listed := found[at]; !listed {
			found[at], _ = s.list(ctx, doubt.kind, doubt.parent) // a token that may not look leaves the doubt
		}
		return slices.ContainsFunc(found[at], func(o *Object) bool { return o.Key() == doubt.name })
	}))
}

// settle warns, when everything is known, of what refers to nothing in the
// file. It may still be on the server.
func (b *builder) settle() {
	for _, o := range b.objects {
		for _, name := range sortedKeys(o.Values) {
			v := o.Values[name]
			for _, r := range schema.References(v.V) {
				b.dangling(v.At, r)
			}
		}
		for _, f := range o.fields() {
			if f.Names != "" {
				b.namesNothing(o, f)
			}
		}
	}
}

// dangling warns of a reference to what the file does not have.
func (b *builder) dangling(at file.Position, r schema.Reference) {
	names := makers(r)
	if len(names) == 0 || r.Of == schema.RefRoleID || r.Of == schema.RefAccessor && r.Name == "token" {
		return // no file makes it, or it is brought by what refers to it
	}
	var others []string
	for _, o := range b.objects {
		switch {
		case slices.Contains(names, o.Name()):
			return
		case r.Of == schema.RefAccessor && o.Kind == authKind,
			r.Of == schema.RefMFAMethod && o.Kind == mfaKind,
			r.Of == schema.RefGroup && o.Kind == groupKind:
			others = append(others, o.Key())
		}
	}
	b.diags = append(b.diags, missing(at, referenceWords[r.Of], r.Name, others, "It has to be on the server already, or nothing will be applied."))
}

// referenceWords are what people call that which is referred to.
var referenceWords = map[schema.RefKind]string{
	schema.RefAccessor: "auth method", schema.RefMFAMethod: mfaKind.Name, schema.RefGroup: groupKind.Name,
	schema.RefEntity: "identity entity", schema.RefRoleID: "AppRole", schema.RefSecret: "secret",
}

// namesNothing warns of the names in a field that no object of the file has.
func (b *builder) namesNothing(o *Object, f *schema.Field) {
	i := slices.IndexFunc(kinds, func(k *Kind) bool { return k.Name == f.Names })
	v, set := o.Values[f.Name]
	if !set || len(schema.References(v.V)) > 0 {
		return
	}
	of, detail := kinds[i], "It has to be on the server already, or Vault refuses the "+o.Kind.Name+"."
	if of == policyKind {
		detail = "Unless it is on the server already, it allows nothing, and Vault does not say so."
	}
	var others []string
	for _, other := range b.objects {
		if other.Kind == of && (of == policyKind || other.mount() == o.mount()) || of == policyKind && other.Kind == wiringPolicyKind {
			others = append(others, other.Key())
		}
	}
	for _, name := range o.texts(f.Name) {
		if of == policyKind {
			name = strings.ToLower(name)
		}
		if !slices.Contains(others, name) && !of.isBuiltin(name) && name != "" {
			doubt := Doubt{missing(v.At, of.Name, name, others, detail), of, o.mount(), name}
			if of == policyKind {
				doubt.parent = nil
			}
			b.doubts = append(b.doubts, doubt)
		}
	}
}

// missing warns of a name, and says which one was probably meant.
func missing(at file.Position, what, name string, others []string, detail string) file.Diagnostic {
	if near := file.Nearest(name, others); near != "" {
		detail = "Did you mean " + strconv.Quote(near) + "? " + detail
	}
	return file.Diagnostic{
		Severity: file.Warning, At: at,
		Summary: fmt.Sprintf("%s %q is not in this file", what, name), Detail: detail,
	}
}

// needParents refuses a plan for what is in something that is neither on the
// server nor made by the plan: --target may have left it out.
func (s *Session) needParents(ctx context.Context, p *Plan) error {
	if len(s.Options.Targets) == 0 {
		return nil // a whole plan makes it
	}
	made := make(map[*Object]bool)
	for _, c := range p.Pending() {
		made[c.Object] = c.Action != Delete
	}
	var lines []string
	for _, c := range p.Pending() {
		for up := c.Object.Parent; made[c.Object] && up != nil; up = up.Parent {
			if made[up] {
				continue
			}
			st, err := s.Read(ctx, up)
			if err != nil {
				return err
			}
			if !st.Exists {
				lines = append(lines, fmt.Sprintf("  %s: %s is in %s, which is neither on the server nor in the plan: give --target %s as well",
					c.Object.At, c.Object.Name(), up.Name(), strconv.Quote(up.Name())))
				break
			}
		}
	}
	if len(lines) > 0 {
		return fmt.Errorf("nothing was written, because what it would be in is not there:\n%s", strings.Join(lines, "\n"))
	}
	return nil
}
