package bootstrap_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/hashicorp/vault/api"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/test/servers"
)

// A dialect is what the files say differently for the two kinds of database.
type dialect struct {
	name  string
	start func(*testing.T) *servers.Database
	// create and rotate are statements for Vault, the others for the tests' own account.
	create, rotate, robot, reset string
}

var dialects = []dialect{
	{
		name: "postgresql", start: servers.PostgreSQL,
		create: `CREATE ROLE "{{name}}" WITH LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}';`,
		rotate: `ALTER ROLE "{{username}}" WITH PASSWORD '{{password}}';`,
		robot:  "CREATE ROLE robot LOGIN PASSWORD 'first'",
		reset:  "ALTER ROLE vault WITH PASSWORD '%s'",
	},
	{
		name: "mariadb", start: servers.MariaDB,
		create: `CREATE USER '{{name}}'@'%' IDENTIFIED BY '{{password}}';`,
		rotate: `ALTER USER '{{username}}'@'%' IDENTIFIED BY '{{password}}';`,
		robot:  "CREATE USER 'robot'@'%' IDENTIFIED BY 'first'",
		reset:  "ALTER USER 'vault'@'%%' IDENTIFIED BY '%s'",
	},
}

// connection is a file with a connection to a database; more stands in its block.
func (d dialect) connection(db *servers.Database, more, beside string) string {
	return fmt.Sprintf(`
secret "db" { from = "env:DB_PASSWORD" }
mount "database" "db" {
  connection "app" {
    plugin_name              = %s
    connection_url           = %s
    username                 = "vault"
    password                 = secret.db
    allowed_roles            = ["reader", "robot"]
    root_rotation_statements = [%s]
    %s
  }
%s}
`, strconv.Quote(db.Plugin), strconv.Quote(db.URL), strconv.Quote(d.rotate), more, beside)
}

func (d dialect) roles() string {
	return fmt.Sprintf(`
  role "reader" {
    db_name             = "app"
    creation_statements = [%s]
    default_ttl         = "5m"
    max_ttl             = "1h"
  }
  static_role "robot" {
    db_name         = "app"
    username        = "robot"
    rotation_period = "24h"
  }
`, strconv.Quote(d.create))
}

// eachDatabase runs a test with either kind.
func eachDatabase(t *testing.T, test func(t *testing.T, h *harness, d dialect, db *servers.Database)) {
	t.Helper()
	for _, d := range dialects {
		t.Run(d.name, func(t *testing.T) {
			t.Parallel()
			db := d.start(t)
			h := start(t)
			h.secret("DB_PASSWORD", db.Password)
			test(t, h, d, db)
		})
	}
}

// issues checks that Vault makes an account that can log in.
func (h *harness) issues(db *servers.Database) {
	h.t.Helper()
	creds := h.has("db/creds/reader")
	user, password := creds["username"].(string), creds["password"].(string)
	h.hide(password)
	if err := db.Login(h.t.Context(), user, password); err != nil {
		h.t.Errorf("with an account that Vault made: %v", err)
	}
}

