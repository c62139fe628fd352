package backend

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/agnivade/levenshtein"
	"github.com/hashicorp/go-secure-stdlib/parseutil"
	"github.com/hashicorp/vault/sdk/framework"
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
