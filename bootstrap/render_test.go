package bootstrap

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/file"
	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/schema"
	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/vault"
)

// lampKind has a field of every sort that is shown in a way of its own.
var lampKind = &Kind{
	Name: "lamp",
	Block: &schema.Block{Name: "lamp", Labels: []string{"name"}, Fields: []*schema.Field{
		{Name: "ttl", Type: schema.Duration},
		{Name: "colours", Type: schema.Set},
		{Name: "bright", Type: schema.Bool},
		{Name: "watts", Type: schema.Int},
		{Name: "label"},
		{Name: "key", Secrecy: schema.Secret},
		{Name: "url", Secrecy: schema.Sensitive},
	}},
}

var secretKey = schema.Reference{Of: schema.RefSecret, Name: "lamp"}.Token()

func lamp(name string, line int) *Object {
	return &Object{Kind: lampKind, Labels: []string{name}, At: file.Position{File: "lamps.hcl", Line: line}}
}

// somePlan has every action, and every way in which a field is shown.
func somePlan() *Plan {
	rotated := &Change{Object: lamp("attic", 30), Action: Rotate, Notes: []string{"the old key stops working at once, and whoever still uses it has to be given the new one"}}
	stays := &Change{Object: lamp("kitchen", 12), Action: None, Unchecked: []string{"key"}}
	known := &Change{Object: lamp("porch", 15), Action: None, Notes: []string{"its bulb is old"}}
	plan := &Plan{
		Same: 12,
		Changes: []*Change{
			{Object: lamp("hall", 3), Action: Create, Fields: []FieldChange{
				{Field: "ttl", New: int64(5400)},
				{Field: "colours", New: []string{"green", "red"}},
				{Field: "key", New: secretKey},
			}},
			{Object: lamp("cellar", 7), Action: Update, State: &State{Exists: true}, Withheld: []string{"key"}, Fields: []FieldChange{
				{Field: "ttl", Old: int64(86400 * 7), New: int64(61), Why: "not in the file: back to Vault's default"},
				{Field: "bright", Old: true},
				{Field: "watts", New: int64(40)},
				{Field: "url", Old: "http://user:canary@host/"},
				{Field: "label", Old: strings.Repeat("long ", 12), New: "esc\x1b[31m"},
			}},
			{Object: lamp("roof", 9), Action: Blocked, State: &State{Exists: true}, Fields: []FieldChange{
				{Field: "label", Old: "a\nb\n", New: "a\nc\n", Immutable: true},
			}},
			stays, known, rotated,
			{Object: &Object{Kind: lampKind, Labels: []string{"old"}}, Action: Delete, Notes: []string{"in no file"}},
		},
	}
	for i := range 25 {
		plan.Unmanaged = append(plan.Unmanaged, &Object{Kind: lampKind, Labels: []string{fmt.Sprintf("lamp-%02d", i)}})
	}
	plan.Unmanaged = append(plan.Unmanaged, &Object{Kind: mountKind, Labels: []string{"kv", "secret"}})
	return plan
}

func TestAPlanForAPerson(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	p := NewPrinter(&b, Style{})
	p.Plan(somePlan())
	p.Unread([]Unread{{"lamp", "the environment variable LAMP is not set"}})
	want := `+ lamp hall     lamps.hcl:3
      ttl      1h30m
      colours  ["green", "red"]
      key      (secret lamp)
~ lamp cellar   lamps.hcl:7
      ttl     7d → 1m1s  (not in the file: back to Vault's default)
      bright  true → false
      watts   0 → 40
      url     (a value that is not shown) → (none)
      label
        - "long long long long long long long long long long long long "
        + "esc\u001b[31m"
      key     not sent: a rotation has replaced it
! lamp roof     lamps.hcl:9
      label  cannot be changed in place
         a
        -b
        +c
? lamp kitchen  lamps.hcl:12
      key  ? a secret that was not read: not compared
· lamp porch    lamps.hcl:15
      · its bulb is old
↻ lamp attic    lamps.hcl:30
      · the old key stops working at once, and whoever still uses it has to be
        given the new one
- lamp old
      · in no file

In no file, and left alone (26):
  lamp  lamp-00, lamp-01, lamp-02, lamp-03, lamp-04, lamp-05, lamp-06, lamp-07,
        lamp-08, lamp-09, lamp-10, lamp-11, lamp-12, lamp-13, lamp-14, lamp-15,
        lamp-16, lamp-17, lamp-18, lamp-19
  … and 6 more; --verbose lists them all

Plan: 1 to create, 1 to change, 1 to delete, 1 to rotate, 1 that cannot be changed in place; 14 unchanged. 26 unmanaged. 1 secret not compared.
  secret "lamp" was not read: the environment variable LAMP is not set
`
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Error(diff)
	}
}

