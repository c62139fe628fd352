package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// pluginMountsKind is that the mounts of a plugin run what its entry in the
// catalog says: they go on with the program that they were started with until
// they are told to reload.
var pluginMountsKind = &Kind{
	Name: "plugin mounts", Word: "mounts", Stage: StageMount, Forever: true,
	Read: readPluginMounts, Review: reviewPluginMounts, Write: writePluginMounts,
	Ready: func(ctx context.Context, s *Session, c *Change) error {
		// A reload ends what is running first: what comes after has to start.
		return readyPlugin(ctx, s, &Change{Object: c.Object.Parent})
	},
	Access: func(*Object) []Access {
		return []Access{{"sys/plugins/reload/backend", []string{"create", "update"}}}
	},
}

func derivePluginMounts(o *Object) []*Object {
	if o.Labels[0] == "database" {
		return nil // they run in the connections of a mount, which does not say what it runs
	}
	return []*Object{{Kind: pluginMountsKind, Parent: o, At: o.At}}
}

// mountsOf is what the server says of the mounts that run a plugin, by the
// paths that a reload takes.
func (s *Session) mountsOf(ctx context.Context, plugin *Object) (map[string]any, error) {
	view, prefix := "sys/mounts", ""
	switch plugin.Labels[0] {
	case "auth":
		view, prefix = "sys/auth", "auth/"
	case "database":
		return nil, nil
	}
	all, err := s.view(ctx, view)
	if err != nil {
		return nil, err
	}
	out := make(map[string]any)
	for path, item := range all {
		if m, ok := item.(map[string]any); ok && textOf(m, "type") == plugin.Key() {
			out[prefix+path] = m
		}
	}
	return out, nil
}

func readPluginMounts(ctx context.Context, s *Session, o *Object) (*State, error) {
	mounts, err := s.mountsOf(ctx, o.Parent)
	if err != nil {
		return nil, err
	}
	return &State{Exists: true, Answer: mounts, Values: make(map[string]any)}, nil
}

// outdated tells what is wrong with what a mount runs; "" if nothing is. Version
// is that of the entry, if there is one already.
func outdated(plugin *Object, m map[string]any, version string, there bool) string {
	pinned := plugin.Values["pin"].V == true
	want, _ := pluginVersion(plugin.Text("version")).(string)
	sum := strings.ToLower(plugin.Text("sha256"))
	switch running := textOf(m, "running_sha256"); {
	case sum != "" && running != sum:
		return "it runs another program"
	case plugin.Text("version") != "" && textOf(m, "running_plugin_version") != want:
		return "it runs another version"
	case there && !pinned && textOf(m, "plugin_version") != version:
		return "it would run another version when it is started again"
	}
	return ""
}

func reviewPluginMounts(ctx context.Context, s *Session, c *Change) error {
	plugin := c.Object.Parent
	entries, err := s.catalog(ctx, plugin.Labels[0], plugin.Key())
	if err != nil {
		return err
	}
	version, there := plugin.meant(entries)
	for _, path := range sortedKeys(c.State.Answer) {
		m, _ := c.State.Answer[path].(map[string]any)
		why := outdated(plugin, m, version, there)
		switch {
		case why == "":
		case plugin.Values["reload"].V == false:
			c.Notes = append(c.Notes, path+": "+why+", and the file says reload = false")
		default:
			c.Fields = append(c.Fields, FieldChange{
				Field: path, Old: runs(m), New: runsWanted(plugin), Why: why + ": it will be reloaded, which ends the requests under way",
			})
		}
	}
	return nil
}

// runs shows what a mount runs.
func runs(m map[string]any) string {
	return strings.TrimSpace(textOf(m, "running_plugin_version") + " " + textOf(m, "running_sha256"))
}

func runsWanted(plugin *Object) string {
	version := ""
	if v := plugin.Text("version"); v != "" {
		version, _ = pluginVersion(v).(string)
	}
	return strings.TrimSpace(version + " " + strings.ToLower(plugin.Text("sha256")))
}

// writePluginMounts reloads the mounts that run something else. A mount keeps
// the version that it was made with, unless the plugin is pinned: so it is told
// the version first.
func writePluginMounts(ctx context.Context, s *Session, c *Change) error {
	plugin := c.Object.Parent
	entries, err := s.catalog(ctx, plugin.Labels[0], plugin.Key())
	if err != nil {
		return err
	}
	version, there := plugin.meant(entries)
	if !there {
		return errors.New("the plugin is not in the catalog")
	}
	var paths []string
	for _, path := range sortedKeys(c.State.Answer) {
		m, _ := c.State.Answer[path].(map[string]any)
		if outdated(plugin, m, version, there) == "" {
			continue
		}
		paths = append(paths, path)
		if version == "" || plugin.Values["pin"].V == true || textOf(m, "plugin_version") == version {
			continue
		}
		if _, err := s.Vault.Write(ctx, tunePath(path), map[string]any{"plugin_version": version}); err != nil {
			return err
		}
	}
	if _, err := s.Vault.Write(ctx, "sys/plugins/reload/backend", map[string]any{"mounts": paths}); err != nil {
		return cannotStart(plugin, err)
	}
	s.forget()
	return s.confirmRunning(ctx, plugin, version)
}

func tunePath(mount string) string {
	if strings.HasPrefix(mount, "auth/") {
		return "sys/" + mount + "tune"
	}
	return "sys/mounts/" + mount + "tune"
}

// confirmRunning looks whether every mount runs what it should.
func (s *Session) confirmRunning(ctx context.Context, plugin *Object, version string) error {
	mounts, err := s.mountsOf(ctx, plugin)
	if err != nil {
		return err
	}
	for _, path := range sortedKeys(mounts) {
		m, _ := mounts[path].(map[string]any)
		if why := outdated(plugin, m, version, true); why != "" {
			return fmt.Errorf("the server has reloaded %s, and %s (%s): unmount it and mount it again if that does not change", path, why, runs(m))
		}
	}
	return nil
}
