package bootstrap

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/vault"
)

// An enforcement that falls on the operator's own login may be the last thing
// that they ever write: their token ends, and the next login wants a second
// factor that nobody has tried yet. So it takes a word of theirs. A token that
// no login made (a root token, a child of one) is not concerned. What only the
// next login will bring, as the membership in an external group that has just
// been made, cannot be seen.

const entityByID = "identity/entity/id"

const wayPastLockOut = "make sure that you can bring the second factor, or keep a token that no login has made, and then give --allow-lockout"

// An operator is who runs the program, as far as an enforcement can fall on them.
type operator struct {
	// login is the mount that the token comes from; where the token is the
	// child of another, every mount that its entity logs in at.
	login  []loginMount
	entity string
	groups []string
	// hidden: the token may not read its entity, and with it its groups.
	hidden bool
}

type loginMount struct{ path, accessor, kind string }

// operator finds out who runs the program.
func (s *Session) operator(ctx context.Context) (*operator, error) {
	token, err := s.view(ctx, "auth/token/lookup-self")
	if err != nil {
		return nil, fmt.Errorf("finding out whose token this is: %w", err)
	}
	who := &operator{entity: textOf(token, "entity_id")}
	mounts, err := s.view(ctx, "sys/auth")
	if err != nil {
		return nil, err
	}
	path := textOf(token, "path")
	if !strings.HasPrefix(path, "auth/token/") {
		who.login = loginMounts(mounts, func(m loginMount) bool { return strings.HasPrefix(path, m.path+"/") })
	}
	if who.entity == "" {
		return who, nil
	}
	entity, err := s.view(ctx, slashed(entityByID, who.entity))
	if vault.StatusOf(err) == 403 {
		who.hidden = true
		return who, nil
	}
	if err != nil {
		return nil, fmt.Errorf("looking at the token's entity: %w", err)
	}
	who.groups = append(stringsOf(entity["direct_group_ids"]), stringsOf(entity["inherited_group_ids"])...)
	if len(who.login) == 0 {
		var accessors []string
		aliases, _ := entity["aliases"].([]any)
		for _, a := range aliases {
			alias, _ := a.(map[string]any)
			accessors = append(accessors, textOf(alias, "mount_accessor"))
		}
		who.login = loginMounts(mounts, func(m loginMount) bool { return slices.Contains(accessors, m.accessor) })
	}
	return who, nil
}

// loginMounts are those of sys/auth that are wanted, the longest path first.
func loginMounts(all map[string]any, wanted func(loginMount) bool) []loginMount {
	var out []loginMount
	for path, v := range all {
		if m, ok := v.(map[string]any); ok {
			mount := loginMount{"auth/" + strings.TrimSuffix(path, "/"), textOf(m, "accessor"), textOf(m, "type")}
			if wanted(mount) {
				out = append(out, mount)
			}
		}
	}
	slices.SortFunc(out, func(a, b loginMount) int {
		if d := len(b.path) - len(a.path); d != 0 {
			return d
		}
		return strings.Compare(a.path, b.path)
	})
	return out
}

// hit says by what an enforcement falls on the operator; "" if it does not.
func (who *operator) hit(e enforcement) string {
	for _, m := range who.login {
		if e.covers(m.accessor, m.kind) {
			return "the login at " + m.path + " that this token comes from"
		}
	}
	if who.entity != "" && slices.Contains(e["identity_entity_ids"], who.entity) {
		return "the identity entity that this token belongs to"
	}
	for _, group := range who.groups {
		if slices.Contains(e["identity_group_ids"], group) {
			return "an identity group that this token's entity is in"
		}
	}
	return ""
}

// lockOut says why a change may shut the operator out; "" if it does not, or
// not more than it is so already.
func (s *Session) lockOut(ctx context.Context, c *Change) (string, error) {
	who, err := s.operator(ctx)
	if err != nil {
		return "", err
	}
	wanted, err := s.wantedLists(ctx, c.Object)
	if err != nil {
		return "", err
	}
	hit := who.hit(wanted)
	if hit == "" {
		return "", nil
	}
	if now := enforcementOf(c.State.Values); who.hit(now) != "" && within(now["mfa_method_ids"], wanted["mfa_method_ids"]) {
		return "", nil // as before, or with more methods to choose from
	}
	return "this enforcement falls on " + hit, nil
}

// wantedLists are the file's lists, with what is not known yet left as it is.
func (s *Session) wantedLists(ctx context.Context, o *Object) (enforcement, error) {
	values := make(map[string]any)
	for _, f := range o.fields() {
		raw, set := o.Value(f.Name)
		if f.Local || !set {
			continue
		}
		v, _, err := s.Resolve(ctx, raw)
		if err != nil {
			return nil, err
		}
		if values[f.Name], err = f.Canonical(v); err != nil {
			return nil, err
		}
	}
	return enforcementOf(values), nil
}

// within tells whether all of a is in b.
func within(a, b []string) bool {
	return !slices.ContainsFunc(a, func(s string) bool { return !slices.Contains(b, s) })
}

// reviewLockOut refuses the apply of an enforcement that would shut its
// operator out, unless they have allowed it.
func reviewLockOut(ctx context.Context, s *Session, c *Change) error {
	if c.State.Exists && len(c.Fields) == 0 {
		return nil
	}
	why, err := s.lockOut(ctx, c)
	if err != nil {
		return err
	}
	if why != "" {
		c.Notes = append(c.Notes, why+": the next login there needs a second factor")
		if !s.Options.AllowLockout {
			c.Refused = why + "; " + wayPastLockOut
		}
		return nil
	}
	who, err := s.operator(ctx)
	if err == nil && who.hidden && len(c.Object.texts("identity_group_ids")) > 0 {
		c.Notes = append(c.Notes, "whether it falls on you cannot be told: the token may not read its own entity, and so not its groups")
	}
	return err
}
