package bootstrap

import (
	"slices"
	"strings"
	"testing"
)

// Every block and field is described, each with a line of its own.
func TestReference(t *testing.T) {
	t.Parallel()
	text := Reference()
	for _, k := range kinds {
		if k.Block == nil {
			continue
		}
		if !strings.Contains(text, k.Block.Doc) {
			t.Errorf("the block of %s is not described", k.Name)
		}
		fields := k.Block.Fields
		for _, name := range k.Block.VariantNames() {
			fields = append(slices.Clip(fields), k.Block.Variants[name].Fields...)
		}
		for _, f := range fields {
			if f.Doc == "" || !strings.Contains(text, " "+f.Name+"  (") && !strings.Contains(f.Doc, "label says") {
				t.Errorf("%s: the field %s is not described", k.Name, f.Name)
			}
		}
	}
	for _, want := range []string{
		"secret \"name\" { from = ", "filesha256(", "auth_accessor(", "jsonencode(", "\ncheck \"transit\" \"<target>\" { … }\n",
		"\nauth \"okta\" \"<path>\" { … }\n", "        api_token  (secret)  ", "        org_name  (text; required)  ",
		"\nauth \"oidc\" \"<path>\" { … }\n    As jwt.\n", "of other types, with no more in it: alicloud, ", "Kinds for ownership.prune: ai-keys account, ",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("it has no %q", want)
		}
	}
}
