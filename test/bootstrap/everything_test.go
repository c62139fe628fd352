package bootstrap_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/hashicorp/vault/api"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/test/servers"
)

// The production example, as it stands, on an empty Vault, by a token that has
// no more rights than the program says that it needs; and then everybody uses
// what it set up.
func TestEverything(t *testing.T) {
	t.Parallel()
	p := inProduction(t)
	for _, file := range []string{"vault.hcl", "vault.yaml"} {
		p.run("validate", "-f", file).exits(0).silent("warning")
	}
	p.run("plan", "-f", "vault.yaml", "--json").exits(2).report().wants(t, p.run("plan", "-f", "vault.hcl", "--json").exits(2).report().changed()...)
	least := p.least("vault.hcl")
	least.run("apply", "-f", "vault.hcl", "--auto-approve").exits(0)
	least.run("plan", "-f", "vault.hcl").exits(0).says("Nothing to do").silent("not compared")
	least.run("verify", "-f", "vault.hcl").exits(0).says("No drift")
	least.plan("vault.yaml")
	least.run("apply", "-f", "vault.yaml").exits(0).says("Nothing to do")

	p.people()
	p.machines()
	p.databases()
	p.amazon()
	p.rest()

	// Nothing of all this use is a difference.
	least.plan("vault.hcl")
	p.oktasOwnFactors()
}

// changed are a plan's changes.
func (r report) changed() []want {
	var out []want
	for _, c := range r.Changes {
		if c.Action != "none" {
			w := want{Action: c.Action, Object: c.Object}
			for _, f := range c.Fields {
				if c.Action != "create" {
					w.Fields = append(w.Fields, f.Field)
				}
			}
			out = append(out, w)
		}
	}
	return out
}

// machines: by JWT for ci, by AppRole for search.
func (p *production) machines() {
	t, ctx := p.t, p.t.Context()
	t.Helper()
	enter := func(claims map[string]any) (*api.Secret, error) {
		token, err := p.issuer.Sign(claims)
		if err != nil {
			t.Fatal(err)
		}
		return p.clientOf("").Logical().WriteWithContext(ctx, "auth/jwt/login", map[string]any{"role": "ci", "jwt": token})
	}
	claims := map[string]any{"sub": "repo:acme/models", "aud": "https://vault.acme.example", "repository_owner": "acme"}
	entered, err := enter(claims)
	if err != nil {
		t.Fatal(err)
	}
	p.may(entered.Auth.ClientToken, map[string][]string{
		"ai-keys/creds/ci": {"read"}, "database/creds/app": {"read"},
		"ai-keys/creds/search": nil, "secret/data/ai/webhook": nil, "aws/creds/uploader": nil, "sys/mounts": nil,
	})
	for name, wrong := range map[string]any{"repository_owner": "evil", "aud": "https://elsewhere", "iss": "https://evil.example"} {
		other := map[string]any{"sub": claims["sub"], "aud": claims["aud"], "repository_owner": claims["repository_owner"]}
		other[name] = wrong
		if _, err := enter(other); err == nil {
			t.Errorf("a token with %s = %v got in", name, wrong)
		}
	}

	// A key of one build's own, gone with its lease.
	before := len(p.fakes.Cloud.Live("openai"))
	key, err := p.clientOf(entered.Auth.ClientToken).Logical().ReadWithContext(ctx, "ai-keys/creds/ci")
	if err != nil || key == nil {
		t.Fatalf("ci reads no key: %v", err)
	}
	if n := len(p.fakes.Cloud.Live("openai")); n != before+1 {
		t.Errorf("%d keys are live", n)
	}
	if err := p.api.Sys().RevokeWithContext(ctx, key.LeaseID); err != nil {
		t.Fatal(err)
	}
	if n := len(p.fakes.Cloud.Live("openai")); n != before {
		t.Errorf("%d keys are live after the revocation", n)
	}

	wrapped := strings.TrimSpace(p.read("search-1.wrapped"))
	p.hide(wrapped)
	data, err := p.unwrap(wrapped)
	if err != nil {
		t.Fatal(err)
	}
	id := data["secret_id"].(string)
	p.hide(id)
	roleID := p.has("auth/approle/role/search/role-id")["role_id"].(string)
	auth, err := p.login("approle", roleID, id)
	if err != nil {
		t.Fatal(err)
	}
	p.mayUseAI(auth.ClientToken)
	if _, err := p.unwrap(wrapped); err == nil {
		t.Error("the secret-id was taken out twice")
	}
	for role, n := range map[string]int{"search": 1, "ai-keys-transit": 1} {
		if got := p.engineLogins("auth/approle/role/" + role); len(got) != n {
			t.Errorf("the role %s has %d secret-ids", role, len(got))
		}
	}
}

