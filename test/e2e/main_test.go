package e2e

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/test/devvault"
	"github.com/ai-keys/vault-plugin-secrets-ai-keys/test/servers"
)

// mark is in every secret that these tests plant or that the fakes make.
const mark = "CANARYdoNOTleak7f3aQx"

// shared is the server that most tests use. It is started by the first of them.
var shared struct {
	once   sync.Once
	server *devvault.Server
	dir    string
	err    error
}

func TestMain(m *testing.M) {
	for _, v := range os.Environ() { // nothing of the caller's own Vault
		if name, _, _ := strings.Cut(v, "="); strings.HasPrefix(name, "VAULT_") {
			if err := os.Unsetenv(name); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
		}
	}
	// These tests wait more than they compute.
	flag.Parse()
	if err := flag.Set("test.parallel", strconv.Itoa(max(8, runtime.GOMAXPROCS(0)))); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	if err := finish(code != 0); err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		code = 1
	}
	os.Exit(code)
}

// finish stops the shared server and looks for secrets, and for panics, in what
// it wrote. Its files are kept if something is wrong.
func finish(failed bool) error {
	if shared.server == nil {
		return nil
	}
	err := errors.Join(shared.server.Stop(), searchFiles(shared.server))
	if failed || err != nil {
		return errors.Join(err, fmt.Errorf("Vault's log and audit file are kept in %s", shared.dir))
	}
	return os.RemoveAll(shared.dir)
}

// searchFiles looks for secrets and panics in a server's log and audit file.
func searchFiles(s *devvault.Server) error {
	var found error
	for _, file := range []string{s.LogFile(), s.AuditFile()} {
		content, err := os.ReadFile(file)
		found = errors.Join(found, err)
		for _, secret := range append(marks(), s.RootToken) {
			if i := bytes.Index(content, []byte(secret)); i >= 0 && !printedAtStart(content, i) {
				found = errors.Join(found, fmt.Errorf("%s holds a secret: %s", file, around(content, i)))
			}
		}
		if i := bytes.Index(content, []byte("panic in a request")); i >= 0 {
			found = errors.Join(found, fmt.Errorf("%s holds a panic: %s", file, around(content, i)))
		}
	}
	return found
}

// printedAtStart: a dev server shows its own root token once.
func printedAtStart(content []byte, i int) bool {
	return bytes.HasSuffix(content[:i], []byte("Root Token: "))
}

func around(content []byte, i int) string {
	return string(content[max(0, i-200):min(len(content), i+100)])
}

// marks is the mark as it looks in the clear and inside base64, which depends
// on how many bytes come before it.
func marks() []string {
	forms := []string{mark}
	for shift := range 3 {
		encoded := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("x", shift) + mark))
		// The ends depend on the neighbours as well.
		forms = append(forms, encoded[4:len(encoded)-4])
	}
	return forms
}

// sharedVault is the server that tests share.
func sharedVault(t *testing.T) *devvault.Server {
	t.Helper()
	b := servers.Binaries(t)
	shared.once.Do(func() {
		// Not a directory of this test: others use the server after its end.
		shared.dir, shared.err = os.MkdirTemp("", "ai-keys-e2e-") //nolint:usetesting // see above
		if shared.err == nil {
			shared.server, shared.err = serve(context.Background(), devvault.Options{Binaries: b, Dir: shared.dir})
		}
	})
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	return shared.server
}

// ownVault is a server for one test, which keeps its data.
func ownVault(t *testing.T) *devvault.Server {
	t.Helper()
	return vaultWith(t, devvault.Options{})
}

// vaultWith is [ownVault] with more options.
func vaultWith(t *testing.T, o devvault.Options) *devvault.Server {
	t.Helper()
	o.Binaries, o.Dir, o.Persistent = servers.Binaries(t), t.TempDir(), true
	s, err := serve(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
		if err := searchFiles(s); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("the end of Vault's log:\n%s", tail(s.LogFile()))
		}
	})
	return s
}

func tail(file string) string {
	content, err := os.ReadFile(file)
	if err != nil {
		return err.Error()
	}
	var lines []string
	for line := range strings.Lines(string(content)) {
		if strings.Contains(line, "ai-keys") || strings.Contains(line, "[ERROR]") {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines[max(0, len(lines)-40):], "")
}

func serve(ctx context.Context, o devvault.Options) (*devvault.Server, error) {
	o.LogLevel = "trace"
	s, err := devvault.Start(ctx, o)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(s.EnableAudit(ctx), s.Prepare(ctx)); err != nil {
		return nil, errors.Join(err, s.Kill())
	}
	return s, nil
}
