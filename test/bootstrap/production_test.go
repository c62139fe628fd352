package bootstrap_test

import (
	"crypto/rand"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/backend/provider/providertest"
	"github.com/ai-keys/vault-plugin-secrets-ai-keys/test/devvault"
	"github.com/ai-keys/vault-plugin-secrets-ai-keys/test/fakes"
	"github.com/ai-keys/vault-plugin-secrets-ai-keys/test/okta"
	"github.com/ai-keys/vault-plugin-secrets-ai-keys/test/servers"
)

// A production is the world of examples/production: every server that the
// example speaks of, real or as real as it can be had on one machine.
type production struct {
	*harness
	org      *okta.Server
	issuer   *okta.Issuer
	fakes    *fakes.Server
	app      *servers.Database // PostgreSQL
	reports  *servers.Database // MariaDB
	cloud    *servers.AWS
	root     servers.AccessKey // of AWS, as the file's secrets have it
	awsUser  string            // whose it is
	vaulter  string            // the password of Vault's account in MariaDB
	auditLog string
}

const bob = "bob@acme.com"

// inProduction starts the servers beside Vault, and a Vault that has nothing yet.
// The example stands in vault.hcl and in vault.yaml, as it is but for the
// addresses.
func inProduction(t *testing.T) *production {
	t.Helper()
	p := counterparts(t)
	p.harness = start(t, withPlugin, serverEnv(p.org.Environment()...))
	p.settle()
	t.Cleanup(func() {
		if refused := p.org.Refused(); len(refused) > 0 {
			t.Errorf("Vault asked the proxy for %q", refused)
		}
	})
	return p
}

// again is an empty Vault in the same world, whose accounts are as they were at
// the beginning.
func (p *production) again(t *testing.T) *production {
	t.Helper()
	other := *p
	other.awsUser = "vault-" + strings.ToLower(rand.Text())
	other.root = p.cloud.User(t, other.awsUser, "iam:*", "sts:*")
	p.app.Exec(t, "ALTER ROLE vault WITH PASSWORD '"+p.app.Password+"'")
	p.reports.Exec(t, "ALTER USER 'vaulter'@'%' IDENTIFIED BY '"+p.vaulter+"'")
	other.providers(t)
	other.harness = start(t, withPlugin, serverEnv(p.org.Environment()...))
	other.settle()
	return &other
}

// providers are those of AI.
func (p *production) providers(t *testing.T) {
	t.Helper()
	var err error
	if p.fakes, err = fakes.Start(t.Context(), fakes.Config{Cloud: providertest.Options{Marker: "CANARYofTheFakes"}}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.fakes.Close(); err != nil {
			t.Error(err)
		}
	})
}

// counterparts are the servers beside Vault.
func counterparts(t *testing.T) *production {
	t.Helper()
	p := &production{org: organisation(t), issuer: issuer(t), app: servers.PostgreSQL(t), reports: servers.MariaDB(t), cloud: servers.Moto(t)}
	if err := p.org.Join(alice, "ml-engineers"); err != nil {
		t.Fatal(err)
	}
	if err := p.org.Leave(alice, "AI-Security"); err != nil {
		t.Fatal(err)
	}
	if _, err := p.org.AddUser(okta.User{Login: bob, Password: password, Groups: []string{"ai-security"}}); err != nil {
		t.Fatal(err)
	}
	p.providers(t)
	p.vaulter = "CANARY-" + rand.Text()
	p.app.Exec(t, "CREATE TABLE models (name VARCHAR(20))", "INSERT INTO models VALUES ('gpt')")
	p.reports.Exec(t,
		"CREATE USER 'vaulter'@'%' IDENTIFIED BY '"+p.vaulter+"'", "GRANT CREATE USER ON *.* TO 'vaulter'@'%'",
		"CREATE USER 'reports'@'%' IDENTIFIED BY 'first'")
	p.awsUser = "vault"
	p.root = p.cloud.User(t, p.awsUser, "iam:*", "sts:*")
	p.cloud.Role(t, "deploy", "vault")
	return p
}