func TestAPlanFitsItsTerminal(t *testing.T) {
	t.Parallel()
	var plain, coloured, ascii bytes.Buffer
	NewPrinter(&plain, Style{All: true}).Plan(somePlan())
	NewPrinter(&coloured, Style{All: true, Color: true}).Plan(somePlan())
	NewPrinter(&ascii, Style{All: true, ASCII: true}).Plan(somePlan())
	if !strings.Contains(plain.String(), "lamp-24") || !strings.Contains(plain.String(), "mount  secret") {
		t.Error("not everything is listed that was asked for")
	}
	for line := range strings.SplitSeq(plain.String(), "\n") {
		if columns(line) > 80 && !strings.HasPrefix(line, "Plan:") {
			t.Errorf("a line of %d columns: %s", columns(line), line)
		}
	}
	without := coloured.String()
	for _, code := range []string{bold, dim, red, green, yellow, magenta, cyan} {
		if !strings.Contains(without, "\x1b["+code+"m") {
			t.Errorf("nothing is painted with %s", code)
		}
		without = strings.ReplaceAll(without, "\x1b["+code+"m", "")
	}
	if diff := cmp.Diff(plain.String(), strings.ReplaceAll(without, "\x1b[0m", "")); diff != "" {
		t.Errorf("the colours change more than colours:\n%s", diff)
	}
	for _, r := range ascii.String() {
		if r > '~' {
			t.Fatalf("there is a %q where there is only ASCII:\n%s", r, ascii.String())
		}
	}
}

