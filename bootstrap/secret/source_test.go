package secret_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/secret"
)

// load reads one source in a world.
func load(t *testing.T, w secret.World, from string) (string, error) {
	t.Helper()
	s := secret.NewStore(w, secret.NewRedactor())
	if err := s.Declare(secret.Source{Name: "it", From: from}); err != nil {
		t.Fatal(err)
	}
	err := s.Load(t.Context(), nil)["it"]
	value, ok := s.Value("it")
	if ok != (err == nil) || ok != s.Available([]string{"it"}) {
		t.Errorf("there is a value: %v, with the error %v", ok, err)
	}
	if why := s.Why("it"); !errors.Is(why, err) || (why == nil) != ok {
		t.Errorf("Why says %v, Load said %v", why, err)
	}
	return value, err
}

func TestParseSource(t *testing.T) {
	t.Parallel()
	for from, want := range map[string][2]string{
		"env:OPENAI_KEY2":          {"env", "OPENAI_KEY2"},
		"file:/a:b":                {"file", "/a:b"},
		"file:keys/openai":         {"file", "keys/openai"},
		"stdin:":                   {"stdin", ""},
		"stdin:field":              {"stdin", "field"},
		"prompt:":                  {"prompt", ""},
		"prompt:Key of Claude: x":  {"prompt", "Key of Claude: x"},
		"vault:secret/ai/openai#k": {"vault", "secret/ai/openai#k"},
	} {
		scheme, rest, err := secret.ParseSource(from)
		if diff := cmp.Diff(want, [2]string{scheme, rest}); diff != "" || err != nil {
			t.Errorf("%s: %v %s", from, err, diff)
		}
	}
	for _, from := range []string{
		"", "canary", "canary:", "sk-canary:x", "ENV:canary", "stdin", "env:", "env:sk-canary", "env:1canary", "env:can ary",
		"file:", "file:canary\x00", "vault:", "vault:canary", "vault:canary#f", "vault:secret/canary", "vault:secret/canary#", "vault:/canary#f",
	} {
		_, _, err := secret.ParseSource(from)
		if err == nil || strings.Contains(err.Error(), "canary") {
			t.Errorf("%q: %v", from, err)
		}
	}
	if _, _, err := secret.ParseSource("canary"); err != nil {
		for _, scheme := range []string{"env:", "file:", "stdin:", "prompt:", "vault:"} {
			if !strings.Contains(err.Error(), scheme) {
				t.Errorf("%v: nothing of %s", err, scheme)
			}
		}
	}
}

