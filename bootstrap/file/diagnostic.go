package file

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/agnivade/levenshtein"
)

// A Severity tells a mistake from a hint.
type Severity int

const (
	// Error makes the document unusable.
	Error Severity = iota
	// Warning does not.
	Warning
)

// String is "error" or "warning".
func (s Severity) String() string {
	if s == Warning {
		return "warning"
	}
	return "error"
}

// MarshalText writes the word that [Severity.String] gives.
func (s Severity) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// A Diagnostic says what is wrong and where; Detail is the way out.
type Diagnostic struct {
	Severity Severity `json:"severity"`
	At       Position `json:"at"`
	Summary  string   `json:"summary"`
	Detail   string   `json:"detail,omitempty"`
}

// String is one line for a person.
func (d Diagnostic) String() string {
	var b strings.Builder
	if d.At.File != "" {
		b.WriteString(d.At.String())
		if d.At.Line > 0 && d.At.Column > 0 {
			b.WriteString(":" + strconv.Itoa(d.At.Column))
		}
		b.WriteString(": ")
	}
	fmt.Fprintf(&b, "%s: %s", d.Severity, d.Summary)
	if d.Detail != "" {
		b.WriteString(". " + d.Detail)
	}
	return b.String()
}

// Diagnostics are everything that was found, in the order of the files and
// lines.
type Diagnostics []Diagnostic //nolint:errname // they are warnings too

// shown is how many diagnostics an error text has at most.
const shown = 100

// Error lists them, one a line.
func (ds Diagnostics) Error() string {
	lines := make([]string, 0, min(len(ds), shown)+1)
	for _, d := range ds[:min(len(ds), shown)] {
		lines = append(lines, d.String())
	}
	if more := len(ds) - shown; more > 0 {
		lines = append(lines, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(lines, "\n")
}

// HasErrors tells whether any of them is more than a warning.
func (ds Diagnostics) HasErrors() bool {
	return slices.ContainsFunc(ds, func(d Diagnostic) bool { return d.Severity == Error })
}

// Sorted puts them in the order of the files and lines, each once.
func (ds Diagnostics) Sorted() Diagnostics {
	slices.SortStableFunc(ds, func(a, b Diagnostic) int {
		return cmp.Or(
			cmp.Compare(a.At.File, b.At.File),
			cmp.Compare(a.At.Line, b.At.Line),
			cmp.Compare(a.At.Column, b.At.Column),
		)
	})
	return slices.Compact(ds)
}

// Nearest is the known name that was probably meant, or "".
func Nearest(name string, known []string) string {
	plain := func(s string) string { return strings.ReplaceAll(strings.ToLower(s), "-", "_") }
	var (
		best  string
		limit = min(max(1, len(name)/3), 4)
	)
	for _, k := range known {
		if diff := len(k) - len(name); diff > limit || -diff > limit {
			continue
		}
		d := levenshtein.ComputeDistance(plain(name), plain(k))
		if swapped(plain(name), plain(k)) {
			d = 1
		}
		if d <= limit {
			best, limit = k, d-1
		}
		if limit < 0 {
			break
		}
	}
	return best
}

// swapped tells whether two neighbours changed places: a slip of the hand, which
// counts as two in the distance.
func swapped(a, b string) bool {
	for i := range min(len(a), len(b)) - 1 {
		if a[i] != b[i] {
			return a[:i]+a[i+1:i+2]+a[i:i+1]+a[i+2:] == b
		}
	}
	return false
}

// listed is how many names an error lists at most.
const listed = 40

// meant is the way out for a name that is not known.
func meant(name string, known []string) string {
	if n := Nearest(name, known); n != "" {
		return fmt.Sprintf("Did you mean %q?", n)
	}
	if len(known) == 0 {
		return ""
	}
	if len(known) > listed {
		return "There are: " + quoted(known[:listed]) + ", …"
	}
	return "There are: " + quoted(known)
}

// quoted lists names.
func quoted(names []string) string {
	q := make([]string, len(names))
	for i, n := range names {
		q[i] = strconv.Quote(n)
	}
	return strings.Join(q, ", ")
}
