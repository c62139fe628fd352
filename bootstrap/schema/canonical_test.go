package schema

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestValuesThatMeanTheSameAreEqual(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name  string
		field Field
		same  []any
		other any
	}{
		{"durations", Field{Type: Duration}, []any{"1h", "60m", "3600", json.Number("3600"), 3600, "1h0m0s"}, "3601s"},
		{"days", Field{Type: Duration}, []any{"1d", "24h", 86400}, "25h"},
		{"nothing as a duration", Field{Type: Duration}, []any{nil, "", 0, "0s", "0"}, 1},
		{"lists", Field{Type: List}, []any{[]any{"b", "a"}, []string{"b", "a"}}, []any{"a", "b"}},
		{"one is a list", Field{Type: List}, []any{"a", []any{"a"}}, []any{"a", "a"}},
		{"a statement with a comma is one", Field{Type: List}, []any{"a, b", []any{"a, b"}}, []any{"a", "b"}},
		{"sets", Field{Type: Set}, []any{[]any{"b", "a", "b"}, "a,b", "b, a"}, []any{"a"}},
		{"nothing as a set", Field{Type: Set}, []any{nil, "", []any{}, []any{""}, ","}, "a"},
		{"names in lower case", Field{Type: Set, Lower: true}, []any{[]any{"B", "a"}, "A,b"}, "c"},
		{"numbers", Field{Type: Int}, []any{7, "7", json.Number("7"), 7.0, "7.0"}, 8},
		{"switches", Field{Type: Bool}, []any{true, "true", "1"}, false},
		{"off and never set", Field{Type: Bool}, []any{false, "false", nil}, true},
		{"text", Field{}, []any{"7", 7, json.Number("7")}, "07"},
		{"maps", Field{Type: Map}, []any{map[string]any{"a": 1, "b": nil}, map[string]string{"a": "1"}}, map[string]any{"a": 2}},
		{"documents", Field{Type: JSON}, []any{` {"a": [1, 2.0]} `, `{"a":[1.0,2]}`, map[string]any{"a": []any{json.Number("1"), 2}}}, `{"a":[2,1]}`},
		{"any value", Field{Type: Any}, []any{map[string]any{"a": json.Number("1")}, map[string]any{"a": 1.0}}, map[string]any{"a": "1"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			want, err := row.field.Canonical(row.same[0])
			if err != nil {
				t.Fatal(err)
			}
			for _, v := range row.same[1:] {
				got, err := row.field.Canonical(v)
				if err != nil || !Equal(want, got) {
					t.Errorf("%#v is %#v (%v), and %#v is %#v", v, got, err, row.same[0], want)
				}
			}
			if got, err := row.field.Canonical(row.other); err != nil || Equal(want, got) {
				t.Errorf("%#v is %#v too (%v)", row.other, got, err)
			}
		})
	}
}

func TestAWrongValueIsRefusedWithoutShowingIt(t *testing.T) {
	t.Parallel()
	const canary = "canary-f00"
	for _, row := range []struct {
		field Type
		value any
		want  string
	}{
		{Duration, canary, `a duration is wanted, as in "30m", "24h", "7d" or a number of seconds`},
		{Duration, canary + "d", `a duration is wanted, as in "30m", "24h", "7d" or a number of seconds`},
		{Duration, "9999999999999999d", `a duration is wanted, as in "30m", "24h", "7d" or a number of seconds`},
		{Duration, "500ms", "a duration of whole seconds is wanted"},
		{Duration, "1.5s", "a duration of whole seconds is wanted"},
		{Int, canary, "a whole number is wanted"},
		{Int, "1.5", "a whole number is wanted"},
		{Int, []any{canary}, "a whole number is wanted, not a list"},
		{Bool, canary, "true or false is wanted"},
		{String, map[string]any{canary: 1}, "a string is wanted, not an object"},
		{List, map[string]any{canary: 1}, "a list of strings is wanted, not an object"},
		{Set, []any{[]any{canary}}, "a list of strings is wanted, not a list"},
		{Map, canary, "an object of strings is wanted, not a string"},
		{Map, map[string]any{"a": []any{canary}}, "an object of strings is wanted, not a list"},
		{JSON, "{" + canary, "a JSON document is wanted"},
		{JSON, "{} {}", "one JSON document is wanted, and there is more after it"},
	} {
		got, err := (&Field{Name: "x", Type: row.field}).Canonical(row.value)
		if err == nil || err.Error() != row.want {
			t.Errorf("%v of %T: %v, %v; want the error %q", row.field, row.value, got, err, row.want)
		}
	}
}

