package file

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/schema"
)

// FuzzLoad reads anything as each of the syntaxes. Whatever it is, nothing
// panics, every mistake has a place, and no literal gets into a secret field.
func FuzzLoad(f *testing.F) {
	extension := map[string]uint8{".hcl": 0, ".yaml": 1, ".json": 2}
	for name, text := range same {
		f.Add(extension[filepath.Ext(name)], text)
	}
	archives, err := filepath.Glob("testdata/mistakes/*.txtar")
	if err != nil || len(archives) == 0 {
		f.Fatalf("no archives: %v", err)
	}
	for _, name := range archives {
		archive, err := txtar.ParseFile(name)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range archive.Files {
			f.Add(extension[filepath.Ext(file.Name)], string(file.Data))
		}
	}
	f.Fuzz(func(t *testing.T, syntax uint8, text string) {
		// What functions read is not the input; and a huge input says nothing new.
		if strings.Contains(text, "file") || len(text) > 1<<16 {
			t.Skip()
		}
		l := newLoader(top)
		name := "fuzz" + []string{".hcl", ".yaml", ".json"}[syntax%3]
		l.parse(name, []byte(text))
		doc := l.document()
		diags := l.diags.Sorted()
		for _, d := range diags {
			if d.At.File != name || d.At.Line < 1 || d.Summary == "" || strings.ContainsRune(d.String(), 0) {
				t.Errorf("%#v", d)
			}
		}
		if _, err := json.Marshal(doc); err != nil {
			t.Errorf("the document cannot be saved: %v", err)
		}
		for _, n := range doc.Nodes {
			checkNode(t, n)
		}
	})
}

// checkNode checks what holds for every node, also beside mistakes.
func checkNode(t *testing.T, n *Node) {
	t.Helper()
	for name, v := range n.Values {
		f, _ := n.Block.Field(name)
		if f == nil {
			f = n.Block.Rest
		}
		switch {
		case f == nil:
			t.Errorf("%s has %q, which no field describes", n.title(), name)
		case f.Secrecy == schema.Secret && literal(v.V), f.Secrecy == schema.Plain && schema.HasSecret(v.V):
			t.Errorf("%s: %q has the wrong kind of value", n.title(), name)
		}
		if _, err := f.Canonical(v.V); err != nil {
			t.Errorf("%s: %q: %v", n.title(), name, err)
		}
	}
	for _, inner := range n.Nodes {
		checkNode(t, inner)
	}
}
