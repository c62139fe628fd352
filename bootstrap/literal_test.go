package bootstrap

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A secret may stand in no field, also where literals are taken.
func TestLiteralsInFieldsThatTakeThem(t *testing.T) {
	t.Parallel()
	key := "sk-" + strings.Repeat("CANARY", 5)
	_, found := loaded(t, `secret "s" { from = "env:S" }
locals { key = "`+key+`" }
plugin "secret" "ai-keys" {
	command = "ai-keys"
	sha256  = "`+strings.Repeat("0", 64)+`"
	env     = { API_TOKEN = "literal", OTHER_TOKEN = secret.s, HTTPS_PROXY = "http://127.0.0.1:1", HTTP_PROXY = "http://me:literal@127.0.0.1:1" }
}
mount "database" "db" {
	connection "c" {
		plugin_name         = "own-plugin"
		username            = "vault"
		secret_access_key   = "literal"
		tls_certificate_key = "-----BEGIN PRIVATE KEY-----"
		details             = { inner = { token = "literal" }, size = 3 }
	}
}
mount "aws" "aws" {
	root {
		access_key = "AKIAXXXXXXXXXXXXXXXX"
		secret_key = secret.s
	}
}
identity_group "g" { metadata = { token = "a word", key = local.key } }
`)
	want := []string{
		"error: plugin secret ai-keys: a literal secret in env.API_TOKEN",
		"error: plugin secret ai-keys: a literal secret in env.HTTP_PROXY",
		"error: db connection c: a literal secret in secret_access_key",
		"error: db connection c: a literal secret in tls_certificate_key",
		"error: db connection c: a literal secret in details.inner.token",
		"error: identity group g: a literal secret in metadata.key",
	}
	if diff := cmp.Diff(want, found); diff != "" || strings.Contains(strings.Join(found, ""), "CANARY") {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
