package file

import (
	"errors"
	"strings"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/schema"
)

// top is a small description with every trait that a real one has.
var top = []*schema.Block{
	{
		Name: "policy", Labels: []string{"name"},
		Fields: []*schema.Field{{Name: "document", Type: schema.String}},
		Blocks: []*schema.Block{{
			Name: "path", Labels: []string{"path"},
			Fields: []*schema.Field{{
				Name: "capabilities", Type: schema.Set, Required: true, Doc: "What is allowed.",
				OneOf: []string{"create", "read", "list", "sudo"},
			}},
		}},
	},
	{
		Name: "mount", Labels: []string{"type", "path"},
		Fields: []*schema.Field{
			{Name: "description", Type: schema.String},
			{Name: "max_lease_ttl", Type: schema.Duration},
		},
		Variants: map[string]*schema.Block{
			"transit": {Blocks: []*schema.Block{{
				Name: "key", Labels: []string{"name"},
				Fields: []*schema.Field{
					{Name: "type", Type: schema.String, OneOf: []string{"aes256-gcm96", "ed25519"}},
					{Name: "exportable", Type: schema.Bool},
				},
			}}},
			"kv": {Blocks: []*schema.Block{
				{Name: "data", Labels: []string{"path"}, Fields: []*schema.Field{
					{Name: "values", Type: schema.Any, Secrecy: schema.Sensitive, Required: true},
				}},
				{Name: "config", Most: 1, Rest: &schema.Field{Type: schema.String}},
			}},
			"database": {Blocks: []*schema.Block{{
				Name: "connection", Labels: []string{"name"},
				Fields: []*schema.Field{
					{Name: "password", Type: schema.String, Secrecy: schema.Secret},
					{Name: "url", Type: schema.String, Secrecy: schema.Sensitive, Check: func(v any) error {
						if s, _ := v.(string); !strings.Contains(s, "{{password}}") {
							return errors.New("no {{password}} in " + s)
						}
						return nil
					}},
					{Name: "retries", Type: schema.Int, Check: func(v any) error {
						if n, _ := v.(int64); n > 9 {
							return errors.New("at most 9")
						}
						return nil
					}},
				},
			}}},
		},
	},
	{
		Name: "auth", Labels: []string{"type", "path"},
		Variants: map[string]*schema.Block{"okta": {Blocks: []*schema.Block{{
			Name: "config", Most: 1,
			Fields: []*schema.Field{
				{Name: "org_name", Type: schema.String, Required: true, Aliases: []string{"organization"}, Doc: "The name before .okta.com."},
				{Name: "api_token", Type: schema.String, Secrecy: schema.Secret, Aliases: []string{"token"}},
				{Name: "base_url", Type: schema.String},
				{Name: "headers", Type: schema.Map, Secrecy: schema.Secret},
				{Name: "options", Type: schema.JSON, Secrecy: schema.Sensitive},
				{Name: "bypass", Type: schema.Bool},
			},
		}}}},
	},
	{Name: "rule", Fields: []*schema.Field{{Name: "accessors", Type: schema.List}}},
}
