package secret_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/secret"
)

func redactor(tb testing.TB, secrets ...string) *secret.Redactor {
	tb.Helper()
	r := secret.NewRedactor()
	for i, s := range secrets {
		if err := r.AddNamed(strconv.Itoa(i), s); err != nil {
			tb.Fatal(err)
		}
	}
	return r
}

func TestForms(t *testing.T) {
	t.Parallel()
	for _, s := range []string{
		"sk-live-0123456789", `p"a\s's<&>$w`, "pass word/with?all=of&it#%+~", "zwei Wörter\tund\u2028eine Glocke\a", "null", "~~~~",
	} {
		r := redactor(t, s)
		inJSON, _ := json.Marshal(s)
		twice, _ := json.Marshal(string(inJSON))
		var plain bytes.Buffer
		e := json.NewEncoder(&plain)
		e.SetEscapeHTML(false)
		e.Encode(s)
		in := func(text string) string { return strings.Trim(strings.TrimSpace(text), `"`) }
		for name, form := range map[string]string{
			"raw": s, "JSON": in(string(inJSON)), "JSON without HTML": in(plain.String()),
			"JSON in JSON": strings.TrimSuffix(strings.TrimPrefix(string(twice), `"\"`), `\""`),
			"query":        url.QueryEscape(s), "path": url.PathEscape(s),
			"JSON in a query": url.QueryEscape(in(string(inJSON))), "JSON in a path": url.PathEscape(in(plain.String())),
			"JSON in %+q": in(fmt.Sprintf("%+q", in(string(inJSON)))), "plain JSON in %+q": in(fmt.Sprintf("%+q", in(plain.String()))),
			"user": strings.TrimPrefix(url.UserPassword("", s).String(), ":"),
			"std":  base64.StdEncoding.EncodeToString([]byte(s)), "raw std": base64.RawStdEncoding.EncodeToString([]byte(s)),
			"url": base64.URLEncoding.EncodeToString([]byte(s)), "raw url": base64.RawURLEncoding.EncodeToString([]byte(s)),
			"hex": hex.EncodeToString([]byte(s)), "HEX": fmt.Sprintf("%X", s),
			"%q": in(fmt.Sprintf("%q", s)), "%+q": in(fmt.Sprintf("%+q", s)),
			"shell":        strings.ReplaceAll(s, "'", `'\''`),
			"double shell": strings.NewReplacer(`\`, `\\`, `"`, `\"`, "$", `\$`).Replace(s),
		} {
			if got := r.String("before " + form + " after"); got != "before (secret 0) after" {
				t.Errorf("%q as %s: %s", s, name, got)
			}
		}
	}
	r := redactor(t, "a/b?c=")
	if got := r.String("a%2fb%3fc%3d"); got != "(secret 0)" {
		t.Errorf("lower-case escapes: %s", got)
	}
}

func TestLinesAreMaskedByThemselves(t *testing.T) {
	t.Parallel()
	r := redactor(t, "-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49\r\n  \"AgEGCCqGSM49AwEHBG0w\"\nshort\n-----END PRIVATE KEY-----\n")
	got := r.String("-----BEGIN PRIVATE KEY----- short MIGHAgEAMBMGByqGSM49 | \\\"AgEGCCqGSM49AwEHBG0w\\\"")
	if want := "-----BEGIN PRIVATE KEY----- short (secret 0) | (secret 0)"; got != want {
		t.Errorf("got %s", got)
	}
}

func TestOverlaps(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name       string
		secrets    []string
		text, want string
	}{
		{"one in the other", []string{"abcd", "abcdefgh"}, "abcdefgh abcdxy", "(secret 1) (secret 0)xy"},
		{"one at the end of the other", []string{"efgh", "abcdefgh"}, "abcdefgh xefgh", "(secret 1) x(secret 0)"},
		{"one after the other", []string{"abcdef", "defghi"}, "_abcdefghi_", "_***_"},
		{"three in a row", []string{"abcdef", "defghi", "ghijkl"}, "abcdefghijkl", "***"},
		{"with itself", []string{"abab"}, "xabababy", "x(secret 0)y"},
		{"side by side", []string{"abcd", "efgh"}, "abcdefgh", "(secret 0)(secret 1)"},
		{"a longer one that does not come", []string{"bcde", "abcdefgh"}, "abcdefg", "a(secret 0)fg"},
		{"the same twice", []string{"abcd", "abcd"}, "abcd", "(secret 0)"},
		{"a secret like its mask", []string{"secret"}, "secret", "***"},
		{"none", nil, "abcd", "abcd"},
	} {
		r := redactor(t, tc.secrets...)
		if got := r.String(tc.text); got != tc.want {
			t.Errorf("%s: got %s, want %s", tc.name, got, tc.want)
		}
		if got := written(t, r, strings.Split(tc.text, "")...); got != tc.want {
			t.Errorf("%s, by the byte: got %s, want %s", tc.name, got, tc.want)
		}
	}
}

