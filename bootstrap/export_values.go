package bootstrap

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/file"
	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/schema"
)

// namedBy are the fields of ids, which mean nothing on another server, and the
// fields that take names instead.
var namedBy = map[string]struct {
	field string
	of    schema.RefKind
}{
	"member_group_ids":      {"member_groups", schema.RefGroup},
	"member_entity_ids":     {"member_entities", schema.RefEntity},
	"identity_group_ids":    {"identity_groups", schema.RefGroup},
	"identity_entity_ids":   {"identity_entities", schema.RefEntity},
	"mfa_method_ids":        {"mfa_methods", schema.RefMFAMethod},
	"auth_method_accessors": {"auth_methods", schema.RefAccessor},
	"mount_accessor":        {"mount", schema.RefAccessor},
}

// fill gives an object its values, and finds what is in it.
func (e *exporter) fill(ctx context.Context, x *exported) error {
	x.Values = nil
	if where := odd(x.state.Values); where != "" || odd(x.Labels) != "" {
		x.without = strings.TrimSpace(where + " has a private-use character (U+E000 or U+E001) in it, or a NUL")
		return nil
	}
	for _, f := range x.fieldsAnswered() {
		if err := e.field(ctx, x, f); err != nil {
			return err
		}
	}
	if after := exporting[x.Kind].after; after != nil {
		if err := after(ctx, e, x); err != nil {
			return fmt.Errorf("%s: %w", x.Name(), err)
		}
	}
	for _, f := range x.fieldsAnswered() {
		if _, set := x.Value(f.Name); x.without == "" && !set && x.state.Values[f.Name] == anotherValue {
			x.leave("its " + f.Name + " may hold a secret, and a file takes none there")
		}
	}
	if x.without != "" {
		return nil
	}
	if err := e.hiddenFields(ctx, x); err != nil {
		return err
	}
	for _, block := range x.block().Blocks {
		k := kindOf(&file.Node{Block: block})
		if k == nil {
			continue
		}
		found, err := e.those(ctx, k, x)
		if err != nil {
			return err
		}
		x.inner = append(x.inner, found...)
	}
	return nil
}

// fieldsAnswered are the fields that the server tells.
func (x *exported) fieldsAnswered() []*schema.Field {
	return slices.DeleteFunc(slices.Clone(x.fields()), func(f *schema.Field) bool {
		label := f.Name == "type" && f.Keep && len(x.Labels) == 2 // it says the type already
		return f.Local || f.Secrecy == schema.Secret || label
	})
}

// field gives a field its value, if the file has to say it.
func (e *exporter) field(ctx context.Context, x *exported, f *schema.Field) error {
	v := x.state.Values[f.Name]
	byDefault, err := f.Canonical(f.Default)
	if err != nil {
		return fmt.Errorf("%s: the default of %s: %w", x.Name(), f.Name, err)
	}
	switch {
	case f.Keep && v == nil, !f.Keep && !f.Required && schema.Equal(v, byDefault):
		return nil
	case f.Secrecy == schema.Plain && v == anotherValue:
		return nil
	case f.Secrecy == schema.Sensitive:
		x.Set(f.Name, e.guarded(x, f, v))
		return nil
	case v == nil:
		x.Set(f.Name, emptyOf(f))
		return nil
	}
	if by, is := namedBy[f.Name]; is {
		if v, err = e.named(ctx, x, f, by.field, by.of, v); err != nil || v == nil {
			return err
		}
	}
	x.Set(f.Name, eachText(v, e.withAccessors))
	return nil
}

// emptyOf is how a file says that a field is empty where the default is not.
func emptyOf(f *schema.Field) any {
	switch f.Type {
	case schema.List, schema.Set:
		return []string{}
	case schema.Map, schema.Any:
		return map[string]any{}
	case schema.Bool, schema.Int, schema.Duration:
		return f.Plain(nil)
	case schema.String, schema.JSON:
	}
	return ""
}

// guarded is a value that may hold a secret: of an object, what is no secret by
// its name is shown.
func (e *exporter) guarded(x *exported, f *schema.Field, v any) any {
	if m, ok := v.(map[string]string); ok {
		out := make(map[string]any, len(m))
		for _, name := range sortedKeys(m) {
			if out[name] = m[name]; soundsSecret(name) {
				out[name] = e.declare(x, f, name)
			}
		}
		return out
	}
	return e.declare(x, f, "")
}

