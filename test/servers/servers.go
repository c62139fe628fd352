// Package servers runs, for tests, the servers that Vault has beside it: a
// PostgreSQL and a MariaDB with an account for Vault, and moto, which answers
// as AWS's IAM and STS do. They are real programs, not fakes of ours: what Vault
// makes there can be logged in with, and what it revokes cannot.
//
//	db := servers.PostgreSQL(t)
//	… Vault's database engine: plugin_name db.Plugin, connection_url db.URL …
//	err := db.Login(ctx, user, password) // an ErrRefused: not with these
//
// Each belongs to one test: it listens on a loopback port that was free, keeps
// everything below a directory of its own, inherits nothing from the
// environment, gives up durability for speed, and is gone at the test's end.
// As root the databases run under the account that their package made, since
// they refuse to run as root.
//
// The programs come from scripts/servers.sh. Where one is missing the test is
// skipped, and says how to get it; with AI_KEYS_REQUIRE_ALL=1 it fails.
package servers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/test/devvault"
	"github.com/ai-keys/vault-plugin-secrets-ai-keys/test/ports"
)

// ErrRefused says that a server answered, and did not accept the credentials.
var ErrRefused = errors.New("credentials refused")

// How long a server may take to start. A loaded machine is slow.
const patience = time.Minute

// How often a starting server is asked whether it answers.
const pause = 20 * time.Millisecond

// missing ends a test that cannot have its server.
func missing(t *testing.T, what string) {
	t.Helper()
	text := what + " is missing on this machine: scripts/servers.sh installs it, or says what to install"
	if os.Getenv("AI_KEYS_REQUIRE_ALL") == "1" {
		t.Fatal(text)
	}
	t.Skip(text)
}

// Binaries are the programs of this project, and Vault. Without them a test is
// skipped, or fails where everything must run.
func Binaries(t *testing.T) devvault.Binaries {
	t.Helper()
	b, err := devvault.Find()
	switch {
	case errors.Is(err, devvault.ErrMissing) && os.Getenv("AI_KEYS_REQUIRE_ALL") != "1":
		t.Skip(err)
	case err != nil:
		t.Fatal(err)
	}
	return b
}

// program finds an executable on PATH or, failing that, at the last of the
// places that match: the newest version, where the place has it in its name.
func program(name string, places ...string) (string, bool) {
	if found, err := exec.LookPath(name); err == nil {
		return found, true
	}
	for _, place := range places {
		// The only error is a bad pattern, and these are our own.
		if found, _ := filepath.Glob(place); len(found) > 0 {
			return found[len(found)-1], true
		}
	}
	return "", false
}

// A home is a server's directory, and the account that owns it.
type home struct {
	dir   string
	owner *syscall.Credential // nil: our own
}

// newHome makes a directory that is removed at the test's end. It is not
// t.TempDir, into which only our own account may go. As root it belongs to the
// first of the accounts that exists.
func newHome(t *testing.T, accounts ...string) home {
	t.Helper()
	dir, err := os.MkdirTemp("", "ai-keys-") //nolint:usetesting // see above
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	h := home{dir: dir}
	if os.Geteuid() != 0 || len(accounts) == 0 {
		return h
	}
	for _, name := range accounts {
		account, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, errUID := strconv.ParseUint(account.Uid, 10, 32)
		gid, errGID := strconv.ParseUint(account.Gid, 10, 32)
		if err := errors.Join(errUID, errGID); err != nil {
			t.Fatalf("reading the numbers of the account %s: %v", name, err)
		}
		h.owner = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		h.give(t, dir)
		return h
	}
	t.Fatalf("a database does not run as root, and none of these accounts exists: %s", strings.Join(accounts, ", "))
	return h
}

// give makes a file the owner's.
func (h home) give(t *testing.T, file string) {
	t.Helper()
	if h.owner == nil {
		return
	}
	if err := os.Chown(file, int(h.owner.Uid), int(h.owner.Gid)); err != nil {
		t.Fatal(err)
	}
}

// write makes a file that only the owner may read.
func (h home) write(t *testing.T, name, content string) string {
	t.Helper()
	file := filepath.Join(h.dir, name)
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	h.give(t, file)
	return file
}

// command is a program that runs as the owner, and knows nothing of ours.
func (h home) command(path string, args ...string) *exec.Cmd {
	// It ends by a signal of ours or with the test; a context would only know how to kill.
	cmd := exec.Command(path, args...) //nolint:gosec,noctx // the machine's own programs; see above
	cmd.Dir = h.dir
	cmd.Env = []string{"PATH=" + filepath.Dir(path) + ":/usr/sbin:/usr/bin:/sbin:/bin", "HOME=" + h.dir, "TMPDIR=" + h.dir, "LC_ALL=C", "TZ=UTC"}
	if h.owner != nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: h.owner}
	}
	return cmd
}

// run waits for a program that ends by itself.
func run(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("running %s: %v\n%s", filepath.Base(cmd.Path), err, out)
	}
}

// serve starts a server, waits until it answers, and ends it with the test, by
// the signal that is the quickest clean way.
func (h home) serve(t *testing.T, cmd *exec.Cmd, end syscall.Signal, answers func(context.Context) error) {
	t.Helper()
	name := filepath.Join(h.dir, "server.log")
	log, err := os.OpenFile(name, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600) //nolint:gosec // below a directory of ours
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close() //nolint:errcheck // the child has its own
	cmd.Stdout, cmd.Stderr = log, log
	process, err := devvault.Spawn(cmd, false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the end of the log of %s:\n%s", filepath.Base(cmd.Path), tail(name))
		}
		if err := process.End(end); err != nil {
			t.Error(err)
		}
	})
	if err := await(t.Context(), process, answers); err != nil {
		t.Fatalf("starting %s: %v", filepath.Base(cmd.Path), err)
	}
}

// await asks until there is no error.
func await(ctx context.Context, process *devvault.Process, answers func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for {
		err := answers(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-process.Done():
			return errors.New("it ended before it answered")
		case <-ctx.Done():
			return fmt.Errorf("it does not answer: %w", err)
		}
	}
}

// tail is the end of a log, or why there is none.
func tail(file string) string {
	log, err := os.ReadFile(file) //nolint:gosec // below a directory of ours
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(log)), "\n")
	return strings.Join(lines[max(0, len(lines)-12):], "\n")
}

// freePort finds a port that nobody listens on.
func freePort(t *testing.T) int {
	t.Helper()
	port, err := ports.Take(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	return port
}

const loopback = "127.0.0.1"
