package bootstrap

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/file"
	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/schema"
)

// A Style is how things are shown to a person.
type Style struct {
	// Color uses escape sequences.
	Color bool
	// ASCII is for terminals that have no other characters.
	ASCII bool
	// Width is the terminal's, in columns; 0: 80.
	Width int
	// All lists every unmanaged object, however many there are.
	All bool
}

// A Printer shows plans, and what became of them, to a person. What it writes
// to should mask secrets. It keeps the first error of writing, for [Printer.Err].
type Printer struct {
	w     io.Writer
	style Style
	err   error
}

// NewPrinter makes a printer.
func NewPrinter(w io.Writer, s Style) *Printer {
	if s.Width == 0 {
		s.Width = 80
	}
	return &Printer{w: w, style: s}
}

// Err is the first error of writing.
func (p *Printer) Err() error { return p.err }

// write writes, and makes what was written seen at once.
func (p *Printer) write(text string) {
	_, err := io.WriteString(p.w, text)
	if f, ok := p.w.(interface{ Flush() error }); ok && err == nil {
		err = f.Flush()
	}
	if p.err == nil {
		p.err = err
	}
}

// Line writes a line of text.
func (p *Printer) Line(format string, args ...any) {
	p.write(visible(fmt.Sprintf(format, args...)) + "\n")
}

// Text writes a text as it is.
func (p *Printer) Text(text string) { p.write(text) }

// Diagnostics shows what is wrong with a file, each with its place.
func (p *Printer) Diagnostics(ds file.Diagnostics) {
	var b strings.Builder
	for _, d := range ds {
		at := d.At.String()
		if d.At.Line > 0 && d.At.Column > 0 {
			at = fmt.Sprintf("%s:%d", at, d.At.Column)
		}
		if at != "" {
			b.WriteString(p.paint(bold, visible(at)+": "))
		}
		word := red
		if d.Severity == file.Warning {
			word = yellow
		}
		b.WriteString(p.paint(word, d.Severity.String()+":") + " " + visible(d.Summary) + "\n")
		for _, line := range p.wrapped(d.Detail, 4) {
			b.WriteString(line + "\n")
		}
	}
	p.write(b.String())
}

// Valid says that a file can be used.
func (p *Printer) Valid(d *Desired) {
	p.Line("%s: %s, %s, %s; no mistakes.", strings.Join(d.Files, ", "),
		counted(len(d.Objects), "object"), counted(len(d.Secrets), "secret"), counted(len(d.Checks), "check"))
}

// Fault says why a command could not do what it was asked to.
func (p *Printer) Fault(err error) {
	first, rest, more := strings.Cut(visible(err.Error()), "\n")
	text := p.paint(red, "Error:") + " " + first + "\n"
	if more {
		text += rest + "\n"
	}
	p.write(text)
}

// The colours, as SGR parameters.
const (
	bold    = "1"
	dim     = "2"
	red     = "31"
	green   = "32"
	yellow  = "33"
	magenta = "35"
	cyan    = "36"
)

func (p *Printer) paint(code, text string) string {
	if !p.style.Color || text == "" {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

// ascii is how each symbol is written where there is nothing but ASCII.
var ascii = strings.NewReplacer("↻", "r", "→", "->", "…", "...", "·", "*")

func (p *Printer) symbols(text string) string {
	if p.style.ASCII {
		return ascii.Replace(text)
	}
	return text
}

// mark is the symbol of a change, and its colour.
func mark(c *Change) (symbol, color string) {
	switch c.Action {
	case Create:
		return "+", green
	case Update:
		return "~", yellow
	case Delete:
		return "-", red
	case Blocked:
		return "!", red
	case Rotate:
		return "↻", magenta
	case None:
	}
	if len(c.Unchecked) > 0 {
		return "?", cyan
	}
	return "·", dim
}

// counted is a number with its noun: "1 change", "2 changes".
func counted(n int, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return fmt.Sprintf("%d %s", n, noun)
}

// wrapped breaks a text into lines that are indented.
func (p *Printer) wrapped(text string, indent int) []string {
	var lines []string
	for paragraph := range strings.SplitSeq(strings.TrimRight(text, "\n"), "\n") {
		rest := visible(strings.TrimRight(paragraph, " "))
		if rest == "" && len(lines) == 0 {
			continue
		}
		// A line that is indented is laid out already.
		for !strings.HasPrefix(paragraph, " ") && columns(rest) > p.style.Width-indent {
			at := breakAt(rest, p.style.Width-indent)
			if at < 0 {
				break
			}
			lines = append(lines, strings.Repeat(" ", indent)+rest[:at])
			rest = strings.TrimLeft(rest[at:], " ")
		}
		lines = append(lines, strings.Repeat(" ", indent)+rest)
	}
	return lines
}

// breakAt finds the last space within a width, or else the first one.
func breakAt(text string, width int) int {
	last := -1
	for at, n := 0, 0; at < len(text); n++ {
		r, size := utf8.DecodeRuneInString(text[at:])
		if n > width && last > 0 {
			return last
		}
		if r == ' ' && at > 0 {
			last = at
		}
		at += size
	}
	return last
}

// columns is how wide a text is. Wide characters count as one: names are
// hardly ever written in them.
func columns(text string) int { return utf8.RuneCountInString(text) }

func padded(text string, width int) string {
	return text + strings.Repeat(" ", max(0, width-columns(text)))
}

// visible makes everything that a terminal would obey readable.
func visible(text string) string {
	if !strings.ContainsFunc(text, obeyed) {
		return text
	}
	var b strings.Builder
	for _, r := range text {
		if obeyed(r) {
			fmt.Fprintf(&b, "\\u%04x", r)
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}

func obeyed(r rune) bool {
	return r != '\n' && r != '\t' && r != ' ' && !unicode.IsPrint(r) && r != '\u200d'
}

// fieldOf is the description of a field of an object; nil if it has none.
func fieldOf(o *Object, name string) *schema.Field {
	fields := o.fields()
	if i := slices.IndexFunc(fields, func(f *schema.Field) bool { return f.Name == name }); i >= 0 {
		return fields[i]
	}
	return nil
}
