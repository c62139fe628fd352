package bootstrap

import (
	"fmt"
	"strings"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/file"
	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/schema"
)

// How a plan is laid out: the names of objects are as wide as the widest, up to
// nameColumns; so are the names of an object's fields.
const (
	nameColumns  = 52
	fieldColumns = 30
	fieldIndent  = 6
	// unmanagedShown is how many objects that are in no file are listed.
	unmanagedShown = 20
)

// Plan shows what an apply would do, what is in no file, and how much it is.
func (p *Printer) Plan(pl *Plan) {
	p.write(p.changes(pl) + p.unmanaged(pl.Unmanaged) + summaryOf(pl).plan() + "\n")
}

// Changes is Plan without what is in no file.
func (p *Printer) Changes(pl *Plan) {
	p.write(p.changes(pl) + summaryOf(pl).plan() + "\n")
}

// Drift shows where the server is not as the file says.
func (p *Printer) Drift(pl *Plan) {
	p.write(p.changes(pl) + p.unmanaged(pl.Unmanaged) + summaryOf(pl).drift() + "\n")
}

// Unread shows which secrets were not read, and why.
func (p *Printer) Unread(secrets []Unread) {
	var b strings.Builder
	for _, s := range secrets {
		for _, line := range p.wrapped(fmt.Sprintf("secret %q was not read: %s", s.Secret, s.Why), 2) {
			b.WriteString(p.paint(cyan, line) + "\n")
		}
	}
	if len(secrets) > 0 {
		p.write(b.String())
	}
}

func (p *Printer) changes(pl *Plan) string {
	var b strings.Builder
	width := 0
	for _, c := range pl.Changes {
		width = max(width, min(columns(visible(c.Object.Name())), nameColumns))
	}
	for _, c := range pl.Changes {
		p.change(&b, c, width)
	}
	if len(pl.Changes) > 0 {
		b.WriteString("\n")
	}
	return b.String()
}

func (p *Printer) change(b *strings.Builder, c *Change, width int) {
	symbol, color := mark(c)
	name, at := visible(c.Object.Name()), place(c.Object.At)
	b.WriteString(p.paint(color, p.symbols(symbol)) + " " + p.paint(bold, name))
	if at != "" {
		b.WriteString(strings.Repeat(" ", max(0, width-columns(name))+2) + p.paint(dim, at))
	}
	b.WriteString("\n")
	names := 0
	for _, f := range c.Fields {
		names = max(names, min(columns(f.Field), fieldColumns))
	}
	for _, f := range c.Unchecked {
		names = max(names, min(columns(f), fieldColumns))
	}
	for i := range c.Fields {
		p.field(b, c, &c.Fields[i], names)
	}
	for _, f := range c.Unchecked {
		b.WriteString(p.row(f, names, p.paint(cyan, "? a secret that was not read: not compared")))
	}
	if c.Action != None && c.Action != Delete {
		for _, f := range c.Withheld {
			b.WriteString(p.row(f, names, p.paint(dim, "not sent: a rotation has replaced it")))
		}
	}
	for _, note := range c.Notes {
		for i, line := range p.wrapped(note, fieldIndent+2) {
			if i == 0 {
				line = strings.Repeat(" ", fieldIndent) + p.symbols("· ") + line[fieldIndent+2:]
			}
			b.WriteString(p.paint(yellow, line) + "\n")
		}
	}
}

// place is where an object stands in a file; "" for what is in none.
func place(at file.Position) string {
	if at.File == "" {
		return ""
	}
	return visible(at.String())
}

func (p *Printer) row(name string, width int, text string) string {
	return strings.TrimRight(strings.Repeat(" ", fieldIndent)+padded(visible(name), width)+"  "+text, " ") + "\n"
}

// field shows one difference: on one line if it fits.
func (p *Printer) field(b *strings.Builder, c *Change, f *FieldChange, width int) {
	if diff := c.difference(f); diff != "" {
		b.WriteString(p.row(f.Field, 0, p.because(f)))
		for _, line := range diffLines(diff) {
			b.WriteString(strings.Repeat(" ", fieldIndent+2) + p.diffLine(line) + "\n")
		}
		return
	}
	of := fieldOf(c.Object, f.Field)
	old, want := told(of, shownOld(c, f)), told(of, f.New)
	text := want
	switch {
	case c.Action == Create || f.Old == nil && schema.HasSecret(f.New):
	default:
		text = p.symbols(old + " → " + want)
	}
	used := fieldIndent + max(width, columns(f.Field)) + 2
	because := p.because(f)
	switch {
	case text != want && used+columns(text) > p.style.Width:
		b.WriteString(p.row(f.Field, 0, because))
		b.WriteString(strings.Repeat(" ", fieldIndent+2) + p.paint(red, "- "+old) + "\n")
		b.WriteString(strings.Repeat(" ", fieldIndent+2) + p.paint(green, "+ "+want) + "\n")
	case f.Why != "" && used+columns(text)+columns(f.Why)+4 > p.style.Width:
		b.WriteString(p.row(f.Field, width, text))
		b.WriteString(strings.Repeat(" ", used) + because + "\n")
	default:
		b.WriteString(p.row(f.Field, width, text+"  "+because))
	}
}

