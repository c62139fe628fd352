package bootstrap_test

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/test/devvault"
)

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
	if err := flag.Set("test.parallel", strconv.Itoa(max(4, runtime.GOMAXPROCS(0)))); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	if built.dir != "" {
		if err := os.RemoveAll(built.dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// built is the program under test, as the source is now.
var built struct {
	once sync.Once
	dir  string
	err  error
}

// program is the path of the program under test.
func program(t *testing.T) string {
	t.Helper()
	built.once.Do(func() {
		// Not a directory of this test: others use the program after its end.
		if built.dir, built.err = os.MkdirTemp("", "ai-keys-bootstrap-"); built.err != nil { //nolint:usetesting // see above
			return
		}
		built.err = build(filepath.Join(built.dir, "ai-keys-bootstrap"))
	})
	if built.err != nil {
		t.Fatal(built.err)
	}
	return filepath.Join(built.dir, "ai-keys-bootstrap")
}

func build(to string) error {
	root, err := devvault.SourceTree()
	if err != nil {
		return err
	}
	args := []string{"build", "-o", to}
	if raceDetector {
		args = append(args, "-race")
	}
	cmd := exec.Command("go", append(args, "./cmd/ai-keys-bootstrap")...)
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("building the program: %w\n%s", err, out)
	}
	return nil
}
