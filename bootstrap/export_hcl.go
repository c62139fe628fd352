package bootstrap

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/hashicorp/hcl/v2/hclwrite"
	"github.com/zclconf/go-cty/cty"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/schema"
)

// longLine is from where on a list or an object gets a line for each item.
const longLine = 100

// hclField is a field's value as HCL has it.
func hclField(f *schema.Field, v any) string {
	switch v := v.(type) {
	case int64:
		if f.Type == schema.Duration && v > 0 {
			return hclText(lasting(v))
		}
	case string:
		if strings.Count(v, "\n") > 0 {
			if strings.HasSuffix(v, "\n") {
				return heredoc(v)
			}
			ended, err := f.Canonical(v + "\n")
			if plain, perr := f.Canonical(v); err == nil && perr == nil && schema.Equal(ended, plain) {
				return heredoc(v + "\n")
			}
		}
	}
	if _, text := v.(string); f.Type == schema.JSON && !text {
		return "jsonencode(" + hclValue(v) + ")"
	}
	return hclValue(v)
}

// hclValue is a value as HCL has it.
func hclValue(v any) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case string:
		return hclText(v)
	case []string:
		items := make([]string, len(v))
		for i, item := range v {
			items[i] = hclText(item)
		}
		return bracketed("[", items, "]")
	case []any:
		items := make([]string, len(v))
		for i, item := range v {
			items[i] = hclValue(item)
		}
		return bracketed("[", items, "]")
	case map[string]string:
		items := make([]string, 0, len(v))
		for _, name := range sortedKeys(v) {
			items = append(items, hclKey(name)+" = "+hclText(v[name]))
		}
		return bracketed("{", items, "}")
	case map[string]any:
		items := make([]string, 0, len(v))
		for _, name := range sortedKeys(v) {
			items = append(items, hclKey(name)+" = "+hclValue(v[name]))
		}
		return bracketed("{", items, "}")
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	}
	return fmt.Sprint(v) // bool, int64, int
}

// bracketed is a list or an object: in one line, if that is not too long.
func bracketed(open string, items []string, end string) string {
	space := ""
	if open == "{" && len(items) > 0 {
		space = " "
	}
	line := open + space + strings.Join(items, ", ") + space + end
	if len(line) <= longLine && !strings.Contains(line, "\n") {
		return line
	}
	comma := ","
	if open == "{" {
		comma = ""
	}
	return open + "\n" + strings.Join(items, comma+"\n") + comma + "\n" + end
}

// hclKey is the name of an entry of an object.
func hclKey(name string) string {
	if hclsyntax.ValidIdentifier(name) && !slices.Contains([]string{"for", "null", "true", "false"}, name) {
		return name
	}
	return hclText(name)
}

// hclText is a text with its references, in quotes; a reference alone has none.
func hclText(text string) string {
	parts := split(text)
	if len(parts) == 1 && parts[0].ref != nil {
		return hclReference(*parts[0].ref)
	}
	var b strings.Builder
	b.WriteByte('"')
	for i, p := range parts {
		switch {
		case p.ref != nil:
			b.WriteString("${" + hclReference(*p.ref) + "}")
		case i+1 < len(parts):
			b.WriteString(apart(p.text, inQuotes))
		default:
			b.WriteString(inQuotes(p.text))
		}
	}
	b.WriteByte('"')
	return b.String()
}

func inQuotes(text string) string {
	quoted := string(hclwrite.TokensForValue(cty.StringVal(text)).Bytes())
	return quoted[1 : len(quoted)-1]
}

// apart writes a text that a reference follows: a $ or % at its end would make
// the reference a text, too.
func apart(text string, write func(string) string) string {
	short := strings.TrimRight(text, "$%")
	if short == text {
		return write(text)
	}
	return write(short) + `${"` + text[len(short):] + `"}`
}

func hclReference(r schema.Reference) string {
	if r.Of == schema.RefSecret {
		return "secret." + r.Name
	}
	return "auth_accessor(" + hclText(r.Name) + ")"
}

// heredoc is a text of several lines that ends with one, as it stands. What
// cannot stand so is in quotes.
func heredoc(text string) string {
	parts := split(text)
	if slices.ContainsFunc(parts, func(p part) bool { return strings.ContainsFunc(p.text, obeyed) }) {
		return hclText(text)
	}
	mark := "EOT"
	for strings.Contains(text, mark) {
		mark += "T"
	}
	raw := strings.NewReplacer("${", "$${", "%{", "%%{").Replace
	var b strings.Builder
	for i, p := range parts {
		switch {
		case p.ref != nil:
			b.WriteString("${" + hclReference(*p.ref) + "}")
		case i+1 < len(parts):
			b.WriteString(apart(p.text, raw))
		default:
			b.WriteString(raw(p.text))
		}
	}
	return "<<" + mark + "\n" + b.String() + mark
}

// A part of a text is a reference, or what stands between two.
type part struct {
	text string
	ref  *schema.Reference
}

// split takes a text apart.
func split(text string) []part {
	var parts []part
	for _, r := range schema.References(text) {
		before, after, _ := strings.Cut(text, r.Token())
		if before != "" {
			parts = append(parts, part{text: before})
		}
		parts = append(parts, part{ref: &r})
		text = after
	}
	if text != "" {
		parts = append(parts, part{text: text})
	}
	return parts
}
