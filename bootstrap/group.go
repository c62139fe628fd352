package bootstrap

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/file"
	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/schema"
	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/vault"
)

const (
	groupList = "identity/group/name"
	groupByID = "identity/group/id"
)

// externalGroup has the members that an auth method says, by its alias.
const externalGroup = "external"

// Vault finds a group in any case and keeps the case that was written last. So
// the label is in lower case here, and the name has the case.
var groupKind = &Kind{
	Name: "identity group", Stage: StageGroup,
	Block: &schema.Block{
		Name: "identity_group", Labels: []string{"name"}, Doc: "Who gets policies together, whatever they log in with.",
		Fields: []*schema.Field{
			{Name: "type", OneOf: []string{"internal", externalGroup}, Default: "internal", Immutable: true, Doc: "internal: its members are set here; external: an auth method says them, by an alias."},
			{Name: "name", Keep: true, Doc: "Its name, which its label says already."},
			{Name: "policies", Type: schema.Set, Lower: true, Names: "policy", Doc: "Policies that its members get."},
			{Name: "metadata", Type: schema.Map, Doc: "Texts by name, which templates of policies can use."},
			{Name: "member_groups", Type: schema.Set, Local: true, Doc: "Groups whose members are its members, by name."},
			{Name: "member_entities", Type: schema.Set, Local: true, Doc: "Members, by the name of the entity."},
			{Name: "member_group_ids", Type: schema.Set, Doc: "Groups whose members are its members, by id; member_groups takes names."},
			{Name: "member_entity_ids", Type: schema.Set, Doc: "Members, by the id of the entity; member_entities takes names."},
		},
		Blocks: []*schema.Block{groupAliasKind.Block},
	},
	Path:     groupPath,
	ListPath: func(*Object) string { return groupList },
	Prepare:  prepareGroup, Read: readGroup, Write: writeGroup, Review: reviewGroup,
	List: listGroups, Access: groupAccess,
}

func groupPath(o *Object) string {
	name := o.Text("name")
	if name == "" {
		name = o.Key()
	}
	return slashed(groupList, name)
}

func prepareGroup(o *Object, n *file.Node) file.Diagnostics {
	label := o.Labels[0]
	o.Labels[0] = strings.ToLower(label)
	switch name := o.Text("name"); {
	case name == "":
		o.Set("name", label)
	case !strings.EqualFold(name, label):
		return mistake(o.Values["name"].At, "the group has two names", "Its label is its name; remove the other.")
	}
	alias := slices.IndexFunc(n.Nodes, func(n *file.Node) bool { return n.Block == groupAliasKind.Block })
	switch external := o.Text("type") == externalGroup; {
	case !external && alias >= 0:
		return mistake(n.Nodes[alias].At, "only an external group has an alias", `Set type = "external" in the group.`)
	case external:
		for _, field := range []string{"member_groups", "member_entities", "member_group_ids", "member_entity_ids"} {
			if len(o.texts(field)) > 0 {
				return mistake(o.Values[field].At, "an external group has the members that its auth method says", "Remove "+field+`, or the type. An internal group may have external ones as member_groups.`)
			}
			delete(o.Values, field)
		}
	}
	if alias >= 0 {
		o.Set(aliased, true)
	}
	o.refer("member_group_ids", "member_groups", schema.RefGroup)
	o.refer("member_entity_ids", "member_entities", schema.RefEntity)
	return nil
}

// aliased is set for a group whose alias is in the file. It is no field.
const aliased = "(aliased)"

// readGroup leaves the members of an external group out: logins change them.
func readGroup(ctx context.Context, s *Session, o *Object) (*State, error) {
	st, err := s.ReadAt(ctx, o, groupPath(o))
	if err != nil || !st.Exists {
		return st, err
	}
	if st.Values["type"] == externalGroup {
		delete(st.Values, "member_group_ids")
		delete(st.Values, "member_entity_ids")
	}
	return st, nil
}

// reviewGroup finds an alias that is in no file: it brings members.
func reviewGroup(_ context.Context, _ *Session, c *Change) error {
	if _, wanted := c.Object.Value(aliased); wanted {
		return nil
	}
	if alias := textOf(c.aliasOf(), "name"); alias != "" {
		c.Fields = append(c.Fields, FieldChange{Field: "alias", Old: alias, Why: "not in the file: nobody will be a member by it any more"})
	}
	return nil
}

// aliasOf is the alias that the server's group has; nil if it has none.
func (c *Change) aliasOf() map[string]any {
	alias, _ := c.State.Answer["alias"].(map[string]any)
	return alias
}

func writeGroup(ctx context.Context, s *Session, c *Change) error {
	if slices.ContainsFunc(c.Fields, func(f FieldChange) bool { return f.Field == "alias" }) {
		if err := s.Vault.Delete(ctx, slashed(aliasPath, "id", textOf(c.aliasOf(), "id"))); err != nil {
			return err
		}
	}
	return s.write(ctx, c)
}

func listGroups(ctx context.Context, s *Session, k *Kind, _ *Object) ([]*Object, error) {
	names, err := s.Vault.List(ctx, groupList)
	if err != nil {
		return nil, err
	}
	var out []*Object
	for _, name := range names {
		o := &Object{Kind: k, Labels: []string{strings.ToLower(name)}}
		o.Set("name", name)
		out = append(out, o)
	}
	return out, nil
}

