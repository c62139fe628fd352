package bootstrap

import "fmt"

// Destroy shows what a destroy would take away, and what it means.
func (p *Printer) Destroy(pl *Plan) {
	kept := len(pl.Changes) - len(pl.Pending())
	text := "Nothing to destroy: nothing of the file is on the server"
	if kept > 0 {
		text = "Nothing to destroy"
	}
	if n := len(pl.Pending()); n > 0 {
		text = fmt.Sprintf("Destroy: %d to delete, with all that is in them", n)
	}
	p.write(p.changes(pl) + text + ifAny(kept, "; %d to stay") + ifAny(pl.Same, "; %d not there") + ".\n")
}