// because is what more there is to say of a difference.
func (p *Printer) because(f *FieldChange) string {
	var parts []string
	if f.Immutable {
		parts = append(parts, p.paint(red, "cannot be changed in place"))
	}
	if f.Why != "" {
		parts = append(parts, p.paint(dim, "("+visible(f.Why)+")"))
	}
	return strings.Join(parts, " ")
}

// unmanaged lists what is in no file, by kind and mount.
func (p *Printer) unmanaged(objects []*Object) string {
	if len(objects) == 0 {
		return ""
	}
	shown := objects
	if !p.style.All {
		shown = objects[:min(len(objects), unmanagedShown)]
	}
	groups, order := make(map[string][]string), []string(nil)
	for _, o := range shown {
		group, name := grouped(o)
		if _, there := groups[group]; !there {
			order = append(order, group)
		}
		groups[group] = append(groups[group], name)
	}
	width := 0
	for _, group := range order {
		width = max(width, min(columns(group), fieldColumns))
	}
	var lines []string
	lines = append(lines, fmt.Sprintf("In no file, and left alone (%d):", len(objects)))
	for _, group := range order {
		names := p.wrapped(strings.Join(groups[group], ", "), 2+width+2)
		names[0] = "  " + padded(group, width) + "  " + names[0][min(len(names[0]), 2+width+2):]
		lines = append(lines, names...)
	}
	if more := len(objects) - len(shown); more > 0 {
		lines = append(lines, p.symbols(fmt.Sprintf("  … and %d more; --verbose lists them all", more)))
	}
	for i, line := range lines {
		lines[i] = p.paint(dim, line)
	}
	return strings.Join(lines, "\n") + "\n\n"
}

// grouped takes an object's name apart for a list: "policy" and "reader".
func grouped(o *Object) (group, name string) {
	whole, key := visible(o.Name()), visible(o.Key())
	if o.isMount() {
		key = visible(o.MountPath())
	}
	if group, found := strings.CutSuffix(whole, " "+key); found && key != "" {
		return group, key
	}
	return whole, ""
}

// A Summary is a plan in numbers.
type Summary struct {
	Create    int `json:"create"`
	Update    int `json:"update"`
	Delete    int `json:"delete"`
	Rotate    int `json:"rotate"`
	Blocked   int `json:"blocked"`
	Unchanged int `json:"unchanged"`
	Unmanaged int `json:"unmanaged"`
	// Unchecked counts the secrets that could not be compared.
	Unchecked int `json:"unchecked"`
}

func summaryOf(pl *Plan) Summary {
	s := Summary{Unchanged: pl.Same, Unmanaged: len(pl.Unmanaged)}
	for _, c := range pl.Changes {
		s.Unchecked += len(c.Unchecked)
		switch c.Action {
		case Create:
			s.Create++
		case Update:
			s.Update++
		case Delete:
			s.Delete++
		case Rotate:
			s.Rotate++
		case Blocked:
			s.Blocked++
		case None:
			s.Unchanged++
		}
	}
	return s
}

// different is how many objects are not as the file says.
func (s Summary) different() int { return s.Create + s.Update + s.Delete + s.Rotate + s.Blocked }

// plan is the last line of a plan.
func (s Summary) plan() string {
	if s.different() == 0 {
		return "Nothing to do: " + s.same() + s.rest()
	}
	text := fmt.Sprintf("Plan: %d to create, %d to change, %d to delete, %d to rotate", s.Create, s.Update, s.Delete, s.Rotate)
	if s.Blocked > 0 {
		text += fmt.Sprintf(", %d that cannot be changed in place", s.Blocked)
	}
	return text + fmt.Sprintf("; %d unchanged.", s.Unchanged) + s.rest()
}

// drift is the same for who only looks.
func (s Summary) drift() string {
	if s.different() == 0 {
		return "No drift: " + s.same() + s.rest()
	}
	return fmt.Sprintf("Drift: %d missing, %d different", s.Create, s.Update+s.Blocked+s.Delete) +
		ifAny(s.Rotate, ", %d to rotate") + fmt.Sprintf("; %d as the file says.", s.Unchanged) + s.rest()
}

func (s Summary) same() string {
	if s.Unchanged == 1 {
		return "1 object is as the file says."
	}
	return fmt.Sprintf("%d objects are as the file says.", s.Unchanged)
}

func (s Summary) rest() string {
	text := ifAny(s.Unmanaged, " %d unmanaged.")
	if s.Unchecked > 0 {
		text += fmt.Sprintf(" %s not compared.", counted(s.Unchecked, "secret"))
	}
	return text
}

func ifAny(n int, format string) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf(format, n)
}
