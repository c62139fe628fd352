package file

import (
	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/schema"
	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/secret"
)

// secretBlock says where a secret is to be had. That may be shown: the secret
// itself is never in the file.
var secretBlock = &schema.Block{
	Name: "secret", Labels: []string{"name"},
	Doc: "Where a secret is to be had.",
	Fields: []*schema.Field{{
		Name: "from", Type: schema.String, Required: true, Check: checkFrom,
		Doc: `It says where the secret is to be had, as in from = "env:NAME".`,
	}},
}

// checkFrom does not quote what it refuses: it may be the secret itself.
func checkFrom(v any) error {
	text, _ := v.(string)
	_, _, err := secret.ParseSource(text)
	return err
}
