package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/test/devvault"
)

// placeFile copies the example beside a file that says where things are here.
func (s *stage) placeFile() error {
	root, err := devvault.SourceTree()
	if err != nil {
		return err
	}
	if err := os.Mkdir(s.file(), 0o700); err != nil {
		return fmt.Errorf("making a place for the file: %w", err)
	}
	text, err := os.ReadFile(filepath.Join(root, "examples", "demo", "vault.hcl")) //nolint:gosec // a file of the source tree
	if err != nil {
		return fmt.Errorf("reading the example: %w", err)
	}
	place := fmt.Sprintf("locals {\n  plugin    = %q\n  audit_log = %q\n  openai    = %q\n  project   = %q\n}\n",
		s.vault.Plugin, s.vault.AuditFile(), s.fakes.OpenAI.BaseURL, s.fakes.OpenAI.ProjectID)
	for name, text := range map[string]string{"vault.hcl": string(text), "place.hcl": place} {
		if err := os.WriteFile(filepath.Join(s.file(), name), []byte(text), 0o600); err != nil {
			return fmt.Errorf("writing the file: %w", err)
		}
	}
	return nil
}

// file is the folder that holds the file for ai-keys-bootstrap.
func (s *stage) file() string { return filepath.Join(s.dir, "conf") }

func (t *teller) setup(ctx context.Context) {
	t.section("1. One file sets up the Vault around the engine")
	t.secrets = append(t.secrets, t.fakes.OpenAI.AdminKey)
	t.bootstrap(ctx, "the plan has everything in it", 2, []string{"+ ", "Plan:"}, "plan")
	t.bootstrap(ctx, "it is done", 0, []string{"Done:"}, "apply", "--auto-approve")
	t.bootstrap(ctx, "a second plan is empty", 0, []string{"Nothing to do"}, "plan")
}

func (t *teller) drift(ctx context.Context) {
	t.section("6. Somebody has helped himself to more")
	t.run(ctx, "policy", "write", "app", t.helpHimself())
	t.bootstrap(ctx, "it is found", 2, []string{"~ ", "        -", "        +", "Drift:"}, "verify")
	t.bootstrap(ctx, "and put right", 0, []string{"Done:"}, "apply", "--auto-approve")
}

// helpHimself is a policy that gives more than the file does.
func (t *teller) helpHimself() string {
	path := filepath.Join(t.dir, "wide.hcl")
	if t.err == nil {
		t.err = os.WriteFile(path, []byte("path \"ai-keys/*\" {\n  capabilities = [\"read\", \"list\"]\n}\n"), 0o600)
	}
	return path
}

// bootstrap runs ai-keys-bootstrap, shows those lines of its answer that begin
// as given, and claims how it ends. None of its output may hold a secret.
func (t *teller) bootstrap(ctx context.Context, claim string, code int, lines []string, args ...string) {
	if t.err != nil {
		return
	}
	t.command("ai-keys-bootstrap " + strings.Join(args, " ") + " -f conf")
	cmd := exec.CommandContext(ctx, t.vault.Bootstrap, append(args, "-f", "conf")...) //nolint:gosec // the commands of this file
	cmd.Dir = t.dir
	cmd.Env = append(t.vault.Environment(t.vault.RootToken), "NO_COLOR=1", "LC_ALL=C.UTF-8", "OPENAI_ADMIN_KEY="+t.fakes.OpenAI.AdminKey)
	raw, err := cmd.CombinedOutput()
	if _, exited := errors.AsType[*exec.ExitError](err); err != nil && !exited {
		t.err = fmt.Errorf("running ai-keys-bootstrap: %w", err)
		return
	}
	out := string(raw)
	var shown strings.Builder
	for line := range strings.Lines(out) {
		if slices.ContainsFunc(lines, func(begin string) bool { return strings.HasPrefix(line, begin) }) {
			shown.WriteString(line)
		}
	}
	t.answer(t.masked(shown.String()))
	got := fmt.Sprintf("exit code %d", cmd.ProcessState.ExitCode())
	t.claim(fmt.Sprintf("%s (%s)", claim, got), fmt.Sprintf("exit code %d", code), got+"\n"+t.masked(out), cmd.ProcessState.ExitCode() == code)
	if t.err == nil && strings.Contains(out, t.fakes.OpenAI.AdminKey) {
		t.claim("no secret in its output", "none", "one", false)
	}
}
