package backend

import (
	"fmt"
	"math"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/agnivade/levenshtein"
	"github.com/hashicorp/go-secure-stdlib/parseutil"
	"github.com/hashicorp/vault/sdk/framework"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/backend/provider"
)

// checkFields refuses what the framework would ignore (unknown names) or would
// quote in its error (a value of the wrong shape, which may be a secret).
func checkFields(data map[string]any, schema map[string]*framework.FieldSchema) error {
	for _, name := range sortedNames(data) {
		field := schema[name]
		if field == nil {
			return unknownField(name, schema)
		}
		if !fits(data[name], field.Type) {
			return invalidf("%s: expected %s", name, shape(field.Type))
		}
		if isDuration(field.Type) {
			if err := checkDuration(name, data[name]); err != nil {
				return err
			}
		}
	}
	return nil
}

func unknownField(name string, schema map[string]*framework.FieldSchema) error {
	names := sortedNames(schema)
	if len(names) == 0 {
		return invalidf("unknown field %q: this path takes none", name)
	}
	if near, ok := nearest(name, names); ok {
		return invalidf("unknown field %q: did you mean %q?", name, near)
	}
	return invalidf("unknown field %q: this path takes %s", name, strings.Join(names, ", "))
}

// nearest is the known name that name may be a slip for. ok is false if none
// is close.
func nearest(name string, known []string) (near string, ok bool) {
	distance := func(a string) int { return levenshtein.ComputeDistance(a, name) }
	near = slices.MinFunc(known, func(a, b string) int { return distance(a) - distance(b) })
	return near, distance(near) <= max(2, len(name)/3)
}

func sortedNames[V any](m map[string]V) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// fits reports whether a JSON value has a shape that the framework converts
// without losing or quoting it.
func fits(v any, t framework.FieldType) bool {
	switch v := v.(type) {
	case map[string]any:
		return t == framework.TypeKVPairs && flat(v)
	case map[string]string:
		return t == framework.TypeKVPairs
	case []any:
		if t != framework.TypeCommaStringSlice && t != framework.TypeStringSlice {
			return false
		}
		return !slices.ContainsFunc(v, func(e any) bool { _, text := e.(string); return !text })
	case []string: // a query parameter given more than once
		return t == framework.TypeCommaStringSlice || t == framework.TypeStringSlice
	case bool:
		return t == framework.TypeBool
	case string:
		return fitsString(v, t)
	case nil:
		return false
	default: // numbers
		return t == framework.TypeInt || t == framework.TypeFloat || t == framework.TypeDurationSecond
	}
}

// flat reports whether a map holds no further lists or maps.
func flat(m map[string]any) bool {
	for _, v := range m {
		switch v.(type) {
		case map[string]any, []any, nil:
			return false
		}
	}
	return true
}

func fitsString(v string, t framework.FieldType) bool {
	switch t { //nolint:exhaustive // every other type takes any text
	case framework.TypeBool:
		_, err := parseutil.ParseBool(v)
		return err == nil
	case framework.TypeInt:
		_, err := parseutil.ParseInt(v)
		return err == nil
	case framework.TypeFloat:
		var f float64
		_, err := fmt.Sscanf(v, "%g", &f)
		return err == nil && !math.IsNaN(f) && !math.IsInf(f, 0)
	case framework.TypeKVPairs, framework.TypeMap:
		return strings.Contains(v, "=")
	default:
		return true
	}
}

func shape(t framework.FieldType) string {
	switch t { //nolint:exhaustive // the rest are texts
	case framework.TypeBool:
		return "true or false"
	case framework.TypeInt:
		return "a whole number"
	case framework.TypeFloat:
		return "a number"
	case framework.TypeDurationSecond:
		return `a duration such as 3600, "1h" or "30d"`
	case framework.TypeCommaStringSlice, framework.TypeStringSlice:
		return "a list of texts, or one text with commas"
	case framework.TypeKVPairs, framework.TypeMap:
		return "pairs of name and text"
	default:
		return "a text"
	}
}

func isDuration(t framework.FieldType) bool { return t == framework.TypeDurationSecond }

// longestDuration bounds every duration: what is longer is a mistake.
const longestDuration = 10 * 365 * 24 * time.Hour

func checkDuration(name string, v any) error {
	if s, ok := v.(string); ok && strings.TrimSpace(s) == "" {
		return nil // the framework's zero
	}
	d, err := parseutil.ParseDurationSecond(v)
	switch {
	case err != nil:
		return invalidf("%s: expected %s", name, shape(framework.TypeDurationSecond))
	case d < 0:
		return invalidf("%s: a duration cannot be negative", name)
	case d > 0 && d < time.Second:
		return invalidf("%s: the shortest duration is 1s; 0 switches it off", name)
	case d > longestDuration:
		return invalidf("%s: %s is longer than ten years", name, d)
	}
	return nil
}

