package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/test/devvault"
)

// need skips a test that has no programs to show, or fails it where everything
// must run.
func need(t *testing.T) {
	t.Helper()
	_, err := devvault.Find()
	switch {
	case errors.Is(err, devvault.ErrMissing) && os.Getenv("AI_KEYS_REQUIRE_ALL") != "1":
		t.Skip(err)
	case err != nil:
		t.Fatal(err)
	}
}

// TestDemo runs the whole demo: every claim holds, no secret is shown, the text
// fits a few screens, and nothing is left behind.
func TestDemo(t *testing.T) {
	need(t)
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	var out bytes.Buffer
	if err := run(t.Context(), &page{w: &out}, false); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	text := out.String()
	if n := strings.Count(text, "✓"); n < 15 {
		t.Errorf("only %d claims were proven:\n%s", n, text)
	}
	if n := strings.Count(text, "\n"); n > 140 {
		t.Errorf("the demo has %d lines", n)
	}
	if shown := regexp.MustCompile(`sk-[A-Za-z0-9-]{20,}`).FindString(text); shown != "" {
		t.Errorf("a secret is shown: %s", shown)
	}
	if strings.Contains(text, "\x1b") {
		t.Error("there is colour without a terminal")
	}
	nothingIn(t, dir)
}

func TestInterruptedDemo(t *testing.T) {
	need(t)
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	ctx, interrupt := context.WithCancel(t.Context())
	out := &watcher{text: []byte("$ vault read ai-keys/creds/app"), do: interrupt}
	if err := run(ctx, &page{w: out}, false); err == nil || err.Error() != "interrupted" {
		t.Errorf("run says %v, want interrupted", err)
	}
	nothingIn(t, dir)
}

// A watcher does something when it reads a text.
type watcher struct {
	text []byte
	do   func()
}

func (w *watcher) Write(p []byte) (int, error) {
	if bytes.Contains(p, w.text) {
		w.do()
	}
	return len(p), nil
}

// nothingIn: Go's own build directories and the plugin's sockets aside.
func nothingIn(t *testing.T, dir string) {
	t.Helper()
	left, err := filepath.Glob(filepath.Join(dir, "ai-keys-demo-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}
