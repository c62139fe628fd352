package bootstrap

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/vault"
)

// keepFactors keeps what asks for a second factor at logins that stay, with all
// that it works with: who protects a login does not want it without one.
func (f *fate) keepFactors(ctx context.Context) error {
	for _, e := range f.objects {
		if e.Kind != enforcementKind || !f.states[e].Exists {
			continue
		}
		now := enforcementOf(f.states[e].Values)
		guarded, err := f.guarded(ctx, now)
		if err != nil {
			return err
		}
		if guarded == nil {
			continue
		}
		f.stay(e, "it guards the logins at "+guarded.MountPath()+", which stays")
		for _, o := range f.objects {
			id := textOf(f.states[o].Answer, "id")
			if o.Kind == mfaKind && slices.Contains(now["mfa_method_ids"], id) || o.Kind == groupKind && slices.Contains(now["identity_group_ids"], id) {
				f.stay(o, e.Name()+" works with it, which stays")
			}
		}
	}
	return nil
}

// guarded is an auth mount of the file that stays and that an enforcement falls
// on; nil if there is none. By a group or an entity it may fall on any login of
// people: an AppRole's are those of machines.
func (f *fate) guarded(ctx context.Context, e enforcement) (*Object, error) {
	for _, o := range f.d.Objects {
		if o.Kind != authKind || f.kept[o] == "" {
			continue
		}
		m, err := f.s.MountOf(ctx, o.MountPath())
		if err != nil {
			return nil, err
		}
		anywhere := o.Labels[0] != "approle" && len(e["identity_group_ids"])+len(e["identity_entity_ids"]) > 0
		if m != nil && (anywhere || e.covers(textOf(m, "accessor"), textOf(m, "type"))) {
			return o, nil
		}
	}
	return nil, nil
}

// left are the enforcements that are not taken away, as they will be then.
func (f *fate) left(ctx context.Context) (map[string]enforcement, error) {
	all, err := f.s.enforcements(ctx)
	if err != nil {
		return nil, err
	}
	for _, o := range f.d.Objects {
		if f.pruning && o.Kind == enforcementKind {
			if all[o.Key()], err = f.s.wantedLists(ctx, o); err != nil {
				return nil, err
			}
		}
	}
	for o := range f.going {
		if o.Kind == enforcementKind {
			delete(all, o.Key())
		}
	}
	return all, nil
}

// explainEnforcement says where nobody is asked for a second factor any more.
func (f *fate) explainEnforcement(ctx context.Context, c *Change) error {
	gone := enforcementOf(c.State.Values)
	left, err := f.left(ctx)
	if err != nil {
		return err
	}
	mounts, err := f.s.view(ctx, "sys/auth")
	if err != nil {
		return err
	}
	for o := range f.going {
		if o.Kind == authKind {
			mounts = copyOf(mounts)
			delete(mounts, o.Key()+"/")
		}
	}
	for _, path := range sortedKeys(mounts) {
		m, _ := mounts[path].(map[string]any)
		accessor, kind := textOf(m, "accessor"), textOf(m, "type")
		if gone.covers(accessor, kind) && !asked(left, func(e enforcement) bool { return e.covers(accessor, kind) }) {
			c.Notes = append(c.Notes, "MFA is OFF from then on for logins at auth/"+strings.TrimSuffix(path, "/"))
		}
	}
	others := map[string]string{"identity_group_ids": "the members of its groups", "identity_entity_ids": "its entities"}
	for _, field := range sortedKeys(others) {
		if len(gone[field]) > 0 && !asked(left, func(e enforcement) bool { return within(gone[field], e[field]) }) {
			c.Notes = append(c.Notes, "MFA is OFF from then on for "+others[field])
		}
	}
	return nil
}

func asked(all map[string]enforcement, by func(enforcement) bool) bool {
	for _, e := range all {
		if by(e) {
			return true
		}
	}
	return false
}

// explainGroup says who is asked for a second factor because of the group, and
// will not be any more.
func (f *fate) explainGroup(ctx context.Context, c *Change) error {
	left, err := f.left(ctx)
	if vault.StatusOf(err) == 403 {
		return nil // a file without enforcements needs no right to look at them
	}
	for _, name := range sortedKeys(left) {
		if slices.Contains(left[name]["identity_group_ids"], textOf(c.State.Answer, "id")) {
			c.Notes = append(c.Notes, "MFA is OFF from then on for its members: the login enforcement "+name+" finds them by it")
		}
	}
	return err
}

// explainMFA finds enforcements that stay and ask for the method.
func (f *fate) explainMFA(ctx context.Context, c *Change) error {
	left, err := f.left(ctx)
	for _, name := range sortedKeys(left) {
		if slices.Contains(left[name]["mfa_method_ids"], textOf(c.State.Answer, "id")) {
			c.Refused = "the login enforcement " + name + " asks for it, and stays: take it out of there first"
		}
	}
	return err
}

// refuse says why a deletion is not possible, and the way out.
func (c *Change) refuse(why string) {
	if !strings.Contains(why, "protect") {
		why += fmt.Sprintf("; or keep it: ownership { protect = [%q] }", c.Object.Name())
	}
	c.Refused = why
	c.Notes = append(c.Notes, "not possible: "+why)
}
