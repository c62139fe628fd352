package providertest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
)

// readObject reads a request's JSON object into the given fields, by exact
// name. A name that is not among them, a wrong type, or anything but one
// object is an error.
func readObject(r *http.Request, body []byte, fields map[string]any) error {
	if t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || t != "application/json" {
		return errors.New("the body must be sent as application/json")
	}
	raw := map[string]json.RawMessage{}
	if err := json.Unmarshal(body, &raw); err != nil || bytes.Equal(bytes.TrimSpace(body), []byte("null")) {
		return errors.New("the body must be one JSON object")
	}
	for name, value := range raw {
		into, ok := fields[name]
		if !ok {
			return fmt.Errorf("unrecognized argument: %s", name)
		}
		if err := json.Unmarshal(value, into); err != nil {
			return fmt.Errorf("invalid type for %q", name)
		}
	}
	return nil
}

// checkQuery refuses parameters that the vendor's specification does not have.
func checkQuery(q url.Values, known ...string) error {
	for name, values := range q {
		if !slices.Contains(known, name) {
			return fmt.Errorf("unknown parameter: %q", name)
		}
		if len(values) != 1 {
			return fmt.Errorf("parameter %q is given %d times", name, len(values))
		}
	}
	return nil
}

// limit reads the page size.
func limit(q url.Values, standard, most int) (int, error) {
	if !q.Has("limit") {
		return standard, nil
	}
	n, err := strconv.Atoi(q.Get("limit"))
	if err != nil || n < 1 || n > most {
		return 0, fmt.Errorf("limit must be a number from 1 to %d", most)
	}
	return n, nil
}

// page cuts what follows the cursor out of a list. It reports whether the
// cursor was found and whether more follows.
func page[T any](list []T, id func(T) string, after string, size int) (cut []T, more, ok bool) {
	if after != "" {
		i := slices.IndexFunc(list, func(v T) bool { return id(v) == after })
		if i < 0 {
			return nil, false, false
		}
		list = list[i+1:]
	}
	if len(list) > size {
		return list[:size], true, true
	}
	return list, false, true
}

// An arg is one argument of a request's body.
type arg[T any] struct {
	value T
	// set: there, and not null. null: there, and null.
	set, null bool
}

// UnmarshalJSON implements [json.Unmarshaler].
func (a *arg[T]) UnmarshalJSON(raw []byte) error {
	if string(raw) == "null" {
		a.null = true
		return nil
	}
	a.set = true
	return json.Unmarshal(raw, &a.value)
}

// or is the argument's value, or another one when there is none.
func (a *arg[T]) or(other T) T {
	if a.set {
		return a.value
	}
	return other
}

// readModel reads what a completion needs of a request. The rest of a
// completion's body is nobody's business here.
func readModel(body []byte) (string, error) {
	var in struct {
		Model    string            `json:"model"`
		Messages []json.RawMessage `json:"messages"`
	}
	if err := json.Unmarshal(body, &in); err != nil {
		return "", errors.New("the body must be one JSON object")
	}
	if in.Model == "" || len(in.Messages) == 0 {
		return "", errors.New("missing required parameter: model and messages are needed")
	}
	return in.Model, nil
}
