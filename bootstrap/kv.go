package bootstrap

import (
	"context"
	"fmt"
	"slices"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/file"
	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/schema"
)

// kvSettings are those of a mount of version 2, and of one entry in it.
func kvSettings(keep bool) []*schema.Field {
	return []*schema.Field{
		{Name: "max_versions", Type: schema.Int, Keep: keep, Doc: "How many versions are kept; 0: as the mount or Vault says (10)."},
		{Name: "cas_required", Type: schema.Bool, Keep: keep, Doc: "Whether a write must say which version it replaces."},
		{
			Name: "delete_version_after", Type: schema.Duration, Keep: keep, Normal: never,
			Doc: "Age at which a version is deleted; negative: never.",
		},
	}
}

// never: Vault answers -1 second for everything below 0.
func never(v any) any {
	if n, ok := v.(int64); ok && n < 0 {
		return int64(-1)
	}
	return v
}

var kvConfigKind = &Kind{
	Name: "kv config", Word: "config", Stage: StageEngine, Forever: true,
	Block: &schema.Block{
		Name: "config", Labels: []string{}, Most: 1, Doc: "Settings of every entry of a kv of version 2.",
		Fields: kvSettings(false),
	},
	Path: func(o *Object) string { return slashed(o.MountPath(), "config") },
	Prepare: func(o *Object, n *file.Node) file.Diagnostics {
		if o.fileVersion() != "2" {
			return mistake(n.At, "only a kv of version 2 has a config", `Write mount "kv-v2" for one.`)
		}
		return nil
	},
	// In version 1 the path would be an entry like any other.
	Read: func(ctx context.Context, s *Session, o *Object) (*State, error) {
		if version, err := s.kvVersion(ctx, o); err != nil || version != "2" {
			return absent, err
		}
		return s.ReadAt(ctx, o, o.Kind.Path(o))
	},
	Write: func(ctx context.Context, s *Session, c *Change) error {
		version, err := s.kvVersion(ctx, c.Object)
		if err != nil {
			return err
		}
		if version != "2" {
			return fmt.Errorf("%s is a kv of version 1, which has no config: vault kv enable-versioning %s", c.Object.MountPath(), c.Object.MountPath())
		}
		return s.write(ctx, c)
	},
	Access: func(o *Object) []Access { return []Access{{o.Kind.Path(o), []string{"read", "update"}}} },
}

// fileVersion is the version of the kv that the object is in, as the file has
// it; "1" where it says nothing, as Vault takes it.
func (o *Object) fileVersion() string {
	if m := o.mount(); m != nil {
		f := schema.Field{Type: schema.Map}
		c, _ := f.Canonical(m.Values["options"].V) // checked when the file was read
		if options, _ := c.(map[string]string); options["version"] != "" {
			return options["version"]
		}
	}
	return "1"
}

// kvVersion is the version of the kv that the object is in, on the server.
func (s *Session) kvVersion(ctx context.Context, o *Object) (string, error) {
	m, err := s.MountOf(ctx, o.MountPath())
	options, _ := m["options"].(map[string]any)
	if version := textOf(options, "version"); version != "" {
		return version, err
	}
	return "1", err
}

// How the values of the file and those of the server become one.
const (
	kvReplace = "replace" // the entry has what the file says, and nothing else
	kvMerge   = "merge"   // it has what the file says, and what others put there
	kvCreate  = "create"  // it is made if it is not there, and then belongs to others
)

// kvDataKind is an entry. Entries are the users' own: what is in no file is not
// even listed. A destroy deletes the latest version, which can be undeleted in
// version 2; of an entry that is merged, only what the file names is taken out.
var kvDataKind = &Kind{
	Name: "kv data", Word: "data", Stage: StageData,
	Block: &schema.Block{
		Name: "data", Labels: []string{"path"}, Doc: "An entry: values by name, secret or not.",
		Fields: append([]*schema.Field{
			{Name: "values", Type: schema.Any, Secrecy: schema.Sensitive, Required: true, Aliases: []string{"data", "data_json"}, Doc: "The values by their names, as in { api_key = secret.openai, region = \"eu\" }."},
			{Name: "mode", Local: true, OneOf: []string{kvCreate, kvMerge, kvReplace}, Doc: "replace: the entry is what stands here; merge: other values stay; create: only if there is none."},
			{Name: "public", Type: schema.List, Local: true, Doc: "Names that sound secret and are not: their values may stand in the file."},
			{Name: "custom_metadata", Type: schema.Map, Keep: true, Doc: "Words about the entry, by name (version 2)."},
		}, kvSettings(true)...),
	},
	Path:    func(o *Object) string { return kvPath(o, o.fileVersion(), "data") },
	Prepare: prepareKVData, Read: readKVData, Review: reviewKVData,
	Write: writeKVData, Delete: deleteKVData, Access: kvDataAccess,
}

func kvPath(o *Object, version, of string) string {
	if version == "2" {
		return slashed(o.MountPath(), of, o.Key())
	}
	return slashed(o.MountPath(), o.Key())
}

// kvMetaFields stand at metadata/<path>; the answer to a read of the data has
// the first of them too.
var kvMetaFields = []string{"custom_metadata", "max_versions", "cas_required", "delete_version_after"}

