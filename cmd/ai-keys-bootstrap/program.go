package main

import (
	"context"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/term"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap"
	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/file"
	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/secret"
)

// A program is one run.
type program struct {
	name     string
	in       *os.File
	terminal bool // in and out are terminals
	redactor *secret.Redactor
	// out and err mask every secret that was loaded.
	out, err *secret.Writer
	outStyle bootstrap.Style
	errStyle bootstrap.Style
	flags    flags
	signals  *interrupts
	diags    file.Diagnostics
	// wantsJSON is flags.json before the flags are known.
	wantsJSON bool
	// task is the command, and server where it works.
	task, server string
}

// flags are what the operator said.
type flags struct {
	files        []string
	out          string
	targets      []string
	prune        bool
	autoApprove  bool
	json         bool
	noColor      bool
	verbose      bool
	namespace    string
	wait         time.Duration
	resend       []string
	allowLockout bool
	noChecks     bool
	dryRun       bool
	force        bool
}

func newProgram(in, out, err *os.File) *program {
	r := secret.NewRedactor()
	p := &program{
		in: in, redactor: r, out: r.Writer(out), err: r.Writer(err),
		terminal: term.IsTerminal(int(in.Fd())) && term.IsTerminal(int(out.Fd())),
		outStyle: styleOf(out), errStyle: styleOf(err),
	}
	return p
}

// styleOf is how a stream can be written to.
func styleOf(f *os.File) bootstrap.Style {
	s := bootstrap.Style{ASCII: !speaksUTF8()}
	if width, _, err := term.GetSize(int(f.Fd())); err == nil && term.IsTerminal(int(f.Fd())) {
		s.Width = max(40, min(width, 160))
		s.Color = os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
	}
	return s
}

// speaksUTF8 tells whether the locale has more than ASCII. None at all is
// taken for one that has: containers have none, and their terminals do.
func speaksUTF8() bool {
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if v := os.Getenv(name); v != "" {
			v = strings.ToLower(v)
			return strings.Contains(v, "utf-8") || strings.Contains(v, "utf8")
		}
	}
	return true
}

func (p *program) printer(w io.Writer, s bootstrap.Style) *bootstrap.Printer {
	s.All = p.flags.verbose
	if p.flags.noColor {
		s.Color = false
	}
	return bootstrap.NewPrinter(w, s)
}

// say prints for people, and is silent where there is JSON on standard output.
func (p *program) say() *bootstrap.Printer {
	if p.flags.json {
		return p.printer(io.Discard, p.outStyle)
	}
	return p.printer(p.out, p.outStyle)
}

// tell prints what is no result: progress, warnings, errors.
func (p *program) tell() *bootstrap.Printer { return p.printer(p.err, p.errStyle) }

// run runs a command line and returns the exit code.
func (p *program) run(args []string) int {
	// An error in the flags has to be JSON too.
	p.wantsJSON = slices.ContainsFunc(args, func(a string) bool { return a == "--json" || a == "--json=true" })
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	p.signals = catch(cancel, func() { p.tell().Line("interrupted: the object under way is finished first; once more ends at once") })
	defer p.signals.release()
	root := p.command()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	code := p.finish(ctx, err)
	if flushed := errors.Join(p.out.Flush(), p.err.Flush()); flushed != nil && code == exitDone {
		code = exitError
	}
	return code
}

// finish says what went wrong, and gives the exit code.
func (p *program) finish(ctx context.Context, err error) int {
	if err == nil {
		return exitDone
	}
	if o, ok := errors.AsType[outcome](err); ok {
		return int(o)
	}
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		err = errInterrupted
	}
	if p.flags.json || p.wantsJSON {
		if err := p.document(errorDocument{p.head(), foot{p.diags, faultOf(err)}}); err != nil {
			p.tell().Line("writing the output: %v", err)
		}
		return exitError
	}
	p.tell().Fault(err)
	return exitError
}
