// Command demo shows the engine at work: in a dev Vault, against fake
// providers, with Vault's own command line. It needs bin/vault and the built
// plugin, takes half a minute, and removes what it made; make demo runs it.
//
// It ends with 0 only if each step did what it says. KEEP=1 in the environment
// leaves Vault and the fakes running and says how to talk to them.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/test/devvault"
	"github.com/ai-keys/vault-plugin-secrets-ai-keys/test/fakes"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, newPage(os.Stdout), os.Getenv("KEEP") == "1")
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

// A stage is all that the story needs around it.
type stage struct {
	dir   string
	keep  bool
	vault *devvault.Server
	fakes fakes.Addresses

	fakesProcess *devvault.Process
}

// run sets the stage, tells the story, and clears up.
func run(ctx context.Context, p *page, keep bool) (err error) {
	binaries, err := devvault.Find()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "ai-keys-demo-")
	if err != nil {
		return fmt.Errorf("making a directory: %w", err)
	}
	s := &stage{dir: dir, keep: keep}
	defer func() {
		if keep && err == nil {
			err = s.leave(p, binaries)
			return
		}
		err = errors.Join(s.end(err), err)
	}()
	if err := s.set(ctx, p, binaries); err != nil {
		return interrupted(ctx, err)
	}
	return interrupted(ctx, tell(ctx, p, s))
}

// interrupted says so shortly, instead of what broke because of it.
func interrupted(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return errors.New("interrupted")
	}
	return err
}

// set starts everything.
func (s *stage) set(ctx context.Context, p *page, binaries devvault.Binaries) (err error) {
	p.section("The stage")
	s.vault, err = devvault.Start(ctx, devvault.Options{Binaries: binaries, Dir: s.dir, Detached: s.keep})
	if err != nil {
		return err
	}
	p.done("a dev Vault at " + s.vault.Addr)
	if err := s.startFakes(ctx); err != nil {
		return err
	}
	p.done("fake providers; who looks at " + s.fakes.Control + " sees their live keys")
	if err := s.placeFile(); err != nil {
		return err
	}
	p.done("examples/demo/vault.hcl, which says what shall be in that Vault")
	return nil
}

// startFakes builds and runs the fakes as a program of their own, so that they
// can stay when the demo ends.
func (s *stage) startFakes(ctx context.Context) error {
	binary := filepath.Join(s.dir, "fake-providers")
	build := exec.CommandContext(ctx, "go", "build", "-o", binary, //nolint:gosec // a path of our own
		"github.com/ai-keys/vault-plugin-secrets-ai-keys/test/cmd/fake-providers")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("building the fake providers: %w\n%s", err, out)
	}
	log, err := os.Create(s.fakesLog())
	if err != nil {
		return fmt.Errorf("opening the log of the fake providers: %w", err)
	}
	defer log.Close() //nolint:errcheck // the child has its own
	where, child, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("opening a pipe: %w", err)
	}
	defer where.Close() //nolint:errcheck // read to its end
	// It ends by a signal, and may outlive the context.
	cmd := exec.Command(binary, "-json", "-v", "-ca-file", filepath.Join(s.dir, "ca.pem")) //nolint:gosec,noctx // just built; see above
	cmd.Stdout, cmd.Stderr = child, log
	s.fakesProcess, err = devvault.Spawn(cmd, s.keep)
	if err := errors.Join(err, child.Close()); err != nil {
		return err
	}
	line, err := bufio.NewReader(where).ReadBytes('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("listening to the fake providers: %w", err)
	}
	if err := json.Unmarshal(line, &s.fakes); err != nil {
		return fmt.Errorf("the fake providers did not start: see %s", s.fakesLog())
	}
	return nil
}

func (s *stage) fakesLog() string { return filepath.Join(s.dir, "fake-providers.log") }

// end stops everything. The files go too, unless they tell what went wrong.
func (s *stage) end(failure error) error {
	var err error
	if s.vault != nil {
		err = s.vault.Stop()
	}
	if s.fakesProcess != nil {
		err = errors.Join(err, s.fakesProcess.End(os.Interrupt))
	}
	if _, ok := errors.AsType[*claimError](failure); ok {
		fmt.Fprintf(os.Stderr, "\nThe logs are in %s: vault.log (the engine's too) and fake-providers.log.\n", s.dir)
		return err
	}
	return errors.Join(err, os.RemoveAll(s.dir))
}

// leave says how to go on.
func (s *stage) leave(p *page, b devvault.Binaries) error {
	file := filepath.Join(s.dir, "env")
	text := fmt.Sprintf("export VAULT_ADDR=%s\nexport VAULT_TOKEN=%s\nexport PATH=%q:$PATH\n", s.vault.Addr, s.vault.RootToken, filepath.Dir(b.Vault))
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return fmt.Errorf("writing how to reach Vault: %w", err)
	}
	p.section("It is still running")
	p.say("  . " + file + "       # address and token of root, for this shell")
	p.say("  vault read ai-keys/creds/app")
	p.say("  vault path-help ai-keys")
	p.say("  " + s.fakes.Control + "       # the live keys, in a browser")
	p.say(fmt.Sprintf("To end it: kill %d %d && rm -r %s", s.vault.PID(), s.fakesProcess.PID(), s.dir))
	return nil
}
