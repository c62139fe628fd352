package file

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

// TestLimits loads what would use up the stack, the memory or the patience, and
// expects the one mistake that is said about it.
func TestLimits(t *testing.T) {
	t.Parallel()
	const many = 1 << 15
	repeat := strings.Repeat
	laughs := func() string {
		var b strings.Builder
		b.WriteString("locals:\n  a0: &a0 [" + repeat("lol, ", 10) + "lol]\n")
		for i := range 9 {
			fmt.Fprintf(&b, "  a%d: &a%d [%s*a%d]\n", i+1, i+1, repeat(fmt.Sprintf("*a%d, ", i), 9), i)
		}
		return b.String()
	}
	growing := func(first, step string) string {
		var b strings.Builder
		b.WriteString("locals {\n  a0 = " + first + "\n")
		for i := range 40 {
			fmt.Fprintf(&b, "  a%d = %s\n", i+1, strings.ReplaceAll(step, "@", fmt.Sprintf("local.a%d", i)))
		}
		return b.String() + "}\n"
	}
	chain := func(n int) string {
		var b strings.Builder
		b.WriteString("locals {\n")
		for i := range n {
			fmt.Fprintf(&b, "  a%d = local.a%d\n", i, i+1)
		}
		return b.String() + fmt.Sprintf("  a%d = 1\n}\n", n)
	}
	for _, test := range []struct {
		name, file, text, want string
	}{
		{"size", "a.hcl", repeat("#", 10<<20), "it is too large: 10.0 MB, and 4.0 MB is the limit"},
		{"hcl lists", "a.hcl", "a = " + repeat("[", many), "nested more than 64 deep"},
		{"hcl blocks", "a.hcl", repeat("a {\n", many), "nested more than 64 deep"},
		{"hcl templates", "a.hcl", "a = " + repeat(`"${`, many), "nested more than 64 deep"},
		{"hcl parentheses", "a.hcl", "a = " + repeat("(", many), "nested more than 64 deep"},
		{"hcl functions", "a.hcl", "a = " + repeat("file(", many), "nested more than 64 deep"},
		{"hcl minus", "a.hcl", "a = " + repeat("-", many) + "1\n", "more than 500 operators in one expression"},
		{"hcl plus", "a.hcl", "a = 1" + repeat("+1", many) + "\n", "more than 500 operators in one expression"},
		{"hcl conditions", "a.hcl", "a = 1" + repeat("?1:1", many) + "\n", "more than 500 operators in one expression"},
		{"hcl indexes", "a.hcl", "a = x" + repeat("[0]", many) + "\n", "more than 500 operators in one expression"},
		{"hcl splats", "a.hcl", "a = x" + repeat(".*.a", many) + "\n", "more than 500 operators in one expression"},
		{"hcl directives", "a.hcl", `a = "` + repeat("%{if true}", many) + "\"\n", "more than 500 operators in one expression"},
		{"hcl number", "a.hcl", "a = 1e999999999\n", "a number that is too large"},
		{"hcl digits", "a.hcl", "a = " + repeat("9", many) + "\n", "a number that is too large"},
		{"json lists", "a.json", repeat("[", many), "not JSON"},
		{"json closed lists", "a.json", repeat("[", 9000) + repeat("]", 9000), "nested more than 64 deep"},
		{"json objects", "a.json", repeat(`{"a":`, 100) + "1" + repeat("}", 100), "nested more than 64 deep"},
		{"json template", "a.json", `{"locals": {"a": "${` + repeat("(", many) + `"}}`, "nested more than 64 deep"},
		{"yaml flow", "a.yaml", repeat("[", many), "not YAML: exceeded max depth of 10000"},
		{"yaml closed flow", "a.yaml", "locals: { a: " + repeat("[", 9000) + repeat("]", 9000) + "}\n", "nested more than 64 deep"},
		{"yaml blocks", "a.yaml", repeat("- ", 9000) + "\n", "nested more than 64 deep"},
		{"yaml more blocks", "a.yaml", repeat("- ", many) + "\n", "not YAML: exceeded max depth of 10000"},
		{"yaml laughs", "a.yaml", laughs(), "the aliases make more than 4.0 MB of this file"},
		{"yaml circle", "a.yaml", "locals:\n  a: &a [*a]\n", "nested more than 64 deep"},
		{"yaml template", "a.yaml", `locals: { a: "${` + repeat("-", many) + `1}" }`, "more than 500 operators in one expression"},
		{"values of text", "a.hcl", growing(`"0123456789"`, `"${@}${@}${@}${@}"`), "the references and functions make more than 64.0 MB of values"},
		{"values of lists", "a.hcl", growing("[1]", "[@, @, @, @]"), "the references and functions make more than 64.0 MB of values"},
		{"values of JSON", "a.hcl", growing(`"\""`, "jsonencode(jsonencode(jsonencode(jsonencode(@))))"), "jsonencode: more than 4.0 MB of values"},
		{"values too deep", "a.hcl", growing("1", "[[[@]]]"), "nested more than 64 deep"},
		{"values of numbers", "a.hcl", growing("10", "@*@*@*@"), "a number that is too large"},
		{"files", "a.hcl", "locals {\n  a = [" + repeat(`file("a.hcl"),`, 9000) + "]\n}\n", "file: the files come to more than 64.0 MB"},
		{"chain", "a.hcl", chain(1500), "more than 1000 locals refer to one another in a row"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			_, diags := loadText(t, test.file, test.text)
			if len(diags) == 0 || diags[0].Summary != test.want && !strings.HasSuffix(diags[0].Summary, test.want) {
				t.Fatalf("%.300s", diags.Error())
			}
			if diags[0].Detail == "" {
				t.Errorf("no way out is said of %q", diags[0].Summary)
			}
			if len(diags) > 1 {
				t.Errorf("%d mistakes are said: %.600s", len(diags), diags.Error())
			}
		})
	}
}

