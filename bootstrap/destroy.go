package bootstrap

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/vault"
)

// A destroy takes away what the file has made, in the opposite order, and
// leaves everything else:
//
//   - what is Vault's own, what others need and the file does not mention, and
//     an entry of a kv that was only made for others (mode create);
//   - what ownership.protect names, all that is in it, and what it is in or
//     works with: a mount stays for one object in it.
//
// What is in a mount goes with it, and needs no deletion of its own, but where
// something of it is outside Vault: a role of the engine has keys and perhaps
// an account at a provider. The leases of databases and AWS are ended by Vault
// when it unmounts.
//
// It can be killed at any point: the next one looks what is left.

// PlanDestroy finds what a destroy would take away. It changes nothing.
func (s *Session) PlanDestroy(ctx context.Context, d *Desired) (*Plan, error) {
	objects, err := s.targets(d)
	if err != nil {
		return nil, err
	}
	s.forget()
	s.record.reload()
	f := newFate(s, d, objects)
	if err := f.read(ctx, "this destroy"); err != nil {
		return nil, err
	}
	f.keep()
	if err := f.keepFactors(ctx); err != nil {
		return nil, err
	}
	p := &Plan{}
	for _, o := range objects {
		in := f.surrounds(o)
		switch {
		case o.Loose:
		case !f.states[o].Exists:
			p.Same++
		case f.kept[o] != "" && in == nil:
			p.Changes = append(p.Changes, &Change{Object: o, Action: None, State: f.states[o], Notes: []string{"stays: " + f.kept[o]}})
		case in == nil && (o.Kind.Forever || o.Kind == rotationKind): // nothing can delete it by itself
		default:
			f.going[o] = true
		}
	}
	changes, err := f.deletions(ctx)
	if err != nil {
		return nil, err
	}
	if err := s.noteSilence(ctx, changes); err != nil {
		return nil, err
	}
	p.Changes = append(p.Changes, changes...)
	return p, s.planRecords(ctx, d, f, p)
}

// A fate is what becomes of objects: those of a file when it is destroyed, or
// those in no file when they are pruned.
type fate struct {
	s       *Session
	d       *Desired
	objects []*Object
	states  map[*Object]*State
	// kept says why what stays does; going are those that are taken away.
	kept  map[*Object]string
	going map[*Object]bool
	// pruning: it comes after an apply of the file.
	pruning bool
	// lost are the objects in no file, by the mount that they are in.
	lost map[*Object][]*Object
}

func newFate(s *Session, d *Desired, objects []*Object) *fate {
	return &fate{s: s, d: d, objects: objects, states: make(map[*Object]*State), kept: make(map[*Object]string), going: make(map[*Object]bool)}
}

// read looks which of the objects are there, for what is said to be under way.
func (f *fate) read(ctx context.Context, doing string) error {
	states, errs := make([]*State, len(f.objects)), make([]error, len(f.objects))
	var group errgroup.Group
	group.SetLimit(parallel)
	for i, o := range f.objects {
		group.Go(func() error {
			states[i], errs[i] = f.s.Read(ctx, o)
			switch {
			case vault.IsAbsentMount(errs[i]): // Vault could not unmount it, and answers nothing from it until it can
				states[i], errs[i] = absent, nil
			case errs[i] != nil:
				errs[i] = fmt.Errorf("reading %s: %w", o.Name(), errs[i])
			}
			return nil
		})
	}
	_ = group.Wait() // the errors are looked at together, so that all missing rights are named at once
	if err := denied(doing, errs); err != nil {
		return err
	}
	for i, o := range f.objects {
		f.states[o] = states[i]
	}
	return nil
}

// keep finds what stays, and why.
func (f *fate) keep() {
	for _, o := range f.d.Objects {
		switch {
		case o.Loose:
		case slices.Contains(f.d.Ownership.Protect, o.Name()):
			f.stay(o, "it is protected")
		case o.Kind.isBuiltin(o.Key()):
			f.stay(o, "it is Vault's own; its settings stay as they are")
		case o.Kind == kvDataKind && o.kvMode() == kvCreate:
			f.mark(o, "it has belonged to others since it was made (mode create)")
		case o.isMount():
			f.sparing(o)
		}
	}
	f.keepPrograms()
	for _, o := range f.d.Objects {
		if m := o.mount(); m != nil && m != o && f.kept[o] == "" && inherits(f.kept[m]) {
			f.stay(o, "it is in "+m.Name()+", which is protected")
		}
	}
}

// inherits tells whether what is in a mount that stays for a reason stays too.
func inherits(why string) bool { return why == "it is protected" }

