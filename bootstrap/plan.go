package bootstrap

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/schema"
)

// parallel is how many reads are under way at once. Vault answers a read in
// well under a millisecond; more would only queue there.
const parallel = 16

// A Plan is what an apply would do.
type Plan struct {
	// Changes are in the order of an apply. Those with [None] have notes.
	Changes []*Change
	// Same counts the objects that need nothing.
	Same int
	// Unmanaged objects are on the server, beside those of the file.
	Unmanaged []*Object
}

// Pending are the changes that an apply would make, or cannot make.
func (p *Plan) Pending() []*Change {
	var out []*Change
	for _, c := range p.Changes {
		if c.Action != None {
			out = append(out, c)
		}
	}
	return out
}

// SameObjects tells whether two plans do the same to the same objects, whatever
// they know of the fields.
func (p *Plan) SameObjects(other *Plan) bool {
	return slices.EqualFunc(p.Pending(), other.Pending(), func(a, b *Change) bool {
		return a.Object.Name() == b.Object.Name() && a.Action == b.Action
	})
}

// Empty tells whether the server has what the file wants.
func (p *Plan) Empty() bool { return len(p.Pending()) == 0 }

// Plan compares the file with the server. It changes nothing.
func (s *Session) Plan(ctx context.Context, d *Desired) (*Plan, error) {
	objects, err := s.targets(d)
	if err != nil {
		return nil, err
	}
	s.forget()
	s.record.reload()
	changes := make([]*Change, len(objects))
	errs := make([]error, len(objects))
	var group errgroup.Group
	group.SetLimit(parallel)
	for i, o := range objects {
		group.Go(func() error {
			changes[i], errs[i] = s.look(ctx, o)
			return nil
		})
	}
	_ = group.Wait() // the errors are looked at together, so that all missing rights are named at once
	if err := s.refusedPlan(ctx, d, errs); err != nil {
		return nil, err
	}
	if err := s.compareSecrets(ctx, changes); err != nil {
		return nil, err
	}
	for i, c := range changes {
		errs[i] = s.review(ctx, c)
	}
	if err := s.refusedPlan(ctx, d, errs); err != nil {
		return nil, err
	}
	p := &Plan{}
	for _, c := range changes {
		if c.Action == None && len(c.Notes)+len(c.Unchecked) == 0 {
			p.Same++
			continue
		}
		p.Changes = append(p.Changes, c)
	}
	return p, s.planRest(ctx, d, p)
}

// review lets the kind have its say, and settles what is to be done.
func (s *Session) review(ctx context.Context, c *Change) error {
	if c.Object.Kind.Review != nil {
		if err := c.Object.Kind.Review(ctx, s, c); err != nil {
			return fmt.Errorf("%s: %w", c.Object.Name(), err)
		}
	}
	c.conclude()
	return nil
}

// look reads an object and compares it.
func (s *Session) look(ctx context.Context, o *Object) (*Change, error) {
	st, err := s.Read(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("%s: reading %s: %w", o.At, o.Name(), err)
	}
	c, err := s.compare(ctx, o, st)
	if err != nil {
		return nil, err
	}
	if err := s.withhold(ctx, c); err != nil {
		return nil, err
	}
	return c, nil
}

// withhold takes out what a rotation of the root credential has replaced: the
// file's password is the old one, and sending it would shut Vault out.
func (s *Session) withhold(ctx context.Context, c *Change) error {
	if !c.State.Exists || !slices.ContainsFunc(c.Object.fields(), func(f *schema.Field) bool { return f.Rotates }) {
		return nil
	}
	e, err := s.Entry(ctx, c.Object)
	if err != nil {
		return err
	}
	rotated := e.Rotation != nil
	if !rotated && c.Object.Kind.Rotated != nil {
		if rotated, err = c.Object.Kind.Rotated(ctx, s, c.Object, c.State); err != nil {
			return fmt.Errorf("%s: %w", c.Object.Name(), err)
		}
	}
	if !rotated {
		return nil
	}
	if s.resends(c.Object) {
		return nil
	}
	for _, f := range c.Object.fields() {
		if f.Rotates {
			c.Withheld = append(c.Withheld, f.Name)
		}
	}
	c.Fields = slices.DeleteFunc(c.Fields, func(f FieldChange) bool { return slices.Contains(c.Withheld, f.Field) })
	return nil
}

// resends tells whether the operator asked for an object's secrets to be sent
// although they were rotated.
func (s *Session) resends(o *Object) bool {
	for _, v := range o.Values {
		for _, r := range schema.References(v.V) {
			if r.Of == schema.RefSecret && slices.Contains(s.Options.Resend, r.Name) {
				return true
			}
		}
	}
	return false
}

