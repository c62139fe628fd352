package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/file"
	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/vault"
)

// settle writes the file, reads it as any other, and takes out what would be
// refused: a server may have what this program would not set up. The file is
// then compared with the server, and what differs is noted.
func (e *exporter) settle(ctx context.Context) (string, error) {
	dir, err := os.MkdirTemp("", "ai-keys-bootstrap-")
	if err != nil {
		return "", fmt.Errorf("making a folder to read the export back: %w", err)
	}
	defer os.RemoveAll(dir) //nolint:errcheck // it holds no secret
	name := filepath.Join(dir, "export.hcl")
	for {
		text := e.file()
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			return "", fmt.Errorf("writing the export to read it back: %w", err)
		}
		desired, diags := Load([]string{name})
		if !diags.HasErrors() {
			e.notes = append(tellings(e.top), e.notes...)
			return text, e.noteDifferences(ctx, desired)
		}
		if !e.refuse(diags) {
			return "", fmt.Errorf("what was exported cannot be read, which is a mistake of this program's: %s", strings.ReplaceAll(diags.Error(), name, "line"))
		}
	}
}

// refuse takes out the objects that have mistakes in them. It answers false if
// there are none to take out.
func (e *exporter) refuse(diags file.Diagnostics) bool {
	some := false
	for _, d := range diags {
		if d.Severity != file.Error {
			continue
		}
		var in *exported // the innermost
		every(e.top, func(x *exported) {
			if x.first <= d.At.Line && d.At.Line <= x.last {
				in = x
			}
		})
		if in != nil {
			in.without = strings.TrimSpace(d.Summary + ". " + d.Detail)
			some = true
		}
	}
	return some
}

// tellings are what there is to tell of objects, and of those that stand in the file
// as comments only.
func tellings(all []*exported) []string {
	var out []string
	for _, x := range all {
		if x.without != "" {
			out = append(out, x.Name()+" is left out: "+x.without)
			continue
		}
		for _, text := range x.told {
			out = append(out, x.Name()+": "+text)
		}
		out = append(out, tellings(x.inner)...)
	}
	return out
}

// noteDifferences notes what a plan with the exported file would change. No
// secret is read for it.
func (e *exporter) noteDifferences(ctx context.Context, d *Desired) error {
	p, err := e.s.Plan(ctx, d)
	if _, is := errors.AsType[*DeniedError](err); is || vault.StatusOf(err) != 0 {
		e.note("what was exported could not be compared with the server: %v", err)
		return nil
	}
	if err != nil {
		return err
	}
	for _, c := range p.Changes {
		if c.Action != None {
			fields := make([]string, len(c.Fields))
			for i, f := range c.Fields {
				fields[i] = f.Field
			}
			e.note("%s: an apply of this file would change it: %s", c.Object.Name(), strings.Join(append([]string{string(c.Action)}, fields...), " "))
		}
		for _, text := range c.Notes {
			e.note("%s: %s", c.Object.Name(), text)
		}
	}
	return nil
}
