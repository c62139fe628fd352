package bootstrap_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/test/servers"
)

// exported is what export --json prints.
type exported struct {
	Command string   `json:"command"`
	File    string   `json:"file"`
	Out     string   `json:"out"`
	Notes   []string `json:"notes"`
}

// export exports to a file, and checks that the file is right and that with it
// nothing would be changed.
func (h *harness) export(file string) exported {
	h.t.Helper()
	var out exported
	r := h.run("export", "--json", "-o", file, "--force").exits(0)
	if err := json.Unmarshal([]byte(r.stdout), &out); err != nil {
		h.t.Fatal(err)
	}
	if text := h.read(file); text != out.File {
		h.t.Errorf("the file is not what --json says:\n%s", text)
	}
	for line := range strings.Lines(h.run("validate", "-f", file).exits(0).silent("is called").stderr) {
		// A server may have names of policies that it has not got.
		if strings.Contains(line, "warning") && !strings.Contains(line, `warning: policy "`) {
			h.t.Errorf("of the export it is said: %s", line)
		}
	}
	h.plan(file)
	for _, note := range out.Notes {
		if strings.Contains(note, "would change") {
			h.t.Error(note)
		}
	}
	return out
}

// sources are the environment variables that a file takes its secrets from.
var sources = regexp.MustCompile(`from = "env:([A-Z0-9_]+)"`)

// again applies an exported file to a new server, and checks that the same
// comes out of that.
func (h *harness) again(first exported, prepare func(h *harness)) {
	t := h.t
	t.Helper()
	other := start(t)
	if prepare != nil {
		prepare(other)
	}
	for _, m := range sources.FindAllStringSubmatch(first.File, -1) {
		other.secret(m[1])
	}
	other.write("first.hcl", first.File)
	other.run("apply", "-f", "first.hcl", "--auto-approve").exits(0)
	second := other.export("second.hcl")
	text := strings.ReplaceAll(second.File, other.server.Addr, h.server.Addr)
	if diff := gocmp.Diff(first.File, text); diff != "" {
		t.Errorf("(-first +second):\n%s", diff)
	}
}

// What the production example sets up comes back as a file that says the same.
func TestExportOfEverything(t *testing.T) {
	t.Parallel()
	p := inProduction(t)
	p.run("apply", "-f", "vault.hcl", "--auto-approve").exits(0)
	p.export("exported.hcl")
}

func TestExportOfEveryKind(t *testing.T) {
	t.Parallel()
	h, f, org := engineAndOrganisation(t)
	db := servers.PostgreSQL(t)
	db.Exec(t, dialects[0].robot)
	h.secret("DB_PASSWORD", db.Password)
	cloud, _ := h.cloud()
	cloud.User(t, "robot", "iam:ListUsers")
	h.secret("OKTA_API_TOKEN", org.APIToken())
	for _, variable := range []string{"ROBOT_PASSWORD", "TOKEN", "JWT"} {
		h.secret(variable)
	}
	h.write("all.hcl", h.everything(f, db, cloud, issuer(t).JWKSURL()))
	h.run("apply", "-f", "all.hcl", "--auto-approve", "--no-checks").exits(0)
	out := h.export("exported.hcl")
	for _, kind := range []string{
		"audit", "plugin", "policy", "mount", "auth", "identity_group", "mfa", "login_enforcement", "quota", "secret",
		"  config", "  transit", "  account", "  role", "  key", "  connection", "  static_role", "  root", "  lease", "  alias", "  group", "    rotate_root ",
	} {
		if !strings.Contains(out.File, "\n"+kind+" ") {
			t.Errorf("there is no%s", kind)
		}
	}
	// What bootstrap makes by itself comes with the engine's transit block.
	if strings.Contains(out.File, "ai-keys-transit") || strings.Contains(out.File, "ai-keys-bootstrap/") {
		t.Error("the engine's own login is exported, or the program's record")
	}
	if t.Failed() {
		t.Log(out.File)
	}
}

func TestExportOfAnEmptyServer(t *testing.T) {
	t.Parallel()
	h := start(t)
	h.export("exported.hcl")
	if info, err := os.Stat(filepath.Join(h.dir, "exported.hcl")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("others can read the file: %v, %v", info.Mode(), err)
	}
}