func kvDataAccess(o *Object) []Access {
	version := o.fileVersion()
	out := []Access{{kvPath(o, version, "data"), []string{"create", "read", "update", "delete"}}}
	if version == "2" {
		out = append(out, Access{kvPath(o, version, "metadata"), []string{"create", "read", "update"}})
	}
	return out
}

// A kvEntry is what the server has at a path.
type kvEntry struct {
	version string // of the mount
	values  map[string]any
	there   bool
	// current is the version to replace. An entry whose latest version is
	// deleted is not there, and yet has one.
	current int64
	meta    map[string]any
}

// kvEntry reads an entry. Its metadata is read only if the file sets what stands
// there alone, or if there is nothing else to read.
func (s *Session) kvEntry(ctx context.Context, o *Object) (*kvEntry, error) {
	version, err := s.kvVersion(ctx, o)
	if err != nil {
		return nil, err
	}
	e := &kvEntry{version: version, meta: make(map[string]any)}
	answer, err := s.Vault.Read(ctx, kvPath(o, version, "data"))
	if err != nil {
		return nil, err
	}
	if version != "2" {
		e.values, e.there = answer, answer != nil
		return e, nil
	}
	wantMeta := answer == nil
	for _, name := range kvMetaFields[1:] {
		_, set := o.Value(name)
		wantMeta = wantMeta || set
	}
	if meta, _ := answer["metadata"].(map[string]any); meta != nil {
		e.values, e.there = answer["data"].(map[string]any)
		e.current = number(meta["version"])
		e.meta["custom_metadata"] = meta["custom_metadata"]
	}
	if !wantMeta {
		return e, nil
	}
	meta, err := s.Vault.Read(ctx, kvPath(o, version, "metadata"))
	if err != nil {
		return nil, err
	}
	for _, name := range kvMetaFields {
		e.meta[name] = meta[name]
	}
	if !e.there {
		e.current = number(meta["current_version"])
	}
	return e, nil
}

func (o *Object) kvMode() string {
	if mode := o.Text("mode"); mode != "" {
		return mode
	}
	return kvReplace
}

// readKVData answers the server's values only as far as they may be shown: a
// value that is the file's own, or that is no secret by all that is known.
func readKVData(ctx context.Context, s *Session, o *Object) (*State, error) {
	e, err := s.kvEntry(ctx, o)
	if err != nil || !e.there {
		return absent, err
	}
	st, err := StateOf(o, e.meta)
	if err != nil {
		return nil, err
	}
	wanted, err := s.kvWanted(ctx, o)
	if err != nil {
		return nil, err
	}
	if o.kvMode() == kvCreate {
		st.Values["values"] = canonicalValues(wanted)
		return st, nil
	}
	raw, _ := o.Values["values"].V.(map[string]any)
	shown := make(map[string]any)
	for name, have := range e.values {
		want, named := wanted[name]
		switch {
		case named && schema.Equal(canonicalValue(want), canonicalValue(have)):
			shown[name] = have
		case !named && o.kvMode() == kvMerge:
		case named && !schema.HasSecret(raw[name]) && isPublic(o, name) && plainlyPublic(have):
			shown[name] = have
		default:
			shown[name] = anotherValue
		}
	}
	st.Values["values"] = canonicalValues(shown)
	return st, nil
}

// kvWanted are the file's values; those whose secrets are not there are
// references still.
func (s *Session) kvWanted(ctx context.Context, o *Object) (map[string]any, error) {
	resolved, _, err := s.Resolve(ctx, o.Values["values"].V)
	wanted, _ := resolved.(map[string]any)
	return wanted, err
}

// canonicalValue is one value of an entry. In a list, because "" is a value here.
func canonicalValue(v any) any {
	f := schema.Field{Type: schema.Any}
	c, _ := f.Canonical([]any{v}) // takes anything
	list, _ := c.([]any)
	return list[0]
}

func canonicalValues(values map[string]any) any {
	f := schema.Field{Type: schema.Any}
	c, _ := f.Canonical(values) // takes anything
	return c
}

// reviewKVData says which values differ, in place of the two whole entries.
func reviewKVData(ctx context.Context, s *Session, c *Change) error {
	o := c.Object
	if c.State.Exists && o.kvMode() == kvCreate {
		c.Unchecked = slices.DeleteFunc(c.Unchecked, func(name string) bool { return name == "values" })
	}
	i := slices.IndexFunc(c.Fields, func(f FieldChange) bool { return f.Field == "values" })
	if i < 0 {
		return nil
	}
	have, _ := c.State.Values["values"].(map[string]any)
	raw, _ := o.Values["values"].V.(map[string]any)
	wanted, err := s.kvWanted(ctx, o)
	if err != nil {
		return err
	}
	var fields []FieldChange
	for _, name := range sortedKeys(raw) {
		old, there := have[name]
		if there && schema.Equal(canonicalValue(wanted[name]), old) {
			continue
		}
		if there && schema.HasSecret(raw[name]) {
			old = anotherValue
		}
		fields = append(fields, FieldChange{Field: "values." + name, Old: old, New: canonicalValue(raw[name])})
	}
	for _, name := range sortedKeys(have) {
		if _, named := raw[name]; !named {
			fields = append(fields, FieldChange{Field: "values." + name, Old: anotherValue, Why: "not in the file"})
		}
	}
	c.Fields = slices.Concat(c.Fields[:i:i], fields, c.Fields[i+1:])
	return nil
}
