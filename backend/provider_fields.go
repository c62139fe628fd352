package backend

import (
	"slices"
	"strings"
	"unicode"

	"github.com/hashicorp/vault/sdk/framework"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/backend/provider"
)

// withProviderFields adds every provider's fields to a path's schema, so that
// help and OpenAPI show them. Whether a field is right for the provider at hand
// is checked by providerFields.
func withProviderFields(own map[string]*framework.FieldSchema, fields func(provider.Definition) []provider.Field) map[string]*framework.FieldSchema {
	for _, def := range provider.All {
		for _, f := range fields(def) {
			text := def.Name + ": " + f.Help
			if old := own[f.Name]; old != nil {
				old.Description += " " + text
				old.DisplayAttrs.Sensitive = old.DisplayAttrs.Sensitive || f.Secret
				continue
			}
			t := framework.TypeString
			if f.Type == provider.List {
				t = framework.TypeCommaStringSlice
			}
			own[f.Name] = &framework.FieldSchema{
				Type: t, Description: text,
				DisplayAttrs: &framework.DisplayAttributes{Name: f.Name, Sensitive: f.Secret},
			}
		}
	}
	return own
}

// stored is what an account or role has of its provider's fields already.
type stored struct {
	exists         bool
	plain, secrets map[string]string
}

// providerFields takes a provider's own fields out of a request and merges them
// over what is stored. Fields of other providers, missing ones and changes of
// fixed ones are the caller's mistakes.
func providerFields(data *framework.FieldData, def provider.Definition, fields []provider.Field, common []string, old stored) (plain, secrets map[string]string, err error) {
	plain, secrets = map[string]string{}, map[string]string{}
	known := map[string]bool{}
	for _, f := range fields {
		known[f.Name] = true
		into, from := plain, old.plain
		if f.Secret {
			into, from = secrets, old.secrets
		}
		value, err := providerField(data, f, old.exists, from[f.Name])
		if err != nil {
			return nil, nil, err
		}
		if value == "" && !f.Optional {
			return nil, nil, invalidf("%s is required for provider %s: %s", f.Name, def.Name, f.Help)
		}
		if value != "" {
			into[f.Name] = value
		}
	}
	for _, name := range sortedNames(data.Raw) {
		if !known[name] && !slices.Contains(common, name) {
			return nil, nil, invalidf("%s is not a field of provider %s, which takes %s: see providers/%s", name, def.Name, fieldNames(fields), def.Name)
		}
	}
	return plain, secrets, nil
}

// providerField is one field's value: what the caller gave, else what is
// stored, else the default.
func providerField(data *framework.FieldData, f provider.Field, exists bool, value string) (string, error) {
	if raw, ok := data.GetOk(f.Name); ok {
		text := fieldText(raw)
		if f.Fixed && exists && text != value {
			return "", invalidf("%s is %q and cannot change: the keys lie there; make a new one beside it", f.Name, value)
		}
		if err := checkText(f, text); err != nil {
			return "", err
		}
		value = text
	}
	if value == "" {
		value = f.Default
	}
	return value, nil
}

// longestText bounds the provider's own fields, in bytes.
const longestText = 1024

// checkText refuses what no provider could mean. It does not quote the text.
func checkText(f provider.Field, s string) error {
	switch {
	case len(s) > longestText:
		return invalidf("%s: %d bytes, and the longest is %d", f.Name, len(s), longestText)
	case strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }):
		return invalidf("%s: it has characters that do not print, such as a line end", f.Name)
	}
	return nil
}

func fieldNames(fields []provider.Field) string {
	names := make([]string, 0, len(fields))
	for _, f := range fields {
		names = append(names, f.Name)
	}
	if len(names) == 0 {
		return "none of its own"
	}
	return strings.Join(names, ", ")
}

// shown is how provider fields are answered: lists as lists.
func shown(fields []provider.Field, values map[string]string, into map[string]any) {
	for _, f := range fields {
		v, ok := values[f.Name]
		switch {
		case f.Secret || !ok:
		case f.Type == provider.List:
			into[f.Name] = strings.Split(v, ",")
		default:
			into[f.Name] = v
		}
	}
}
