package bootstrap

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/schema"
	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/vault"
)

// An auth method that is made anew at its old path has a new accessor. What
// refers to the old one (an enforcement, an alias of a group, the template of a
// user name) stays as it is, and Vault ignores it without a word.

// deadAccessors are those among accessors that no auth mount has.
func (s *Session) deadAccessors(ctx context.Context, accessors ...string) ([]string, error) {
	alive, err := s.accessors(ctx)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(slices.Clone(accessors), func(a string) bool {
		_, there := alive[a]
		return there || a == ""
	}), nil
}

func stale(accessors ...string) string {
	if len(accessors) == 1 {
		return "stale: " + accessors[0] + " belongs to no mount any more"
	}
	return "stale: " + strings.Join(accessors, ", ") + " belong to no mount any more"
}

// explain gives a difference its reason; without a difference, which means
// that the file wants the same, it is a note.
func (c *Change) explain(field, why string) {
	for i := range c.Fields {
		if c.Fields[i].Field == field {
			c.Fields[i].Why = why
			return
		}
	}
	c.Notes = append(c.Notes, field+": "+why)
}

// templateAccessor finds the accessors in a template of a user name.
var templateAccessor = regexp.MustCompile(`identity\.entity\.aliases\.([^.}\s]+)\.`)

func accessorsIn(template string) []string {
	var out []string
	for _, m := range templateAccessor.FindAllStringSubmatch(template, -1) {
		if !slices.Contains(out, m[1]) {
			out = append(out, m[1])
		}
	}
	return out
}

// An enforcement is whom a login enforcement falls on: canonical values of its
// lists, by the names of their fields.
type enforcement map[string][]string

func enforcementOf(values map[string]any) enforcement {
	e := make(enforcement)
	for _, field := range enforcementLists {
		e[field], _ = values[field].([]string)
	}
	return e
}

// enforcements are all that are on the server, by name.
func (s *Session) enforcements(ctx context.Context) (map[string]enforcement, error) {
	_, info, err := s.Vault.ListInfo(ctx, enforcementPath)
	if err != nil {
		return nil, err
	}
	all := make(map[string]enforcement, len(info))
	for name, v := range info {
		answer, _ := v.(map[string]any)
		all[name] = make(enforcement)
		for _, field := range enforcementLists {
			all[name][field] = stringsOf(answer[field])
		}
	}
	return all, nil
}

// covers tells whether an enforcement falls on all logins at a mount.
func (e enforcement) covers(accessor, mountType string) bool {
	return slices.Contains(e["auth_method_accessors"], accessor) || slices.Contains(e["auth_method_types"], mountType)
}

// reviewDead says what a dead accessor or group in an enforcement means: that
// nobody is asked for a second factor where the file wants it.
func reviewDead(ctx context.Context, s *Session, c *Change) error {
	now := enforcementOf(c.State.Values)
	dead, err := s.deadAccessors(ctx, now["auth_method_accessors"]...)
	if err != nil {
		return err
	}
	if len(dead) > 0 {
		c.explain("auth_method_accessors", stale(dead...))
		open, err := s.openMounts(ctx, c.Object, now)
		if err != nil {
			return err
		}
		for _, path := range open {
			c.Notes = append(c.Notes, fmt.Sprintf("MFA is OFF for logins at %s: %s", path, strings.TrimPrefix(stale(dead...), "stale: ")))
		}
	}
	return s.reviewDeadGroups(ctx, c, now["identity_group_ids"])
}

// openMounts are the mounts that the file wants the enforcement on, and that
// no enforcement on the server falls on.
func (s *Session) openMounts(ctx context.Context, o *Object, now enforcement) ([]string, error) {
	all, err := s.enforcements(ctx)
	if err != nil {
		return nil, err
	}
	all[o.Key()] = now
	var open []string
	for _, r := range schema.References(o.Values["auth_method_accessors"].V) {
		m, err := s.MountOf(ctx, "auth/"+r.Name)
		if err != nil {
			return nil, err
		}
		if m != nil && !asked(all, func(e enforcement) bool { return e.covers(textOf(m, "accessor"), textOf(m, "type")) }) {
			open = append(open, "auth/"+r.Name)
		}
	}
	return open, nil
}

// reviewDeadGroups does the same for groups. Only ids that the file does not
// want are looked at: most of all those of a group that was made anew.
func (s *Session) reviewDeadGroups(ctx context.Context, c *Change, ids []string) error {
	i := slices.IndexFunc(c.Fields, func(f FieldChange) bool { return f.Field == "identity_group_ids" })
	if i < 0 {
		return nil
	}
	wanted, _ := c.Fields[i].New.([]string)
	var dead []string
	for _, id := range ids {
		if slices.Contains(wanted, id) {
			continue
		}
		group, err := s.Vault.Read(ctx, slashed(groupByID, id))
		if err != nil && vault.StatusOf(err) != 403 {
			return err
		}
		if err == nil && group == nil {
			dead = append(dead, id)
		}
	}
	if len(dead) > 0 {
		c.explain("identity_group_ids", "stale: there is no group "+strings.Join(dead, ", ")+" any more")
		c.Notes = append(c.Notes, "MFA is OFF for the members of a group that was made anew: the enforcement has the id of the old one")
	}
	return nil
}

// staleRest finds what is in no file and refers to auth methods that are no
// more. Nobody plans a change of it, and nobody would notice.
func (s *Session) staleRest(ctx context.Context, rest []*Object) ([]*Change, error) {
	has := func(k *Kind) bool { return slices.ContainsFunc(rest, func(o *Object) bool { return o.Kind == k }) }
	notes := make(map[string]string)
	if has(enforcementKind) {
		all, err := s.enforcements(ctx)
		if err != nil {
			return nil, err
		}
		for name, e := range all {
			dead, err := s.deadAccessors(ctx, e["auth_method_accessors"]...)
			if err != nil {
				return nil, err
			}
			if len(dead) > 0 {
				notes[enforcementKind.Name+" "+name] = stale(dead...) + ": MFA is OFF for the logins that it was made for"
			}
		}
	}
	if has(groupKind) {
		if err := s.staleAliases(ctx, notes); err != nil {
			return nil, err
		}
	}
	var out []*Change
	for _, o := range rest {
		if note, found := notes[o.Name()]; found {
			out = append(out, &Change{Object: o, Action: None, State: &State{Exists: true}, Notes: []string{"in no file; " + note}})
		}
	}
	return out, nil
}

// staleAliases adds a note for every group whose alias is stale. Where the token
// may not look, nothing is said of it: the file needs no such right.
func (s *Session) staleAliases(ctx context.Context, notes map[string]string) error {
	_, info, err := s.Vault.ListInfo(ctx, slashed(aliasPath, "id"))
	if vault.StatusOf(err) == 403 {
		return nil
	}
	for _, v := range info {
		alias, _ := v.(map[string]any)
		dead, err := s.deadAccessors(ctx, textOf(alias, "mount_accessor"))
		if err != nil {
			return err
		}
		if len(dead) == 0 {
			continue
		}
		group, err := s.Vault.Read(ctx, slashed(groupByID, textOf(alias, "canonical_id")))
		if err != nil && vault.StatusOf(err) != 403 {
			return err
		}
		notes[groupKind.Name+" "+strings.ToLower(textOf(group, "name"))] = stale(dead...) + ": logins do not get this group"
	}
	return err
}
