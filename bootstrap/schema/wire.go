package schema

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
)

// Wire is a value in the form in which Vault takes it. References must have
// been resolved.
func (f *Field) Wire(v any) (any, error) {
	switch f.Type {
	case Any:
		return v, nil
	case JSON:
		if text, ok := v.(string); ok {
			return text, nil
		}
		text, err := json.Marshal(v)
		if err != nil {
			return nil, fmt.Errorf("encoding %s: %w", f.Name, err)
		}
		return string(text), nil
	case String, Bool, Int, Duration, List, Set, Map:
	}
	c, err := f.typed(v)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.Name, err)
	}
	if f.Lower {
		c = lower(c)
	}
	return c, nil
}

// Unset is what resets the field to what Vault has when it is not told.
func (f *Field) Unset() any {
	if f.Default != nil {
		return f.Default
	}
	switch f.Type {
	case Bool:
		return false
	case Int, Duration:
		return 0
	case List, Set:
		return []string{}
	case Map, Any:
		return map[string]any{}
	case String, JSON:
	}
	return ""
}

// Shown is a canonical value for a person: without secrets, sorted, short.
func Shown(v any) string {
	switch v := Show(v).(type) {
	case nil:
		return "(none)"
	case string:
		return quoted(v)
	case []string:
		return compact(v)
	case map[string]string:
		sorted := make(map[string]any, len(v))
		for _, name := range slices.Sorted(maps.Keys(v)) {
			sorted[name] = v[name]
		}
		return compact(sorted)
	default:
		return compact(v)
	}
}

func quoted(s string) string { return compact(s) }

func compact(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		return "(a value)"
	}
	return string(text)
}
