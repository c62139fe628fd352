package bootstrap

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/file"
)

func TestASavedPlanIsReadAsItWasWritten(t *testing.T) {
	t.Parallel()
	mount := &Object{Kind: mountKind, Labels: []string{"transit", "transit"}, At: file.Position{File: "vault.hcl", Line: 3}}
	key := &Object{
		Kind: transitKeyKind, Parent: mount, Labels: []string{"a<b"},
		Values: map[string]file.Value{"number": {V: json.Number("12345678901234567890")}, "list": {V: []any{"a", json.Number("1.50")}}},
	}
	check := &Check{Labels: []string{"read", "a/b"}}
	want := &Desired{
		Objects: []*Object{mount, key}, Checks: []*Check{check}, Files: []string{"vault.hcl"},
		Ownership: Ownership{Prune: []string{"policy"}},
		Secrets:   []file.Secret{{Name: "a", From: "env:A", At: file.Position{File: "vault.hcl", Line: 1}}},
	}
	options := Options{Targets: []string{"mount transit"}, Prune: true, Resend: []string{"a"}, AllowLockout: true}
	saved, err := Save("http://server", options, want, &Plan{})
	if err != nil {
		t.Fatal(err)
	}
	saved.Unread = []string{"a"}
	var b bytes.Buffer
	if err := saved.Write(&b); err != nil {
		t.Fatal(err)
	}
	back, err := ReadSaved(&b)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(saved, back, cmp.AllowUnexported(savedObject{}, savedCheck{})); diff != "" {
		t.Error(diff)
	}
	got, err := back.Desired()
	if err != nil {
		t.Fatal(err)
	}
	if got.Objects[1].Parent != got.Objects[0] || got.Objects[1].Kind != transitKeyKind || got.Objects[1].Name() != key.Name() {
		t.Errorf("the objects are %+v", got.Objects)
	}
	if diff := cmp.Diff(key.Values, got.Objects[1].Values); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(want.Ownership, got.Ownership); diff != "" {
		t.Error(diff)
	}
}

func TestWhatIsNoSavedPlanIsRefused(t *testing.T) {
	t.Parallel()
	const canary = "canary-7f3a"
	for _, text := range []string{"", "null", "{}", "[]", canary, `{"version": 1}`, `{"version": "` + canary + `"}`, `{"digest": "` + canary + `"}`, `policy "a" {}`} {
		_, err := ReadSaved(strings.NewReader(text))
		if err == nil || !strings.Contains(err.Error(), "this is no saved plan") || strings.Contains(err.Error(), canary) {
			t.Errorf("%q: %v", text, err)
		}
	}
	for _, text := range []string{
		`{"version": 2, "digest": "a"}`,
		`{"version": 1, "digest": "a", "objects": [{"kind": "lamp"}]}`,
		`{"version": 1, "digest": "a", "objects": [{"kind": "policy", "parent": 0}]}`,
		`{"version": 1, "digest": "a", "objects": [{"kind": "policy", "parent": 7}]}`,
		`{"version": 1, "digest": "a", "objects": [{"kind": "policy", "parent": 1}, {"kind": "policy", "parent": 0}]}`,
	} {
		saved, err := ReadSaved(strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := saved.Desired(); err == nil || !strings.Contains(err.Error(), "make a new plan") {
			t.Errorf("%s: %v", text, err)
		}
	}
}
