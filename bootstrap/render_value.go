package bootstrap

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/schema"
)

// hidden stands for a value of the server's that may be a secret.
const hidden = "(a value that is not shown)"

// shownOld is the server's value of a field as it may be shown. Where a field
// may hold a secret and the file does not say what it should be, what stands
// there now may be one.
func shownOld(c *Change, f *FieldChange) any {
	if f.Old == nil {
		return nil
	}
	description := fieldOf(c.Object, f.Field)
	_, set := c.Object.Value(f.Field)
	if description != nil && description.Secrecy != schema.Plain && !set {
		return hidden
	}
	return schema.Show(f.Old)
}

// told is a value for a person: durations as 1h30m, texts quoted.
func told(of *schema.Field, v any) string {
	if v == nil {
		return nothing(of)
	}
	if of != nil && of.Type == schema.Duration {
		if seconds, ok := v.(int64); ok {
			return lasting(seconds)
		}
	}
	switch v := schema.Show(v).(type) {
	case string:
		if isWord(v) {
			return v
		}
		return visible(jsonText(v))
	case []string:
		quoted := make([]string, len(v))
		for i, item := range v {
			quoted[i] = visible(jsonText(item))
		}
		return "[" + strings.Join(quoted, ", ") + "]"
	default:
		return visible(jsonText(v))
	}
}

// nothing is the empty value of a field.
func nothing(of *schema.Field) string {
	if of != nil {
		switch of.Type {
		case schema.Bool:
			return "false"
		case schema.Int, schema.Duration:
			return "0"
		case schema.String, schema.List, schema.Set, schema.Map, schema.JSON, schema.Any:
		}
	}
	return "(none)"
}

// isWord tells whether a text is one of ours in the place of a value.
func isWord(v string) bool {
	return strings.HasPrefix(v, "(") && strings.HasSuffix(v, ")") && !strings.ContainsFunc(v, obeyed)
}

// lasting is a duration in the units that people write.
func lasting(seconds int64) string {
	if seconds == 0 {
		return "0"
	}
	sign := ""
	if seconds < 0 {
		sign, seconds = "-", -seconds
	}
	if seconds%86400 == 0 {
		return fmt.Sprintf("%s%dd", sign, seconds/86400)
	}
	var b strings.Builder
	b.WriteString(sign)
	for _, unit := range []struct {
		size int64
		name string
	}{{3600, "h"}, {60, "m"}, {1, "s"}} {
		if n := seconds / unit.size; n > 0 {
			fmt.Fprintf(&b, "%d%s", n, unit.name)
			seconds %= unit.size
		}
	}
	return b.String()
}

// difference is a unified diff for a field whose values are long texts; "" for
// every other.
func (c *Change) difference(f *FieldChange) string {
	if f.Diff != "" {
		return f.Diff
	}
	before, _ := shownOld(c, f).(string)
	after, _ := schema.Show(f.New).(string)
	if !strings.Contains(before+after, "\n") {
		return ""
	}
	return textDiff(f.Field, ended(before), ended(after))
}

// ended ends a text with a newline: a diff would say of each that it has none.
func ended(text string) string {
	if text == "" || strings.HasSuffix(text, "\n") {
		return text
	}
	return text + "\n"
}

// diffLines are the lines of a unified diff without its head. The numbers of
// lines say where one part ends and the next begins, and nothing if there is
// only one.
func diffLines(diff string) []string {
	var lines []string
	parts := 0
	for i, line := range strings.Split(strings.TrimRight(diff, "\n"), "\n") {
		switch {
		case i < 2 && (strings.HasPrefix(line, "--- ") || strings.HasPrefix(line, "+++ ")), strings.HasPrefix(line, `\ No newline`):
			continue
		case strings.HasPrefix(line, "@@"):
			parts++
		}
		lines = append(lines, line)
	}
	if parts == 1 {
		lines = slices.DeleteFunc(lines, func(line string) bool { return strings.HasPrefix(line, "@@") })
	}
	return lines
}

func (p *Printer) diffLine(line string) string {
	line = visible(line)
	switch {
	case strings.HasPrefix(line, "+"):
		return p.paint(green, line)
	case strings.HasPrefix(line, "-"):
		return p.paint(red, line)
	case strings.HasPrefix(line, "@@"):
		return p.paint(cyan, line)
	}
	return line
}
