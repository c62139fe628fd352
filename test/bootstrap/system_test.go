package bootstrap_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/hashicorp/vault/api"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/test/devvault"
)

func TestAuditDevices(t *testing.T) {
	t.Parallel()
	h := start(t)
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	logs := t.TempDir()
	h.story(fmt.Sprintf(`
audit "file" "main" {
  description = "everything"
  file_path   = "%[1]s/new/folder/audit.log"
  mode        = 0640
}
audit "file" "lists" {
  options = { file_path = "%[1]s/lists.log", elide_list_responses = true, log_raw = false }
}
audit "socket" "far" {
  address     = "%[2]s"
  socket_type = "tcp"
}
`, logs, listener.Addr()), func(*api.Client) {
		h.audit("main", nil)
		h.audit("main", map[string]any{"type": "file", "description": "everything", "options": map[string]string{
			"file_path": logs + "/new/folder/audit.log", "mode": "0640", "hmac_accessor": "false", "log_raw": "1",
		}})
		h.audit("lists", nil)
		h.audit("lists", map[string]any{"type": "file", "options": map[string]string{"file_path": logs + "/elsewhere.log", "elide_list_responses": "true"}})
		h.audit("far", nil)
	},
		updates("audit file main", "hmac_accessor", "log_raw"),
		updates("audit file lists", "file_path"),
		creates("audit socket far"),
	)
	for _, name := range []string{"/new/folder/audit.log", "/lists.log"} {
		if text, err := os.ReadFile(logs + name); err != nil || len(text) == 0 {
			t.Errorf("%s: %d bytes, %v", name, len(text), err)
		}
	}
}

// audit enables a device, or disables it.
func (h *harness) audit(path string, body map[string]any) {
	h.t.Helper()
	if body != nil {
		h.vault("sys/audit/"+path, body)
		return
	}
	if err := h.api.Sys().DisableAuditWithContext(h.t.Context(), path); err != nil {
		h.t.Fatal(err)
	}
}

func TestAnAuditDeviceThatCannotBeChangedStaysAsItWas(t *testing.T) {
	t.Parallel()
	h := start(t)
	logs := t.TempDir()
	h.write("a.hcl", `audit "file" "main" { file_path = "`+logs+`/audit.log" }`)
	h.apply("a.hcl")
	// A socket to where nobody listens: Vault tries it before it enables it.
	h.write("a.hcl", `audit "file" "main" { file_path = "`+logs+`/audit.log/not-a-folder/x" }`)
	h.run("plan", "-f", "a.hcl").exits(2).says("file_path", "There is a gap in the audit log")
	h.run("apply", "-f", "a.hcl", "--auto-approve").exits(3).says("the device is enabled as it was before")
	if now := h.has("sys/audit")["main/"].(map[string]any)["options"].(map[string]any)["file_path"]; now != logs+"/audit.log" {
		t.Errorf("the device now logs to %v", now)
	}
}

func TestTheLastAuditDevice(t *testing.T) {
	t.Parallel()
	h := start(t)
	logs := t.TempDir()
	device := func(name string) string {
		return fmt.Sprintf("audit \"file\" %[1]q { file_path = \"%[2]s/%[1]s\" }\n", name, logs)
	}
	h.write("a.hcl", device("one")+device("two"))
	h.apply("a.hcl")
	h.write("two.hcl", device("two"))
	h.run("destroy", "-f", "two.hcl", "--auto-approve").exits(0).says("- audit file two").silent("Vault logs no request")
	h.write("one.hcl", device("one"))
	h.run("destroy", "-f", "one.hcl", "--auto-approve").exits(0).says("Vault logs no request")
	if all := h.has("sys/audit"); len(all) > 0 {
		t.Errorf("%d devices are left", len(all))
	}
}

func TestAuditMistakes(t *testing.T) {
	t.Parallel()
	h := start(t)
	for file, says := range map[string]string{
		`audit "file" "a" {}`:                                                               "file_path is missing",
		`audit "socket" "a" {}`:                                                             "address is missing",
		`audit "file" "a" { options = { file_paht = "/x" } }`:                               `"file_paht" is no option of this type`,
		`audit "file" "a" { options = { file_path = "/x", log_raw = "maybe" } }`:            "log_raw: a value that is not possible",
		`audit "pipe" "a" {}`:                                                               `"file", "socket", "syslog"`,
		"audit \"file\" \"a\" {\n file_path = \"/x\"\n mode = \"0755\"\n}":                  "without the right to execute",
		"audit \"file\" \"a\" {\n file_path = \"/x\"\n hmac_accessor = \"no\"\n}":           "true or false",
		"audit \"file\" \"a\" {\n file_path = \"/x\"\n options = { file_path = \"/y\" }\n}": "file_path is given twice",
	} {
		h.write("a.hcl", file)
		h.run("validate", "-f", "a.hcl").exits(1).says(says, "a.hcl:")
	}
}

