package servers

import (
	"crypto/rand"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/go-sql-driver/mysql"
)

// MariaDB starts a MariaDB server. Accounts are those of '%': over TCP every
// client is one from elsewhere, and Vault's own statements name no other host.
func MariaDB(t *testing.T) *Database {
	t.Helper()
	server, ok := program("mariadbd", "/usr/sbin/mariadbd", "/usr/libexec/mariadbd")
	if !ok {
		missing(t, "MariaDB (mariadbd)")
	}
	installer, ok := program("mariadb-install-db")
	if !ok {
		missing(t, "MariaDB (mariadb-install-db)")
	}
	d := &Database{
		Plugin: "mysql-database-plugin",
		Host:   loopback, Port: freePort(t), Name: databaseName,
		User: vaultAccount, Password: rand.Text(),
		dialect: maria,
		admin:   "tests", adminPassword: rand.Text(),
	}
	d.URL = "{{username}}:{{password}}@tcp(" + d.address() + ")/" + d.Name

	h := newHome(t, "mysql", "nobody")
	data := filepath.Join(h.dir, "data")
	run(t, h.command(installer, "--no-defaults", "--datadir="+data, "--skip-test-db", "--skip-name-resolve",
		"--auth-root-authentication-method=normal", "--innodb-flush-method=nosync", "--innodb-log-file-size=4M"))
	// One statement a line. The accounts that the installer made have no password.
	setup := h.write(t, "setup.sql", strings.Join([]string{
		"DELETE FROM mysql.global_priv WHERE User <> 'mariadb.sys';",
		"DELETE FROM mysql.proxies_priv;",
		"FLUSH PRIVILEGES;",
		"CREATE DATABASE " + d.Name + ";",
		"CREATE USER '" + d.admin + "'@'%' IDENTIFIED BY '" + d.adminPassword + "';",
		"GRANT ALL PRIVILEGES ON *.* TO '" + d.admin + "'@'%' WITH GRANT OPTION;",
		"CREATE USER '" + d.User + "'@'%' IDENTIFIED BY '" + d.Password + "';",
		"GRANT CREATE USER ON *.* TO '" + d.User + "'@'%';",
		"GRANT ALL PRIVILEGES ON " + d.Name + ".* TO '" + d.User + "'@'%' WITH GRANT OPTION;",
		"",
	}, "\n"))
	// SIGKILL: what would be saved in order is removed a moment later.
	h.serve(t, h.command(server, "--no-defaults", "--datadir="+data, "--tmpdir="+h.dir,
		"--bind-address="+d.Host, "--port="+strconv.Itoa(d.Port), "--skip-name-resolve",
		"--socket="+filepath.Join(h.dir, "socket"), "--pid-file="+filepath.Join(h.dir, "pid"),
		"--init-file="+setup, "--innodb-flush-method=nosync", "--innodb-flush-log-at-trx-commit=0",
		"--innodb-buffer-pool-size=16M", "--innodb-log-file-size=4M", "--sync-binlog=0"), syscall.SIGKILL, d.answers)
	if err := os.Remove(setup); err != nil {
		t.Fatal(err)
	}
	return d
}

var maria = dialect{
	open: func(d *Database, user, password string) (*sql.DB, error) {
		config := mysql.NewConfig()
		config.User, config.Passwd, config.DBName = user, password, d.Name
		config.Net, config.Addr = "tcp", d.address()
		connector, err := mysql.NewConnector(config)
		if err != nil {
			return nil, err
		}
		return sql.OpenDB(connector), nil
	},
	lobby: "", // none
	refused: func(err error) bool {
		const accessDenied, noSuchPlugin = 1045, 1698 // wrong password or user; an account that has none
		var answer *mysql.MySQLError
		return errors.As(err, &answer) && (answer.Number == accessDenied || answer.Number == noSuchPlugin)
	},
	accounts: "SELECT User FROM mysql.user WHERE Host = '%' AND User <> 'tests' ORDER BY User",
}
