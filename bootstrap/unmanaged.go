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
	all, err := s.Inventory(ctx, d.Objects)
	if err != nil {
		return err
	}
	wanted := make(map[string]bool, len(d.Objects))
	for _, o := range d.Objects {
		wanted[o.Name()] = true
	}
	var doomed []*Change
	for _, o := range all {
		switch {
		case wanted[o.Name()]:
		case s.Options.Prune && slices.Contains(d.Ownership.Prune, o.Kind.Name) && !slices.Contains(d.Ownership.Protect, o.Name()):
			doomed = append(doomed, &Change{Object: o, Action: Delete, State: &State{Exists: true}, Notes: []string{"in no file"}})
		default:
			p.Unmanaged = append(p.Unmanaged, o)
		}
	}
	slices.SortStableFunc(doomed, func(x, y *Change) int { return int(y.Object.Kind.Stage) - int(x.Object.Kind.Stage) })
	p.Changes = append(p.Changes, doomed...)
	return s.spare(ctx, doomed)
}

// spare refuses to prune what the program's own token depends on, and the last
// audit device: nobody asks for that by naming a kind.
func (s *Session) spare(ctx context.Context, doomed []*Change) error {
	if len(doomed) == 0 {
		return nil
	}
	ends, err := s.ownEnd(ctx)
	if err != nil {
		return err
	}
	silent, err := s.silences(ctx, doomed)
	if err != nil {
		return err
	}
	for _, c := range doomed {
		if c.State, err = s.Read(ctx, c.Object); err != nil {
			return fmt.Errorf("reading %s: %w", c.Object.Name(), err)
		}
		c.Refused = ends(c.Object, c.State)
		if silent && c.Object.Kind == auditKind {
			c.Refused = "no audit device would be left: take audit out of ownership.prune, or protect one"
		}
		if c.Refused != "" {
			c.Notes = append(c.Notes, "not possible: "+c.Refused)
		}
	}
	return nil
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
