package bootstrap_test

import (
	"cmp"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
)

// A result is what the program has said.
type result struct {
	t              *testing.T
	args           []string
	code           int
	stdout, stderr string
}

// exits checks the exit code.
func (r result) exits(code int) result {
	r.t.Helper()
	if r.code != code {
		r.t.Fatalf("%s: exit code %d, not %d\n%s%s", strings.Join(r.args, " "), r.code, code, r.stdout, r.stderr)
	}
	return r
}

// says checks that a text was printed.
func (r result) says(texts ...string) result {
	r.t.Helper()
	for _, text := range texts {
		if !strings.Contains(r.stdout+r.stderr, text) {
			r.t.Errorf("%s does not say %q:\n%s%s", strings.Join(r.args, " "), text, r.stdout, r.stderr)
		}
	}
	return r
}

// silent checks that a text was not printed.
func (r result) silent(texts ...string) result {
	r.t.Helper()
	for _, text := range texts {
		if strings.Contains(r.stdout+r.stderr, text) {
			r.t.Errorf("%s says %q:\n%s%s", strings.Join(r.args, " "), text, r.stdout, r.stderr)
		}
	}
	return r
}

// A report is any document of --json.
type report struct {
	Command   string   `json:"command"`
	Server    string   `json:"server"`
	Valid     bool     `json:"valid"`
	Objects   int      `json:"objects"`
	Policy    string   `json:"policy"`
	Changes   []change `json:"changes"`
	Unmanaged []change `json:"unmanaged"`
	Done      []change `json:"done"`
	Failed    *change  `json:"failed"`
	Left      []change `json:"left"`
	Next      string   `json:"next"`
	Proofs    []struct {
		Proof   string `json:"proof"`
		Outcome string `json:"outcome"`
		Did     string `json:"did"`
		Why     string `json:"why"`
	} `json:"proofs"`

	Summary     map[string]int `json:"summary"`
	Diagnostics []struct {
		Severity, Summary, Detail string
		At                        struct {
			File         string
			Line, Column int
		}
	} `json:"diagnostics"`
	Error *struct {
		Kind          string `json:"kind"`
		Message       string `json:"message"`
		MissingPolicy string `json:"missing_policy"`
	} `json:"error"`
}

type change struct {
	Object    string   `json:"object"`
	Kind      string   `json:"kind"`
	Action    string   `json:"action"`
	Fields    []field  `json:"fields"`
	Notes     []string `json:"notes"`
	Unchecked []string `json:"unchecked"`
	Withheld  []string `json:"withheld"`
	At        struct {
		File string `json:"file"`
		Line int    `json:"line"`
	} `json:"at"`
}

type field struct {
	Field     string `json:"field"`
	Old       any    `json:"old"`
	New       any    `json:"new"`
	Why       string `json:"why"`
	Diff      string `json:"diff"`
	Immutable bool   `json:"immutable"`
}

// report is what a command with --json has printed.
func (r result) report() report {
	r.t.Helper()
	var out report
	d := json.NewDecoder(strings.NewReader(r.stdout))
	if err := d.Decode(&out); err != nil {
		r.t.Fatalf("%s: %v\n%s%s", strings.Join(r.args, " "), err, r.stdout, r.stderr)
	}
	if d.More() {
		r.t.Errorf("%s prints more than one document:\n%s", strings.Join(r.args, " "), r.stdout)
	}
	return out
}

// find is the change of an object; it must be there.
func (r report) find(t *testing.T, object string) change {
	t.Helper()
	i := slices.IndexFunc(r.Changes, func(c change) bool { return c.Object == object })
	if i < 0 {
		t.Fatalf("the plan says nothing of %s: %+v", object, r.Changes)
	}
	return r.Changes[i]
}

// A want is a change that a plan has to have.
type want struct {
	Action, Object string
	Fields         []string
}

// updates is the change of an object's fields.
func updates(object string, fields ...string) want { return want{"update", object, fields} }

// creates is an object that has to be made.
func creates(object string) want { return want{"create", object, nil} }

// blocks is a change that cannot be made in place.
func blocks(object string, fields ...string) want { return want{"blocked", object, fields} }

// wants checks that a plan's changes are these and no others. What an object is
// made of is not compared.
func (r report) wants(t *testing.T, wants ...want) {
	t.Helper()
	got := []want{}
	for _, c := range r.Changes {
		if c.Action == "none" {
			continue
		}
		w := want{Action: c.Action, Object: c.Object}
		if c.Action != "create" {
			for _, f := range c.Fields {
				w.Fields = append(w.Fields, f.Field)
			}
		}
		got = append(got, w)
	}
	sorted := func(ws []want) []want {
		out := append([]want{}, ws...)
		for i := range out {
			out[i].Fields = slices.Sorted(slices.Values(out[i].Fields))
		}
		slices.SortFunc(out, func(a, b want) int { return cmp.Compare(a.Object, b.Object) })
		return out
	}
	if diff := gocmp.Diff(sorted(wants), sorted(got)); diff != "" {
		t.Errorf("the plan is not what was wanted (-want +got):\n%s", diff)
	}
}
