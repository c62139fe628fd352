package secret

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"
)

// ShortestSecret is the least number of bytes that a secret has: to mask less
// would garble what is printed, and show by that what the secret is.
const ShortestSecret = 4

var errNotLoaded = errors.New("it has not been read")

// A Store holds the secrets of one run. It is safe for concurrent use.
type Store struct {
	world    World
	redactor *Redactor

	mu      sync.Mutex
	sources []Source
	values  map[string]string
	reasons map[string]error

	// Standard input can be read once.
	stdinRead bool
	stdin     []byte
	stdinErr  error
}

// NewStore makes a store that tells r of every secret before anybody else
// learns it.
func NewStore(w World, r *Redactor) *Store {
	return &Store{world: w, redactor: r, values: make(map[string]string), reasons: make(map[string]error)}
}

// Format shows how many secrets there are, whatever the verb.
func (s *Store) Format(f fmt.State, _ rune) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, _ = fmt.Fprintf(f, "(store of %d secrets)", len(s.sources))
}

// Declare makes a source known; nothing is read yet. It is an error if the
// source is none, if the name has another one, or if standard input cannot be
// both.
func (s *Store) Declare(source Source) error {
	scheme, rest, err := ParseSource(source.From)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, other := range s.sources {
		if other == source {
			return nil
		}
		if other.Name == source.Name {
			return fmt.Errorf("a secret %q stands here a second time", source.Name)
		}
		otherScheme, otherRest, _ := ParseSource(other.From) // was declared
		if scheme == "stdin" && otherScheme == "stdin" && (rest == "" || otherRest == "") {
			return fmt.Errorf("standard input is the secret %q already; for several it has to be a JSON object: stdin:FIELD", other.Name)
		}
	}
	s.sources = append(s.sources, source)
	return nil
}

// Load reads the secrets of these names that have not been read yet, one after
// another, and all if there are no names. It returns why not, by name.
func (s *Store) Load(ctx context.Context, names []string) map[string]error {
	s.mu.Lock()
	defer s.mu.Unlock()
	failed := make(map[string]error)
	for _, name := range names {
		if !slices.ContainsFunc(s.sources, func(source Source) bool { return source.Name == name }) {
			failed[name] = fmt.Errorf("there is no secret %q", name)
		}
	}
	for _, source := range s.sources {
		if names != nil && !slices.Contains(names, source.Name) {
			continue
		}
		if _, there := s.values[source.Name]; there {
			continue
		}
		value, err := s.read(ctx, source)
		if err != nil {
			failed[source.Name], s.reasons[source.Name] = err, err
			continue
		}
		s.values[source.Name] = value
		delete(s.reasons, source.Name)
	}
	return failed
}

func (s *Store) read(ctx context.Context, source Source) (string, error) {
	if err := ctx.Err(); err != nil {
		return "", err
	}
	scheme, rest, err := ParseSource(source.From)
	if err != nil {
		return "", err
	}
	value, err := s.fetch(ctx, source.Name, scheme, rest)
	if err != nil {
		return "", err
	}
	if err := acceptable(value); err != nil {
		return "", err
	}
	if err := s.redactor.AddNamed(source.Name, value); err != nil {
		return "", err
	}
	return value, nil
}

// acceptable refuses what cannot be masked or would not arrive as it is.
func acceptable(value string) error {
	switch {
	case value == "":
		return errors.New("it is empty")
	case len(value) < ShortestSecret:
		return errTooShort
	case strings.ContainsRune(value, 0):
		return errors.New("it has a NUL in it, which no key or password has")
	case !utf8.ValidString(value):
		return errors.New("it is no UTF-8 text, and would not arrive as it is: encode it, as base64 for example")
	}
	return nil
}

// Value is a secret that has been read.
func (s *Store) Value(name string) (string, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, ok := s.values[name]
	return v, ok
}

// Why tells why there is no value; nil if there is one.
func (s *Store) Why(name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, there := s.values[name]; there {
		return nil
	}
	if err := s.reasons[name]; err != nil {
		return err
	}
	return errNotLoaded
}

// Available tells whether all of these have been read.
func (s *Store) Available(names []string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !slices.ContainsFunc(names, func(name string) bool {
		_, there := s.values[name]
		return !there
	})
}
