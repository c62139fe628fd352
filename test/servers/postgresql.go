package servers

import (
	"crypto/rand"
	"database/sql"
	"errors"
	"net/url"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
)

// Where distributions keep PostgreSQL's programs out of PATH.
var postgresPlaces = []string{
	"/usr/lib/postgresql/*/bin/",
	"/usr/pgsql-*/bin/",
	"/opt/homebrew/opt/postgresql@*/bin/",
}

// PostgreSQL starts a PostgreSQL server.
func PostgreSQL(t *testing.T) *Database {
	t.Helper()
	initdb, ok := program("initdb", under(postgresPlaces, "initdb")...)
	if !ok {
		missing(t, "PostgreSQL (initdb)")
	}
	// The two must be of one version: a link on PATH leads to where both are.
	if target, err := filepath.EvalSymlinks(initdb); err == nil {
		initdb = target
	}
	d := &Database{
		Plugin: "postgresql-database-plugin",
		Host:   loopback, Port: freePort(t), Name: databaseName,
		User: vaultAccount, Password: rand.Text(),
		dialect: postgres,
		admin:   "tests", adminPassword: rand.Text(),
	}
	d.URL = "postgresql://{{username}}:{{password}}@" + d.address() + "/" + d.Name + "?sslmode=disable"

	h := newHome(t, "postgres", "nobody")
	data := filepath.Join(h.dir, "data")
	run(t, h.command(initdb, "--pgdata="+data, "--username="+d.admin,
		"--pwfile="+h.write(t, "password", d.adminPassword), "--auth=scram-sha-256",
		"--encoding=UTF8", "--no-locale", "--no-sync", "--no-instructions"))
	server := h.command(filepath.Join(filepath.Dir(initdb), "postgres"), "-D", data, "-p", strconv.Itoa(d.Port))
	for _, setting := range []string{
		"listen_addresses=" + d.Host, "unix_socket_directories=",
		"fsync=off", "synchronous_commit=off", "full_page_writes=off",
		"shared_buffers=16MB", "max_wal_senders=0", "wal_level=minimal", "autovacuum=off",
	} {
		server.Args = append(server.Args, "-c", setting)
	}
	h.serve(t, server, syscall.SIGQUIT, d.answers)
	lobby := *d // its own database is not made yet
	lobby.Name = d.dialect.lobby
	lobby.execAsAdmin(t,
		"CREATE ROLE "+d.User+" LOGIN CREATEROLE PASSWORD '"+d.Password+"'",
		"CREATE DATABASE "+d.Name+" OWNER "+d.User)
	return d
}

var postgres = dialect{
	open: func(d *Database, user, password string) (*sql.DB, error) {
		address := url.URL{
			Scheme: "postgresql", User: url.UserPassword(user, password), Host: d.address(),
			Path: d.Name, RawQuery: "sslmode=disable",
		}
		config, err := pgx.ParseConfig(address.String())
		if err != nil {
			return nil, err
		}
		return stdlib.OpenDB(*config), nil
	},
	lobby: "postgres",
	refused: func(err error) bool {
		// Class 28, invalid authorization; an unknown role looks like a wrong password.
		var answer *pgconn.PgError
		return errors.As(err, &answer) && (answer.Code == "28P01" || answer.Code == "28000")
	},
	forVault: []string{"SET ROLE " + vaultAccount},
	accounts: "SELECT rolname FROM pg_roles WHERE rolcanlogin AND rolname <> 'tests' ORDER BY rolname",
}

// under is a program's name below each of some places.
func under(places []string, name string) []string {
	paths := make([]string, len(places))
	for i, p := range places {
		paths[i] = p + name
	}
	return paths
}
