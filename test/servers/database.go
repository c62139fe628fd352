package servers

import (
	"context"
	"database/sql"
	"fmt"
	"net"
	"slices"
	"strconv"
	"testing"
)

// A Database is a server of one of the two kinds, with one empty database and
// an account for Vault that owns it and may make and drop accounts, and no
// more: it is no superuser.
type Database struct {
	// Plugin and URL are plugin_name and connection_url as Vault wants them; the
	// URL has Vault's templates in place of the account.
	Plugin, URL string
	Host        string
	Port        int
	// Name is the database's.
	Name string
	// User and Password are Vault's account, as it is before a rotation.
	User, Password string

	dialect dialect
	// The tests' own account, which stays as it is when Vault rotates its own.
	admin, adminPassword string
}

// A dialect is what differs between the two kinds of server.
type dialect struct {
	// open prepares connections; it does not connect yet.
	open func(d *Database, user, password string) (*sql.DB, error)
	// lobby is the name of a database that every account may enter.
	lobby string
	// refused tells whether an error is about the credentials.
	refused func(error) bool
	// forVault are statements after which a session of the tests' own account
	// makes things for Vault's.
	forVault []string
	// accounts is a query for the names that can log in from anywhere.
	accounts string
}

// What the databases have in common.
const (
	databaseName = "app"
	vaultAccount = "vault"
)

// Login connects with an account, whatever it may do then. What the server refuses is
// an [ErrRefused]; any other error is one of the connection.
func (d *Database) Login(ctx context.Context, user, password string) error {
	there := *d
	there.Name = d.dialect.lobby
	return there.with(user, password, func(db *sql.DB) error { return db.PingContext(ctx) })
}

// Query runs a statement as an account and returns the first column.
func (d *Database) Query(ctx context.Context, user, password, statement string) (column []string, err error) {
	err = d.with(user, password, func(db *sql.DB) error {
		rows, err := db.QueryContext(ctx, statement)
		if err != nil {
			return err
		}
		defer rows.Close() //nolint:errcheck // rows.Err says it
		for rows.Next() {
			var text string
			if err := rows.Scan(&text); err != nil {
				return err
			}
			column = append(column, text)
		}
		return rows.Err()
	})
	return column, err
}

// Exec runs statements for Vault's account, whatever its password is now: what
// they make belongs to it, so that it may grant it.
func (d *Database) Exec(t *testing.T, statements ...string) {
	t.Helper()
	d.execAsAdmin(t, append(slices.Clone(d.dialect.forVault), statements...)...)
}

// execAsAdmin runs statements as the tests' own account, in one session.
func (d *Database) execAsAdmin(t *testing.T, statements ...string) {
	t.Helper()
	err := d.with(d.admin, d.adminPassword, func(db *sql.DB) error {
		session, err := db.Conn(t.Context())
		if err != nil {
			return err
		}
		defer session.Close() //nolint:errcheck // what was done in it is known by then
		for _, s := range statements {
			if _, err := session.ExecContext(t.Context(), s); err != nil {
				return fmt.Errorf("running %q: %w", s, err)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Accounts are the names that can log in, sorted, Vault's own among them.
func (d *Database) Accounts(t *testing.T) []string {
	t.Helper()
	names, err := d.Query(t.Context(), d.admin, d.adminPassword, d.dialect.accounts)
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// with opens connections for one purpose, and closes them.
func (d *Database) with(user, password string, do func(*sql.DB) error) error {
	db, err := d.dialect.open(d, user, password)
	if err != nil {
		return fmt.Errorf("preparing to connect as %q: %w", user, err)
	}
	defer db.Close() //nolint:errcheck // what was done on it is known by now
	switch err := do(db); {
	case err == nil:
		return nil
	case d.dialect.refused(err):
		return fmt.Errorf("as %q: %w: %w", user, ErrRefused, err)
	default:
		return fmt.Errorf("as %q: %w", user, err)
	}
}

// answers tells whether the tests' own account can log in.
func (d *Database) answers(ctx context.Context) error {
	return d.Login(ctx, d.admin, d.adminPassword)
}

func (d *Database) address() string { return net.JoinHostPort(d.Host, strconv.Itoa(d.Port)) }