func TestAPlanForAProgram(t *testing.T) {
	t.Parallel()
	plan := somePlan()
	plan.Changes = plan.Changes[1:2]
	text, err := json.Marshal(plan.View([]Unread{{"lamp", "why"}}))
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	got["unmanaged"] = got["unmanaged"].([]any)[25:]
	want := map[string]any{
		"changes": []any{map[string]any{
			"object": "lamp cellar", "kind": "lamp", "action": "update", "at": map[string]any{"file": "lamps.hcl", "line": 7.0},
			"withheld": []any{"key"},
			"fields": []any{
				map[string]any{"field": "ttl", "old": 604800.0, "new": 61.0, "why": "not in the file: back to Vault's default"},
				map[string]any{"field": "bright", "old": true, "new": nil},
				map[string]any{"field": "watts", "old": nil, "new": 40.0},
				map[string]any{"field": "url", "old": hidden, "new": nil},
				map[string]any{"field": "label", "old": strings.Repeat("long ", 12), "new": "esc\x1b[31m"},
			},
		}},
		"unmanaged": []any{map[string]any{"object": "mount secret", "kind": "mount"}},
		"unread":    []any{map[string]any{"secret": "lamp", "why": "why"}},
		"summary": map[string]any{
			"create": 0.0, "update": 1.0, "delete": 0.0, "rotate": 0.0, "blocked": 0.0,
			"unchanged": 12.0, "unmanaged": 26.0, "unchecked": 0.0,
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestNoDifferenceIsSaidInAWord(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		plan *Plan
		want string
	}{
		{&Plan{Same: 1}, "Nothing to do: 1 object is as the file says.\nNo drift: 1 object is as the file says.\n"},
		{&Plan{}, "Nothing to do: 0 objects are as the file says.\nNo drift: 0 objects are as the file says.\n"},
		{
			&Plan{Changes: []*Change{{Object: &Object{Kind: lampKind, Labels: []string{"a"}}, Action: Create}}},
			"+ lamp a\n\nPlan: 1 to create, 0 to change, 0 to delete, 0 to rotate; 0 unchanged.\n" +
				"+ lamp a\n\nDrift: 1 missing, 0 different; 0 as the file says.\n",
		},
	} {
		var b bytes.Buffer
		p := NewPrinter(&b, Style{})
		p.Changes(row.plan)
		p.Drift(row.plan)
		if diff := cmp.Diff(row.want, b.String()); diff != "" {
			t.Error(diff)
		}
	}
}

func TestAnApplyForAPerson(t *testing.T) {
	t.Parallel()
	changes := []*Change{
		{Object: lamp("hall", 3), Action: Create},
		{Object: lamp("cellar", 7), Action: Update},
		{Object: lamp("roof", 9), Action: Delete},
	}
	var b bytes.Buffer
	p := NewPrinter(&b, Style{})
	steps := func(results ...error) {
		for i, err := range results {
			st := Step{Number: i + 1, Of: 10, Change: changes[i]}
			p.Step(st)
			st.Ended, st.Err, st.Took = true, err, 120*time.Millisecond
			p.Step(st)
		}
	}
	broken := fmt.Errorf("lamp cellar: %w", errors.New("the fuse is blown"))
	steps(nil, broken)
	p.Result(&Result{Done: changes[:1], Failed: changes[1], Err: broken, Left: changes[2:]}, time.Second)
	p.Result(&Result{Failed: changes[1], Err: &vault.OutcomeUnknownError{Err: errors.New("the line is dead")}}, time.Second)
	p.Result(&Result{Done: changes[:2], Err: errors.New("interrupted"), Left: changes[2:]}, time.Second)
	steps(nil, nil, nil)
	p.Result(&Result{Done: changes}, 1500*time.Millisecond)
	want := `[ 1/10] lamp hall … created (0.1 s)
[ 2/10] lamp cellar … FAILED

Stopped at lamp cellar (lamps.hcl:7):
    the fuse is blown

Done before that: 1 created.
Not begun (1):
  - lamp roof

What was done stays. Mend the cause and run the same command again: it goes on
from here.

Stopped at lamp cellar (lamps.hcl:7):
    the line is dead; it may or may not have happened

Nothing was done before that.

It is not known whether the last write happened. Run the same command again: it
looks, and goes on from what it finds.

Interrupted.

Done before that: 1 created, 1 updated.
Not begun (1):
  - lamp roof

Run the same command again: it goes on from here.
[ 1/10] lamp hall … created (0.1 s)
[ 2/10] lamp cellar … updated (0.1 s)
[ 3/10] lamp roof … deleted (0.1 s)

Done: 1 created, 1 updated, 1 deleted in 1.5 s.
`
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Error(diff)
	}
}

func TestDiagnosticsForAPerson(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	p := NewPrinter(&b, Style{})
	p.Diagnostics(file.Diagnostics{
		{At: file.Position{File: "a.hcl", Line: 3, Column: 7}, Summary: "there is no field \"polcies\"", Detail: `Did you mean "policies"?`},
		{Severity: file.Warning, At: file.Position{File: "a.hcl"}, Summary: "it is old"},
	})
	p.Fault(errors.New("wrong\x1b[2J\nmore"))
	want := `a.hcl:3:7: error: there is no field "polcies"
    Did you mean "policies"?
a.hcl: warning: it is old
Error: wrong\u001b[2J
more
`
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Error(diff)
	}
}

func TestDurationsAreShownAsPeopleWriteThem(t *testing.T) {
	t.Parallel()
	for seconds, want := range map[int64]string{
		0: "0", 1: "1s", 59: "59s", 60: "1m", 3600: "1h", 3661: "1h1m1s", 86400: "1d", 2764800: "32d", 90000: "25h", -60: "-1m",
	} {
		got := lasting(seconds)
		if got != want {
			t.Errorf("%d seconds are %q, not %q", seconds, got, want)
		}
		if back, err := schema.Seconds(got); err != nil || back != seconds {
			t.Errorf("%q is read as %d (%v), not %d", got, back, err, seconds)
		}
	}
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, errors.New("the pipe is closed") }

func TestAPrinterKeepsItsFirstError(t *testing.T) {
	t.Parallel()
	p := NewPrinter(brokenWriter{}, Style{})
	p.Line("a")
	p.Line("b")
	if p.Err() == nil {
		t.Error("nobody learns that nothing was printed")
	}
}
