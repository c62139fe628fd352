package bootstrap

import (
	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/file"
	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/schema"
)

// A ChangeView is a [Change] as --json shows it. Its names are an interface to
// other programs: they may be added to, and not changed.
type ChangeView struct {
	// Object is its name, as --target and ownership.protect take it.
	Object string `json:"object"`
	Kind   string `json:"kind"`
	Action Action `json:"action"`
	// At is missing for what is in no file.
	At     *file.Position `json:"at,omitempty"`
	Fields []FieldView    `json:"fields,omitempty"`
	Notes  []string       `json:"notes,omitempty"`
	// Unchecked are secret fields that could not be compared.
	Unchecked []string `json:"unchecked,omitempty"`
	// Withheld are secret fields that are not sent, because they were rotated.
	Withheld []string `json:"withheld,omitempty"`
}

// A FieldView is a [FieldChange]. Durations are in seconds; null is what Vault
// has where nothing was ever said: "", 0, false, an empty list; secrets, and
// what is not known yet, are "(secret NAME)" and the like.
type FieldView struct {
	Field     string `json:"field"`
	Old       any    `json:"old"`
	New       any    `json:"new"`
	Why       string `json:"why,omitempty"`
	Diff      string `json:"diff,omitempty"`
	Immutable bool   `json:"immutable,omitempty"`
}

// An ObjectView is an object about which nothing is said but its name.
type ObjectView struct {
	Object string `json:"object"`
	Kind   string `json:"kind"`
}

// A PlanView is a [Plan].
type PlanView struct {
	Changes   []ChangeView `json:"changes"`
	Unmanaged []ObjectView `json:"unmanaged"`
	Unread    []Unread     `json:"unread,omitempty"`
	Summary   Summary      `json:"summary"`
}

// A ResultView is a [Result].
type ResultView struct {
	Done   []ChangeView `json:"done"`
	Failed *ChangeView  `json:"failed,omitempty"`
	Left   []ChangeView `json:"left"`
	// Next is what to do after an apply that has stopped.
	Next    string        `json:"next,omitempty"`
	Summary ResultSummary `json:"summary"`
}

// A ResultSummary is a result in numbers.
type ResultSummary struct {
	Created   int `json:"created"`
	Updated   int `json:"updated"`
	Deleted   int `json:"deleted"`
	Rotated   int `json:"rotated"`
	Failed    int `json:"failed"`
	Left      int `json:"left"`
	Unchanged int `json:"unchanged"`
}

// View is the plan for --json, with the secrets that were not read for it.
func (p *Plan) View(unread []Unread) PlanView {
	v := PlanView{
		Changes: viewsOf(p.Changes), Unmanaged: make([]ObjectView, 0, len(p.Unmanaged)),
		Unread: unread, Summary: summaryOf(p),
	}
	for _, o := range p.Unmanaged {
		v.Unmanaged = append(v.Unmanaged, ObjectView{Object: o.Name(), Kind: o.Kind.Name})
	}
	return v
}

// View is the result of a plan for --json. Why it stopped is left to the
// document's error.
func (r *Result) View(pl *Plan) ResultView {
	did := r.count()
	v := ResultView{
		Done: viewsOf(r.Done), Left: viewsOf(r.Left),
		Summary: ResultSummary{
			Created: did[Create], Updated: did[Update], Deleted: did[Delete], Rotated: did[Rotate],
			Left: len(r.Left), Unchanged: summaryOf(pl).Unchanged,
		},
	}
	if r.Failed != nil {
		failed := r.Failed.view()
		v.Failed, v.Summary.Failed = &failed, 1
	}
	if r.Err != nil {
		v.Next = r.wayOut()
	}
	return v
}

func viewsOf(changes []*Change) []ChangeView {
	out := make([]ChangeView, 0, len(changes))
	for _, c := range changes {
		out = append(out, c.view())
	}
	return out
}

func (c *Change) view() ChangeView {
	v := ChangeView{
		Object: c.Object.Name(), Kind: c.Object.Kind.Name, Action: c.Action,
		Notes: c.Notes, Unchecked: c.Unchecked, Withheld: c.Withheld,
	}
	if c.Object.At.File != "" {
		at := c.Object.At
		v.At = &at
	}
	for i := range c.Fields {
		f := &c.Fields[i]
		v.Fields = append(v.Fields, FieldView{
			Field: f.Field, Old: shownOld(c, f), New: schema.Show(f.New),
			Why: f.Why, Diff: c.difference(f), Immutable: f.Immutable,
		})
	}
	return v
}
