package bootstrap

import (
	"cmp"
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

// A writer writes HCL, and knows in which line it is.
type writer struct {
	b    strings.Builder
	line int
}

func (w *writer) print(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	w.line += strings.Count(text, "\n")
	w.b.WriteString(text)
}

func (w *writer) comment(text string) {
	for line := range strings.SplitSeq(text, "\n") {
		w.print("%s\n", strings.TrimRight("# "+visible(line), " \t"))
	}
}

// file writes all of an export.
func (e *exporter) file() string {
	w := &writer{line: 1}
	w.comment(cmp.Or(e.options.From, "A Vault") + " as it was when it was exported by ai-keys-bootstrap.")
	w.comment("")
	w.comment("Left out are what people keep in Vault (entries of key-value stores, secret-ids,")
	w.comment("tokens, entities) and what Vault never returns: its secrets.")
	used := e.used()
	if len(used) > 0 {
		w.comment("")
		w.comment("These are the secrets. Each comes from the environment; write file:, prompt: or")
		w.comment("vault: instead where that fits better.")
		w.print("\n")
	}
	for _, d := range used {
		w.comment(d.of)
		w.print("secret %s { from = %s }\n", hclText(d.name), hclText("env:"+d.env))
	}
	for _, x := range e.top {
		w.print("\n")
		w.object(x)
	}
	return string(hclwrite.Format([]byte(w.b.String())))
}

// used are the secrets that something in the file refers to.
func (e *exporter) used() []declared {
	needed := make(map[string]bool)
	every(e.top, func(x *exported) {
		for _, name := range x.secrets(nil) {
			needed[name] = true
		}
	})
	used := slices.DeleteFunc(slices.Clone(e.secrets), func(d declared) bool { return !needed[d.name] })
	slices.SortFunc(used, func(a, b declared) int { return strings.Compare(a.name, b.name) })
	return used
}

// object writes one object, and what is in it.
func (w *writer) object(x *exported) {
	x.first = w.line
	if x.without != "" {
		w.comment(x.Name() + " is left out: " + x.without)
		x.last = w.line
		return
	}
	for _, remark := range x.remarks {
		w.comment(strings.ToUpper(remark[:1]) + remark[1:])
	}
	w.print("%s", x.Kind.Block.Name)
	for _, label := range x.Labels {
		w.print(" %s", hclText(label))
	}
	w.print(" {")
	empty := w.line
	w.values(x)
	long := false
	for i, r := range x.rules {
		before := w.line
		if i > 0 && (long || !r.isShort()) {
			w.print("\n")
			before++
		}
		w.rule(r)
		long = w.line > before+1
	}
	for i, inner := range x.inner {
		if i > 0 || w.line > empty {
			w.print("\n")
		}
		if w.line == empty {
			w.print("\n")
		}
		w.object(inner)
	}
	x.last = w.line
	w.print("}\n")
}

// values writes the fields in the order in which they are described.
func (w *writer) values(x *exported) {
	if len(x.Values) > 0 || len(x.rules) > 0 {
		w.print("\n")
	}
	for _, f := range x.fields() {
		if v, set := x.Value(f.Name); set {
			w.print("%s = %s\n", f.Name, hclField(f, v))
		}
	}
}

// isShort tells whether a rule fits into one line.
func (r policyRule) isShort() bool {
	return len(r.fields) == 1 && len(schema.References(r.path)) == 0
}

// rule writes a rule of a policy: a block's label takes no references.
func (w *writer) rule(r policyRule) {
	switch {
	case r.isShort():
		w.print("path %s { capabilities = %s }\n", hclText(r.path), hclValue(r.fields["capabilities"]))
		return
	case len(schema.References(r.path)) > 0:
		w.print("rule {\npath = %s\n", hclText(r.path))
	default:
		w.print("path %s {\n", hclText(r.path))
	}
	for _, f := range ruleFields {
		if v, set := r.fields[f.Name]; set {
			w.print("%s = %s\n", f.Name, hclField(f, v))
		}
	}
	w.print("}\n")
}

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