// plugins are builds of the engine that say different versions.
var plugins struct {
	sync.Mutex
	built map[string][]byte
}

// pluginOf is the engine's program, built as that version.
func pluginOf(t *testing.T, version string) []byte {
	t.Helper()
	plugins.Lock()
	defer plugins.Unlock()
	if text, ok := plugins.built[version]; ok {
		return text
	}
	root, err := devvault.SourceTree()
	if err != nil {
		t.Fatal(err)
	}
	to := filepath.Join(t.TempDir(), "plugin")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-buildvcs=false",
		"-ldflags", "-s -w -X github.com/ai-keys/vault-plugin-secrets-ai-keys/backend.Version="+version, "-o", to, "./cmd/vault-plugin-secrets-ai-keys")
	cmd.Dir, cmd.Env = root, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("building the plugin: %v\n%s", err, out)
	}
	text, err := os.ReadFile(to)
	if err != nil {
		t.Fatal(err)
	}
	if plugins.built == nil {
		plugins.built = make(map[string][]byte)
	}
	plugins.built[version] = text
	return text
}

// place puts a program into the server's plugin directory, and returns its SHA-256.
func (h *harness) place(name string, program []byte) string {
	h.t.Helper()
	path := filepath.Join(h.server.Dir, "plugins", name)
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) { // it may be running
		h.t.Fatal(err)
	}
	if err := os.WriteFile(path, program, 0o700); err != nil {
		h.t.Fatal(err)
	}
	sum := sha256.Sum256(program)
	return hex.EncodeToString(sum[:])
}

// running is the version that a mount runs.
func (h *harness) running(mount string) string {
	h.t.Helper()
	m, _ := h.has("sys/mounts/" + mount)["running_plugin_version"].(string)
	return m
}

func pluginFile(sum, more string) string {
	return fmt.Sprintf("plugin \"secret\" \"ai-keys\" {\n  command = \"ai-keys\"\n  sha256 = %q\n  %s\n}\nmount \"ai-keys\" \"ai-keys\" {}\n", sum, more)
}

func TestAPlugin(t *testing.T) {
	t.Parallel()
	h := start(t)
	one, two := pluginOf(t, "v1.0.0"), pluginOf(t, "v1.1.0")
	sum := h.place("ai-keys", one)
	h.story(pluginFile(sum, `args = ["-tls-skip-verify"]`), func(*api.Client) {
		h.vault("sys/plugins/catalog/secret/ai-keys", map[string]any{"command": "ai-keys", "sha256": sum, "args": []string{}})
	}, updates("plugin secret ai-keys", "args"))
	if got := h.running("ai-keys"); got != "v1.0.0" {
		t.Errorf("running %q", got)
	}

	// Another program under the same name: registered, and the mount reloaded.
	h.vault("ai-keys/config", map[string]any{"workers": 7})
	sum = h.place("ai-keys", two)
	h.write("story.hcl", pluginFile(sum, ""))
	h.plan("story.hcl", updates("plugin secret ai-keys", "sha256", "args"), updates("plugin secret ai-keys mounts", "ai-keys/"))
	h.least("story.hcl").apply("story.hcl")
	if got := h.running("ai-keys"); got != "v1.1.0" {
		t.Errorf("running %q after the new program was registered", got)
	}
	if got := fmt.Sprint(h.has("ai-keys/config")["workers"]); got != "7" {
		t.Errorf("a reload changed the settings: %s workers", got)
	}
	// The old version is still in the catalog, and its program is not. A mount
	// that is told to run it all the same is brought back.
	first := h.place("ai-keys-1", one)
	h.vault("sys/plugins/catalog/secret/ai-keys", map[string]any{"command": "ai-keys-1", "sha256": first})
	h.vault("sys/mounts/ai-keys/tune", map[string]any{"plugin_version": "v1.0.0"})
	h.vault("sys/plugins/reload/backend", map[string]any{"plugin": "ai-keys"})
	h.plan("story.hcl", updates("plugin secret ai-keys mounts", "ai-keys/"))
	h.apply("story.hcl")
	if got := h.running("ai-keys"); got != "v1.1.0" {
		t.Errorf("running %q after it was brought back", got)
	}
}