// sparing keeps a mount in which something is protected that is in no file.
func (f *fate) sparing(mount *Object) {
	for _, name := range f.d.Ownership.Protect {
		if strings.HasPrefix(name, mount.MountPath()+" ") {
			f.mark(mount, "it holds "+name+", which is protected")
		}
	}
}

// keepPrograms keeps the plugins of mounts that stay.
func (f *fate) keepPrograms() {
	for _, o := range f.d.Objects {
		if !o.isMount() || f.kept[o] == "" {
			continue
		}
		for _, plugin := range f.d.Objects {
			if plugin.Kind == pluginKind && plugin.Key() == o.Labels[0] {
				f.stay(plugin, o.Name()+" runs it, which stays")
			}
		}
	}
}

// stay keeps an object, what it is in, and what it works with.
func (f *fate) stay(o *Object, why string) {
	f.mark(o, why)
	for in := o.Parent; in != nil; in = in.Parent {
		f.mark(in, "it holds "+o.Name()+", which stays")
	}
	if o.Kind.Derive == nil {
		return
	}
	for _, other := range o.Kind.Derive(o) {
		if i := slices.IndexFunc(f.d.Objects, func(known *Object) bool { return known.Name() == other.Name() }); i >= 0 && f.kept[f.d.Objects[i]] == "" {
			f.stay(f.d.Objects[i], o.Name()+" works with it, which stays")
		}
	}
}

func (f *fate) mark(o *Object, why string) {
	if f.kept[o] == "" {
		f.kept[o] = why
	}
}

// surrounds is what an object is in that is taken away as a whole; nil if there
// is none.
func (f *fate) surrounds(o *Object) *Object {
	for in := o.Parent; in != nil; in = in.Parent {
		if f.going[in] {
			return in
		}
	}
	return nil
}

// atProvider tells whether something of an object is at a provider: keys, and
// what was made for them.
func atProvider(o *Object) bool { return o.Kind == aikeysRoleKind || o.Kind == aikeysAccountKind }

// turn is when an object's turn comes; higher is earlier. It is the opposite of
// an apply's, but for two:
//
//   - The engine's mount withdraws keys before it goes, and needs its login and
//     its transit key for that.
//   - Second factors go after the logins that they guard, and the groups by
//     which they find people after them: a destroy that stops in between leaves
//     no login without one.
func turn(o *Object) int {
	const apart = 100 // more than there are stages
	switch stage := o.Kind.Stage; {
	case o.Kind.Mounts == SecretsMount && o.Labels[0] == "ai-keys":
		return apart * int(StageAIKeysTransit)
	case stage >= StageGroup && stage <= StageEnforcement:
		return apart*int(StageTransitKey) + int(stage)
	default:
		return apart * int(stage)
	}
}

// deletions are the changes, in their order.
func (f *fate) deletions(ctx context.Context) ([]*Change, error) {
	if err := f.findLost(ctx); err != nil {
		return nil, err
	}
	out, inside := f.inOrder()
	ends, err := f.s.ownEnd(ctx)
	if err != nil {
		return nil, err
	}
	for _, c := range out {
		if n := inside[c.Object]; n > 0 {
			c.Notes = append(c.Notes, "with "+counted(n, "object")+" of the file in it")
		}
		if err := f.explain(ctx, c); err != nil {
			return nil, fmt.Errorf("%s: %w", c.Object.Name(), err)
		}
		if c.Refused == "" {
			c.Refused = ends(c.Object, c.State)
		}
		if c.Refused != "" {
			c.refuse(c.Refused)
		}
	}
	return out, nil
}

// inOrder are the bare changes, and how many objects go with each.
func (f *fate) inOrder() (out []*Change, inside map[*Object]int) {
	inside = make(map[*Object]int)
	for _, o := range slices.Backward(f.objects) {
		if !f.going[o] {
			continue
		}
		if in := f.surrounds(o); in != nil && !atProvider(o) {
			inside[in]++
			continue
		}
		out = append(out, &Change{Object: o, Action: Delete, State: f.states[o]})
	}
	for _, in := range f.objects {
		for _, o := range f.lost[in] {
			if atProvider(o) {
				out = append(out, &Change{Object: o, Action: Delete, State: &State{Exists: true}, Notes: []string{"in no file; it goes with " + in.Name()}})
			}
		}
	}
	slices.SortStableFunc(out, func(a, b *Change) int { return turn(b.Object) - turn(a.Object) })
	return out, inside
}

// Destroy does what a plan of [Session.PlanDestroy] says. Stop, when it ends,
// lets the object finish that is under way; ctx ends everything at once.
func (s *Session) Destroy(ctx, stop context.Context, d *Desired, p *Plan, me Process, w Watcher) (*Result, error) {
	return s.carryOut(ctx, stop, p, me, w, func(ctx context.Context) (*Plan, error) { return s.PlanDestroy(ctx, d) })
}