// named moves ids whose names are known to the field for names. What is left
// belongs to nothing any more.
func (e *exporter) named(ctx context.Context, x *exported, f *schema.Field, field string, of schema.RefKind, v any) (any, error) {
	if known, _ := x.block().Field(field); known == nil {
		return v, nil
	}
	ids, many := v.([]string)
	if !many {
		ids = []string{fmt.Sprint(v)}
	}
	var names, dead []string
	for _, id := range ids {
		name, err := e.nameOf(ctx, schema.Reference{Of: of, Name: id})
		switch {
		case err != nil:
			return nil, err
		case name == "":
			dead = append(dead, id)
		default:
			names = append(names, name)
		}
	}
	slices.Sort(names)
	switch {
	case len(names) > 0 && many:
		x.Set(field, names)
	case len(names) > 0:
		x.Set(field, names[0])
	}
	if len(dead) == 0 {
		return nil, nil
	}
	why := "stale: " + f.Name + ": " + strings.Join(dead, ", ") + " belongs to nothing any more"
	if of == schema.RefAccessor {
		x.remarks = append(x.remarks, why) // a plan notes it
	} else {
		x.tell(why)
	}
	if many {
		return dead, nil
	}
	return dead[0], nil
}

// nameOf is the name of what has an id; "" if nothing has it.
func (e *exporter) nameOf(ctx context.Context, id schema.Reference) (string, error) {
	if name, known := e.names[id]; known {
		return name, nil
	}
	name, err := "", error(nil)
	switch id.Of {
	case schema.RefAccessor:
		name = strings.TrimPrefix(e.accessors[id.Name], "auth/")
	case schema.RefGroup:
		name, err = e.s.idAt(ctx, slashed(groupByID, id.Name), "name")
	case schema.RefEntity:
		name, err = e.s.idAt(ctx, slashed(entityByID, id.Name), "name")
	case schema.RefMFAMethod:
		methods, merr := e.s.mfaMethods(ctx)
		for _, method := range sortedKeys(methods) {
			if methods[method] == id.Name {
				name = method
			}
		}
		err = merr
	case schema.RefSecret, schema.RefRoleID:
	}
	if err != nil {
		return "", fmt.Errorf("looking up the name of the %s: %w", id, err)
	}
	e.names[id] = name
	return name, nil
}

// withAccessors refers to auth mounts where a text has their accessors.
func (e *exporter) withAccessors(text string) string {
	if !strings.Contains(text, "auth_") {
		return text
	}
	for _, accessor := range sortedKeys(e.accessors) {
		if accessor != "" {
			text = strings.ReplaceAll(text, accessor, accessorOf(e.accessors[accessor]))
		}
	}
	return text
}

// eachText maps the texts of a canonical value.
func eachText(v any, f func(string) string) any {
	switch v := v.(type) {
	case string:
		return f(v)
	case []string:
		out := make([]string, len(v))
		for i, item := range v {
			out[i] = f(item)
		}
		return out
	case map[string]string:
		out := make(map[string]string, len(v))
		for name, item := range v {
			out[name] = f(item)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, item := range v {
			out[i] = eachText(item, f)
		}
		return out
	case map[string]any:
		out := make(map[string]any, len(v))
		for name, item := range v {
			out[name] = eachText(item, f)
		}
		return out
	}
	return v
}

// odd finds where a server's value has what would be taken for a reference in
// a file, and could put a secret where somebody wants it; "" if nowhere.
func odd[V map[string]any | []string](v V) string {
	found := ""
	look := func(where string) func(string) string {
		return func(text string) string {
			if strings.ContainsAny(text, string([]rune{schema.Open, schema.Close, 0})) {
				found = where
			}
			return text
		}
	}
	switch v := any(v).(type) {
	case []string:
		eachText(v, look("a name"))
	case map[string]any:
		for _, field := range sortedKeys(v) {
			eachText(v[field], look(field))
		}
	}
	return found
}