func TestDatabase(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, h *harness, d dialect, db *servers.Database) {
		db.Exec(t, d.robot)
		h.story(d.connection(db, "max_open_connections = 3\nmax_connection_lifetime = \"1m\"", d.roles()), func(*api.Client) {
			h.vault("db/config/app", map[string]any{
				"plugin_name": db.Plugin, "allowed_roles": "*", "root_rotation_statements": "SELECT 1", "max_open_connections": 9,
				"username_template": "x-{{random 20}}", "password_policy": "", "verify_connection": false,
			})
			h.vault("db/roles/reader", map[string]any{"db_name": "app", "default_ttl": "9m", "revocation_statements": "SELECT 1", "creation_statements": "SELECT 2"})
			h.vault("db/static-roles/robot", map[string]any{"db_name": "app", "username": "robot", "rotation_schedule": "0 0 * * SAT"})
		},
			updates("db connection app", "allowed_roles", "root_rotation_statements", "max_open_connections", "username_template", "verify_connection"),
			updates("db role reader", "default_ttl", "revocation_statements", "creation_statements"),
			updates("db static_role robot", "rotation_period", "rotation_schedule"),
		)
		h.issues(db)

		// Without a rotation a new password is sent.
		other := h.canary()
		db.Exec(t, fmt.Sprintf(d.reset, other))
		h.secret("DB_PASSWORD", other)
		h.plan("story.hcl", updates("db connection app", "password"))
		h.apply("story.hcl")
		h.issues(db)

		// A static role goes from a period to a schedule, and stays another's never.
		h.write("story.hcl", strings.ReplaceAll(h.read("story.hcl"), `rotation_period = "24h"`, `rotation_schedule = "0 0 * * SUN"
    rotation_window = "2h"`))
		h.plan("story.hcl", updates("db static_role robot", "rotation_period", "rotation_schedule", "rotation_window"))
		h.apply("story.hcl")
		h.write("story.hcl", strings.ReplaceAll(h.read("story.hcl"), `username        = "robot"`, `username = "reader"`))
		h.plan("story.hcl", blocks("db static_role robot", "username"))
	})
}

func TestDatabaseMistakes(t *testing.T) {
	t.Parallel()
	h := start(t)
	literal := h.canary()
	h.write("a.hcl", fmt.Sprintf(`
secret "db" { from = "env:DB_PASSWORD" }
mount "database" "db" {
  connection "a" {
    plugin_name = "postgresql-database-plugin"
    connection_url = "postgresql://vault:%[1]s@db/app"
  }
  connection "b" {
    plugin_name = "mysql-database-plugin"
    connection_url = "vault:%[1]s@tcp(db:3306)/"
  }
  connection "c" {
    plugin_name = "postgresql-database-plugin"
    connection_url = "host=db user=vault password=%[1]s"
  }
  connection "d" {
    plugin_name = "postgresql-database-plugin"
    connection_url = "postgresql://vault@db/app"
    password = secret.db
  }
  connection "e" {
    plugin_name = "postgresql-database-plugin"
    details = { username = "x" }
  }
  static_role "f" {
    db_name = "a"
    username = "f"
    rotation_window = "1h"
  }
}
`, literal))
	h.run("validate", "-f", "a.hcl").exits(1).says(
		"a.hcl:6:5: error: connection_url holds a password",
		"a.hcl:10:5: error: connection_url holds a password",
		"a.hcl:14:5: error: connection_url holds a password",
		"a.hcl:18:5: error: connection_url has no place for the password",
		"username stands in details",
		"static_role f needs either a rotation_period or a rotation_schedule",
	)
}

// Every setting of a connection that a plugin takes; what the server has of a
// private kind is not shown.
func TestConnectionDetails(t *testing.T) {
	t.Parallel()
	h := start(t)
	theirs := h.canary()
	h.secret("PEM")
	h.story(`
secret "pem" { from = "env:PEM" }
mount "database" "db" {
  connection "hidden" {
    plugin_name         = "mysql-database-plugin"
    connection_url      = "{{username}}:{{password}}@tcp(127.0.0.1:1)/"
    verify_connection   = false
    username            = "vault"
    details             = { more = secret.pem, setting = 3 }
  }
  connection "mongo" {
    plugin_name       = "mongodb-database-plugin"
    connection_url    = "mongodb://{{username}}:{{password}}@127.0.0.1:1/admin"
    verify_connection = false
    socket_timeout    = 5000000000
    connect_timeout   = "5000000000"
    write_concern     = "{}"
  }
}
`, func(*api.Client) {
		h.vault("db/config/hidden", map[string]any{
			"plugin_name": "mysql-database-plugin", "pem_bundle": theirs, "more": theirs, "username": "other", "tls_skip_verify": true,
		})
		h.vault("db/config/mongo", map[string]any{"plugin_name": "mongodb-database-plugin", "socket_timeout": 1})
	},
		updates("db connection hidden", "pem_bundle", "details", "username", "tls_skip_verify"),
		updates("db connection mongo", "socket_timeout"),
	)
}
