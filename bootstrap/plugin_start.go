package bootstrap

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/vault"
)

// asking is a version that no plugin has. When Vault is told to register it,
// it starts the program, sees that the program says another one, and keeps
// nothing: so one learns whether it can be started at all.
const asking = "v0.0.0-ai-keys-bootstrap-asks"

var reported = regexp.MustCompile(`reported version \(([^)]*)\)`)

// readyPlugin has Vault start the program, without registering it.
func readyPlugin(ctx context.Context, s *Session, c *Change) error {
	if c.Object.Text("sha256") == "" {
		return nil
	}
	body, err := pluginBody(ctx, s, c.Object)
	if err != nil {
		return err
	}
	body["version"] = asking
	_, err = s.Vault.Write(ctx, untypedPath(c.Object), body)
	switch {
	case err == nil: // it says no version, so Vault took this one for it
		return s.takeBack(ctx, c.Object)
	case unsupported(err):
		return nil
	}
	if !says(err, "did not match requested version") {
		return cannotStart(c.Object, err)
	}
	want, _ := pluginVersion(c.Object.Text("version")).(string)
	if said := reported.FindStringSubmatch(err.Error()); c.Object.Text("version") != "" && said != nil && said[1] != want {
		return fmt.Errorf("the program says that it is version %s, and the file says %s: correct version, or leave it out to take what the program says", said[1], want)
	}
	return nil
}

// takeBack removes the entry that was not meant to be kept.
func (s *Session) takeBack(ctx context.Context, o *Object) error {
	s.forget()
	entries, err := s.catalog(ctx, o.Labels[0], o.Key())
	if err != nil {
		return err
	}
	if _, there := entries[asking]; !there {
		return fmt.Errorf("the program is no plugin of type %s: correct the first label, and remove version %s of %s from the catalog", o.Labels[0], asking, o.Key())
	}
	s.forget()
	return s.deleteEntry(ctx, o, asking)
}

// unsupported tells whether the server does not know the path: then it cannot
// be asked, and what it registers shows only when it is mounted.
func unsupported(err error) bool {
	status := vault.StatusOf(err)
	return status == 404 || status == 405
}

// untypedPath registers a plugin without saying its type. Vault then has to
// start it to find out, and so refuses what cannot be started. With the type
// given it takes even a program with another SHA-256: no version, no warning,
// and the next mount, or unsealing, fails.
func untypedPath(o *Object) string { return slashed("sys/plugins/catalog", o.Key()) }

func pluginBody(ctx context.Context, s *Session, o *Object) (map[string]any, error) {
	body := make(map[string]any)
	for _, f := range o.fields() {
		v, set := o.Value(f.Name)
		if !set || f.Local || f.Name == "pin" {
			continue
		}
		sent, err := s.Sent(ctx, o, f, v)
		if err != nil {
			return nil, err
		}
		body[f.Name] = sent
	}
	if env, ok := body["env"].(map[string]string); ok {
		var list []string
		for _, name := range sortedKeys(env) {
			list = append(list, name+"="+env[name])
		}
		body["env"] = list
	}
	return body, nil
}

// cannotStart says in a person's words why Vault does not start a plugin.
func cannotStart(o *Object, err error) error {
	command, sum := o.Text("command"), strings.ToLower(o.Text("sha256"))
	switch {
	case says(err, "checksums did not match"):
		return fmt.Errorf("the file %s in the server's plugin_directory is another program: its SHA-256 is not %s. Put the right one there, or correct sha256: %w", command, sum, err)
	case says(err, "no such file or directory"):
		return fmt.Errorf("there is no file %s in the server's plugin_directory. Put the program with the SHA-256 %s there: %w", command, sum, err)
	case says(err, "plugin directory is not configured"):
		return fmt.Errorf("the server has no plugin_directory: set it in Vault's configuration, and put %s there: %w", command, err)
	case says(err, "version mismatch"):
		return fmt.Errorf("the program says another version than the file: %w", err)
	case vault.StatusOf(err) == 0 || vault.StatusOf(err) == 403:
		return err
	}
	return fmt.Errorf("the server cannot start %s: %w", cmp.Or(command, o.Text("oci_image")), err)
}

// says tells whether Vault's answer holds a text.
func says(err error, text string) bool {
	e, ok := errors.AsType[*vault.Error](err)
	return ok && slices.ContainsFunc(e.Messages, func(m string) bool { return strings.Contains(m, text) })
}
