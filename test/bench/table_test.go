package bench

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
)

// A row of the table: what was measured, against what, and what is wanted of it.
type row struct {
	what, ours, against, theirs string
	result                      string
	bar                         string // empty: none was set
	met                         bool
}

type table []row

// ratio adds a row whose result should be at least least; 0: it is only told.
func (b *bench) ratio(what, against, unit string, ours, theirs, ratio, least float64) {
	r := row{what: what, ours: figure(ours, unit), against: against, theirs: figure(theirs, unit), result: fmt.Sprintf("%.2f", ratio)}
	if least > 0 {
		r.bar, r.met = fmt.Sprintf("≥ %.2f", least), ratio >= least
	}
	b.add(r)
}

// limit adds a row whose result should be at most most.
func (b *bench) limit(what, against string, ours, theirs string, result, most float64, unit string) {
	b.add(row{
		what: what, ours: ours, against: against, theirs: theirs,
		result: figure(result, unit), bar: "≤ " + figure(most, unit), met: result <= most,
	})
}

func (b *bench) add(r row) {
	b.table = append(b.table, r)
	b.say("%s: %s, against %s: %s; result %s", r.what, r.ours, r.against, r.theirs, r.result)
}

func figure(v float64, unit string) string {
	switch {
	case v >= 100:
		return fmt.Sprintf("%.0f%s", v, unit)
	case v >= 10:
		return fmt.Sprintf("%.1f%s", v, unit)
	}
	return fmt.Sprintf("%.2f%s", v, unit)
}

func (t *table) print(to io.Writer, judged bool) {
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "\nwhat\tai-keys\tagainst\t\tresult\tbar\t")
	for _, r := range *t {
		verdict := ""
		switch {
		case r.bar == "" || !judged:
		case r.met:
			verdict = "met"
		default:
			verdict = "MISSED"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", r.what, r.ours, r.against, r.theirs, r.result, r.bar, verdict)
	}
	w.Flush()
	if !judged {
		fmt.Fprintln(to, "(too small to mean anything: make bench)")
	}
}

// median of what was measured; the lower one of an even number.
func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return v[(len(v)-1)/2]
}
