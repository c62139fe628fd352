package bootstrap

import (
	"encoding/base32"
	"slices"
	"strings"
	"testing"
	"time"
)

// The vectors of RFC 6238, appendix B.
func TestPasscodes(t *testing.T) {
	t.Parallel()
	key := func(n int) string {
		return base32.StdEncoding.EncodeToString([]byte(strings.Repeat("1234567890", 7)[:n]))
	}
	for _, c := range []struct {
		text string
		at   int64
		want string
	}{
		{"otpauth://totp/x?digits=8&secret=" + key(20), 59, "94287082"},
		{"otpauth://totp/x?digits=8&secret=" + key(20), 1111111109, "07081804"},
		{"otpauth://totp/x?digits=8&algorithm=SHA256&secret=" + key(32), 59, "46119246"},
		{"otpauth://totp/x?digits=8&algorithm=SHA512&secret=" + key(64), 20000000000, "47863826"},
		{"otpauth://totp/x?digits=8&period=60&secret=" + key(20), 2 * 59, "94287082"},
		{strings.ToLower(key(20)), 59, "287082"},
		{"GEZD GNBV GY3T QOJQ GEZD GNBV GY3T QOJQ", 59, "287082"},
		{" 123456 ", 59, "123456"},
	} {
		p, err := parsePasscodes(c.text)
		if err != nil {
			t.Errorf("%q: %v", c.text, err)
			continue
		}
		if got := p.at(time.Unix(c.at, 0)); got != c.want {
			t.Errorf("%q at %d: %s, want %s", c.text, c.at, got, c.want)
		}
	}
	for _, text := range []string{"", "12345", "no base32!", "otpauth://hotp/x?secret=GEZDGNBV", "otpauth://totp/x", "otpauth://totp/x?secret=GEZDGNBV&algorithm=MD5", "otpauth://totp/x?secret=GEZDGNBV&period=0"} {
		if _, err := parsePasscodes(text); err == nil || text != "" && strings.Contains(err.Error(), text) {
			t.Errorf("%q: %v", text, err)
		}
	}
	var none *passcodes
	p, err := parsePasscodes(key(20))
	if err != nil {
		t.Fatal(err)
	}
	if none.at(time.Now()) != "" || none.renews() || !p.renews() || p.next(time.Unix(59, 0)) != time.Second {
		t.Errorf("a code of 59 s is good for %s more", p.next(time.Unix(59, 0)))
	}
}

func TestWhatACheckIsAbout(t *testing.T) {
	t.Parallel()
	d, diags := Load([]string{written(t, "vault.hcl", `
secret "p" { from = "env:P" }
mount "kv-v2" "team" {}
mount "kv-v2" "team/secret" {
  data "a/b" { values = { x = "y" } }
}
mount "database" "db" {
  static_role "robot" {
    db_name         = "main"
    username        = "robot"
    rotation_period = "1h"
  }
}
auth "okta" "corp/okta" {
  config { org_name = "acme" }
}
auth "approle" "approle" {
  role "Build" {}
}
check "kv" "team/secret/a/b" {}
check "kv" "team/other" {}
check "kv" "elsewhere/a/b" {}
check "database" "db/robot" {}
check "okta" "corp/okta/alice@acme.com" { password = secret.p }
check "approle" "auth/approle/build" {}
check "read" "sys/mounts" {}
`)})
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	var got []string
	for _, c := range d.Checks {
		about := c.about(d.Objects)
		object := ""
		if about.object != nil {
			object = about.object.Name()
		}
		got = append(got, strings.Join([]string{about.mount, about.name, object}, "|"))
	}
	want := []string{
		"team/secret|a/b|team/secret data a/b", "team|other|", "elsewhere|a/b|", "db|robot|db static_role robot",
		"auth/corp/okta|alice@acme.com|", "auth/approle|build|auth/approle role build", "sys|mounts|",
	}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	needs := Needs(d)
	for path, want := range map[string]string{
		"db/static-creds/robot": "read", "team/secret/data/a/b": "create delete read update", "elsewhere/data/a/b": "read", "elsewhere/a/b": "read",
		"team/other": "", "db/creds/robot": "", "sys/capabilities-accessor": "update",
	} {
		if got := strings.Join(needs[path], " "); got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
}

func TestMistakesInChecks(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`check "database" "app" {}`:                                                                 "the target is no mount with a name",
		`check "okta" "alice" { password = secret.p }`:                                              "the target is no mount with a name",
		`check "transit" "transit/a" {}`:                                                            "there is no mount transit in this file",
		`check "ldap" "ldap/a" {}`:                                                                  `unknown type "ldap"`,
		`check "okta" "okta/a" {}`:                                                                  `field "password" is missing`,
		`check "okta" "okta/a" { password = "literal" }`:                                            "a literal secret",
		`check "approle" "approle/a" { allowed = { "x" = ["run"] } }`:                               `"run" is no capability`,
		`check "approle" "approle/a" { allowed = { "x" = [] } }`:                                    "what must not be allowed stands in denied",
		`check "approle" "approle/a" { allowed = ["x"] }`:                                           "paths with their capabilities are wanted",
		"mount \"kv-v2\" \"db\" {}\ncheck \"database\" \"db/app\" {}":                               "db is a mount of type kv",
		`check "database" "db/app" {}`:                                                              "warning: check database db/app: there is no mount db in this file",
		"mount \"database\" \"db\" {}\ncheck \"database\" \"db/app\" {}":                            "warning: check database db/app: mount db has no app in this file",
		"check \"database\" \"db/app\" {}\ncheck \"database\" \"db/app\" {}":                        "stands here a second time",
		`check "jwt" "jwt/ci" { token = secret.p }`:                                                 "there is no mount auth/jwt",
		"auth \"okta\" \"okta\" {\n}\ncheck \"okta\" \"okta/a\" {\n  password = secret.p\n}\n#fine": "",
	} {
		_, diags := Load([]string{written(t, "vault.hcl", "secret \"p\" { from = \"env:P\" }\n"+text)})
		if want == "" && len(diags) > 0 || !strings.Contains(diags.Error(), want) {
			t.Errorf("%s\n%v\nwant %q", text, diags, want)
		}
	}
}