// compareSecrets compares what Vault does not return with the fingerprints of
// what was sent last. All fingerprints are asked for in one request.
func (s *Session) compareSecrets(ctx context.Context, changes []*Change) error {
	var (
		samples []sample
		of      []*Change
	)
	for _, c := range changes {
		for _, f := range c.sentSecrets() {
			m, err := s.sampleOf(ctx, c, f)
			if err != nil {
				return err
			}
			if m != nil {
				samples, of = append(samples, *m), append(of, c)
			}
		}
	}
	prints, err := s.fingerprints(ctx, samples)
	if err != nil {
		return err
	}
	for i, m := range samples {
		e, err := s.Entry(ctx, m.object)
		if err != nil {
			return err
		}
		if prints[i] != e.Fingerprints[m.field] {
			of[i].Fields = append(of[i].Fields, secretChange(m.object, m.field, "its source has changed since it was sent"))
		}
	}
	return nil
}

// sentSecrets are the fields that Vault never returns, but for what is withheld.
func (c *Change) sentSecrets() []*schema.Field {
	var out []*schema.Field
	for _, f := range c.Object.fields() {
		if f.Secrecy == schema.Secret && !f.Local && !slices.Contains(c.Withheld, f.Name) {
			out = append(out, f)
		}
	}
	return out
}

// takenOut notices a secret that was sent once and stands in the file no more:
// it would stay in force.
func (s *Session) takenOut(ctx context.Context, c *Change, f *schema.Field) error {
	if !c.State.Exists || c.Object.Loose {
		return nil
	}
	e, err := s.Entry(ctx, c.Object)
	switch {
	case err != nil || e.Fingerprints[f.Name] == "":
	case f.Rotates: // without it Vault could not log in any more
		c.Notes = append(c.Notes, f.Name+" stands in no file any more; what was sent stays in force on the server")
	default:
		c.Fields = append(c.Fields, FieldChange{Field: f.Name, Old: "(what was sent before)", Why: "not in the file any more"})
	}
	return err
}

// sampleOf decides what can be said of a secret without its fingerprint.
func (s *Session) sampleOf(ctx context.Context, c *Change, f *schema.Field) (*sample, error) {
	v, set := c.Object.Value(f.Name)
	if !set {
		return nil, s.takenOut(ctx, c, f)
	}
	if !c.State.Exists {
		c.Fields = append(c.Fields, secretChange(c.Object, f.Name, ""))
		return nil, nil
	}
	v, unknown, err := s.Resolve(ctx, v)
	if err != nil {
		return nil, err
	}
	if len(unknown) > 0 {
		c.Unchecked = append(c.Unchecked, f.Name)
		return nil, nil
	}
	e, err := s.Entry(ctx, c.Object)
	if err != nil {
		return nil, err
	}
	keyed, err := s.canFingerprint(ctx)
	if err != nil {
		return nil, err
	}
	switch {
	case s.resends(c.Object) && f.Rotates:
		c.Fields = append(c.Fields, secretChange(c.Object, f.Name, "asked for by --resend-secret"))
		return nil, nil
	case e.Fingerprints[f.Name] == "" || !keyed:
		c.Fields = append(c.Fields, secretChange(c.Object, f.Name, "nothing is recorded about it: it will be sent"))
		return nil, nil
	}
	return &sample{c.Object, f.Name, v}, nil
}

func secretChange(o *Object, field, why string) FieldChange {
	return FieldChange{Field: field, New: o.Values[field].V, Why: why}
}

// isAt tells whether a target means the object: by its name, that of something
// it is in, or the path of its mount.
func (o *Object) isAt(target string) bool {
	for in := o; in != nil; in = in.Parent {
		if in.Name() == target || in.isMount() && in.MountPath() == strings.Trim(target, "/") {
			return true
		}
	}
	return strings.HasPrefix(o.Name(), target+" ")
}

// targets are the objects that the plan is about.
func (s *Session) targets(d *Desired) ([]*Object, error) {
	if len(s.Options.Targets) == 0 {
		return d.Objects, nil
	}
	var out []*Object
	used := make(map[string]bool)
	for _, o := range d.Objects {
		for _, t := range s.Options.Targets {
			if o.isAt(t) {
				used[t] = true
				out = append(out, o)
				break
			}
		}
	}
	for _, t := range s.Options.Targets {
		if !used[t] {
			return nil, fmt.Errorf("--target %q names nothing in the file; a plan shows the names", t)
		}
	}
	return out, nil
}
