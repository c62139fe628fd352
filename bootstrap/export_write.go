package bootstrap

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2/hclwrite"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/schema"
)

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
	w.comment("Left out are Vault's own policies, what people keep in Vault (entries of key-value")
	w.comment("stores, secret-ids, tokens, entities) and what Vault never returns: its secrets.")
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
