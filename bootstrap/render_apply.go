package bootstrap

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/vault"
)

// Step shows how an apply goes on: the object when it begins, and on the same
// line what became of it.
func (p *Printer) Step(st Step) {
	if !st.Ended {
		count := fmt.Sprintf("[%*d/%d]", len(strconv.Itoa(st.Of)), st.Number, st.Of)
		p.write(p.paint(dim, count) + " " + visible(st.Change.Object.Name()) + p.symbols(" … "))
		return
	}
	if st.Err != nil {
		p.write(p.paint(red, "FAILED") + "\n")
		return
	}
	_, color := mark(st.Change)
	p.write(p.paint(color, done(st.Change.Action)) + " " + p.paint(dim, fmt.Sprintf("(%.1f s)", st.Took.Seconds())) + "\n")
}

// done is what became of an object.
func done(a Action) string {
	switch a {
	case Create:
		return "created"
	case Update:
		return "updated"
	case Delete:
		return "deleted"
	case Rotate:
		return "rotated"
	case Blocked, None:
	}
	return "done"
}

// Result shows what an apply did, and if it stopped, what it did not and what
// to do now.
func (p *Printer) Result(r *Result, took time.Duration) {
	if r.Err == nil {
		p.write("\n" + p.paint(green, "Done:") + " " + r.tally() + fmt.Sprintf(" in %.1f s.\n", took.Seconds()))
		return
	}
	var b strings.Builder
	b.WriteString("\n")
	if r.Failed != nil {
		at := place(r.Failed.Object.At)
		if at != "" {
			at = " (" + at + ")"
		}
		b.WriteString(p.paint(red, "Stopped at "+visible(r.Failed.Object.Name())+at+":") + "\n")
		for _, line := range p.wrapped(strings.TrimPrefix(r.Err.Error(), r.Failed.Object.Name()+": "), 4) {
			b.WriteString(line + "\n")
		}
	} else {
		b.WriteString(p.paint(red, "Interrupted.") + "\n")
	}
	if len(r.Done) > 0 {
		fmt.Fprintf(&b, "\nDone before that: %s.\n", r.tally())
	} else {
		b.WriteString("\nNothing was done before that.\n")
	}
	if len(r.Left) > 0 {
		fmt.Fprintf(&b, "Not begun (%d):\n", len(r.Left))
		for _, c := range r.Left {
			symbol, color := mark(c)
			b.WriteString("  " + p.paint(color, p.symbols(symbol)) + " " + visible(c.Object.Name()) + "\n")
		}
	}
	b.WriteString("\n")
	for _, line := range p.wrapped(r.wayOut(), 0) {
		b.WriteString(line + "\n")
	}
	p.write(b.String())
}

// wayOut is what to do after an apply that has stopped.
func (r *Result) wayOut() string {
	switch {
	case r.Failed == nil:
		return "Run the same command again: it goes on from here."
	case isUnknown(r.Err):
		return "It is not known whether the last write happened. Run the same command again: it looks, and goes on from what it finds."
	}
	return "What was done stays. Mend the cause and run the same command again: it goes on from here."
}

func isUnknown(err error) bool { return errors.Is(err, vault.ErrUnknownOutcome) }

// count is how many times each thing was done.
func (r *Result) count() map[Action]int {
	n := make(map[Action]int)
	for _, c := range r.Done {
		n[c.Action]++
	}
	return n
}

// tally is the same for people.
func (r *Result) tally() string {
	n := r.count()
	var parts []string
	for _, a := range []Action{Create, Update, Rotate, Delete} {
		if n[a] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n[a], done(a)))
		}
	}
	return strings.Join(parts, ", ")
}
