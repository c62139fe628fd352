package servers_test

import (
	"context"
	"errors"
	"net/url"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/test/servers"
)

// databases are the two kinds, with the statements in which they differ.
var databases = []struct {
	name  string
	start func(*testing.T) *servers.Database
	// make and rotate are what Vault is told to run; for the rest it knows what to do.
	make, rotate []string
	// robot is an account that is there before Vault.
	robot string
}{
	{
		name: "postgresql", start: servers.PostgreSQL,
		make: []string{
			`CREATE ROLE "{{name}}" WITH LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}';`,
			`GRANT SELECT ON ALL TABLES IN SCHEMA public TO "{{name}}";`,
		},
		rotate: []string{`ALTER ROLE "{{username}}" WITH PASSWORD '{{password}}';`},
		robot:  "CREATE ROLE robot LOGIN PASSWORD 'first'",
	},
	{
		name: "mariadb", start: servers.MariaDB,
		make: []string{
			`CREATE USER '{{name}}'@'%' IDENTIFIED BY '{{password}}';`,
			`GRANT SELECT ON app.* TO '{{name}}'@'%';`,
		},
		rotate: []string{`ALTER USER '{{username}}'@'%' IDENTIFIED BY '{{password}}';`},
		robot:  "CREATE USER 'robot'@'%' IDENTIFIED BY 'first'",
	},
}

func TestDatabase(t *testing.T) {
	t.Parallel()
	for _, row := range databases {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			db := row.start(t)
			ctx := t.Context()

			if err := db.Login(ctx, db.User, db.Password); err != nil {
				t.Fatal(err)
			}
			for user, password := range map[string]string{db.User: "wrong", "nobody": db.Password} {
				if err := db.Login(ctx, user, password); !errors.Is(err, servers.ErrRefused) {
					t.Errorf("%s with another's password: %v, want refused", user, err)
				}
			}
			if diff := cmp.Diff([]string{db.User}, db.Accounts(t)); diff != "" {
				t.Errorf("accounts of a new server (-want +got):\n%s", diff)
			}
			db.Exec(t, "CREATE TABLE plants (name VARCHAR(20))", "INSERT INTO plants VALUES ('oak'), ('ash')")
			if _, err := db.Query(ctx, db.User, "wrong", "SELECT 1"); !errors.Is(err, servers.ErrRefused) {
				t.Errorf("a query with a wrong password: %v, want refused", err)
			}
		})
	}
}

// Nobody answers: that is not the same as being refused.
func TestDatabaseGone(t *testing.T) {
	t.Parallel()
	for _, row := range databases {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			var db *servers.Database
			t.Run("server", func(t *testing.T) { db = row.start(t) })
			if db == nil {
				t.Skip("there is no server, as said above")
			}
			if err := db.Login(t.Context(), db.User, db.Password); err == nil || errors.Is(err, servers.ErrRefused) {
				t.Errorf("a login after the server's end: %v, want an error of the connection", err)
			}
		})
	}
}

func TestMoto(t *testing.T) {
	t.Parallel()
	cloud := servers.Moto(t)
	ctx := t.Context()

	key := cloud.User(t, "gardener", "iam:ListUsers")
	if diff := cmp.Diff([]string{"gardener"}, cloud.Users(t)); diff != "" {
		t.Errorf("users (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{key.ID}, cloud.AccessKeys(t, "gardener")); diff != "" {
		t.Errorf("access keys (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"first"}, cloud.UserPolicies(t, "gardener")); diff != "" {
		t.Errorf("policies (-want +got):\n%s", diff)
	}
	arn, err := cloud.Caller(ctx, key)
	if want := "arn:aws:iam::" + cloud.Account + ":user/gardener"; err != nil || arn != want {
		t.Errorf("the key is %q's (%v), want %q", arn, err, want)
	}
	for what, wrong := range map[string]servers.AccessKey{
		"a wrong secret": {ID: key.ID, Secret: "wrong"},
		"an unknown id":  {ID: "AKIAUNKNOWN000000000", Secret: key.Secret},
	} {
		if _, err := cloud.Caller(ctx, wrong); !errors.Is(err, servers.ErrRefused) {
			t.Errorf("%s: %v, want refused", what, err)
		}
	}
	if err := cloud.Call(ctx, key, "ListUsers", nil); err != nil {
		t.Errorf("what the user's policy allows: %v", err)
	}
	if err := cloud.Call(ctx, key, "CreateUser", url.Values{"UserName": {"weed"}}); !errors.Is(err, servers.ErrRefused) {
		t.Errorf("what the user's policy does not allow: %v, want refused", err)
	}
	if err := cloud.Call(ctx, key, "NoSuchAction", nil); err == nil {
		t.Error("an action that there is not was answered")
	}
	canceled, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := cloud.Caller(canceled, key); !errors.Is(err, context.Canceled) {
		t.Errorf("a request that was given up: %v", err)
	}
}
