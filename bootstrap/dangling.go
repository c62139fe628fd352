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
	b.missing(at, referenceWords[r.Of], r.Name, others, "It has to be on the server already, or nothing will be applied.")
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
			b.missing(v.At, of.Name, name, others, detail)
		}
	}
}

// missing warns of a name, and says which one was probably meant.
func (b *builder) missing(at file.Position, what, name string, others []string, detail string) {
	if near := file.Nearest(name, others); near != "" {
		detail = "Did you mean " + strconv.Quote(near) + "? " + detail
	}
	b.diags = append(b.diags, file.Diagnostic{
		Severity: file.Warning, At: at,
		Summary: fmt.Sprintf("%s %q is not in this file", what, name), Detail: detail,
	})
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
