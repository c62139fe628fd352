package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/pflag"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap"
)

var exportTask = task{
	use: "export", short: "Write what a server has as a file",
	long: `Read everything on the server that a file can describe, and write it as a file in HCL:
to begin with a Vault that is there already. Nothing is written to the server.

No secret is exported. Where Vault has one, the file says that it comes from the
environment, and under which name; until it is there, a plan does not compare it.
Values of key-value entries, secret-ids and what is in mounts of unknown types are
left out. The file is read back and compared with the server: what it could not
say, and what an apply of it would change, is told on standard error.

With --target only that policy, mount or group, with all that is in it, by the name
that a plan shows.

Exit codes: 0 done, 1 error.

With --json: {"command", "server", "file", "out", "notes": [text]}; file is the whole text.`,
	example: "  NAME export > vault.hcl\n  NAME export -o vault.hcl\n  NAME export --target 'mount auth/okta'",
	run:     (*program).export, flags: []func(*program, *pflag.FlagSet){serverFlags, exportFlags},
}

func exportFlags(p *program, f *pflag.FlagSet) {
	f.StringVarP(&p.flags.out, "out", "o", "", "write to this `file`, which nobody else can read")
	f.BoolVar(&p.flags.force, "force", false, "overwrite the file of --out")
	f.StringArrayVar(&p.flags.targets, "target", nil, "only this `object`, and what is in it, by the name that a plan shows; may be given again")
}

// An exportDocument is what --json prints.
type exportDocument struct {
	head
	File  string   `json:"file"`
	Out   string   `json:"out,omitempty"`
	Notes []string `json:"notes"`
	foot
}

// export writes what the server has as a file.
func (p *program) export(ctx context.Context, _ []string) error {
	out := p.flags.out
	if _, err := os.Lstat(out); out != "" && err == nil && !p.flags.force {
		return usageError{fmt.Errorf("%s is there already: name another file, or give --force to overwrite it", out)}
	}
	s, err := p.session(ctx, &bootstrap.Desired{}, bootstrap.Options{})
	if err != nil {
		return err
	}
	var text bytes.Buffer
	notes, err := s.Export(ctx, bootstrap.ExportOptions{From: p.server, Targets: p.flags.targets}, &text)
	if err != nil {
		return err
	}
	if out != "" {
		if err := put(out, text.Bytes(), p.flags.force); err != nil {
			return err
		}
	}
	if p.flags.json {
		return p.document(exportDocument{p.head(), text.String(), out, append([]string{}, notes...), p.foot()})
	}
	tell := p.tell()
	for _, note := range notes {
		tell.Line("%s", note)
	}
	if out == "" {
		p.say().Text(text.String())
		return nil
	}
	p.say().Line("What %s has is in %s. To compare: %s plan -f %s", p.server, out, p.name, out)
	return nil
}

// put writes a whole file that nobody else can read. It replaces one that is
// there only if that is wanted.
func put(name string, text []byte, replace bool) error {
	var (
		f   *os.File
		err error
	)
	if replace {
		f, err = os.CreateTemp(filepath.Dir(name), ".export-*") // with mode 0600
	} else {
		f, err = os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600) //nolint:gosec // the operator names it
	}
	if err != nil {
		return fmt.Errorf("writing the export: %w", err)
	}
	_, err = f.Write(text)
	err = errors.Join(err, f.Close())
	if err == nil && replace {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		return fmt.Errorf("writing the export: %w", errors.Join(err, os.Remove(f.Name())))
	}
	return nil
}
