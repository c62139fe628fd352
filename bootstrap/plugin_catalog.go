package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// catalog are the entries of a plugin, by version, without Vault's own.
func (s *Session) catalog(ctx context.Context, typ, name string) (map[string]string, error) {
	all, err := s.view(ctx, "sys/plugins/catalog")
	if err != nil {
		return nil, err
	}
	entries := make(map[string]string)
	detailed, _ := all["detailed"].([]any)
	for _, item := range detailed {
		m, _ := item.(map[string]any)
		if builtin, _ := m["builtin"].(bool); !builtin && textOf(m, "type") == typ && textOf(m, "name") == name {
			entries[textOf(m, "version")] = textOf(m, "sha256")
		}
	}
	return entries, nil
}

// meant is the version of the entry that the object is about. An entry without
// a version has the version "".
func (o *Object) meant(entries map[string]string) (version string, there bool) {
	if v := o.Text("version"); v != "" {
		version, _ = pluginVersion(v).(string)
		_, there = entries[version]
		return version, there
	}
	versions := slices.DeleteFunc(sortedKeys(entries), func(v string) bool { return v == asking })
	slices.Reverse(versions)
	for _, version := range versions {
		if entries[version] == strings.ToLower(o.Text("sha256")) {
			return version, true
		}
	}
	if len(versions) == 0 {
		return "", false
	}
	return versions[0], true
}

func readPlugin(ctx context.Context, s *Session, o *Object) (*State, error) {
	entries, err := s.catalog(ctx, o.Labels[0], o.Key())
	if err != nil {
		return nil, err
	}
	version, there := o.meant(entries)
	if !there {
		return absent, nil
	}
	answer, err := s.Vault.ReadWith(ctx, o.Kind.Path(o), map[string][]string{"version": {version}})
	if err != nil || answer == nil {
		return absent, err
	}
	pinned, err := s.pin(ctx, o)
	if err != nil {
		return nil, err
	}
	answer = copyOf(answer)
	answer["pin"], answer["pinned_version"] = pinned != "", pinned
	if answer["builtin"] == true {
		return absent, nil
	}
	return StateOf(o, answer)
}

// pin is the version that a plugin is pinned to, or "".
func (s *Session) pin(ctx context.Context, o *Object) (string, error) {
	answer, err := s.Vault.Read(ctx, pinPath(o))
	return textOf(answer, "version"), err
}

func pinPath(o *Object) string { return slashed("sys/plugins/pins", o.Labels[0], o.Key()) }

// reviewPlugin finds a pin to another version, and an entry without a version
// that new mounts would take instead.
func reviewPlugin(ctx context.Context, s *Session, c *Change) error {
	entries, err := s.catalog(ctx, c.Object.Labels[0], c.Object.Key())
	if err != nil {
		return err
	}
	version, there := c.Object.meant(entries)
	pinned := textOf(c.State.Answer, "pinned_version")
	if want := c.Object.Values["pin"].V == true; want && c.State.Exists && pinned != "" && pinned != version {
		c.Fields = append(c.Fields, FieldChange{Field: "pin", Old: pinned, New: version})
	}
	if sum, stray := entries[""]; stray && there && version != "" && sum != entries[version] {
		c.Fields = append(c.Fields, FieldChange{
			Field: "unversioned", Old: sum, Why: "an entry without a version, which new mounts would take before this one: it will be removed",
		})
	}
	return nil
}

// writePlugin registers the plugin and pins it, in an order in which no mount
// can be asked to run what cannot be started.
func writePlugin(ctx context.Context, s *Session, c *Change) error {
	o := c.Object
	if err := s.register(ctx, o); err != nil {
		return err
	}
	s.forget()
	entries, err := s.catalog(ctx, o.Labels[0], o.Key())
	if err != nil {
		return err
	}
	version, there := o.meant(entries)
	if !there {
		return fmt.Errorf("the server has started the program and found no plugin of type %s in it", o.Labels[0])
	}
	pinned, err := s.pin(ctx, o)
	if err != nil {
		return err
	}
	switch want := o.Values["pin"].V == true; {
	case want && version == "":
		return errors.New("a plugin that says no version cannot be pinned: take pin out, or say its version")
	case want && pinned != version:
		_, err = s.Vault.Write(ctx, pinPath(o), map[string]any{"version": version})
	case !want && pinned != "":
		err = s.Vault.Delete(ctx, pinPath(o))
	}
	if err != nil {
		return err
	}
	if _, stray := entries[""]; stray && version != "" {
		if err := s.deleteEntry(ctx, o, ""); err != nil {
			return err
		}
	}
	return nil
}

// register has Vault start the program, and keep what it is.
func (s *Session) register(ctx context.Context, o *Object) error {
	body, err := pluginBody(ctx, s, o)
	if err != nil {
		return err
	}
	path := untypedPath(o)
	if body["sha256"] == nil {
		path = o.Kind.Path(o) // an artifact, which Vault verifies by its signature
	}
	_, err = s.Vault.Write(ctx, path, body)
	if unsupported(err) {
		_, err = s.Vault.Write(ctx, o.Kind.Path(o), body)
	}
	if err != nil {
		return cannotStart(o, err)
	}
	return nil
}

func (s *Session) deleteEntry(ctx context.Context, o *Object, version string) error {
	return s.Vault.DeleteWith(ctx, o.Kind.Path(o), map[string][]string{"version": {version}})
}

// deletePlugin takes the pin and every version out, unless a mount would be
// left without its program.
func deletePlugin(ctx context.Context, s *Session, o *Object) error {
	mounts, err := s.mountsOf(ctx, o)
	if err != nil {
		return err
	}
	if len(mounts) > 0 {
		return fmt.Errorf("%s still need it: unmount first, or protect it", quotedList(sortedKeys(mounts)))
	}
	if err := s.Vault.Delete(ctx, pinPath(o)); err != nil {
		return err
	}
	entries, err := s.catalog(ctx, o.Labels[0], o.Key())
	if err != nil {
		return err
	}
	for _, version := range sortedKeys(entries) {
		if err := s.deleteEntry(ctx, o, version); err != nil {
			return err
		}
	}
	return nil
}

func listPlugins(ctx context.Context, s *Session, k *Kind, _ *Object) ([]*Object, error) {
	all, err := s.view(ctx, k.ListPath(nil))
	if err != nil {
		return nil, err
	}
	seen := make(map[string]bool)
	var out []*Object
	detailed, _ := all["detailed"].([]any)
	for _, item := range detailed {
		m, _ := item.(map[string]any)
		o := &Object{Kind: k, Labels: []string{textOf(m, "type"), textOf(m, "name")}}
		if builtin, _ := m["builtin"].(bool); !builtin && !seen[o.Name()] {
			seen[o.Name()] = true
			out = append(out, o)
		}
	}
	return out, nil
}

func pluginAccess(o *Object) []Access {
	return []Access{
		{"sys/plugins/catalog", []string{"read"}},
		{o.Kind.Path(o), []string{"create", "read", "update", "delete", "sudo"}},
		{untypedPath(o), []string{"create", "update", "sudo"}},
		{pinPath(o), []string{"create", "read", "update", "delete"}},
	}
}
