package schema

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// A Reference is what the file only names, to be looked up when it is needed:
// so that a plan can be made, shown and saved without any secret, and before
// the server has given out its accessors and ids. In a value's strings it
// stands as [Reference.Token].
type Reference struct {
	// Of is what is referred to.
	Of RefKind
	// Name is which one.
	Name string
}

// A RefKind is a kind of thing that can be referred to.
type RefKind string

const (
	// RefSecret is the value of a secret block.
	RefSecret RefKind = "secret"
	// RefAccessor is the accessor of the auth mount at that path.
	RefAccessor RefKind = "accessor"
	// RefMFAMethod is the id of the MFA method of that name.
	RefMFAMethod RefKind = "mfa"
	// RefGroup is the id of the identity group of that name.
	RefGroup RefKind = "group"
	// RefEntity is the id of the identity entity of that name.
	RefEntity RefKind = "entity"
	// RefRoleID is the role_id of the AppRole "mount/role".
	RefRoleID RefKind = "role_id"
)

// What surrounds a token: private-use characters, which no file has a use for; a
// file that holds them is refused.
const (
	Open  = '\uE000'
	Close = '\uE001'
)

// Token is how the reference stands in a string.
func (r Reference) Token() string {
	return string(Open) + string(r.Of) + ":" + r.Name + string(Close)
}

// String is how the reference is shown.
func (r Reference) String() string {
	if r.Of == RefSecret {
		return "(secret " + r.Name + ")"
	}
	return fmt.Sprintf("(%s of %s)", r.Of, r.Name)
}

// References finds every reference in a value, in order.
func References(v any) []Reference {
	var out []Reference
	walk(v, func(s string) string {
		_, _ = expand(s, func(r Reference) (string, bool) {
			out = append(out, r)
			return "", true
		})
		return s
	})
	return out
}

// HasSecret tells whether a value refers to a secret.
func HasSecret(v any) bool {
	for _, r := range References(v) {
		if r.Of == RefSecret {
			return true
		}
	}
	return false
}

// Expand puts what resolve answers in the place of each reference. It returns
// the references that resolve did not know; they stay as they are.
func Expand(v any, resolve func(Reference) (string, bool)) (any, []Reference) {
	var unknown []Reference
	out := walk(v, func(s string) string {
		text, missing := expand(s, resolve)
		unknown = append(unknown, missing...)
		return text
	})
	return out, unknown
}

// Show is the value as it may be shown: secrets and what is not known yet by
// their names.
func Show(v any) any {
	out, _ := Expand(v, func(r Reference) (string, bool) { return r.String(), true })
	return out
}

func expand(s string, resolve func(Reference) (string, bool)) (string, []Reference) {
	if !strings.ContainsRune(s, Open) {
		return s, nil
	}
	var (
		b       strings.Builder
		unknown []Reference
	)
	for {
		before, rest, found := strings.Cut(s, string(Open))
		b.WriteString(before)
		if !found {
			return b.String(), unknown
		}
		token, after, _ := strings.Cut(rest, string(Close))
		of, name, _ := strings.Cut(token, ":")
		r := Reference{Of: RefKind(of), Name: name}
		if text, ok := resolve(r); ok {
			b.WriteString(text)
		} else {
			b.WriteString(r.Token())
			unknown = append(unknown, r)
		}
		s = after
	}
}

// walk maps every string of a value, objects in the order of their names; the
// value itself is not changed.
func walk(v any, f func(string) string) any {
	switch v := v.(type) {
	case string:
		return f(v)
	case []any:
		out := make([]any, len(v))
		for i, item := range v {
			out[i] = walk(item, f)
		}
		return out
	case []string:
		out := make([]string, len(v))
		for i, item := range v {
			out[i] = f(item)
		}
		return out
	case map[string]any:
		out := make(map[string]any, len(v))
		for _, name := range slices.Sorted(maps.Keys(v)) {
			out[name] = walk(v[name], f)
		}
		return out
	case map[string]string:
		out := make(map[string]string, len(v))
		for _, name := range slices.Sorted(maps.Keys(v)) {
			out[name] = f(v[name])
		}
		return out
	}
	return v
}