func TestWithinLimits(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	b.WriteString("locals {\n  a = " + strings.Repeat("[", 60) + strings.Repeat("]", 60) + "\n")
	for i := range 2000 {
		fmt.Fprintf(&b, "  b%d = [1 + 1 - -2, %d]\n", i, i)
	}
	b.WriteString("  c = [" + strings.Repeat("1 + 1, ", 2000) + "]\n}\n")
	mustLoad(t, "a.hcl", b.String())
	mustLoad(t, "a.yaml", "locals: { a: "+strings.Repeat("[", 55)+strings.Repeat("]", 55)+" }\n")
}

func TestShown(t *testing.T) {
	t.Parallel()
	_, diags := loadText(t, "a.hcl", strings.Repeat("x {}\n", 250))
	if len(diags) != 250 {
		t.Fatalf("%d mistakes", len(diags))
	}
	lines := strings.Split(diags.Error(), "\n")
	if len(lines) != 101 || lines[100] != "and 150 more" {
		t.Errorf("%d lines, the last is %q", len(lines), lines[len(lines)-1])
	}
}

func TestPaths(t *testing.T) {
	t.Parallel()
	dir := write(t, map[string]string{
		"notes.txt": "", "empty/notes.txt": "", "utf.hcl": "# é\na = \xff\xfe", "nul.yaml": "a: \x00",
		"odd.json": "{\n \"\uE000\": 1}", "bom.hcl": "\uFEFFlocals {}\n",
	})
	for name, want := range map[string]string{
		"missing.hcl": ": error: there is no such file or folder. A path after -f begins where the program is started.",
		"notes.txt":   `: error: the file's syntax is not known. The name has to end in ".hcl", ".yaml", ".yml", ".json".`,
		"empty":       `: error: the folder has no files to read. Files in it have to end in ".hcl", ".yaml", ".yml", ".json".`,
		"utf.hcl":     `:2:5: error: it is not UTF-8 text. Save it as UTF-8; of a program, filesha256("…") gives the checksum.`,
		"nul.yaml":    ":1:4: error: the file contains a NUL character. Remove it.",
		"odd.json":    ":2:3: error: the file contains a private-use character (U+E000 or U+E001). Remove it.",
		"bom.hcl":     "",
	} {
		_, diags := Load([]string{filepath.Join(dir, name)}, top)
		if got := strings.TrimPrefix(diags.Error(), filepath.Join(dir, name)); got != want {
			t.Errorf("%s: %q", name, got)
		}
	}
}
