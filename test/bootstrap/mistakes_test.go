package bootstrap_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// mistaken has a mistake of each kind. The comment on a line is what has to be
// said of that line.
const mistaken = `
locals {
  a = local.b #: in a circle
  b = local.a
  c = local.nothing #: there is no
}
secret "okta" { from = "env:OKTA_API_TOKEN" }
secret "literal" { from = "LITERAL" } #: it never stands in the file itself
secret "okta" { from = "env:OTHER" } #: a second time
secrt "typo" {} #: Did you mean "secret"?
policy "reader" {
  path "secret/data/*" { capabilities = ["reed"] } #: there are create, read
}
policy "reader" { #: stands here a second time
  path "x" { capabilities = ["read"] }
}
auth "okta" "okta" {
  config { #: field "org_name" is missing
    orgname   = "acme" #: Did you mean "org_name"?
    api_token = "LITERAL" #: a literal secret
    base_url  = secret.okta #: secret
    token_ttl = "soon" #: "30m", "24h"
  }
  group "ai" { policies = [policy.readr] } #: Text stands in quotes
  grup "b" {} #: Did you mean "group"?
}
auth "oktaa" "other" {} #: Did you mean "okta"?
mount "kv-v2" "kv" {
  description = file("absent.txt") #: absent.txt
  data "a" { values = { token = secret.okat } } #: Did you mean secret.okta?
  data "b" { values = { password = "LITERAL" } } #: a literal secret
}
mount "transit" "transit" {
  key "k" { type = "aes" } #: aes256-gcm96
  key "l" { exportable = "perhaps" } #: true or false
}
login_enforcement "people" { #: Name mfa blocks in mfa_methods
  mfa_methods  = []
  auth_methods = ["okta"]
}
mfa "sms" "x" {} #: totp
quota "q" { rate = -1 } #: rate
`

// A file with many mistakes: each is reported with its line, and with what
// would be right, in one run.
func TestEveryMistakeInOneRun(t *testing.T) {
	t.Parallel()
	h := start(t)
	literal := h.canary()
	text := strings.ReplaceAll(mistaken, "LITERAL", literal)
	h.write("vault.hcl", text)
	r := h.run("validate", "-f", "vault.hcl").exits(1)
	doc := h.run("validate", "-f", "vault.hcl", "--json").exits(1).report()
	if n := strings.Count(text, "#: "); len(doc.Diagnostics) != n {
		t.Errorf("%d mistakes are reported, and %d are there", len(doc.Diagnostics), n)
	}
	for i, line := range strings.Split(text, "\n") {
		_, want, marked := strings.Cut(line, "#: ")
		if !marked {
			continue
		}
		found := false
		for _, d := range doc.Diagnostics {
			if d.At.Line == i+1 && d.At.File == "vault.hcl" {
				found = found || strings.Contains(d.Summary+"\n"+d.Detail, want)
			}
		}
		if !found || !strings.Contains(r.stdout+r.stderr, fmt.Sprintf("vault.hcl:%d:", i+1)) {
			t.Errorf("line %d is not reported with %q: %s", i+1, want, strings.ReplaceAll(line, literal, "…"))
		}
	}
	if t.Failed() {
		t.Logf("%s%s", r.stdout, r.stderr)
	}
	// No server is asked, and nothing but the file counts: a plan says the same.
	if p := h.at("http://127.0.0.1:1").run("plan", "-f", "vault.hcl").exits(1); p.stderr != r.stderr {
		t.Errorf("a plan says something else:\n%s", p.stderr)
	}
}

// What is too large or too deep ends in a sentence, soon.
func TestFilesThatAreTooMuch(t *testing.T) {
	t.Parallel()
	h := start(t)
	for name, text := range map[string]string{
		"large.hcl":  strings.Repeat("# a comment that nobody reads\n", 10<<20/30+1),
		"large.yaml": "policy:\n" + strings.Repeat("  # a comment that nobody reads\n", 10<<20/32+1),
		"deep.hcl":   "locals {\n  a = " + strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000) + "\n}\n",
		"blocks.hcl": strings.Repeat("a {\n", 100_000) + strings.Repeat("}\n", 100_000),
		"calls.hcl":  "locals {\n  a = " + strings.Repeat("jsonencode(", 50_000) + "1" + strings.Repeat(")", 50_000) + "\n}\n",
		"deep.yaml":  "locals: " + strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000),
		"deep.json":  `{"locals": {"a": ` + strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000) + "}}",
		"bomb.yaml":  "locals:\n  a: &a [x, x, x, x, x, x, x, x, x, x]\n" + bomb(),
		"bomb.hcl":   "locals {\n  a0 = \"xxxxxxxxxxxxxxxx\"\n" + doubling(40) + "}\npolicy \"p\" {\n  path \"x\" { capabilities = [\"read\"] }\n}\n",
	} {
		path := h.write(name, text)
		began := time.Now()
		r := h.run("validate", "-f", name).exits(1).silent("panic", "goroutine", "stack overflow")
		took := time.Since(began)
		if limit := 20 * time.Second; took > limit {
			t.Errorf("%s takes %s", name, took)
		}
		if n := len(r.stdout) + len(r.stderr); n > 8<<10 {
			t.Errorf("of %s %d bytes are said", name, n)
		}
		if !strings.Contains(r.stderr, name) {
			t.Errorf("of %s is said: %s", name, r.stderr)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	if left, err := filepath.Glob(filepath.Join(h.dir, "*")); err != nil || len(left) > 0 {
		t.Errorf("%v: %v", err, left)
	}
}

// bomb is nine lists of ten aliases of the one before.
func bomb() string {
	var b strings.Builder
	for c := 'b'; c <= 'j'; c++ {
		fmt.Fprintf(&b, "  %c: &%c [%s*%c]\n", c, c, strings.Repeat(fmt.Sprintf("*%c, ", c-1), 9), c-1)
	}
	return b.String()
}

// doubling are locals of which each has the one before twice.
func doubling(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "  a%d = \"${local.a%d}${local.a%d}\"\n", i+1, i, i)
	}
	return b.String()
}
