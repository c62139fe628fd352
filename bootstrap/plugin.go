package bootstrap

import (
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/file"
	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/schema"
)

// pluginKind is an entry of the plugin catalog, and the pin. Vault keeps an
// entry for each version beside the others; which one is meant is told by the
// version, or by the SHA-256 where the file leaves the version to the plugin.
var pluginKind = &Kind{
	Name: "plugin", Stage: StagePlugin,
	Block: &schema.Block{
		Name: "plugin", Labels: []string{"type", "name"}, Doc: "A plugin in Vault's catalog, and that its mounts run it.",
		Fields: []*schema.Field{
			{Name: "command", Keep: true, Check: plainCommand, Doc: "The program's name in the server's plugin_directory."},
			{Name: "sha256", Keep: true, Lower: true, Check: checkSHA256, Aliases: []string{"sha_256"}, Doc: `The program's SHA-256, as from filesha256("bin/plugin").`},
			{Name: "binary", Local: true, Doc: "The same program on this machine: its SHA-256 is taken, or compared with sha256."},
			{Name: "version", Normal: pluginVersion, Check: checkVersion, Keep: true, Doc: "Its version, as in v1.2.3; left out: what the plugin says."},
			{Name: "args", Type: schema.List, Doc: "Arguments of the program."},
			{Name: "env", Type: schema.Map, Secrecy: schema.Secret, Literal: true, Doc: "Its environment. Vault never returns it."},
			{Name: "oci_image", Doc: "A container image instead of a program."},
			{Name: "runtime", Doc: "The plugin runtime that the image runs in."},
			{Name: "pin", Type: schema.Bool, Doc: "Every mount runs this version, whatever it asks for."},
			{Name: "reload", Type: schema.Bool, Local: true, Doc: "Have the mounts run it when it changes; true by default."},
		},
		Variants: map[string]*schema.Block{"secret": {}, "auth": {}, "database": {}},
	},
	Path:     func(o *Object) string { return slashed("sys/plugins/catalog", o.Labels[0], o.Key()) },
	ListPath: func(*Object) string { return "sys/plugins/catalog" },
	Prepare:  preparePlugin, Derive: derivePluginMounts, Read: readPlugin, Review: reviewPlugin,
	Ready: readyPlugin, Write: writePlugin, Delete: deletePlugin, List: listPlugins, Access: pluginAccess,
}

var (
	hexSHA256 = regexp.MustCompile(`^[0-9a-f]{64}$`)
	semantic  = regexp.MustCompile(`^v[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?$`)
)

func checkSHA256(v any) error {
	if text, _ := v.(string); text != "" && !hexSHA256.MatchString(text) {
		return errors.New(`64 hexadecimal digits are wanted, as from filesha256("bin/plugin")`)
	}
	return nil
}

func plainCommand(v any) error {
	if text, _ := v.(string); strings.ContainsAny(text, "/\\ ") || strings.Contains(text, "..") {
		return errors.New("the name of a file in the server's plugin_directory is wanted; arguments go into args")
	}
	return nil
}

// pluginVersion writes a version as Vault stores it.
func pluginVersion(v any) any {
	text, _ := v.(string)
	return "v" + strings.TrimPrefix(strings.TrimSpace(text), "v")
}

func checkVersion(v any) error {
	text, _ := v.(string)
	switch {
	case text == "":
	case !semantic.MatchString(text):
		return errors.New(`a semantic version is wanted, as in "v1.2.3"`)
	case strings.Contains(text, "+builtin"):
		return errors.New("builtin is a version of Vault's own plugins")
	}
	return nil
}

func preparePlugin(o *Object, n *file.Node) file.Diagnostics {
	wrong := func(at file.Position, what, out string) file.Diagnostics {
		return file.Diagnostics{{Severity: file.Error, At: at, Summary: o.Name() + ": " + what, Detail: out}}
	}
	if binary := o.Values["binary"]; binary.V != nil {
		path := o.Text("binary")
		if !filepath.IsAbs(path) {
			path = filepath.Join(filepath.Dir(binary.At.File), path)
		}
		sum, err := file.SHA256(path)
		if err != nil {
			return wrong(binary.At, "its binary cannot be read", err.Error())
		}
		given := strings.ToLower(o.Text("sha256"))
		if given != "" && given != sum {
			return wrong(binary.At, "its binary is another program than sha256 says",
				fmt.Sprintf("%s has the SHA-256 %s, and sha256 is %s. Build it again, or correct sha256.", path, sum, given))
		}
		o.Values["sha256"] = file.Value{V: sum, At: binary.At}
	}
	switch {
	case o.Text("sha256") == "" && o.Text("version") == "":
		return wrong(n.At, "sha256 is missing", `Write sha256 = filesha256("…"), or binary = "…" for a program on this machine.`)
	case o.Text("sha256") != "" && o.Text("command") == "" && o.Text("oci_image") == "":
		return wrong(n.At, "command is missing", "It is the name of the program in the server's plugin_directory.")
	}
	return nil
}
