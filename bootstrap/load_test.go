package bootstrap

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/schema"
)

// used does with what a file wants all that needs no server.
func used(t *testing.T, d *Desired) {
	t.Helper()
	if d == nil {
		return
	}
	_ = Needs(d).Policy()
	saved, err := Save("http://vault", Options{}, d, &Plan{})
	if err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	if err := saved.Write(&text); err != nil {
		t.Fatal(err)
	}
	again, err := ReadSaved(&text)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := again.Desired(); err != nil {
		t.Errorf("what was saved is not taken: %v", err)
	}
}

// oddValues are what somebody may write where something else is wanted.
var oddValues = []string{
	`""`, `" "`, `"x"`, `"/"`, `"1h"`, `"-1"`, `"a,b"`, `"{"`, `"{{"`, `"a:b@c"`, `"http://"`, `0`, `-1`, `1.5`, `1e300`, `true`, `null`,
	`[]`, `[""]`, `["a", "a"]`, `[[]]`, `[null]`, `[{}]`, `{}`, `{ a = "b" }`, `{ a = {} }`, `{ "" = null }`, `secret.s`, `"${secret.s}x"`, `auth_accessor("okta")`,
}

// Every field of every block takes whatever stands there, or refuses it with
// its place.
func TestEveryFieldTakesOrRefusesEverything(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "odd.hcl")
	n := 0
	var try func(block *schema.Block, fields []*schema.Field, before, after string)
	try = func(block *schema.Block, fields []*schema.Field, before, after string) {
		if block.Rest != nil {
			fields = append(slices.Clip(fields), &schema.Field{Name: "something"})
		}
		for _, f := range fields {
			for _, value := range oddValues {
				n++
				text := fmt.Sprintf("secret \"s\" { from = \"env:S\" }\n%s%s%s = %s\n%s", before, needed(block, f.Name), f.Name, value, after)
				if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
				d, diags := Load([]string{path})
				if (d == nil) != diags.HasErrors() {
					t.Errorf("%s\n%v", text, diags)
				}
				for _, found := range diags {
					if found.At.File != path || found.At.Line < 1 {
						t.Errorf("%s\nis refused without a place: %v", text, found)
					}
				}
				used(t, d)
			}
		}
		for _, inner := range block.Blocks {
			try(inner, inner.Fields, before+needed(block, "")+opened(inner, "x"), "}\n"+after)
		}
	}
	for _, block := range topBlocks() {
		if block.Variants == nil {
			try(block, block.Fields, opened(block, "x"), "}\n")
		}
		for i, name := range block.VariantNames() {
			if twin(block, name) != "" {
				continue
			}
			whole := block.Variant(name)
			fields := whole.Fields
			if i > 0 {
				fields = fields[len(block.Fields):] // the others are the same for each
			}
			try(whole, fields, opened(block, name), "}\n")
		}
	}
	t.Logf("%d files", n)
}

// opened is how a block begins.
func opened(block *schema.Block, first string) string {
	var b strings.Builder
	b.WriteString(block.Name)
	for i := range block.Labels {
		label := "x"
		if i == 0 {
			label = first
		}
		fmt.Fprintf(&b, " %q", label)
	}
	return b.String() + " {\n"
}

// needed are the fields that a block cannot do without, but for one.
func needed(block *schema.Block, but string) string {
	var b strings.Builder
	for _, f := range block.Fields {
		value := map[schema.Type]string{
			schema.String: `"x"`, schema.Duration: `"1h"`, schema.Int: "1", schema.Set: `["x"]`, schema.List: `["x"]`, schema.Any: `{ a = "b" }`,
		}[f.Type]
		switch {
		case f.Secrecy == schema.Secret:
			value = "secret.s"
		case len(f.OneOf) > 0:
			value = fmt.Sprintf("%q", f.OneOf[0])
		}
		if f.Required && f.Name != but {
			fmt.Fprintf(&b, "%s = %s\n", f.Name, value)
		}
	}
	return b.String()
}

// FuzzLoad reads anything as a file. Whatever it is, nothing panics, every
// mistake has a place, and what is taken can be saved.
func FuzzLoad(f *testing.F) {
	for _, pattern := range []string{"../examples/*/*.hcl", "../examples/*/*.yaml"} {
		names, err := filepath.Glob(pattern)
		if err != nil || len(names) == 0 {
			f.Fatalf("no examples: %v", err)
		}
		for _, name := range names {
			text, err := os.ReadFile(name)
			if err != nil {
				f.Fatal(err)
			}
			text = bytes.ReplaceAll(text, []byte(`filesha256("../../bin/vault-plugin-secrets-ai-keys")`), []byte(`"`+strings.Repeat("0", 64)+`"`))
			f.Add(filepath.Ext(name) == ".yaml", string(text))
		}
	}
	f.Add(false, referring)
	f.Add(false, "mount \"kv-v2\" \"x\" {\n  data \"a\" { values = { a = secret.lost } }\n}\nx { y }\nsecret \"lost\" {") // followed by what has no place
	f.Add(false, "# \xff")
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, yaml bool, text string) {
		// Nothing of this machine is read; and a huge input says nothing new.
		if strings.Contains(text, "file(") || strings.Contains(text, "sha256(") || strings.Contains(text, "binary") || len(text) > 1<<15 {
			t.Skip()
		}
		path := filepath.Join(dir, "fuzz.hcl")
		if yaml {
			path = filepath.Join(dir, "fuzz.yaml")
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		d, diags := Load([]string{path})
		for _, found := range diags {
			if found.At.File != path || found.At.Line < 1 || found.Summary == "" {
				t.Errorf("%#v", found)
			}
		}
		used(t, d)
	})
}
