package backend

import (
	"context"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/backend/provider"
)

func pathsProviders() []*framework.Path {
	return []*framework.Path{
		{
			Pattern: "providers/?$",
			Fields:  map[string]*framework.FieldSchema{"after": afterField, "limit": limitField},
			Operations: map[logical.Operation]framework.OperationHandler{
				logical.ListOperation: &framework.PathOperation{Callback: listProviders, Summary: "List the providers of this build."},
				logical.ReadOperation: &framework.PathOperation{Callback: listProviders, Summary: "List the providers of this build."},
			},
			HelpSynopsis:    "The providers that this build knows.",
			HelpDescription: "Read providers/<name> for the fields that its accounts and roles take.",
		},
		{
			Pattern: "providers/" + namePattern("name"),
			Fields:  map[string]*framework.FieldSchema{"name": text("Name of the provider.")},
			Operations: map[logical.Operation]framework.OperationHandler{
				logical.ReadOperation: &framework.PathOperation{
					Callback: readProvider, Summary: "Read what a provider can do and which fields it takes.",
					Responses: responds("The provider.", map[string]*framework.FieldSchema{
						"name": text("Name."), "title": text("The vendor's spelling."), "docs": text("The vendor's documentation."),
						"life":               text("mint, two-slot or import: see the help."),
						"base_url":           text("Where its API is, unless an account says otherwise."),
						"types":              {Type: framework.TypeCommaStringSlice, Description: "Role types that it can serve."},
						"account_fields":     {Type: framework.TypeMap, Description: "Fields of an account."},
						"role_fields":        {Type: framework.TypeMap, Description: "Fields of a role."},
						"native_expiry":      yesno("Whether the provider ends a key by itself.", false),
						"min_expiry":         number("Shortest life that it takes, in seconds."),
						"max_expiry":         number("Longest life that it takes, in seconds."),
						"root_rotation":      yesno("Whether the admin credential can be rotated by API.", false),
						"scheduled_rotation": yesno("Whether static keys are rotated without a person.", false),
					}),
				},
			},
			HelpSynopsis: "What one provider can do, and the fields it takes.",
			HelpDescription: `
A provider leads one of three lives. mint: any number of keys, made and deleted by
API. two-slot: two fixed keys, one regenerated at a time. import: a person makes
the key and brings it with import/<role>; the engine verifies and serves it, says
when it is due, and disables the one it replaces where the provider has an API for that.
`,
		},
	}
}

func listProviders(_ context.Context, _ *logical.Request, data *framework.FieldData) (*logical.Response, error) {
	names := make([]string, 0, len(provider.All))
	for _, def := range provider.All {
		names = append(names, def.Name)
	}
	names, err := page(data, names)
	if err != nil {
		return nil, err
	}
	return logical.ListResponse(names), nil
}

func readProvider(_ context.Context, _ *logical.Request, data *framework.FieldData) (*logical.Response, error) {
	name := fieldText(data.Get("name"))
	def, ok := provider.Lookup(name)
	if !ok {
		return nil, problemf(statusMissing, "no provider named %q: %s", name, didYouMean(name))
	}
	types := []string{typeStatic}
	if def.Life() == provider.LifeMint {
		types = []string{typeDynamic, typeStatic}
	}
	answer := map[string]any{
		"name":               def.Name,
		"title":              def.Title,
		"docs":               def.Docs,
		"life":               string(def.Life()),
		"base_url":           def.BaseURL,
		"types":              types,
		"account_fields":     describeFields(def.Account),
		"role_fields":        describeFields(def.Role),
		"native_expiry":      def.Expiry != nil,
		"root_rotation":      def.Root != nil,
		"scheduled_rotation": def.Life() != provider.LifeImport,
	}
	if def.Expiry != nil {
		answer["min_expiry"] = int64(def.Expiry.Min.Seconds())
		answer["max_expiry"] = int64(def.Expiry.Max.Seconds())
	}
	return &logical.Response{Data: answer}, nil
}

func describeFields(fields []provider.Field) map[string]any {
	out := make(map[string]any, len(fields))
	for _, f := range fields {
		d := map[string]any{"description": f.Help, "required": !f.Optional && f.Default == "", "secret": f.Secret, "fixed": f.Fixed, "type": "string"}
		if f.Type == provider.List {
			d["type"] = "list"
		}
		if f.Default != "" {
			d["default"] = f.Default
		}
		out[f.Name] = d
	}
	return out
}
