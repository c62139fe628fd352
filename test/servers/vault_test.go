package servers_test

import (
	"errors"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/vault/api"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/test/devvault"
	"github.com/ai-keys/vault-plugin-secrets-ai-keys/test/servers"
)

// vault starts a dev server without the plugin.
func vault(t *testing.T) *api.Client {
	t.Helper()
	binaries := servers.Binaries(t)
	s, err := devvault.Start(t.Context(), devvault.Options{
		Binaries: devvault.Binaries{Vault: binaries.Vault}, Dir: t.TempDir(),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	})
	c, err := s.Client(s.RootToken)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func mount(t *testing.T, c *api.Client, path string) {
	t.Helper()
	if err := c.Sys().MountWithContext(t.Context(), path, &api.MountInput{Type: path}); err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, c *api.Client, path string, data map[string]any) *api.Secret {
	t.Helper()
	got, err := c.Logical().WriteWithContext(t.Context(), path, data)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func read(t *testing.T, c *api.Client, path string) *api.Secret {
	t.Helper()
	got, err := c.Logical().ReadWithContext(t.Context(), path)
	if err != nil || got == nil {
		t.Fatalf("reading %s: %v, %v", path, got, err)
	}
	return got
}

// Vault's database engine works with both servers: it makes accounts that log
// in, ends them, and takes its own password over.
func TestVaultDatabase(t *testing.T) {
	t.Parallel()
	c := vault(t)
	mount(t, c, "database")
	for _, row := range databases {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			ctx := t.Context()
			db := row.start(t)
			db.Exec(t, "CREATE TABLE plants (name VARCHAR(20))", "INSERT INTO plants VALUES ('oak')")
			write(t, c, "database/config/"+row.name, map[string]any{
				"plugin_name": db.Plugin, "connection_url": db.URL, "allowed_roles": "*",
				"username": db.User, "password": db.Password, "root_rotation_statements": row.rotate,
			})
			write(t, c, "database/roles/reader-"+row.name, map[string]any{
				"db_name": row.name, "creation_statements": row.make,
				"default_ttl": "5m", "max_ttl": "10m",
			})

			lease := read(t, c, "database/creds/reader-"+row.name)
			user, password := lease.Data["username"].(string), lease.Data["password"].(string)
			got, err := db.Query(ctx, user, password, "SELECT name FROM plants")
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]string{"oak"}, got); diff != "" {
				t.Errorf("what the account reads (-want +got):\n%s", diff)
			}
			if err := c.Sys().RevokeWithContext(ctx, lease.LeaseID); err != nil {
				t.Fatal(err)
			}
			if err := db.Login(ctx, user, password); !errors.Is(err, servers.ErrRefused) {
				t.Errorf("a login after the revocation: %v, want refused", err)
			}
			if diff := cmp.Diff([]string{db.User}, db.Accounts(t)); diff != "" {
				t.Errorf("accounts after the revocation (-want +got):\n%s", diff)
			}

			write(t, c, "database/rotate-root/"+row.name, nil)
			if err := db.Login(ctx, db.User, db.Password); !errors.Is(err, servers.ErrRefused) {
				t.Errorf("a login with the password before the rotation: %v, want refused", err)
			}
			again := read(t, c, "database/creds/reader-"+row.name)
			if err := db.Login(ctx, again.Data["username"].(string), again.Data["password"].(string)); err != nil {
				t.Errorf("after the rotation: %v", err)
			}

			db.Exec(t, row.robot)
			write(t, c, "database/static-roles/robot-"+row.name, map[string]any{
				"db_name": row.name, "username": "robot", "rotation_period": "24h",
			})
			if err := db.Login(ctx, "robot", "first"); !errors.Is(err, servers.ErrRefused) {
				t.Errorf("a login with the password before Vault's: %v, want refused", err)
			}
			robot := read(t, c, "database/static-creds/robot-"+row.name)
			if err := db.Login(ctx, "robot", robot.Data["password"].(string)); err != nil {
				t.Errorf("with the password that Vault gave: %v", err)
			}
		})
	}
}

// Vault's AWS engine works with moto: IAM users come and go, roles are assumed,
// and the root key is replaced.
func TestVaultAWS(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	c, cloud := vault(t), servers.Moto(t)
	mount(t, c, "aws")
	root := cloud.User(t, "vault", "iam:*", "sts:*")
	write(t, c, "aws/config/root", map[string]any{
		"access_key": root.ID, "secret_key": root.Secret, "region": cloud.Region,
		"iam_endpoint": cloud.Endpoint, "sts_endpoint": cloud.Endpoint,
	})
	write(t, c, "aws/roles/lister", map[string]any{
		"credential_type": "iam_user",
		"policy_document": `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"iam:ListUsers","Resource":"*"}]}`,
	})
	write(t, c, "aws/roles/deployer", map[string]any{
		"credential_type": "assumed_role", "role_arns": cloud.Role(t, "deployer", "vault"),
	})

	lease := read(t, c, "aws/creds/lister")
	lister := servers.AccessKey{ID: lease.Data["access_key"].(string), Secret: lease.Data["secret_key"].(string)}
	if err := cloud.Call(ctx, lister, "ListUsers", nil); err != nil {
		t.Errorf("what the role's policy allows: %v", err)
	}
	if err := cloud.Call(ctx, lister, "CreateUser", url.Values{"UserName": {"weed"}}); !errors.Is(err, servers.ErrRefused) {
		t.Errorf("what the role's policy does not allow: %v, want refused", err)
	}
	if users := cloud.Users(t); len(users) != 2 {
		t.Errorf("users with one lease: %q, want Vault's own and one more", users)
	}
	if err := c.Sys().RevokeWithContext(ctx, lease.LeaseID); err != nil {
		t.Fatal(err)
	}
	if _, err := cloud.Caller(ctx, lister); !errors.Is(err, servers.ErrRefused) {
		t.Errorf("the key after the revocation: %v, want refused", err)
	}
	if diff := cmp.Diff([]string{"vault"}, cloud.Users(t)); diff != "" {
		t.Errorf("users after the revocation (-want +got):\n%s", diff)
	}

	assumed := write(t, c, "aws/sts/deployer", map[string]any{"ttl": "15m"})
	arn, err := cloud.Caller(ctx, servers.AccessKey{
		ID: assumed.Data["access_key"].(string), Secret: assumed.Data["secret_key"].(string),
		Session: assumed.Data["session_token"].(string),
	})
	if err != nil || !strings.Contains(arn, ":assumed-role/deployer/") {
		t.Errorf("the assumed role is %q (%v)", arn, err)
	}

	rotated := write(t, c, "aws/config/rotate-root", nil)
	if diff := cmp.Diff([]string{rotated.Data["access_key"].(string)}, cloud.AccessKeys(t, "vault")); diff != "" {
		t.Errorf("Vault's keys after the rotation (-want +got):\n%s", diff)
	}
	if _, err := cloud.Caller(ctx, root); !errors.Is(err, servers.ErrRefused) {
		t.Errorf("the key before the rotation: %v, want refused", err)
	}
	read(t, c, "aws/creds/lister")

	cloud.User(t, "robot", "iam:ListUsers")
	write(t, c, "aws/static-roles/robot", map[string]any{"username": "robot", "rotation_period": "24h"})
	static := read(t, c, "aws/static-creds/robot")
	if _, err := cloud.Caller(ctx, servers.AccessKey{
		ID: static.Data["access_key"].(string), Secret: static.Data["secret_key"].(string),
	}); err != nil {
		t.Errorf("with the key that Vault made: %v", err)
	}
}