// What the stories of the kinds set up is exported, set up from that on another
// server, and exported again: the same comes out.
func TestExportAgain(t *testing.T) {
	t.Parallel()
	robot := func(h *harness) { h.vault("identity/entity/name/robot", nil) }
	for name, story := range map[string]struct {
		file    string
		secrets []string
		prepare func(h *harness)
	}{
		"okta":         {file: oktaFile, secrets: []string{"OKTA_API_TOKEN"}},
		"jwt":          {file: strings.ReplaceAll(jwtFile, "ISSUER", issuer(t).URL)},
		"approle":      {file: approleFile},
		"groups":       {file: groupsFile, prepare: robot},
		"methods":      {file: methodsFile[:strings.Index(methodsFile, `mfa "pingid"`)], secrets: []string{"OKTA_API_TOKEN", "DUO_SECRET"}},
		"enforcements": {file: enforcementsFile, prepare: robot},
		"quotas":       {file: quotasFile},
		"transit":      {file: transitFile},
		"kv":           {file: kvFile, secrets: []string{"OPENAI"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := start(t)
			if story.prepare != nil {
				story.prepare(h)
			}
			for _, variable := range story.secrets {
				h.secret(variable)
			}
			h.write("story.hcl", story.file)
			h.run("apply", "-f", "story.hcl", "--auto-approve").exits(0)
			h.again(h.export("exported.hcl"), story.prepare)
		})
	}
}

// strange is what people have on their servers, and no file of ours has made.
func strange(h *harness) {
	h.t.Helper()
	h.vault("sys/policies/acl/plain", map[string]any{"policy": `{"path": {"a/${b}/%{c}": {"capabilities": ["read", "deny"]}}}`})
	h.vault("sys/policies/acl/limited", map[string]any{"policy": `
path "sys/wrapping/*" {
  capabilities       = ["update"]
  min_wrapping_ttl   = "1m"
  max_wrapping_ttl   = 7200
  allowed_parameters = { "a" = ["x", 1], "*" = [] }
}
path "b" { capabilities = ["list"] }
`})
	h.vault("sys/policies/acl/commented", map[string]any{"policy": "# Why: ${x} and $${y}\npath \"a\" {\n\tcapabilities = [\"read\"] // so EOT\n}\n"})
	h.vault("sys/policies/acl/twice", map[string]any{"policy": `path "a" { capabilities = ["read"] } path "a" { capabilities = ["list"] }`})
	h.vault("sys/policies/acl/old", map[string]any{"policy": `path "a" { policy = "write" }`})
	h.vault("sys/policies/acl/trap", map[string]any{"policy": "path \"a\uE000secret:okta_api_token\uE001\" { capabilities = [\"read\"] }"})
	h.vault("sys/auth/okta", map[string]any{"type": "okta", "description": "a\n# \"${b}\""})
	h.vault("auth/okta/config", map[string]any{"org_name": "acme", "api_token": h.canary()})
	h.vault("sys/policies/acl/own", map[string]any{"policy": `path "home/$` + "{{identity.entity.aliases." + h.authAccessor("okta") + `.name}}" { capabilities = ["read"] }`})
	h.vault("sys/policies/acl/words", map[string]any{"policy": "# mine\npath \"home/{{identity.entity.aliases." + h.authAccessor("okta") + ".name}}\" { capabilities = [\"read\"] }"})
	h.vault("sys/mounts/pki", map[string]any{"type": "pki", "config": map[string]any{"max_lease_ttl": "87600h"}})
	h.vault("sys/mounts/other", map[string]any{"type": "openldap"})
	h.vault("sys/auth/saml/deep", map[string]any{"type": "userpass", "config": map[string]any{"token_type": "batch"}})
	h.vault("sys/mounts/one", map[string]any{"type": "kv"})
	h.vault("sys/mounts/db", map[string]any{"type": "database"})
	for name, url := range map[string]string{
		"open":  "postgresql://vault:" + h.canary() + "@127.0.0.1:1/app",
		"right": "postgresql://{{username}}:{{password}}@127.0.0.1:1/app",
	} {
		h.vault("db/config/"+name, map[string]any{
			"plugin_name": "postgresql-database-plugin", "connection_url": url, "username": h.canary(), "password": h.canary(),
			"verify_connection": false, "tls_certificate_key": h.canary(), "sslish": h.canary(),
		})
	}
	h.vault("identity/mfa/method/okta", map[string]any{"method_name": "no-template", "org_name": "acme", "api_token": h.canary()})
	h.vault("identity/mfa/method/totp", map[string]any{"method_name": "codes", "issuer": "Acme"})
	h.vault("identity/group/name/Dead", map[string]any{"type": "external"})
	h.vault("identity/group-alias", map[string]any{"name": "X", "mount_accessor": h.authAccessor("okta"), "canonical_id": h.has("identity/group/name/Dead")["id"]})
	h.vault("sys/auth/gone", map[string]any{"type": "userpass"})
	h.vault("identity/mfa/login-enforcement/all", map[string]any{
		"mfa_method_ids": []any{h.mfaMethod("codes")["id"]}, "auth_method_accessors": []string{h.authAccessor("okta"), h.authAccessor("gone")},
	})
	if err := h.api.Sys().DisableAuthWithContext(h.t.Context(), "gone"); err != nil {
		h.t.Fatal(err)
	}
}