// A plugin that says no version has one entry in the catalog.
func TestAPluginWithoutAVersion(t *testing.T) {
	t.Parallel()
	h := start(t)
	program := pluginOf(t, "")
	sum := h.place("ai-keys", program)
	h.story(pluginFile(sum, ""), func(*api.Client) {
		h.vault("sys/plugins/catalog/secret/ai-keys", map[string]any{"command": "ai-keys", "sha256": sum, "args": []string{"-tls-skip-verify"}})
	}, updates("plugin secret ai-keys", "args"))
	sum = h.place("ai-keys", append(slices.Clone(program), "another"...))
	h.write("story.hcl", pluginFile(sum, ""))
	h.plan("story.hcl", updates("plugin secret ai-keys", "sha256"), updates("plugin secret ai-keys mounts", "ai-keys/"))
	h.least("story.hcl").apply("story.hcl")
	entries, err := h.api.Sys().ListPluginsWithContext(t.Context(), &api.ListPluginsInput{Type: api.PluginTypeSecrets})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries.Details {
		if e.Name == "ai-keys" && e.Version != "" {
			t.Errorf("an entry is left from asking: %+v", e)
		}
	}
	h.write("story.hcl", pluginFile(sum, "pin = true"))
	h.run("apply", "-f", "story.hcl", "--auto-approve").exits(3).says("cannot be pinned")
	h.write("story.hcl", strings.Replace(pluginFile(sum, ""), `"secret"`, `"auth"`, 1))
	h.run("apply", "-f", "story.hcl", "--auto-approve").exits(1).says("no plugin of type auth", "nothing was written")
}

func TestAPinnedPlugin(t *testing.T) {
	t.Parallel()
	h := start(t)
	one, two := pluginOf(t, "v1.0.0"), pluginOf(t, "v1.1.0")
	first := h.place("one", one)
	second := h.place("two", two)
	file := func(command, sum, version string) string {
		return strings.Replace(pluginFile(sum, "pin = true\n version = \""+version+"\""), `"ai-keys"`+"\n  sha256", `"`+command+"\"\n  sha256", 1)
	}
	h.story(file("one", first, "1.0.0"), func(*api.Client) {
		if _, err := h.api.Logical().DeleteWithContext(t.Context(), "sys/plugins/pins/secret/ai-keys"); err != nil {
			t.Fatal(err)
		}
	}, updates("plugin secret ai-keys", "pin"))

	h.write("story.hcl", file("two", second, "v1.1.0"))
	h.plan("story.hcl", creates("plugin secret ai-keys"), updates("plugin secret ai-keys mounts", "ai-keys/"))
	h.least("story.hcl").apply("story.hcl")
	if got := h.running("ai-keys"); got != "v1.1.0" {
		t.Errorf("running %q", got)
	}
	// Pinned to another version behind our back.
	h.vault("sys/plugins/pins/secret/ai-keys", map[string]any{"version": "v1.0.0"})
	h.vault("sys/plugins/reload/backend", map[string]any{"plugin": "ai-keys"})
	h.plan("story.hcl", updates("plugin secret ai-keys", "pin"), updates("plugin secret ai-keys mounts", "ai-keys/"))
	h.apply("story.hcl")
	// Not pinned any more: the mount asks for the version that it was made with.
	h.write("story.hcl", strings.Replace(file("two", second, "v1.1.0"), "pin = true", "", 1))
	h.plan("story.hcl", updates("plugin secret ai-keys", "pin"), updates("plugin secret ai-keys mounts", "ai-keys/"))
	h.apply("story.hcl")
	if got := h.has("sys/mounts/ai-keys")["plugin_version"]; got != "v1.1.0" {
		t.Errorf("the mount asks for %v", got)
	}
}

