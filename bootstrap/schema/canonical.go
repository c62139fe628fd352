package schema

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Canonical brings a value, the file's or Vault's, to the one form in which
// two can be compared: string, bool, int64 (a number, or a duration in
// seconds), []string (a list; a set in order and without repetition),
// map[string]string, or a decoded JSON value. Empty is nil: "" and 0 and false
// and an empty list are what Vault answers for what was never set.
func (f *Field) Canonical(v any) (any, error) {
	c, err := f.typed(v)
	if err != nil || empty(c) {
		return nil, err
	}
	if f.Lower {
		c = lower(c)
	}
	if f.Normal != nil {
		c = f.Normal(c)
	}
	if empty(c) {
		return nil, nil
	}
	return c, nil
}

// Plain is a canonical value as it is shown: an empty switch or number is false
// or 0, which says more than nothing does.
func (f *Field) Plain(v any) any {
	switch {
	case v != nil:
		return v
	case f.Type == Bool:
		return false
	case f.Type == Int, f.Type == Duration:
		return int64(0)
	}
	return nil
}

// Equal tells whether two canonical values are the same.
func Equal(a, b any) bool { return reflect.DeepEqual(a, b) }

func (f *Field) typed(v any) (any, error) {
	if v == nil {
		return nil, nil
	}
	switch f.Type {
	case String:
		return scalar(v, "a string")
	case Bool:
		return boolean(v)
	case Int:
		return integer(v)
	case Duration:
		return Seconds(v)
	case List:
		return list(v, false)
	case Set:
		return set(v)
	case Map:
		return stringMap(v)
	case JSON:
		return document(v)
	case Any:
		return plainNumbers(v), nil
	}
	return nil, fmt.Errorf("field %q has an unknown type", f.Name)
}

// empty tells whether Vault would answer the same for what was never set.
func empty(v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case string:
		return v == ""
	case bool:
		return !v
	case int64:
		return v == 0
	case []string:
		return len(v) == 0
	case map[string]string:
		return len(v) == 0
	case map[string]any:
		return len(v) == 0
	case []any:
		return len(v) == 0
	}
	return false
}

func lower(v any) any {
	switch v := v.(type) {
	case string:
		return strings.ToLower(v)
	case []string:
		out := make([]string, len(v))
		for i, s := range v {
			out[i] = strings.ToLower(s)
		}
		slices.Sort(out)
		return slices.Compact(out)
	}
	return v
}

func scalar(v any, what string) (string, error) {
	switch v := v.(type) {
	case string:
		return v, nil
	case bool:
		return strconv.FormatBool(v), nil
	case json.Number:
		return v.String(), nil
	case int64:
		return strconv.FormatInt(v, 10), nil
	case int:
		return strconv.Itoa(v), nil
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64), nil
	}
	return "", fmt.Errorf("%s is wanted, not %s", what, shape(v))
}

func boolean(v any) (bool, error) {
	switch v := v.(type) {
	case bool:
		return v, nil
	case string:
		if b, err := strconv.ParseBool(v); err == nil {
			return b, nil
		}
	}
	return false, errors.New("true or false is wanted")
}

func integer(v any) (int64, error) {
	text, err := scalar(v, "a whole number")
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		f, ferr := strconv.ParseFloat(text, 64)
		if ferr != nil || f != math.Trunc(f) || math.Abs(f) > 1<<53 {
			return 0, errors.New("a whole number is wanted")
		}
		n = int64(f)
	}
	return n, nil
}

// Seconds reads a duration as Vault does: a number is seconds, "d" is a day.
func Seconds(v any) (int64, error) {
	text, err := scalar(v, "a duration")
	if err != nil {
		return 0, err
	}
	text = strings.TrimSpace(text)
	if text == "" {
		return 0, nil
	}
	if n, err := integer(text); err == nil {
		return n, nil
	}
	wrong := errors.New(`a duration is wanted, as in "30m", "24h", "7d" or a number of seconds`)
	if days, ok := strings.CutSuffix(text, "d"); ok {
		n, err := strconv.ParseInt(days, 10, 64)
		if err != nil || n > math.MaxInt64/86400 || n < math.MinInt64/86400 {
			return 0, wrong
		}
		return n * 86400, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		return 0, wrong
	}
	if d%time.Second != 0 { // Vault would take the rest for nothing, and 500ms for 0: its default
		return 0, errors.New("a duration of whole seconds is wanted")
	}
	return int64(d / time.Second), nil
}

func list(v any, commas bool) ([]string, error) {
	switch v := v.(type) {
	case []string:
		return v, nil
	case []any:
		out := make([]string, 0, len(v))
		for _, item := range v {
			s, err := scalar(item, "a list of strings")
			if err != nil {
				return nil, err
			}
			out = append(out, s)
		}
		return out, nil
	case map[string]any:
		return nil, errors.New("a list of strings is wanted, not an object")
	}
	s, err := scalar(v, "a list of strings")
	if err != nil || s == "" {
		return nil, err
	}
	if commas {
		return strings.Split(s, ","), nil
	}
	return []string{s}, nil
}

func set(v any) ([]string, error) {
	items, err := list(v, true)
	if err != nil {
		return nil, err
	}
	out := make([]string, 0, len(items))
	for _, s := range items {
		if s = strings.TrimSpace(s); s != "" {
			out = append(out, s)
		}
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

func stringMap(v any) (map[string]string, error) {
	switch v := v.(type) {
	case map[string]string:
		return v, nil
	case map[string]any:
		out := make(map[string]string, len(v))
		for name, item := range v {
			if item == nil {
				continue
			}
			s, err := scalar(item, "an object of strings")
			if err != nil {
				return nil, err
			}
			out[name] = s
		}
		return out, nil
	}
	return nil, fmt.Errorf("an object of strings is wanted, not %s", shape(v))
}

func document(v any) (any, error) {
	text, ok := v.(string)
	if !ok {
		return plainNumbers(v), nil
	}
	if strings.TrimSpace(text) == "" {
		return nil, nil
	}
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	var out any
	if err := d.Decode(&out); err != nil {
		return nil, errors.New("a JSON document is wanted")
	}
	if d.More() {
		return nil, errors.New("one JSON document is wanted, and there is more after it")
	}
	return plainNumbers(out), nil
}

// plainNumbers makes 1, 1.0 and json.Number("1") the same.
func plainNumbers(v any) any {
	switch v := v.(type) {
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return n
		}
		if f, err := v.Float64(); err == nil {
			return plainNumbers(f)
		}
		return v.String()
	case float64:
		if v == math.Trunc(v) && math.Abs(v) < 1<<53 {
			return int64(v)
		}
		return v
	case int:
		return int64(v)
	case []any:
		out := make([]any, len(v))
		for i, item := range v {
			out[i] = plainNumbers(item)
		}
		return out
	case map[string]any:
		out := make(map[string]any, len(v))
		for name, item := range v {
			out[name] = plainNumbers(item)
		}
		return out
	}
	return v
}

// shape names a value's shape for a person, without showing the value.
func shape(v any) string {
	switch v.(type) {
	case string:
		return "a string"
	case bool:
		return "true or false"
	case json.Number, int64, int, float64:
		return "a number"
	case []any, []string:
		return "a list"
	case map[string]any, map[string]string:
		return "an object"
	}
	return "this"
}
