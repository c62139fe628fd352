package bootstrap

import (
	"fmt"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/file"
	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/schema"
)

// literals finds secrets that stand in the file although their fields take
// literals: anywhere by what they look like, and by their names where secrets
// are expected, as in the environment of a plugin. The values of an entry, of
// which some may be named as public, are looked at by their own kind, and so is
// the address of a database.
func (o *Object) literals() file.Diagnostics {
	if o.Kind == kvDataKind {
		return nil
	}
	var found file.Diagnostics
	for _, f := range o.fields() {
		v, set := o.Values[f.Name]
		if !set || f.Name == "connection_url" {
			continue
		}
		names := literalsIn(map[string]any{f.Name: v.V}, "", func(name, _, text string) bool {
			// access_key is the id of one, in AWS's words.
			return looksSecret(text) || f.Secrecy != schema.Plain && name != "access_key" && soundsSecret(name)
		})
		for _, name := range names {
			found = append(found, mistake(v.At, fmt.Sprintf("%s: a literal secret in %s", o.Name(), name),
				`Nothing secret stands in the file: declare secret "name" { from = "env:…" } and write secret.name here.`)...)
		}
	}
	return found
}
