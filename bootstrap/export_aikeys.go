package bootstrap

import (
	"context"
	"errors"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/schema"
)

// exportAccount adds the fields that only the account's provider has.
func exportAccount(ctx context.Context, e *exporter, x *exported) error {
	return e.providerFields(ctx, x, textOf(x.state.Answer, "provider"), "account_fields")
}

func exportRole(ctx context.Context, e *exporter, x *exported) error {
	foreign := staticFields
	if x.Text("type") == "static" {
		foreign = dynamicFields
	}
	for _, name := range foreign {
		delete(x.Values, name)
	}
	account, err := e.s.readIn(ctx, x.MountPath(), "accounts", x.Text("account"))
	if err != nil || account == nil {
		return err
	}
	return e.providerFields(ctx, x, textOf(account, "provider"), "role_fields")
}

// providerFields adds what is set of a provider's own fields.
func (e *exporter) providerFields(ctx context.Context, x *exported, name, of string) error {
	def, err := e.s.providerOf(ctx, x.Object, name)
	if err != nil || def == nil {
		return err
	}
	fields, _ := def.answer[of].(map[string]any)
	for _, name := range sortedKeys(fields) {
		f, _ := fields[name].(map[string]any)
		if f["secret"] == true {
			x.hidden = append(x.hidden, name)
			continue
		}
		if known, _ := x.block().Field(name); known != nil {
			continue
		}
		have, err := providerRest.Canonical(x.state.Answer[name])
		if err != nil {
			return err
		}
		byDefault, err := providerRest.Canonical(f["default"])
		if err != nil {
			return err
		}
		if odd(map[string]any{name: have}) != "" {
			x.leave(name + " has a private-use character in it")
			return nil
		}
		if have == nil || schema.Equal(have, byDefault) {
			continue
		}
		x.Set(name, eachText(have, e.withAccessors))
		if x.Kind == aikeysRoleKind && f["fixed"] == true && f["required"] != true {
			x.remarks = append(x.remarks, "If the engine has made "+name+" for this role, take it out for another server.")
		}
	}
	return nil
}

// exportTransit writes the key in the short form, and leaves out a login that
// bootstrap makes by itself.
func exportTransit(ctx context.Context, e *exporter, x *exported) error {
	mount, key := transitKeyOf(&Object{Values: x.Values})
	delete(x.Values, "mount")
	x.Set("key", slashed(mount, key))
	method, _ := x.state.Values["auth_method"].(string)
	x.dropIf("auth_mount", method)
	wired, err := e.wired(ctx, x)
	if err != nil {
		return err
	}
	if wired == nil {
		x.hidden = map[string][]string{"approle": {"secret_id"}, "token": {"token"}}[method]
		return nil
	}
	delete(x.Values, "role_id")
	role, err := e.s.Read(ctx, wiringRole(wired))
	if err != nil {
		return err
	}
	have, _ := role.Values["secret_id_bound_cidrs"].([]string)
	usual := schema.Field{Type: schema.Set}
	want, _ := usual.Canonical(boundTo(wired)) // a list of strings
	if list, _ := want.([]string); !slices.Equal(have, list) {
		x.Set("bound_cidrs", append([]string{}, have...))
	}
	return nil
}

// wired are the settings as the file's would be when they are read, if the
// login is the one that bootstrap makes; nil if it is another.
func (e *exporter) wired(ctx context.Context, x *exported) (*Object, error) {
	if x.state.Values["auth_method"] != "approle" {
		return nil, nil
	}
	o := &Object{Kind: x.Kind, Parent: x.Parent, Values: maps.Clone(x.Values)}
	mount, key := path.Split(o.Text("key"))
	o.Set("mount", strings.TrimSuffix(mount, "/"))
	o.Set("key", key)
	o.Set("auth_mount", x.state.Values["auth_mount"])
	ref := schema.Reference{Of: schema.RefRoleID, Name: o.Text("auth_mount") + "/role/" + wiringName(o)}
	id, err := e.s.lookUp(ctx, ref)
	if err != nil || id == "" || id != x.state.Values["role_id"] {
		return nil, err
	}
	o.Set("role_id", ref.Token())
	return o, nil
}

// unwire leaves out the policies and roles that come with the settings of an
// ai-keys mount, as long as nobody has changed them.
func (e *exporter) unwire(ctx context.Context) error {
	brought, err := e.brought(ctx)
	if err != nil || len(brought) == 0 {
		return err
	}
	var failed error
	same := func(x *exported) bool {
		o := brought[x.Name()]
		if o == nil {
			return false
		}
		c, err := e.s.look(ctx, o)
		if err == nil {
			err = e.s.review(ctx, c)
		}
		failed = errors.Join(failed, err)
		return err == nil && c.Action == None
	}
	e.top = slices.DeleteFunc(e.top, same)
	every(e.top, func(x *exported) { x.inner = slices.DeleteFunc(x.inner, same) })
	return failed
}

// brought are the objects that come with others, by name.
func (e *exporter) brought(ctx context.Context) (map[string]*Object, error) {
	var failed error
	out := make(map[string]*Object)
	every(e.top, func(x *exported) {
		if x.Kind != aikeysTransitKind {
			return
		}
		o, err := e.wired(ctx, x)
		if o == nil {
			failed = errors.Join(failed, err)
			return
		}
		for _, d := range deriveWiring(o) {
			if !d.Loose {
				out[d.Name()] = d
			}
		}
	})
	return out, failed
}
