package provider

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strings"
)

// maxPages times a page of 100 is more keys than any account is allowed. A
// list that goes on is broken, and would hold a rotation for ever.
const maxPages = 100

// list walks a list whose pages have the shape {data, has_more, last_id}, and
// sends the last id back as query parameter cursor. It gives the whole list or
// an error: half a list would make a key look gone.
func list[T any](ctx context.Context, c *Client, path []string, query url.Values, cursor string) ([]T, error) {
	query = maps.Clone(query)
	seen := map[string]bool{}
	var all []T
	for range maxPages {
		var page struct {
			Data    *[]T   `json:"data"`
			HasMore bool   `json:"has_more"`
			LastID  string `json:"last_id"`
		}
		if _, err := c.Do(ctx, Call{Method: http.MethodGet, Path: path, Query: query, Out: &page}); err != nil {
			return nil, err
		}
		if page.Data == nil {
			return nil, fmt.Errorf("the reply holds no list: %w", ErrUnknown)
		}
		all = append(all, *page.Data...)
		if !page.HasMore {
			return all, nil
		}
		if page.LastID == "" || seen[page.LastID] {
			return nil, fmt.Errorf("the list says it goes on, but not where: %w", ErrUnknown)
		}
		seen[page.LastID] = true
		query.Set(cursor, page.LastID)
	}
	return nil, fmt.Errorf("the list has more than %d pages: %w", maxPages, ErrUnknown)
}

// linked is [list] for pages of the shape {value, nextLink}. A link is followed
// under the client's base only.
func linked[T any](ctx context.Context, c *Client, path []string, query url.Values) ([]T, error) {
	var all []T
	for range maxPages {
		var page struct {
			Value *[]T   `json:"value"`
			Next  string `json:"nextLink"`
		}
		if _, err := c.Do(ctx, Call{Method: http.MethodGet, Path: path, Query: query, Out: &page}); err != nil {
			return nil, err
		}
		if page.Value == nil {
			return nil, fmt.Errorf("the reply holds no list: %w", ErrUnknown)
		}
		all = append(all, *page.Value...)
		if page.Next == "" {
			return all, nil
		}
		var ok bool
		if path, query, ok = c.inside(page.Next); !ok {
			return nil, fmt.Errorf("the list goes on, but not at this host: %w", ErrUnknown)
		}
	}
	return nil, fmt.Errorf("the list has more than %d pages: %w", maxPages, ErrUnknown)
}

// confirmed is err, the outcome of withdrawing id, unless that is a 404. A
// wrong base_url answers 404 too, in the provider's own shape, while the key
// lives on; so it is success only if the list that would show id can be had
// and lacks it, and [ErrUnknown] if not.
func confirmed[T any, ID ~string](err error, id ID, all func() ([]T, error), idOf func(T) ID) error {
	if !NotFound(err) {
		return err
	}
	things, err := all()
	if err != nil {
		if !errors.Is(err, ErrUnknown) {
			err = late(err)
		}
		return fmt.Errorf("confirming that it is gone: %w", err)
	}
	for _, t := range things {
		switch idOf(t) {
		case id:
			return fmt.Errorf("it is not found, but still listed: %w", ErrUnknown)
		case "":
			return fmt.Errorf("the list holds something without an id: %w", ErrUnknown)
		}
	}
	return nil
}

// hinted reports whether a provider's redacted form of a key, such as
// sk-abc...def, can be that of secret. A form that shows too little to tell
// keys apart fits none: the wrong id would be the wrong key withdrawn.
func hinted(hint string, secret Secret) bool {
	const least = 3 // characters of the random end; the beginning is often the same for all
	s := secret.Reveal()
	i, j := strings.IndexAny(hint, hidden), strings.LastIndexAny(hint, hidden)
	if i < 0 {
		return false
	}
	before, after := hint[:i], strings.TrimLeft(hint[j:], hidden)
	return len(after) >= least && len(before)+len(after) < len(s) &&
		strings.HasPrefix(s, before) && strings.HasSuffix(s, after)
}

// fit is hinted where a form that shows too little is no proof of another key.
func fit(hint string, secret Secret) Fit {
	s := secret.Reveal()
	before, after := hint, hint
	i, j := strings.IndexAny(hint, hidden), strings.LastIndexAny(hint, hidden)
	if i >= 0 {
		before, after = hint[:i], strings.TrimLeft(hint[j:], hidden)
	}
	switch {
	case hinted(hint, secret):
		return Fits
	case strings.HasPrefix(s, before) && strings.HasSuffix(s, after):
		return FitsPerhaps
	case i < 0 && (strings.HasPrefix(s, before) || strings.HasSuffix(s, after)):
		return FitsPerhaps
	}
	return FitsNot
}

// hidden are the characters that providers put in place of a key's middle; no
// key holds them.
const hidden = ".*…•"

// match is the answer of [Keys.Identify]; fits tells a key's id, and whether it
// can be secret's.
func match[T any](keys []T, secret Secret, fits func(T) (KeyID, Fit)) Match {
	m := Match{Listed: map[KeyID]Fit{}}
	var ids []KeyID
	for _, k := range keys {
		id, f := fits(k)
		if f == Fits && m.Listed[id] != Fits { // a list that changes between two pages may have a key twice
			ids = append(ids, id)
		}
		m.Listed[id] = max(m.Listed[id], f)
	}
	m.Key = only(ids, secret)
	return m
}

// only is the key that a secret can only be: one match is it; none or several
// tell nothing.
func only(ids []KeyID, secret Secret) Key {
	if len(ids) != 1 {
		return Key{}
	}
	return Key{ID: ids[0], Secret: secret}
}
