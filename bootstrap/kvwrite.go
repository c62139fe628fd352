package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/schema"
	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/vault"
)

// writeKVData reads the entry again, so that nothing is lost that came in
// between: the write says which version it replaces.
func writeKVData(ctx context.Context, s *Session, c *Change) error {
	o := c.Object
	e, err := s.kvEntry(ctx, o)
	if err != nil {
		return err
	}
	// First, because delete_version_after counts from the write of the data.
	if err := s.writeKVMeta(ctx, c, e); err != nil {
		return err
	}
	f, _ := o.block().Field("values")
	sent, err := s.Sent(ctx, o, f, o.Values["values"].V)
	if err != nil {
		return err
	}
	values, _ := sent.(map[string]any)
	if values == nil {
		values = make(map[string]any)
	}
	switch {
	case e.there && o.kvMode() == kvCreate:
		return nil
	case e.there && o.kvMode() == kvMerge:
		merged := maps.Clone(e.values)
		maps.Copy(merged, values)
		values = merged
	}
	if e.there && schema.Equal(canonicalValues(values), canonicalValues(e.values)) {
		return nil // an equal write would make a new version
	}
	return s.putKV(ctx, o, e, values)
}

// putKV writes an entry in place of the version that was read.
func (s *Session) putKV(ctx context.Context, o *Object, e *kvEntry, values map[string]any) error {
	path := kvPath(o, e.version, "data")
	if e.version != "2" {
		_, err := s.Vault.Write(ctx, path, values)
		return err
	}
	_, err := s.Vault.Write(ctx, path, map[string]any{"data": values, "options": map[string]any{"cas": e.current}})
	if vault.StatusOf(err) == 400 && strings.Contains(err.Error(), "check-and-set") {
		return fmt.Errorf("somebody else has just written %s, so it was left alone: plan again: %w", path, err)
	}
	return err
}

// writeKVMeta writes what the file sets of the metadata, if it differs.
func (s *Session) writeKVMeta(ctx context.Context, c *Change, e *kvEntry) error {
	changed := c.Action == Create
	for _, f := range c.Fields {
		changed = changed || slices.Contains(kvMetaFields, f.Field)
	}
	body := make(map[string]any)
	for _, name := range kvMetaFields {
		v, set := c.Object.Value(name)
		if !set {
			continue
		}
		f, _ := c.Object.block().Field(name)
		sent, err := s.Sent(ctx, c.Object, f, v)
		if err != nil {
			return err
		}
		body[name] = sent
	}
	if !changed || len(body) == 0 {
		return nil
	}
	if e.version != "2" {
		return errors.New("a kv of version 1 keeps no metadata: vault kv enable-versioning " + c.Object.MountPath())
	}
	_, err := s.Vault.Write(ctx, kvPath(c.Object, e.version, "metadata"), body)
	return err
}

// deleteKVData deletes the latest version, or takes out what the file named.
func deleteKVData(ctx context.Context, s *Session, o *Object) error {
	e, err := s.kvEntry(ctx, o)
	if err != nil || !e.there {
		return err
	}
	if o.kvMode() == kvMerge {
		named, _ := o.Values["values"].V.(map[string]any)
		rest := maps.Clone(e.values)
		maps.DeleteFunc(rest, func(name string, _ any) bool { _, ours := named[name]; return ours })
		if len(rest) == len(e.values) {
			return nil
		}
		if len(rest) > 0 {
			return s.putKV(ctx, o, e, rest)
		}
	}
	return s.Vault.Delete(ctx, kvPath(o, e.version, "data"))
}