// databases: accounts come and go; the passwords of the file are dead.
func (p *production) databases() {
	t, ctx := p.t, p.t.Context()
	t.Helper()
	lease, err := p.api.Logical().ReadWithContext(ctx, "database/creds/app")
	if err != nil {
		t.Fatal(err)
	}
	user, secret := lease.Data["username"].(string), lease.Data["password"].(string)
	p.hide(secret)
	models, err := p.app.Query(ctx, user, secret, "SELECT name FROM models")
	if err != nil || !slices.Equal(models, []string{"gpt"}) {
		t.Errorf("the account reads %q: %v", models, err)
	}
	if _, err := p.app.Query(ctx, user, secret, "INSERT INTO models VALUES ('x') RETURNING name"); err == nil {
		t.Error("the account may write")
	}
	if err := p.api.Sys().RevokeWithContext(ctx, lease.LeaseID); err != nil {
		t.Fatal(err)
	}
	static := p.has("database/static-creds/reports")["password"].(string)
	p.hide(static)
	if err := p.reports.Login(ctx, "reports", static); err != nil {
		t.Error(err)
	}
	for what, try := range map[string]error{
		"a revoked account":               p.app.Login(ctx, user, secret),
		"PostgreSQL's root of the file":   p.app.Login(ctx, "vault", p.app.Password),
		"MariaDB's root of the file":      p.reports.Login(ctx, "vaulter", p.vaulter),
		"the static account's first word": p.reports.Login(ctx, "reports", "first"),
	} {
		if !errors.Is(try, servers.ErrRefused) {
			t.Errorf("%s: %v, want refused", what, try)
		}
	}
	// Neither the check of the apply nor that of verify has left an account.
	if diff := gocmp.Diff([]string{"vault"}, p.app.Accounts(t)); diff != "" {
		t.Errorf("PostgreSQL's accounts (-want +got):\n%s", diff)
	}
}

// amazon: a user for a lease, an assumed role; the root key of the file is dead.
func (p *production) amazon() {
	t, ctx := p.t, p.t.Context()
	t.Helper()
	lease, err := p.api.Logical().ReadWithContext(ctx, "aws/creds/uploader")
	if err != nil {
		t.Fatal(err)
	}
	key := servers.AccessKey{ID: lease.Data["access_key"].(string), Secret: lease.Data["secret_key"].(string)}
	p.hide(key.Secret)
	if _, err := p.cloud.Caller(ctx, key); err != nil {
		t.Error(err)
	}
	if err := p.cloud.Call(ctx, key, "ListUsers", nil); !errors.Is(err, servers.ErrRefused) {
		t.Errorf("the uploader lists users: %v", err)
	}
	if err := p.api.Sys().RevokeWithContext(ctx, lease.LeaseID); err != nil {
		t.Fatal(err)
	}
	assumed := p.vault("aws/sts/deploy", map[string]any{"ttl": "15m"}).Data
	arn, err := p.cloud.Caller(ctx, servers.AccessKey{
		ID: assumed["access_key"].(string), Secret: assumed["secret_key"].(string), Session: assumed["session_token"].(string),
	})
	if err != nil || !strings.Contains(arn, ":assumed-role/deploy/") {
		t.Errorf("the assumed role is %q (%v)", arn, err)
	}
	for what, dead := range map[string]servers.AccessKey{"a revoked key": key, "the root key of the file": p.root} {
		if _, err := p.cloud.Caller(ctx, dead); !errors.Is(err, servers.ErrRefused) {
			t.Errorf("%s: %v, want refused", what, err)
		}
	}
	if keys := p.cloud.AccessKeys(t, p.awsUser); len(keys) != 1 || keys[0] != p.has("aws/config/root")["access_key"] {
		t.Errorf("Vault's user has the keys %v", keys)
	}
}

// rest: transit by use, one version of the entry, the audit log, the quota.
func (p *production) rest() {
	t := p.t
	t.Helper()
	plain := base64.StdEncoding.EncodeToString([]byte("a secret of the test"))
	sealed := p.vault("transit/encrypt/ai-keys", map[string]any{"plaintext": plain}).Data["ciphertext"]
	if got := p.vault("transit/decrypt/ai-keys", map[string]any{"ciphertext": sealed}).Data["plaintext"]; got != plain {
		t.Errorf("the round trip came to %v", got)
	}
	if got := p.version("secret/metadata/ai/webhook"); got != "1" {
		t.Errorf("the entry has version %s", got)
	}
	if p.read("audit.log") == "" {
		t.Error("nothing is on record")
	}
	if rate := fmt.Sprint(p.has("sys/quotas/rate-limit/logins")["rate"]); rate != "50" {
		t.Errorf("the quota is %s", rate)
	}
}
