package file

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"
)

var update = flag.Bool("update", false, "write what is found into testdata")

// TestMistakes loads the files of an archive together, and compares everything
// that is found with the archive's "want". No text with CANARY in it may be
// shown.
func TestMistakes(t *testing.T) {
	t.Parallel()
	archives, err := filepath.Glob("testdata/mistakes/*.txtar")
	if err != nil || len(archives) == 0 {
		t.Fatalf("no archives: %v", err)
	}
	for _, name := range archives {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar"), func(t *testing.T) {
			t.Parallel()
			archive, err := txtar.ParseFile(name)
			if err != nil {
				t.Fatal(err)
			}
			files := make(map[string]string)
			want := &archive.Files[len(archive.Files)-1]
			for _, f := range archive.Files[:len(archive.Files)-1] {
				files[f.Name] = string(f.Data)
			}
			dir := write(t, files)
			_, diags := Load([]string{dir}, top)
			lines := make([]string, 0, len(diags))
			for _, d := range diags {
				lines = append(lines, strings.NewReplacer(dir+"/", "", dir, ".").Replace(d.String()))
			}
			got := strings.Join(lines, "\n") + "\n"
			if strings.Contains(got, "CANARY") || strings.Contains(got, "1234567890") {
				t.Error("a diagnostic shows a value")
			}
			if *update {
				want.Data = []byte(got)
				if err := os.WriteFile(name, txtar.Format(archive), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(string(want.Data), got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestLiteralsStayHidden puts a literal into a secret field in every way that
// people find.
func TestLiteralsStayHidden(t *testing.T) {
	t.Parallel()
	const canary = "CANARYc4n4ry"
	in := map[string][]string{
		"a.hcl": {
			`"@"`, `@`, `@-@.@`, `"@`, `'@'`, "<<EOT\n@\nEOT", "<<EOT\n@\n", "\n    @==", "\n    @ = 1", `"@\q"`, `"${@}"`, `"%{@}"`,
			`"${"@"}"`, `["@"]`, `{ @ = "@" }`, `{ a = @ }`, `local.x == "@" ? "@" : "a"`, `@("@")`, `jsonencode("@"`, `jsonencode("@")`,
			`"@" + 1`, `"@".a`, `["@"]["@"]`, `"@-${secret.a == "@"}"`, `!"@"`, `{ "@": secret.a, b = "@" }`, "`@`", `"@" "@"`, `"@"; "@"`,
			`[for s in ["@"] : s]`, `"@${`, `"@${}"`, `"\u00"@`, `"@\uD800"`, "\"@\n@\"", "@\n    @", `secret.a.@`, `"@" == secret.a`,
		},
		"a.yaml": {
			`@`, `"@"`, `"@`, `'@`, `*@`, `&@ x`, `!@ x`, `!!int @`, `!!bool @`, `!!binary @`, `[@]`, `{@`, `a: @`, "|\n          @", ">\n          @",
			`${@}`, `"%{@}"`, `"@${"`, `"\@"`, `@: @`, "\n- @\n @", `${"@" == "b"}`, `${jsonencode("@")}`, "`@`", "%@", "? @",
		},
		"a.json": {
			`"@"`, `@`, `"@`, `["@"]`, `{"a": "@"}`, `"\@"`, `"@${"`, `"${@}"`, `"%{@}"`, `'@'`, `"@" "@"`, `"@", @`,
		},
	}
	frame := map[string]string{
		"a.hcl":  "secret \"a\" { from = \"env:A\" }\nlocals { x = 1 }\nauth \"okta\" \"o\" {\n  config {\n    org_name = \"x\"\n    api_token = @\n    base_url = secret.a\n  }\n}\n",
		"a.yaml": "secret: { a: { from: env:A } }\nlocals: { x: 1 }\nauth:\n  okta:\n    o:\n      config:\n        org_name: x\n        api_token: @\n",
		"a.json": "{\"secret\": {\"a\": {\"from\": \"env:A\"}},\n\"auth\": {\"okta\": {\"o\": {\"config\": {\"org_name\": \"x\",\n\"api_token\": @}}}}}\n",
	}
	for name, literals := range in {
		for _, l := range literals {
			text := strings.Replace(frame[name], "@", strings.ReplaceAll(l, "@", canary), 1)
			_, diags := loadText(t, name, text)
			if !diags.HasErrors() {
				t.Errorf("%s: %s is taken", name, l)
			}
			if strings.Contains(diags.Error(), canary) {
				t.Errorf("%s: %s is shown:\n%s", name, l, diags.Error())
			}
		}
	}
}

func TestWarnings(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"a.hcl":  "secret \"unused\" { from = \"env:A\" }\nauth \"okta\" \"o\" {\n  config { organization = \"acme\" }\n}\n",
		"a.yaml": "secret: { unused: { from: env:A } }\nauth: { okta: { o: {\n config: { organization: acme } } } }\n",
	} {
		doc, diags := loadText(t, name, text)
		if len(diags) != 2 || diags.HasErrors() {
			t.Fatalf("%s: %v", name, diags)
		}
		if got := doc.Nodes[0].Nodes[0].String("org_name"); got != "acme" {
			t.Errorf("%s: the alias's value is %q", name, got)
		}
		if d := diags[0]; d.At.Line != 1 || d.Summary != `secret "unused" is not used` || !strings.Contains(d.Detail, "secret.unused") {
			t.Errorf("%s: %v", name, d)
		}
		text, err := json.Marshal(diags[1])
		if err != nil || !strings.Contains(string(text), `"severity":"warning"`) {
			t.Errorf("%s, %v", text, err)
		}
	}
}
