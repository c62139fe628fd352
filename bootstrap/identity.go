package bootstrap

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/file"
	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/schema"
)

// settleIdentity brings identity groups into an order in which members come
// before the groups that they are in, and finds what Vault would refuse or,
// worse, take: groups in a circle, and two MFA methods of one name.
func settleIdentity(objects []*Object) file.Diagnostics {
	var (
		diags   file.Diagnostics
		places  []int
		groups  = make(map[string]*Object)
		methods = make(map[string]*Object)
	)
	for i, o := range objects {
		switch o.Kind {
		case groupKind:
			places = append(places, i)
			groups[o.Key()] = o
		case mfaKind:
			if first, there := methods[o.Key()]; there {
				diags = append(diags, mistake(o.At, fmt.Sprintf("two MFA methods are called %q", o.Key()),
					fmt.Sprintf("Vault would turn the first, at %s, into the second: their names have to differ, also where their types do.", first.At))...)
			}
			methods[o.Key()] = o
		}
	}
	sorted, found := inner(objects, places, groups)
	for i, place := range places {
		objects[place] = sorted[i]
	}
	return append(diags, found...)
}

// inner are the groups at places, each after its members.
func inner(objects []*Object, places []int, groups map[string]*Object) ([]*Object, file.Diagnostics) {
	var (
		out   []*Object
		diags file.Diagnostics
		// The groups on the way down to this one, and those that are done.
		way   []string
		done  = make(map[string]bool)
		visit func(o *Object)
	)
	visit = func(o *Object) {
		if at := slices.Index(way, o.Key()); at >= 0 {
			diags = append(diags, mistake(o.At, "identity groups are members of each other: "+strings.Join(append(slices.Clone(way[at:]), o.Key()), " → "),
				"Vault refuses a circle: take one of them out of member_groups.")...)
			return
		}
		if done[o.Key()] {
			return
		}
		way = append(way, o.Key())
		for _, r := range schema.References(o.Values["member_group_ids"].V) {
			if member := groups[r.Name]; member != nil {
				visit(member)
			}
		}
		way = way[:len(way)-1]
		done[o.Key()] = true
		out = append(out, o)
	}
	for _, place := range places {
		visit(objects[place])
	}
	return out, diags
}

// texts is what the file sets for a field, as a list of strings.
func (o *Object) texts(field string) []string {
	f := schema.Field{Name: field, Type: schema.Set}
	c, _ := f.Canonical(o.Values[field].V) // checked when the file was read
	list, _ := c.([]string)
	return list
}

// refer adds references to what a field names to a field of ids.
func (o *Object) refer(ids, names string, of schema.RefKind) {
	if !o.has(names) {
		return
	}
	at := o.Values[names].At
	var all []any
	for _, id := range o.texts(ids) {
		all = append(all, id)
	}
	for _, name := range o.texts(names) {
		if of == schema.RefGroup {
			name = strings.ToLower(name) // as in [Object.Name] of the group
		}
		all = append(all, schema.Reference{Of: of, Name: name}.Token())
	}
	o.Values[ids] = file.Value{V: all, At: at}
}

// referred are the rights to look up what an object refers to.
func referred(o *Object) []Access {
	var out []Access
	for _, field := range sortedKeys(o.Values) {
		for _, r := range schema.References(o.Values[field].V) {
			switch r.Of {
			case schema.RefGroup:
				out = append(out, Access{slashed(groupList, r.Name), []string{"read"}})
			case schema.RefEntity:
				out = append(out, Access{slashed("identity/entity/name", r.Name), []string{"read"}})
			case schema.RefMFAMethod:
				out = append(out, Access{mfaList, []string{"list"}})
			case schema.RefSecret, schema.RefAccessor, schema.RefRoleID:
			}
		}
	}
	return out
}

// accessorOf refers to the accessor of the auth mount at a path.
func accessorOf(path string) string {
	path = strings.Trim(strings.TrimPrefix(strings.Trim(path, "/"), "auth/"), "/")
	return schema.Reference{Of: schema.RefAccessor, Name: path}.Token()
}