func TestShortSecretsAreRefused(t *testing.T) {
	t.Parallel()
	r := secret.NewRedactor()
	for _, s := range []string{"", "abc"} {
		if err := r.Add(s); err == nil || s != "" && strings.Contains(err.Error(), s) {
			t.Errorf("%q: %v", s, err)
		}
	}
	if err := r.Add("abcd"); err != nil || r.String("abcd") != "***" {
		t.Errorf("%v, %s", err, r.String("abcd"))
	}
}

// written is what comes out of a writer.
func written(t *testing.T, r *secret.Redactor, parts ...string) string {
	t.Helper()
	var b strings.Builder
	w := r.Writer(&b)
	for _, part := range parts {
		if n, err := io.WriteString(w, part); n != len(part) || err != nil {
			t.Fatalf("%d of %d bytes, %v", n, len(part), err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestOnlyWhatMayBeASecretIsHeldBack(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	w := redactor(t, "secret\nof two lines").Writer(&b)
	for _, step := range []struct{ in, out string }{
		{"[1/2] mount … ", "[1/2] mount … "},
		{"done\n", "done\n"},
		{"a sec", "a "},
		{"ond\n", "second\n"},
		{"the sec", "the "},
		{"ret\nof two", ""},
		{" lines.", "(secret 0)."},
		{"secre", ""},
	} {
		b.Reset()
		io.WriteString(w, step.in)
		if b.String() != step.out {
			t.Errorf("after %q: %q, want %q", step.in, b.String(), step.out)
		}
	}
	b.Reset()
	if err := w.Flush(); err != nil || b.String() != "secre" {
		t.Errorf("at the end: %q, %v", b.String(), err)
	}
}

type broken struct{}

var errBroken = errors.New("broken")

func (broken) Write([]byte) (int, error) { return 0, errBroken }

func TestTheWriterBehindBreaks(t *testing.T) {
	t.Parallel()
	w := redactor(t, "secret").Writer(broken{})
	if n, err := io.WriteString(w, "se"); n != 2 || err != nil {
		t.Errorf("what is held back: %d, %v", n, err)
	}
	if _, err := io.WriteString(w, "nd"); !errors.Is(err, errBroken) {
		t.Errorf("what is passed on: %v", err)
	}
}

func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	r := redactor(t, "secret-0")
	var b bytes.Buffer
	w := r.Writer(&b)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 50 {
				s := fmt.Sprintf("secret-%d-%d", i, j)
				if err := r.Add(s); err != nil {
					t.Error(err)
				}
				fmt.Fprintf(w, "<%s>\n", s)
				if got := r.String(s); strings.Contains(got, "secret") && got != "(secret 0)" {
					t.Errorf("%s: %s", s, got)
				}
			}
		})
	}
	wg.Wait()
	w.Close()
	if strings.Contains(b.String(), "secret-") {
		t.Error(b.String())
	}
}

// However a text is cut into writes, nothing of it comes out that is not meant
// to, and no more and no less than of the text as a whole.
func FuzzWriter(f *testing.F) {
	f.Add("abcd", "bcdefg", "abcdefgabcdbcdef", []byte{1, 2, 3})
	f.Add("abab", "babababb", "aababababbabab", []byte{0, 1})
	f.Add("a\nb\ncdefghijkl", "cdefghijk", "a\nb\ncdefghijkcdefghijkl", []byte{4})
	f.Add("\"<>&\\'", "zzzz", "x\\\"\\u003c\\u003e\\u0026\\\\'y", []byte{1})
	f.Fuzz(func(t *testing.T, one, two, text string, cuts []byte) {
		// A mask is no secret, even if one is a part of it or could be made of it.
		if strings.ContainsAny(one+two, "(secret)01* ") || len(one+two) > 256 || len(text) > 1024 {
			t.Skip()
		}
		r := secret.NewRedactor()
		var known []string
		for i, s := range []string{one, two} {
			if r.AddNamed(strconv.Itoa(i), s) == nil {
				known = append(known, s)
			}
		}
		// Most random texts hold no secret.
		text = strings.NewReplacer("1", one, "2", two, "3", base64.StdEncoding.EncodeToString([]byte(one))).Replace(text)
		var parts []string
		rest := text
		for i := 0; rest != "" && len(cuts) > 0; i++ {
			n := min(1+int(cuts[i%len(cuts)])%8, len(rest))
			parts, rest = append(parts, rest[:n]), rest[n:]
		}
		got, whole := written(t, r, append(parts, rest)...), r.String(text)
		if got != whole {
			t.Errorf("in pieces %q, as a whole %q", got, whole)
		}
		for _, s := range known {
			if strings.Contains(got, s) {
				t.Errorf("%q is in %q", s, got)
			}
		}
	})
}

func BenchmarkWriter(b *testing.B) {
	var secrets []string
	for i := range 30 {
		secrets = append(secrets, fmt.Sprintf("sk-live-%032x", i*7919))
	}
	w := redactor(b, secrets...).Writer(io.Discard)
	text := []byte(strings.Repeat("[7/23] auth/okta config … updated (0.1 s)\n  ~ sk-live-00 base_url: okta.com → oktapreview.com\n", 100))
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		if _, err := w.Write(text); err != nil {
			b.Fatal(err)
		}
	}
}
