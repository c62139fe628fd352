package bootstrap

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/vault"
)

// planRest adds to a plan what is on the server and not in the file. It is only
// listed, unless ownership names its kind and the operator asks for pruning.
func (s *Session) planRest(ctx context.Context, d *Desired, p *Plan) error {
	if len(s.Options.Targets) > 0 {
		return nil
	}
	all, err := s.Inventory(ctx, d.own())
	if err != nil {
		return err
	}
	wanted := make(map[string]bool, len(d.Objects))
	for _, o := range d.Objects {
		wanted[o.Name()] = true
	}
	all = slices.DeleteFunc(all, func(o *Object) bool { return wanted[o.Name()] })
	doomed, err := s.prune(ctx, d, p, all)
	if err != nil {
		return s.refusedPlan(ctx, d, []error{err})
	}
	for _, o := range all {
		if !slices.ContainsFunc(doomed, func(c *Change) bool { return c.Object == o }) {
			p.Unmanaged = append(p.Unmanaged, o)
		}
	}
	notes, err := s.staleRest(ctx, p.Unmanaged)
	if err != nil {
		return err
	}
	p.Changes = slices.Concat(p.Changes, notes, doomed)
	return nil
}

// own are the file's objects without what it only works with: a mount that
// others made is theirs, and so is all that is in it.
func (d *Desired) own() []*Object {
	return slices.DeleteFunc(slices.Clone(d.Objects), func(o *Object) bool {
		for ; o != nil; o = o.Parent {
			if o.Loose {
				return true
			}
		}
		return false
	})
}

// prune are the deletions of what is in no file, as a destroy would make them.
// More is refused than there: nobody asks by naming a kind for the end of the
// last audit device.
func (s *Session) prune(ctx context.Context, d *Desired, p *Plan, rest []*Object) ([]*Change, error) {
	if !s.Options.Prune {
		return nil, nil
	}
	f := newFate(s, d, slices.DeleteFunc(slices.Clone(rest), func(o *Object) bool {
		return !slices.Contains(d.Ownership.Prune, o.Kind.Name) || d.Ownership.spares(o)
	}))
	if len(f.objects) == 0 {
		return nil, nil
	}
	f.pruning = true
	if err := f.read(ctx, "this plan"); err != nil {
		return nil, err
	}
	for _, o := range f.objects {
		if f.states[o].Exists {
			f.going[o] = true
		}
	}
	doomed, err := f.deletions(ctx)
	if err != nil {
		return nil, err
	}
	silent, err := s.silences(ctx, slices.Concat(p.Changes, doomed))
	if err != nil {
		return nil, err
	}
	for _, c := range doomed {
		if silent && c.Object.Kind == auditKind && c.Refused == "" {
			c.refuse("no audit device would be left: take audit out of ownership.prune, or protect one")
		}
		if f.going[c.Object] {
			c.Notes = append([]string{"in no file"}, c.Notes...)
		}
	}
	return doomed, nil
}

// spares tells whether an object is protected, or in what is, or holds it.
func (w Ownership) spares(o *Object) bool {
	return slices.ContainsFunc(w.Protect, func(name string) bool {
		for in := o; in != nil; in = in.Parent {
			if in.Name() == name {
				return true
			}
		}
		return o.isMount() && strings.HasPrefix(name, o.MountPath()+" ")
	})
}

// Inventory lists the objects on the server: those in none of the mounts, and
// those in the mounts among the given objects. Vault's own are left out.
func (s *Session) Inventory(ctx context.Context, objects []*Object) ([]*Object, error) {
	type question struct {
		kind   *Kind
		parent *Object
	}
	var questions []question
	for _, k := range kinds {
		switch {
		case k.ListPath == nil:
		case k.Block == nil || !nested(k):
			questions = append(questions, question{k, nil})
		default:
			for _, o := range objects {
				if slices.Contains(o.block().Blocks, k.Block) {
					questions = append(questions, question{k, o})
				}
			}
		}
	}
	found := make([][]*Object, len(questions))
	errs := make([]error, len(questions))
	var group errgroup.Group
	group.SetLimit(parallel)
	for i, q := range questions {
		group.Go(func() error {
			found[i], errs[i] = s.list(ctx, q.kind, q.parent)
			if vault.StatusOf(errs[i]) == 403 && !slices.ContainsFunc(objects, func(o *Object) bool { return o.Kind == q.kind && o.Parent == q.parent }) {
				errs[i] = nil // the policy that the file takes does not allow it
			}
			return nil
		})
	}
	_ = group.Wait()
	return slices.Concat(found...), denied("listing what is there", errs)
}

// list finds the objects of a kind.
func (s *Session) list(ctx context.Context, k *Kind, parent *Object) ([]*Object, error) {
	if parent != nil {
		if m, err := s.MountOf(ctx, parent.MountPath()); err != nil || m == nil {
			return nil, err
		}
	}
	if k.List != nil {
		return k.List(ctx, s, k, parent)
	}
	names, err := s.Vault.List(ctx, k.ListPath(&Object{Kind: k, Parent: parent}))
	if vault.IsAbsentMount(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("listing what there is of %s: %w", k.Name, err)
	}
	var out []*Object
	for _, name := range names {
		name = strings.TrimSuffix(name, "/")
		if !k.isBuiltin(name) {
			out = append(out, &Object{Kind: k, Parent: parent, Labels: []string{name}})
		}
	}
	return out, nil
}
