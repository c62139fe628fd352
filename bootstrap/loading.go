package bootstrap

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/file"
	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/secret"
)

// Declare tells the session's store where the file's secrets come from. The
// path of a file is relative to the file that names it.
func (s *Session) Declare(d *Desired) file.Diagnostics {
	var diags file.Diagnostics
	for _, declared := range d.Secrets {
		from := declared.From
		if path, is := strings.CutPrefix(from, "file:"); is && path != "" && !filepath.IsAbs(path) {
			from = "file:" + filepath.Join(filepath.Dir(declared.At.File), path)
		}
		if err := s.Secrets.Declare(secret.Source{Name: declared.Name, From: from}); err != nil {
			diags = append(diags, file.Diagnostic{
				Severity: file.Error, At: declared.At,
				Summary: fmt.Sprintf("secret %q: %v", declared.Name, err),
			})
		}
	}
	return diags
}

// LoadQuietly loads the secrets that need nobody at the terminal, but for
// those named. What cannot be read is not compared; [Session.Preflight] says
// why, if it is needed.
func (s *Session) LoadQuietly(ctx context.Context, d *Desired, but []string) {
	var names []string
	for _, declared := range d.Secrets {
		if !strings.HasPrefix(declared.From, "prompt:") && !slices.Contains(but, declared.Name) {
			names = append(names, declared.Name)
		}
	}
	if len(names) > 0 {
		s.Secrets.Load(ctx, names)
	}
}

// LoadFor loads what a plan's changes need and was not loaded, which may ask
// at the terminal. It tells whether there is more now than there was.
func (s *Session) LoadFor(ctx context.Context, p *Plan) bool {
	var names []string
	for _, c := range p.Pending() {
		if c.Action == Delete {
			continue
		}
		for _, name := range c.Object.secrets(c.Withheld) {
			if _, there := s.Secrets.Value(name); !there && !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	if len(names) == 0 {
		return false
	}
	return len(s.Secrets.Load(ctx, names)) < len(names)
}

// An Unread is a secret of the file that was not read, and why.
type Unread struct {
	Secret string `json:"secret"`
	Why    string `json:"why"`
}

// Unread are the file's secrets that were not read.
func (s *Session) Unread(d *Desired) []Unread {
	var out []Unread
	for _, declared := range d.Secrets {
		why := s.Secrets.Why(declared.Name)
		switch {
		case why == nil:
		case strings.HasPrefix(declared.From, "prompt:"):
			out = append(out, Unread{declared.Name, "it is asked for by apply, if it is needed"})
		default:
			out = append(out, Unread{declared.Name, why.Error()})
		}
	}
	return out
}
