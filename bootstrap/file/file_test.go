package file

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/schema"
)

// write puts files into a folder of their own; the texts are by file name.
func write(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// loadText loads one file of that name.
func loadText(t *testing.T, name, text string) (*Document, Diagnostics) {
	t.Helper()
	return Load([]string{filepath.Join(write(t, map[string]string{name: text}), name)}, top)
}

// mustLoad is loadText for what has no mistakes.
func mustLoad(t *testing.T, name, text string) *Document {
	t.Helper()
	doc, diags := loadText(t, name, text)
	if len(diags) > 0 {
		t.Fatalf("%s:\n%s", name, diags.Error())
	}
	return doc
}

func token(of schema.RefKind, name string) string {
	return schema.Reference{Of: of, Name: name}.Token()
}

// anywhere compares documents without their places.
var anywhere = cmp.Options{cmpopts.IgnoreTypes(Position{}), cmpopts.IgnoreFields(Document{}, "Files"), cmpopts.IgnoreFields(Node{}, "Block")}

func TestLoadValues(t *testing.T) {
	t.Parallel()
	doc := mustLoad(t, "vault.hcl", `
locals {
  org   = "acme"
  names = { eu = "${local.org}-eu", list = [1, 2.5, true, null] }
  key   = secret.openai
}

secret "openai" { from = "env:OPENAI" }

mount "kv" "secret" {
  max_lease_ttl = "24h"
  config {
    anything = 3
  }
  data "ai/openai" {
    values = {
      api_key = local.key
      header  = "Bearer ${secret.openai}"
      org     = local.names.eu
      list    = local.names.list
      big     = 12345678901234567890
      none    = null
    }
  }
}

rule { accessors = [auth_accessor("auth/okta/")] }
rule { accessors = null }
`)
	secret := token(schema.RefSecret, "openai")
	want := &Document{
		Secrets: []Secret{{Name: "openai", From: "env:OPENAI"}},
		Nodes: []*Node{
			{
				Labels: []string{"kv", "secret"},
				Values: map[string]Value{"max_lease_ttl": {V: "24h"}},
				Nodes: []*Node{
					{Values: map[string]Value{"anything": {V: json.Number("3")}}},
					{
						Labels: []string{"ai/openai"},
						Values: map[string]Value{"values": {V: map[string]any{
							"api_key": secret,
							"header":  "Bearer " + secret,
							"org":     "acme-eu",
							"list":    []any{json.Number("1"), json.Number("2.5"), true, nil},
							"big":     json.Number("12345678901234567890"),
						}}},
					},
				},
			},
			{Values: map[string]Value{"accessors": {V: []any{token(schema.RefAccessor, "okta")}}}},
			{Values: map[string]Value{}},
		},
	}
	if diff := cmp.Diff(want, doc, anywhere); diff != "" {
		t.Error(diff)
	}
	mount := doc.Nodes[0]
	if mount.Block.Name != "mount" || len(mount.Block.Blocks) != 2 {
		t.Errorf("the block is %q with %d blocks", mount.Block.Name, len(mount.Block.Blocks))
	}
	if got := mount.Nodes[1].At.Line; got != 15 {
		t.Errorf("the data block is at line %d", got)
	}
	if got := mount.Nodes[1].Values["values"].At; got.Line != 16 || got.Column != 5 {
		t.Errorf("values is at %v", got)
	}
	if got := mount.String("max_lease_ttl"); got != "24h" {
		t.Errorf("String: %q", got)
	}
	if _, ok := mount.Value("description"); ok {
		t.Error("a value that the file does not have")
	}
}

// same is one content in the three syntaxes.
var same = map[string]string{
	"vault.hcl": `
locals { org = "acme" }
secret "okta" { from = "env:OKTA" }
secret "db" { from = "vault:kv/db#password" }
policy "reader" {
  path "secret/*" { capabilities = ["read", "list"] }
  path "sys/health" { capabilities = ["read"] }
}
policy "writer" { document = "a $${literal}\nb ${local.org}" }
mount "transit" "transit" {
  key "ai-keys" { type = "aes256-gcm96" }
  key "other" {}
}
mount "database" "db" {
  description = "yes"
  connection "pg" {
    password = secret.db
    url      = "postgres://{{username}}:{{password}}@h/${local.org}"
    retries  = 3
  }
}
auth "okta" "okta" {
  config {
    org_name  = local.org
    api_token = secret.okta
    headers   = { "X-Key" = secret.okta }
    bypass    = false
    options   = { since = "2024-01-02", n = 0.5, empty = [] }
  }
}
rule { accessors = ["a", "b"] }
rule { accessors = [auth_accessor("okta")] }
`,
	"vault.yaml": `
locals: { org: acme }
secret:
  okta: { from: env:OKTA }
  db:
    from: "vault:kv/db#password"
policy:
  reader:
    path:
      secret/*: { capabilities: &caps [read, list] }
      sys/health: { capabilities: [read] }
  writer:
    document: |-
      a $${literal}
      b ${local.org}
mount:
  transit:
    transit:
      key:
        ai-keys: { type: aes256-gcm96 }
        other:
  database:
    db:
      description: yes
      connection:
        pg:
          password: ${secret.db}
          url: "postgres://{{username}}:{{password}}@h/${local.org}"
          retries: 3
auth:
  okta:
    okta:
      config:
        org_name: ${local.org}
        api_token: ${secret.okta}
        headers: { X-Key: "${secret.okta}" }
        bypass: false
        options: { since: 2024-01-02, n: 0.5, empty: [] }
rule:
  - accessors: [a, b]
  - accessors: ['${auth_accessor("okta")}']
`,
	"vault.json": `{
  "//": "a comment",
  "locals": {"org": "acme"},
  "secret": [{"okta": {"from": "env:OKTA"}}, {"db": {"from": "vault:kv/db#password"}}],
  "policy": {
    "reader": {"path": {"secret/*": {"capabilities": ["read", "list"]}, "sys/health": {"capabilities": ["read"]}}},
    "writer": {"document": "a $${literal}\nb ${local.org}"}
  },
  "mount": {
    "transit": {"transit": {"key": {"ai-keys": {"type": "aes256-gcm96"}, "other": {}}}},
    "database": {"db": {"description": "yes", "connection": {"pg": {
      "password": "${secret.db}", "url": "postgres://{{username}}:{{password}}@h/${local.org}", "retries": 3}}}}
  },
  "auth": {"okta": {"okta": {"config": {
    "org_name": "${local.org}", "api_token": "${secret.okta}", "headers": {"X-Key": "${secret.okta}"},
    "bypass": false, "options": {"since": "2024-01-02", "n": 0.5, "empty": []}}}}},
  "rule": [{"accessors": ["a", "b"]}, {"accessors": ["${auth_accessor(\"okta\")}"]}]
}`,
}

func TestSyntaxesAgree(t *testing.T) {
	t.Parallel()
	want := mustLoad(t, "vault.hcl", same["vault.hcl"])
	if len(want.Nodes) != 7 || len(want.Secrets) != 2 {
		t.Fatalf("%d blocks, %d secrets", len(want.Nodes), len(want.Secrets))
	}
	for _, name := range []string{"vault.yaml", "vault.json"} {
		got := mustLoad(t, name, same[name])
		if diff := cmp.Diff(want, got, anywhere); diff != "" {
			t.Errorf("%s:\n%s", name, diff)
		}
	}
}

func TestFunctions(t *testing.T) {
	t.Parallel()
	dir := write(t, map[string]string{
		"vault.hcl": `
policy "a" { document = file("rules/a.hcl") }
policy "b" { document = filesha256("rules/a.hcl") }
policy "c" { document = jsonencode({ b = [1, null], a = "<&>", at = auth_accessor("okta") }) }
`,
		"rules/a.hcl": "path \"x\" {}\n${not a template}\n",
	})
	doc, diags := Load([]string{filepath.Join(dir, "vault.hcl")}, top)
	if len(diags) > 0 {
		t.Fatal(diags)
	}
	var got []string
	for _, n := range doc.Nodes {
		got = append(got, n.String("document"))
	}
	want := []string{
		"path \"x\" {}\n${not a template}\n",
		"873479bce4df0b6bb27f5d4a7d596958cec734eaff7abebd7bcf1aeba66e03f5",
		`{"a":"<&>","at":"` + token(schema.RefAccessor, "okta") + `","b":[1,null]}`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestFolder(t *testing.T) {
	t.Parallel()
	dir := write(t, map[string]string{
		"b.yaml":       "policy: { b: { document: \"${local.x}\" } }\n",
		"a.hcl":        "policy \"a\" { document = local.x }\n",
		"c.json":       `{"locals": {"x": "y"}}`,
		"d.yml":        "",
		".hidden.hcl":  "broken",
		"notes.txt":    "notes",
		"inner/in.hcl": "broken",
	})
	doc, diags := Load([]string{dir, filepath.Join(dir, "a.hcl")}, top)
	if len(diags) > 0 {
		t.Fatal(diags)
	}
	var names []string
	for _, f := range doc.Files {
		names = append(names, filepath.Base(f))
	}
	if diff := cmp.Diff([]string{"a.hcl", "b.yaml", "c.json", "d.yml"}, names); diff != "" {
		t.Error(diff)
	}
	if len(doc.Nodes) != 2 || doc.Nodes[1].String("document") != "y" || doc.Nodes[1].At.String() != filepath.Join(dir, "b.yaml")+":1" {
		t.Errorf("the blocks are %+v", doc.Nodes)
	}
}