// Names of accounts and roles.
const longestName = 64

var nameShape = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?$`)

// namePattern takes any one path segment, so that a bad name is answered with
// what is wrong with it instead of "unsupported path".
func namePattern(field string) string { return "(?P<" + field + ">[^/]+)" }

func checkName(what, name string) error {
	if len(name) > longestName {
		return invalidf("%s name: %d characters, and the longest is %d", what, len(name), longestName)
	}
	if !nameShape.MatchString(name) || strings.Contains(name, "..") {
		return invalidf("%s name %q: use letters, digits, '-', '_' and '.', beginning and ending with a letter, a digit or '_'", what, name)
	}
	return nil
}

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

func fieldText(v any) string {
	if list, ok := v.([]string); ok {
		return strings.Join(list, ",")
	}
	s, _ := v.(string)
	return strings.TrimSpace(s)
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

// checkCAS compares a cas field, if the caller sent one, with the version of
// the stored entry; 0 means that there must be none.
func checkCAS(data *framework.FieldData, version int, what string) error {
	v, ok := data.GetOk("cas")
	if !ok {
		return nil
	}
	if cas, _ := v.(int); cas != version {
		return problemf(statusConflict, "cas is %d, but %s is at version %d: read it again and repeat the change", cas, what, version)
	}
	return nil
}

// Shared pieces of path schemas.
var (
	casField = &framework.FieldSchema{
		Type:        framework.TypeInt,
		Description: "Check-and-set: the version that this write replaces; 0 if it must not exist yet. Without it the write is unconditional.",
	}
	afterField = &framework.FieldSchema{Type: framework.TypeString, Description: "List only names after this one.", Query: true}
	limitField = &framework.FieldSchema{Type: framework.TypeInt, Description: "List at most this many names; 0 or absent: all.", Query: true}
)

// page cuts a sorted list by the after and limit of a request.
func page(data *framework.FieldData, names []string) ([]string, error) {
	if after := fieldText(data.Get("after")); after != "" {
		i, found := slices.BinarySearch(names, after)
		if found {
			i++
		}
		names = names[i:]
	}
	limit := 0
	take(data, "limit", &limit)
	if limit < 0 {
		return nil, invalidf("limit: cannot be negative")
	}
	if limit > 0 && limit < len(names) {
		names = names[:limit]
	}
	return names, nil
}

// responds documents a path's answer for OpenAPI.
func responds(description string, fields map[string]*framework.FieldSchema) map[int][]framework.Response {
	return map[int][]framework.Response{http.StatusOK: {{Description: description, Fields: fields}}}
}

func done(description string) map[int][]framework.Response {
	return map[int][]framework.Response{http.StatusNoContent: {{Description: description}}}
}

func text(help string) *framework.FieldSchema {
	return &framework.FieldSchema{Type: framework.TypeString, Description: help}
}

func secretText(help string) *framework.FieldSchema {
	return &framework.FieldSchema{Type: framework.TypeString, Description: help, DisplayAttrs: &framework.DisplayAttributes{Sensitive: true}}
}

func number(help string) *framework.FieldSchema {
	return &framework.FieldSchema{Type: framework.TypeInt, Description: help}
}

func seconds(help string) *framework.FieldSchema {
	return &framework.FieldSchema{Type: framework.TypeDurationSecond, Description: help}
}

func yesno(help string, byDefault bool) *framework.FieldSchema {
	return &framework.FieldSchema{Type: framework.TypeBool, Description: help, Default: byDefault}
}

func moment(help string) *framework.FieldSchema {
	return &framework.FieldSchema{Type: framework.TypeString, Description: help + " RFC 3339, UTC."}
}

// take sets into if the caller gave the field. T is what the field's schema
// makes of it.
func take[T any](data *framework.FieldData, name string, into *T) {
	if v, ok := data.GetOk(name); ok {
		if t, ok := v.(T); ok {
			*into = t
		}
	}
}

// takeText is take for a text, without the spaces around it.
func takeText(data *framework.FieldData, name string, into *string) {
	if v, ok := data.GetOk(name); ok {
		*into = fieldText(v)
	}
}

// takeDuration is take for a TypeDurationSecond.
func takeDuration(data *framework.FieldData, name string, into *time.Duration) {
	if v, ok := data.GetOk(name); ok {
		if n, ok := v.(int); ok {
			*into = time.Duration(n) * time.Second
		}
	}
}
