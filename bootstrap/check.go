package bootstrap

import (
	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/file"
	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/schema"
)

// A Check is a proof by use that the file asks for, because it leaves a trace
// outside Vault: a database account, an IAM user, a key at a provider.
type Check struct {
	Labels []string
	Values map[string]file.Value
	At     file.Position
}

var checkBlock = &schema.Block{
	Name: "check", Labels: []string{"type", "name"}, Doc: "A proof by use, run after an apply and by verify.",
}

func newCheck(n *file.Node) *Check { return &Check{Labels: n.Labels, Values: n.Values, At: n.At} }

func (c *Check) access() []Access { return nil }