func TestEnvironment(t *testing.T) {
	t.Parallel()
	w := secret.World{Env: func(name string) (string, bool) {
		v, ok := map[string]string{"KEY": "value\n", "EMPTY": ""}[name]
		return v, ok
	}}
	if got, err := load(t, w, "env:KEY"); got != "value\n" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	for _, name := range []string{"EMPTY", "NONE"} {
		if _, err := load(t, w, "env:"+name); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := errors.Join(os.WriteFile(path, []byte(text), 0o600), os.Chmod(path, mode)); err != nil {
			t.Fatal(err)
		}
	}
	w := secret.World{Dir: dir}
	write("one", "canary\n", 0o600)
	write("two", "canary\r\n", 0o400)
	write("three", "canary\n\n", 0o600)
	write("none", "canary", 0o600)
	for name, want := range map[string]string{
		"one": "canary", "two": "canary", "three": "canary\n", "none": "canary", filepath.Join(dir, "one"): "canary",
	} {
		if got, err := load(t, w, "file:"+name); got != want || err != nil {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	write("group", "canary", 0o640)
	write("world", "canary", 0o604)
	write("large", strings.Repeat("canary", 200_000), 0o600)
	for name, want := range map[string]string{
		"group": "chmod 600", "world": "chmod 600", "large": "larger than 1 MB", "absent": "no such file", ".": "neither a file nor a pipe",
	} {
		if _, err := load(t, w, "file:"+name); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := os.Symlink(filepath.Join(dir, "world"), filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	if _, err := load(t, w, "file:link"); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("a link to a file of everybody: %v", err)
	}
}

// What a shell makes of <(command).
func TestPipeAsFile(t *testing.T) {
	t.Parallel()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	go func() {
		io.WriteString(w, "from a pipe\n")
		w.Close()
	}()
	if got, err := load(t, secret.World{}, fmt.Sprintf("file:/dev/fd/%d", r.Fd())); got != "from a pipe" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}

func TestStdin(t *testing.T) {
	t.Parallel()
	if got, err := load(t, secret.World{Stdin: iotest.OneByteReader(strings.NewReader("canary\n"))}, "stdin:"); got != "canary" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	for text, want := range map[string]string{
		`{"a":"canary"}`:             "has no field b",
		`{"a":"canary","b":1}`:       "not one JSON object of strings",
		`{"b":"canary"} {"b":"c"}`:   "not one JSON object of strings",
		`canary`:                     "not one JSON object of strings",
		``:                           "not one JSON object of strings",
		strings.Repeat("c", 1<<20+1): "larger than 1 MB",
	} {
		_, err := load(t, secret.World{Stdin: strings.NewReader(text)}, "stdin:b")
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "canary") {
			t.Errorf("%.20s: %v", text, err)
		}
	}
}

func TestStdinIsReadOnce(t *testing.T) {
	t.Parallel()
	s := secret.NewStore(secret.World{Stdin: strings.NewReader(`{"a":"value a","b":"value b"}` + "\n")}, secret.NewRedactor())
	for _, name := range []string{"a", "b", "c"} {
		if err := s.Declare(secret.Source{Name: name, From: "stdin:" + name}); err != nil {
			t.Fatal(err)
		}
	}
	if failed := s.Load(t.Context(), []string{"b"}); len(failed) != 0 {
		t.Error(failed)
	}
	failed := s.Load(t.Context(), nil)
	if len(failed) != 1 || failed["c"] == nil {
		t.Error(failed)
	}
	a, _ := s.Value("a")
	b, _ := s.Value("b")
	if a != "value a" || b != "value b" || !s.Available([]string{"a", "b"}) || s.Available([]string{"a", "c"}) {
		t.Errorf("%q, %q", a, b)
	}
}

func TestPrompt(t *testing.T) {
	t.Parallel()
	var asked []string
	w := secret.World{Prompt: func(_ context.Context, text string) (string, error) {
		asked = append(asked, text)
		return "typed", nil
	}}
	for _, from := range []string{"prompt:", "prompt:Key of Claude"} {
		if got, err := load(t, w, from); got != "typed" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
	}
	if diff := cmp.Diff([]string{"it", "Key of Claude"}, asked); diff != "" {
		t.Error(diff)
	}
	if _, err := load(t, secret.World{}, "prompt:"); err == nil || !strings.Contains(err.Error(), "no terminal") {
		t.Errorf("without a terminal: %v", err)
	}
}

func TestVault(t *testing.T) {
	t.Parallel()
	denied := errors.New("permission denied")
	w := secret.World{Vault: func(_ context.Context, path string) (map[string]any, error) {
		switch path {
		case "secret/ai/openai":
			return map[string]any{"api_key": "value", "number": 1}, nil
		case "secret/closed":
			return nil, denied
		}
		return nil, nil
	}}
	if got, err := load(t, w, "vault:secret/ai/openai#api_key"); got != "value" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	for from, want := range map[string]string{
		"vault:secret/ai/openai#other":  "no field other",
		"vault:secret/ai/openai#number": "no text",
		"vault:secret/none#x":           "no entry secret/none",
		"vault:secret/closed#x":         "permission denied",
	} {
		if _, err := load(t, w, from); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", from, err)
		}
	}
	if _, err := load(t, w, "vault:secret/closed#x"); !errors.Is(err, denied) {
		t.Errorf("%v does not wrap the reason", err)
	}
	if _, err := load(t, secret.World{}, "vault:secret/x#y"); err == nil {
		t.Error("without a server there is no error")
	}
}

func TestAWorldOfNothing(t *testing.T) {
	t.Parallel()
	for _, from := range []string{"env:X", "stdin:", "prompt:", "vault:a/b#c"} {
		if _, err := load(t, secret.World{}, from); err == nil {
			t.Errorf("%s: no error", from)
		}
	}
}