func TestAReferenceStandsInAStringUntilItIsResolved(t *testing.T) {
	t.Parallel()
	pw := Reference{RefSecret, "db:pw"}
	okta := Reference{RefAccessor, "okta"}
	v := map[string]any{
		"b": []any{"x" + pw.Token() + "y" + okta.Token()},
		"a": "{{" + okta.Token() + "}}",
	}
	if diff := cmp.Diff([]Reference{okta, pw, okta}, References(v)); diff != "" {
		t.Error(diff)
	}
	if !HasSecret(v) || HasSecret(v["a"]) {
		t.Error("a secret was seen where there is none, or not where there is one")
	}
	got, unknown := Expand(v, func(r Reference) (string, bool) { return "ACC", r == okta })
	want := map[string]any{"b": []any{"x" + pw.Token() + "yACC"}, "a": "{{ACC}}"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]Reference{pw}, unknown); diff != "" {
		t.Error(diff)
	}
	if got := Shown(v); got != `{"a":"{{(accessor of okta)}}","b":["x(secret db:pw)y(accessor of okta)"]}` {
		t.Errorf("shown as %s", got)
	}
}

func TestWhatIsSent(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		field Field
		value any
		want  any
	}{
		{Field{Type: Duration}, "1h", int64(3600)},
		{Field{Type: Set, Lower: true}, "B,a", []string{"a", "b"}},
		{Field{Type: JSON}, map[string]any{"a": "b"}, `{"a":"b"}`},
		{Field{Type: JSON}, `{ "a": 1 }`, `{ "a": 1 }`},
		{Field{Type: Any}, []any{"a"}, []any{"a"}},
		{Field{Type: Int}, json.Number("5"), int64(5)},
	} {
		got, err := row.field.Wire(row.value)
		if diff := cmp.Diff(row.want, got); err != nil || diff != "" {
			t.Error(err, diff)
		}
	}
	for typ, want := range map[Type]any{String: "", Bool: false, Int: 0, Set: []string{}, Map: map[string]any{}} {
		if diff := cmp.Diff(want, (&Field{Type: typ}).Unset()); diff != "" {
			t.Error(diff)
		}
	}
	if got := (&Field{Type: Int, Default: 4}).Unset(); got != 4 {
		t.Errorf("reset to %v, not to the default", got)
	}
}

func TestAVariantHasWhatItsBlockHas(t *testing.T) {
	t.Parallel()
	b := &Block{
		Name: "mount", Labels: []string{"type", "path"}, Doc: "A mount.", Fields: []*Field{{Name: "description", Aliases: []string{"comment"}}},
		Variants: map[string]*Block{"kv": {Fields: []*Field{{Name: "version"}}, Blocks: []*Block{{Name: "data"}}}},
	}
	v := b.Variant("kv")
	if f, alias := v.Field("comment"); f != b.Fields[0] || !alias {
		t.Error("the alias of the block's own field is not found")
	}
	if f, alias := v.Field("version"); f == nil || alias || len(v.Blocks) != 1 || v.Doc != "A mount." {
		t.Errorf("the variant lacks something: %+v", v)
	}
	if b.Variant("other") != b || len(b.Fields) != 1 {
		t.Error("a label without a variant changed the block")
	}
}
