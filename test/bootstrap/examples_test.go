package bootstrap_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/test/devvault"
	"github.com/ai-keys/vault-plugin-secrets-ai-keys/test/servers"
)

// Every example is a good file where it stands, without a server or a secret.
func TestExamplesAreValid(t *testing.T) {
	t.Parallel()
	h := start(t)
	root, err := devvault.SourceTree()
	if err != nil {
		t.Fatal(err)
	}
	examples, err := filepath.Glob(filepath.Join(root, "examples", "*"))
	if err != nil || len(examples) < 3 {
		t.Fatalf("%v: the examples are %v", err, examples)
	}
	n := 0
	err = filepath.WalkDir(filepath.Join(root, "examples"), func(path string, d os.DirEntry, err error) error {
		if ext := filepath.Ext(path); err != nil || d.IsDir() || ext != ".hcl" && ext != ".yaml" || d.Name() == "place.hcl" {
			return err
		}
		n++
		args := []string{"validate", "-f", path}
		if beside := filepath.Join(filepath.Dir(path), "place.hcl"); exists(beside) {
			args = append(args, "-f", beside)
		}
		r := h.run(args...).exits(0).says("no mistakes")
		if strings.Contains(r.stderr, "arning") && !strings.Contains(path, "pulumi/1-") { // which has Pulumi's names on purpose
			t.Errorf("%s: %s", path, r.stderr)
		}
		return nil
	})
	if err != nil || n < 8 {
		t.Errorf("%d examples: %v", n, err)
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// What replaces the Pulumi programs is applied as it stands, but for addresses,
// to a Vault with real servers beside it.
func TestPulumiExamples(t *testing.T) {
	t.Parallel()
	for name, prepare := range map[string]func(t *testing.T, h *harness, text string) string{
		"1-okta-and-a-key.hcl": func(t *testing.T, h *harness, text string) string {
			t.Helper()
			h.secret("OKTA_API_TOKEN")
			h.secret("AI_API_KEY")
			return text
		},
		"2-okta-groups.hcl": func(t *testing.T, h *harness, text string) string {
			t.Helper()
			h.secret("OKTA_API_TOKEN")
			return text
		},
		"3-jwt-aws-database.hcl": func(t *testing.T, h *harness, text string) string {
			t.Helper()
			i, db, cloud := issuer(t), servers.MariaDB(t), servers.Moto(t)
			root := cloud.User(t, "vault", "iam:*", "sts:*")
			h.env["VAULT_AWS_ACCESS_KEY_ID"] = root.ID
			h.secret("VAULT_AWS_SECRET_ACCESS_KEY", root.Secret)
			password := h.secret("MYSQL_VAULT_PASSWORD")
			db.Exec(t, "CREATE DATABASE models", "CREATE USER 'vaulter'@'%' IDENTIFIED BY '"+password+"'",
				"GRANT CREATE USER ON *.* TO 'vaulter'@'%'", "GRANT SELECT ON models.* TO 'vaulter'@'%' WITH GRANT OPTION")
			return swap(t, t.Name(), text, map[string]string{
				"https://issuer.example.com/.well-known/jwks.json": i.JWKSURL(),
				"https://issuer.example.com\"":                     i.URL + "\"",
				"tcp(mysql.example.com:3306)":                      fmt.Sprintf("tcp(%s:%d)", db.Host, db.Port),
				`region      = "us-west-2"`:                        fmt.Sprintf("region = \"us-west-2\"\n    iam_endpoint = %[1]q\n    sts_endpoint = %[1]q", cloud.Endpoint),
			}) + "check \"database\" \"database/my-role\" {}\n"
		},
		"4-transit.hcl": func(_ *testing.T, _ *harness, text string) string { return text },
		"5-approle-and-kv.hcl": func(t *testing.T, h *harness, text string) string {
			t.Helper()
			h.secret("MODEL_API_KEY")
			h.secret("MODEL_DB_CREDENTIALS")
			return text
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := start(t)
			if err := h.api.Sys().UnmountWithContext(t.Context(), "secret"); err != nil { // a dev server's own
				t.Fatal(err)
			}
			h.write("vault.hcl", prepare(t, h, exampleText(t, "pulumi/"+name)))
			least := h.least("vault.hcl")
			least.apply("vault.hcl")
			least.run("verify", "-f", "vault.hcl").exits(0)
			least.plan("vault.hcl")
		})
	}
}