// What others have set up comes out too. What a file cannot say is told, and
// nothing that may be secret is written.
func TestExportOfWhatOthersHaveMade(t *testing.T) {
	t.Parallel()
	h := start(t)
	strange(h)
	out := h.export("exported.hcl")
	for _, want := range []string{
		`  path "a/$${b}/%%{c}" { capabilities = ["deny", "read"] }`,
		"  document = <<EOTT\n# Why: $${x} and $$${y}\npath \"a\" {\n\tcapabilities = [\"read\"] // so EOT\n}\nEOTT\n",
		`  document = "path \"a\" { policy = \"write\" }"`,
		`    path         = "home/$${{identity.entity.aliases.${auth_accessor("okta")}.name}}"`,
		"# mine\npath \"home/{{identity.entity.aliases.${auth_accessor(\"okta\")}.name}}\" { capabilities = [\"read\"] }\nEOT\n",
		"# policy trap is left out: document has a private-use character",
		`description = "a\n# \"$${b}\""`,
		`connection_url      = "postgresql://{{username}}:{{password}}@127.0.0.1:1/app"`,
		"# db connection open is left out: a password stands in its connection_url",
		"# Not exported, because they may be secrets: details = { sslish }\n  connection \"right\" {",
		`max_lease_ttl = "3650d"`, `mount "kv" "one" {}`, `token_type = "batch"`, `auth_methods          = ["okta"]`,
		`# mount other is left out: a file does not know the type "openldap"`,
		"# Stale: auth_method_accessors: auth_userpass_",
	} {
		if !strings.Contains(out.File, want) {
			t.Errorf("the export does not have %s", want)
		}
	}
	told := strings.Join(out.Notes, "\n")
	for _, want := range []string{
		"mount one: its entries are not exported", "mount pki: what is in a mount of type pki is not exported",
		"db connection right: not exported, because they may be secrets: details", "policy trap is left out", "db connection open is left out",
		"mfa method okta no-template is left out", "login enforcement all: auth_method_accessors: stale",
	} {
		if !strings.Contains(told, want) {
			t.Errorf("the notes do not have %q", want)
		}
	}
	if t.Failed() {
		t.Logf("%s\n%s", out.File, told)
	}
	h.run("export").exits(0).says(out.File, "policy trap is left out")
	if piped := h.run("export").exits(0).stdout; piped != out.File {
		t.Errorf("it is not the same on standard output: %s", gocmp.Diff(out.File, piped))
	}
}

func TestExportToAFile(t *testing.T) {
	t.Parallel()
	h := start(t)
	h.write("basics.hcl", basics)
	h.apply("basics.hcl")
	h.run("export", "-o", "out.hcl").exits(0).says("is in out.hcl", "plan -f out.hcl")
	if info, err := os.Stat(filepath.Join(h.dir, "out.hcl")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("others can read the file: %v, %v", info, err)
	}
	h.write("out.hcl", "mine")
	h.run("export", "-o", "out.hcl").exits(1).says("out.hcl is there already", "--force")
	if text := h.read("out.hcl"); text != "mine" {
		t.Errorf("it was overwritten with %s", text)
	}
	h.run("export", "-o", "out.hcl", "--force", "--target", "mount auth/okta", "--target", "policy reader").exits(0)
	want := "# " + h.server.Addr + ` as it was when it was exported by ai-keys-bootstrap.
#
# Left out are Vault's own policies, what people keep in Vault (entries of key-value
# stores, secret-ids, tokens, entities) and what Vault never returns: its secrets.

policy "reader" {
  path "secret/data/*" { capabilities = ["list", "read"] }
}

auth "okta" "okta" {
  description = "People"
}
`
	if diff := gocmp.Diff(want, h.read("out.hcl")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	h.run("export", "-o", "nowhere/out.hcl").exits(1).says("writing the export")
	h.run("export", "--target", "mount nothing").exits(1).says(`--target "mount nothing" names nothing`)
	if left, err := filepath.Glob(filepath.Join(h.dir, ".export-*")); err != nil || len(left) > 0 {
		t.Errorf("%v is left, %v", left, err)
	}
}

// All rights that are missing are named together, and nothing is half exported.
func TestExportWithTooFewRights(t *testing.T) {
	t.Parallel()
	h := start(t)
	h.secret("OKTA_API_TOKEN")
	h.write("okta.hcl", oktaFile)
	h.apply("okta.hcl")
	var rights strings.Builder
	rounds := 0
	for {
		h.vault("sys/policies/acl/more", map[string]any{"policy": "path \"none\" { capabilities = [\"deny\"] }\n" + rights.String()})
		r := h.tokenWith("more").run("export", "--json")
		if r.code == 0 {
			break
		}
		missing := r.report().Error
		if rounds++; missing == nil || missing.Kind != "denied" || rounds > 4 {
			t.Fatalf("round %d: what is missing is not told:\n%s\n%s%s", rounds, rights.String(), r.stdout, r.stderr)
		}
		rights.WriteString(missing.MissingPolicy)
	}
	if rounds == 0 {
		t.Error("it takes no rights")
	}
}
