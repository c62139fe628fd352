package secret

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
)

// A Source is where the secret of a name comes from.
type Source struct {
	Name, From string
}

// A World is what sources read from. What is nil is not there.
type World struct {
	// Env is [os.LookupEnv].
	Env   func(string) (string, bool)
	Stdin io.Reader
	// Prompt asks at the terminal, as [Terminal] does.
	Prompt func(ctx context.Context, text string) (string, error)
	// Vault reads a key-value entry, of either version, at mount/path. No entry
	// is nil and no error.
	Vault func(ctx context.Context, path string) (map[string]any, error)
	// Dir is what a relative path of a file is relative to.
	Dir string
}

// ParseSource takes a source apart, and says what is wrong with it without
// repeating it.
func ParseSource(from string) (scheme, rest string, err error) {
	scheme, rest, found := strings.Cut(from, ":")
	if !found {
		scheme = ""
	}
	switch scheme {
	case "env":
		if !isVariable(rest) {
			return "", "", errors.New("after env: stands the name of an environment variable: letters, digits and _, no digit first")
		}
	case "file":
		if rest == "" || strings.ContainsRune(rest, 0) {
			return "", "", errors.New("after file: stands the path of a file")
		}
	case "stdin", "prompt":
	case "vault":
		path, field, _ := strings.Cut(rest, "#")
		if mount, entry, _ := strings.Cut(path, "/"); mount == "" || entry == "" || field == "" {
			return "", "", errors.New("after vault: stands an entry and its field: vault:secret/ai/openai#api_key")
		}
	default:
		return "", "", errors.New("a secret comes from env:NAME, file:PATH, stdin:, stdin:FIELD, prompt:, prompt:TEXT or vault:MOUNT/PATH#FIELD; it never stands in the file itself")
	}
	return scheme, rest, nil
}

func isVariable(name string) bool {
	for i, r := range name {
		letter := r == '_' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z'
		if !letter && (i == 0 || r < '0' || r > '9') {
			return false
		}
	}
	return name != ""
}

// fetch reads a source that [ParseSource] has accepted.
func (s *Store) fetch(ctx context.Context, name, scheme, rest string) (string, error) {
	switch scheme {
	case "env":
		return s.fromEnv(rest)
	case "file":
		return s.fromFile(ctx, rest)
	case "stdin":
		return s.fromStdin(ctx, rest)
	case "prompt":
		return s.fromPrompt(ctx, name, rest)
	case "vault":
		return s.fromVault(ctx, rest)
	}
	return "", fmt.Errorf("nothing reads a source of the kind %s", scheme)
}

func (s *Store) fromEnv(variable string) (string, error) {
	if s.world.Env == nil {
		return "", errors.New("there is no environment to read")
	}
	value, ok := s.world.Env(variable)
	switch {
	case !ok:
		return "", fmt.Errorf("the environment variable %s is not set", variable)
	case value == "":
		return "", fmt.Errorf("the environment variable %s is empty", variable)
	}
	return value, nil
}

func (s *Store) fromPrompt(ctx context.Context, name, text string) (string, error) {
	if s.world.Prompt == nil {
		return "", errors.New("there is no terminal to ask at; env:, file: or stdin: need none")
	}
	if text == "" {
		text = name
	}
	return s.world.Prompt(ctx, text)
}

func (s *Store) fromVault(ctx context.Context, rest string) (string, error) {
	path, field, _ := strings.Cut(rest, "#")
	if s.world.Vault == nil {
		return "", fmt.Errorf("%s cannot be read here: there is no Vault server to ask", path)
	}
	entry, err := s.world.Vault(ctx, path)
	if err != nil {
		return "", fmt.Errorf("reading the entry %s: %w", path, err)
	}
	if entry == nil {
		return "", fmt.Errorf("there is no entry %s in Vault", path)
	}
	value, ok := entry[field]
	if !ok {
		return "", fmt.Errorf("the entry %s has no field %s", path, field)
	}
	text, ok := value.(string)
	if !ok {
		return "", fmt.Errorf("the field %s of the entry %s is no text", field, path)
	}
	return text, nil
}