func groupAccess(o *Object) []Access {
	out := []Access{
		{groupPath(o), []string{"create", "read", "update", "delete"}},
		{slashed(aliasPath, "id", "+"), []string{"delete"}},
	}
	return append(out, referred(o)...)
}

const aliasPath = "identity/group-alias"

var groupAliasKind = &Kind{
	Name: "identity group alias", Word: "alias", Stage: StageAlias, Forever: true,
	Block: &schema.Block{
		Name: "alias", Most: 1, Doc: "What an auth method calls the group.",
		Fields: []*schema.Field{
			{Name: "name", Required: true, Normal: inAnyCase, Doc: "The group's name there, as Okta has it; case does not matter."},
			{Name: "mount", Local: true, Doc: `The auth method, by its path: "okta".`},
			{Name: "mount_accessor", Doc: `The auth method, by its accessor: auth_accessor("okta"); mount takes its path.`},
		},
	},
	Path:    func(o *Object) string { return groupPath(o.Parent) },
	Prepare: prepareGroupAlias, Read: readGroupAlias, Write: writeGroupAlias,
	Review: reviewGroupAlias, Access: groupAliasAccess,
}

// inAnyCase: Vault compares the names of aliases without their case.
func inAnyCase(v any) any {
	name, _ := v.(string)
	return strings.ToLower(name)
}

func prepareGroupAlias(o *Object, n *file.Node) file.Diagnostics {
	switch mount := o.Text("mount"); {
	case mount != "" && o.has("mount_accessor"):
		return mistake(o.Values["mount_accessor"].At, "the alias names its auth method twice", "Keep mount.")
	case mount != "":
		o.Values["mount_accessor"] = file.Value{V: accessorOf(mount), At: o.Values["mount"].At}
	case !o.has("mount_accessor"):
		return mistake(n.At, "the alias does not say of which auth method", `Write mount = "okta", with the path of the auth method.`)
	}
	return nil
}

func readGroupAlias(ctx context.Context, s *Session, o *Object) (*State, error) {
	group, err := s.Vault.Read(ctx, groupPath(o.Parent))
	if err != nil {
		return nil, err
	}
	alias, _ := group["alias"].(map[string]any)
	if textOf(alias, "id") == "" {
		return absent, nil
	}
	return StateOf(o, alias)
}

// reviewGroupAlias explains an accessor that is dead, and finds the group that
// has the alias already.
func reviewGroupAlias(ctx context.Context, s *Session, c *Change) error {
	dead, err := s.deadAccessors(ctx, textOf(c.State.Answer, "mount_accessor"))
	if err != nil {
		return err
	}
	if len(dead) > 0 {
		c.explain("mount_accessor", stale(dead[0])+"; logins do not get this group")
	}
	if c.State.Exists && len(c.Fields) == 0 {
		return nil
	}
	other, err := s.groupOfAlias(ctx, c.Object)
	if vault.StatusOf(err) == 403 {
		return nil // Vault itself will refuse it, with less to say
	}
	if other != "" {
		c.Notes = append(c.Notes, other)
	}
	return err
}

// groupOfAlias says which other group has an alias; "" if none has.
func (s *Session) groupOfAlias(ctx context.Context, o *Object) (string, error) {
	accessor, unknown, err := s.Resolve(ctx, o.Text("mount_accessor"))
	if err != nil || len(unknown) > 0 {
		return "", err
	}
	found, err := s.Vault.Write(ctx, "identity/lookup/group", map[string]any{
		"alias_name": o.Text("name"), "alias_mount_accessor": accessor,
	})
	if err != nil {
		return "", fmt.Errorf("looking for the group that has the alias: %w", err)
	}
	name := textOf(found.Data, "name")
	if name == "" || strings.EqualFold(name, o.Parent.Key()) {
		return "", nil
	}
	return fmt.Sprintf("the alias %q belongs to the identity group %s, and Vault gives it to one group only", o.Text("name"), name), nil
}

// writeGroupAlias makes the alias, or changes it by its id: to write it a
// second time without the id is refused.
func writeGroupAlias(ctx context.Context, s *Session, c *Change) error {
	o := c.Object
	body, err := s.Body(ctx, c)
	if err != nil {
		return err
	}
	group, err := s.Vault.Read(ctx, groupPath(o.Parent))
	if err != nil {
		return err
	}
	if body["canonical_id"] = textOf(group, "id"); body["canonical_id"] == "" {
		return fmt.Errorf("there is no %s", o.Parent.Name())
	}
	path := aliasPath
	if id, _ := dig(group, "alias.id").(string); id != "" {
		path = slashed(aliasPath, "id", id)
	}
	_, err = s.Vault.Write(ctx, path, body)
	if vault.StatusOf(err) == 400 {
		if other, _ := s.groupOfAlias(ctx, o); other != "" {
			return fmt.Errorf("%s: take it from there first", other)
		}
	}
	return err
}

func groupAliasAccess(o *Object) []Access {
	return []Access{
		{groupPath(o.Parent), []string{"read"}},
		{aliasPath, []string{"create", "update"}},
		{slashed(aliasPath, "id", "+"), []string{"create", "update", "delete"}},
		{"identity/lookup/group", []string{"create", "update"}},
	}
}