func TestThePluginsProgramIsTriedBeforeAnythingIsWritten(t *testing.T) {
	t.Parallel()
	h := start(t)
	one, two := pluginOf(t, "v1.0.0"), pluginOf(t, "v1.1.0")
	sum := h.place("ai-keys", one)
	other := sha256.Sum256(two)
	policy := `policy "p" {
  path "x" { capabilities = ["read"] }
}
`
	refused := func(file string, texts ...string) {
		t.Helper()
		h.write("a.hcl", policy+file)
		h.run("apply", "-f", "a.hcl", "--auto-approve").exits(1).says(append(texts, "nothing was written")...)
		if h.has("sys/policies/acl/p") != nil {
			t.Error("something was written before")
		}
		if entry, err := h.api.Logical().ReadWithContext(t.Context(), "sys/plugins/catalog/secret/ai-keys"); err != nil || entry != nil {
			t.Errorf("something is registered: %v", err)
		}
	}
	refused(pluginFile(hex.EncodeToString(other[:]), ""), "plugin_directory is another program", "its SHA-256 is not "+hex.EncodeToString(other[:]))
	refused(strings.Replace(pluginFile(sum, ""), `"ai-keys"`+"\n  sha256", "\"gone\"\n  sha256", 1), "there is no file gone in the server's plugin_directory", sum)
	refused(pluginFile(sum, `args = ["-no-such-flag"]`), "cannot start ai-keys")
	refused(pluginFile(sum, `version = "v2.0.0"`), "the program says that it is version v1.0.0, and the file says v2.0.0")

	// What was registered by hand with a wrong SHA-256 has no version, and would
	// be taken before every entry that has one.
	h.vault("sys/plugins/catalog/secret/ai-keys", map[string]any{"command": "ai-keys", "sha256": hex.EncodeToString(other[:])})
	h.write("a.hcl", policy+pluginFile(sum, ""))
	h.apply("a.hcl")
	if got := h.running("ai-keys"); got != "v1.0.0" {
		t.Errorf("running %q", got)
	}
	h.vault("sys/plugins/catalog/secret/ai-keys", map[string]any{"command": "ai-keys", "sha256": hex.EncodeToString(other[:])})
	h.plan("a.hcl", updates("plugin secret ai-keys", "unversioned"))
	h.apply("a.hcl")

	// The program changes on the server after it was registered: what runs is
	// not ended for it.
	h.vault("sys/plugins/catalog/secret/ai-keys", map[string]any{"command": "ai-keys", "sha256": sum, "version": "v1.0.0"})
	h.place("ai-keys", two)
	h.write("a.hcl", policy+pluginFile(sum, "pin = true"))
	h.run("apply", "-f", "a.hcl", "--auto-approve").exits(1).says("plugin_directory is another program")
	if h.has("ai-keys/config") == nil {
		t.Error("the mount does not answer any more")
	}
}

func TestABinaryOfThisMachine(t *testing.T) {
	t.Parallel()
	h := start(t)
	program := pluginOf(t, "v1.0.0")
	sum := h.place("ai-keys", program)
	h.write("build/plugin", string(program))
	h.write("a.hcl", "plugin \"secret\" \"ai-keys\" {\n command = \"ai-keys\"\n binary = \"build/plugin\"\n}")
	h.apply("a.hcl")
	if got, _ := h.has("sys/plugins/catalog/secret/ai-keys/v1.0.0")["sha256"].(string); got != sum {
		t.Errorf("registered with the SHA-256 %q", got)
	}
	h.write("a.hcl", "plugin \"secret\" \"ai-keys\" {\n command = \"ai-keys\"\n sha256 = \""+strings.Repeat("a", 64)+"\"\n binary = \"build/plugin\"\n}")
	h.run("validate", "-f", "a.hcl").exits(1).says("another program than sha256 says", sum, "a.hcl:4")
	h.write("a.hcl", "plugin \"secret\" \"ai-keys\" {\n command = \"ai-keys\"\n binary = \"build/none\"\n}")
	h.run("validate", "-f", "a.hcl").exits(1).says("no such file", "a.hcl:3")
	for fields, says := range map[string]string{
		``:                                 "sha256 is missing",
		`sha256 = "abc"`:                   "64 hexadecimal digits",
		`sha256 = "` + sum + `"`:           "command is missing",
		`version = "1.2"`:                  "a semantic version",
		`command = "../x"`:                 "plugin_directory",
		`version = "v1.2.3+builtin.vault"`: "Vault's own plugins",
	} {
		h.write("a.hcl", "plugin \"secret\" \"ai-keys\" {\n "+fields+"\n}")
		h.run("validate", "-f", "a.hcl").exits(1).says(says)
	}
}

// What Vault does not return of a plugin is told by its fingerprint.
func TestAPluginsEnvironment(t *testing.T) {
	t.Parallel()
	h := start(t)
	sum := h.place("ai-keys", pluginOf(t, "v1.0.0"))
	h.secret("TOKEN")
	h.write("a.hcl", "secret \"token\" { from = \"env:TOKEN\" }\n"+pluginFile(sum, `env = { TOKEN = secret.token, HTTPS_PROXY = "http://127.0.0.1:1" }`))
	h.secretStory("a.hcl", "TOKEN", updates("plugin secret ai-keys", "env"))
	h.write("a.hcl", pluginFile(sum, ""))
	h.plan("a.hcl", updates("plugin secret ai-keys", "env"))
	h.apply("a.hcl")
}
