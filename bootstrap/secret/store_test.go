package secret_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/secret"
)

func TestValuesThatAreRefused(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]string{
		"\n":             "empty",
		"abc":            "shorter than 4 bytes",
		"abc\n":          "shorter than 4 bytes",
		"canary\x00":     "NUL",
		"canary\xff\xfe": "UTF-8",
	} {
		_, err := load(t, secret.World{Stdin: strings.NewReader(value)}, "stdin:")
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "canary") || strings.Contains(err.Error(), "abc") {
			t.Errorf("%q: %v", value, err)
		}
	}
}

func TestDeclare(t *testing.T) {
	t.Parallel()
	s := secret.NewStore(secret.World{}, secret.NewRedactor())
	for _, tc := range []struct{ name, from, want string }{
		{"a", "env:A", ""},
		{"a", "env:A", ""},
		{"a", "env:B", `"a" stands here a second time`},
		{"b", "canary", "a secret comes from"},
		{"c", "stdin:one", ""},
		{"d", "stdin:two", ""},
		{"e", "stdin:", "stdin:FIELD"},
	} {
		err := s.Declare(secret.Source{Name: tc.name, From: tc.from})
		if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
			t.Errorf("%s from %s: %v", tc.name, tc.from, err)
		}
	}
	if why := s.Why("a"); why == nil {
		t.Error("nothing was read, and Why says nothing")
	}
	if failed := s.Load(t.Context(), []string{"unknown"}); failed["unknown"] == nil || len(failed) != 1 {
		t.Errorf("an unknown name: %v", failed)
	}
}

func TestWhatFailedIsTriedAgain(t *testing.T) {
	t.Parallel()
	reads := make(map[string]int)
	s := secret.NewStore(secret.World{Env: func(name string) (string, bool) {
		reads[name]++
		return "value", name == "A" || reads[name] == 2
	}}, secret.NewRedactor())
	for _, name := range []string{"A", "B"} {
		if err := s.Declare(secret.Source{Name: name, From: "env:" + name}); err != nil {
			t.Fatal(err)
		}
	}
	if failed := s.Load(t.Context(), nil); len(failed) != 1 || failed["B"] == nil {
		t.Errorf("at first: %v", failed)
	}
	if failed := s.Load(t.Context(), nil); len(failed) != 0 || s.Why("B") != nil {
		t.Errorf("then: %v, %v", failed, s.Why("B"))
	}
	if reads["A"] != 1 {
		t.Errorf("A was read %d times", reads["A"])
	}
}

// Whoever interrupts the program does not have to end its input first.
func TestInterrupted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r, w := io.Pipe()
		s := secret.NewStore(secret.World{Stdin: r}, secret.NewRedactor())
		for _, source := range []secret.Source{{Name: "a", From: "stdin:"}, {Name: "b", From: "env:B"}} {
			if err := s.Declare(source); err != nil {
				t.Fatal(err)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		failed := s.Load(ctx, nil)
		for _, name := range []string{"a", "b"} {
			if !errors.Is(failed[name], context.DeadlineExceeded) {
				t.Errorf("%s: %v", name, failed[name])
			}
		}
		w.Close()
	})
}

func TestASecretIsMaskedOnceItIsLoaded(t *testing.T) {
	t.Parallel()
	r := secret.NewRedactor()
	s := secret.NewStore(secret.World{Stdin: strings.NewReader("canary\n")}, r)
	if err := s.Declare(secret.Source{Name: "openai", From: "stdin:"}); err != nil {
		t.Fatal(err)
	}
	s.Load(t.Context(), nil)
	if got := r.String("the canary sings"); got != "the (secret openai) sings" {
		t.Error(got)
	}
	w := r.Writer(io.Discard)
	io.WriteString(w, "can")
	for _, v := range []any{s, r, w} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			if got := fmt.Sprintf(verb, v); strings.Contains(got, "can") {
				t.Errorf("%s of %T: %s", verb, v, got)
			}
		}
	}
}
