package bootstrap

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/file"
	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/schema"
)

const referenceHead = `What may stand in a file. After the name of a field stands what it takes: the rest is
Vault's default, and a field that is left out is reset to it.

  locals { name = value }                      then local.name
  secret "name" { from = "env:NAME" }          then secret.name
      or "file:PATH", "stdin:", "stdin:FIELD", "prompt:", "prompt:TEXT", "vault:MOUNT/PATH#FIELD"

Functions: file("path") and filesha256("path"), with paths that begin at the folder of the
file they stand in; auth_accessor("okta"), of the auth method at that path; jsonencode(value).
Durations are written 3600, "1h", "30d". In YAML and JSON a block's labels are nested:
mount: { transit: { transit: { key: { ai-keys: {} } } } }.
`

// Reference describes everything that may stand in a file, from the same
// descriptions by which files are read.
func Reference() string {
	var b strings.Builder
	b.WriteString(referenceHead)
	for _, block := range slices.SortedFunc(slices.Values(topBlocks()), func(x, y *schema.Block) int { return strings.Compare(x.Name, y.Name) }) {
		b.WriteByte('\n')
		describe(&b, block, "")
	}
	fmt.Fprintf(&b, "\nKinds for ownership.prune: %s.\n", strings.Join(prunable(), ", "))
	return b.String()
}

// describe writes a block with all that may stand in it, and its variants.
func describe(b *strings.Builder, block *schema.Block, in string) {
	fmt.Fprintf(b, "%s%s\n%s    %s\n", in, file.Header(block), in, block.Doc)
	contents(b, block, in+"    ")
	var plain []string
	for _, name := range block.VariantNames() {
		v := block.Variants[name]
		if len(v.Fields)+len(v.Blocks) == 0 && v.Doc == "" {
			plain = append(plain, name)
			continue
		}
		fmt.Fprintf(b, "\n%s%s\n", in, strings.Replace(file.Header(block), "<"+block.Labels[0]+">", name, 1))
		if v.Doc != "" {
			fmt.Fprintf(b, "%s    %s\n", in, v.Doc)
		}
		if same := twin(block, name); same != "" {
			fmt.Fprintf(b, "%s    As %s.\n", in, same)
			continue
		}
		contents(b, v, in+"    ")
	}
	if len(plain) > 0 {
		fmt.Fprintf(b, "\n%s%s of other types, with no more in it: %s\n", in, block.Name, strings.Join(plain, ", "))
	}
}

// twin is an earlier variant with the same blocks, or "".
func twin(block *schema.Block, name string) string {
	for _, other := range block.VariantNames() {
		a, b := block.Variants[other], block.Variants[name]
		if other == name {
			break
		}
		if len(a.Fields)+len(b.Fields) == 0 && len(b.Blocks) > 0 && slices.Equal(a.Blocks, b.Blocks) {
			return other
		}
	}
	return ""
}

func contents(b *strings.Builder, block *schema.Block, in string) {
	for _, f := range block.Fields {
		if strings.HasSuffix(f.Doc, "which its label says already.") {
			continue
		}
		fmt.Fprintf(b, "%s%s  (%s)  %s\n", in, f.Name, takes(f), f.Doc)
	}
	if block.Rest != nil {
		fmt.Fprintf(b, "%sany other name  (%s)  %s\n", in, takes(block.Rest), block.Rest.Doc)
	}
	for _, inner := range block.Blocks {
		describe(b, inner, in)
	}
}

var typeWords = map[schema.Type]string{
	schema.String: "text", schema.Bool: "true or false", schema.Int: "number", schema.Duration: "duration",
	schema.List: "list", schema.Set: "list, in any order", schema.Map: "texts by name", schema.JSON: "JSON", schema.Any: "any value",
}

// takes says in a few words what a field takes.
func takes(f *schema.Field) string {
	words := []string{typeWords[f.Type]}
	if len(f.OneOf) > 0 {
		words[0] = strings.Join(quotedAll(f.OneOf), " or ")
	}
	switch {
	case f.Secrecy == schema.Secret && !f.Literal:
		words[0] = "secret"
	case f.Secrecy != schema.Plain:
		words = append(words, "secret or not")
	}
	if f.Required {
		words = append(words, "required")
	}
	if f.Immutable {
		words = append(words, "cannot be changed later")
	}
	if f.Default != nil && f.Type != schema.Set {
		words = append(words, fmt.Sprintf("default %v", f.Default))
	}
	return strings.Join(words, "; ")
}