// settle gives the program its secrets, and writes the files.
func (p *production) settle() {
	p.hide("CANARYofTheFakes")
	for variable, value := range map[string]string{
		"OKTA_API_TOKEN":              p.org.APIToken(),
		"OPENAI_ADMIN_KEY":            p.fakes.OpenAI.AdminKey,
		"ANTHROPIC_ADMIN_KEY":         p.fakes.Anthropic.AdminKey,
		"POSTGRES_VAULT_PASSWORD":     p.app.Password,
		"MYSQL_VAULT_PASSWORD":        p.vaulter,
		"VAULT_AWS_ACCESS_KEY_ID":     p.root.ID,
		"VAULT_AWS_SECRET_ACCESS_KEY": p.root.Secret,
	} {
		p.secret(variable, value)
	}
	p.secret("WEBHOOK_TOKEN")
	p.auditLog = filepath.Join(p.dir, "audit.log")
	p.write("vault.hcl", p.example("vault.hcl", map[string]string{
		`provider  = "openai"`:      fmt.Sprintf("provider = \"openai\"\n    base_url = %q", p.fakes.OpenAI.BaseURL),
		`provider  = "anthropic"`:   fmt.Sprintf("provider = \"anthropic\"\n    base_url = %q", p.fakes.Anthropic.BaseURL),
		`region      = "us-west-2"`: fmt.Sprintf("region = \"us-west-2\"\n    iam_endpoint = %[1]q\n    sts_endpoint = %[1]q", p.cloud.Endpoint),
	}))
	p.write("vault.yaml", p.example("vault.yaml", map[string]string{
		"provider: openai":    "provider: openai\n          base_url: " + p.fakes.OpenAI.BaseURL,
		"provider: anthropic": "provider: anthropic\n          base_url: " + p.fakes.Anthropic.BaseURL,
		"region: us-west-2":   fmt.Sprintf("region: us-west-2\n        iam_endpoint: %[1]s\n        sts_endpoint: %[1]s", p.cloud.Endpoint),
	}))
}

// example is a file of examples/production, with these addresses in place of
// its own. The secrets, the names and all the rest stay as they are.
func (p *production) example(name string, more map[string]string) string {
	p.t.Helper()
	swaps := map[string]string{
		"https://vault.acme.example:8200":                              p.server.Addr,
		"/var/log/vault/audit.log":                                     p.auditLog,
		"../../bin/vault-plugin-secrets-ai-keys":                       p.server.Plugin,
		"https://token.actions.githubusercontent.com/.well-known/jwks": p.issuer.JWKSURL(),
		"proj_search": p.fakes.OpenAI.ProjectID,
		"proj_ci":     p.fakes.OpenAI.ProjectID,
		"{{username}}:{{password}}@tcp(mysql.acme.example:3306)/":                strings.TrimSuffix(p.reports.URL, p.reports.Name),
		"{{username}}:{{password}}@db.acme.example:5432/app?sslmode=verify-full": strings.TrimPrefix(p.app.URL, "postgresql://"),
	}
	maps.Copy(swaps, more)
	text := swap(p.t, p.t.Name(), exampleText(p.t, "production/"+name), swaps)
	return swap(p.t, name, text, map[string]string{"https://token.actions.githubusercontent.com": p.issuer.URL})
}

// exampleText is a file below examples/.
func exampleText(t *testing.T, name string) string {
	t.Helper()
	root, err := devvault.SourceTree()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(root, "examples", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// swap replaces texts; each must be there, or the example has changed and what
// was replaced for this machine's sake is not.
func swap(t *testing.T, name, text string, swaps map[string]string) string {
	t.Helper()
	for _, old := range slices.Sorted(maps.Keys(swaps)) {
		if !strings.Contains(text, old) {
			t.Fatalf("%s has no %q any more", name, old)
		}
		text = strings.ReplaceAll(text, old, swaps[old])
	}
	return text
}
