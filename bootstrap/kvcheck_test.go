package bootstrap

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/schema"
)

func TestSoundsSecret(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]bool{
		"api_key": true, "API_KEY": true, "apiKey": true, "APIKey": true, "openai-api-key": true, "apikey": true,
		"password": true, "dbPassword": true, "db.password": true, "PASSWORD_2": true, "password_old": true, "root_pw": true,
		"token": true, "tokens": true, "access_token": true, "token2": true, "secret": true, "client_secret": true, "secret_id": true,
		"credentials": true, "credentials_json": true, "private_key_pem": true, "privateKey": true, "signing_key": true, "accesskey": true,
		"": false, "key": false, "keys": false, "public_key": false, "access_key_id": false, "key_id": false, "token_url": false,
		"token_endpoint": false, "password_policy": false, "secret_name": false, "compass": false, "tokenizer": false,
		"max_tokens_per_minute": false, "max_tokens": false, "passport": false, "region": false, "42": false, "_": false,
	} {
		if got := soundsSecret(name); got != want {
			t.Errorf("soundsSecret(%q) = %t", name, got)
		}
	}
}

func TestWords(t *testing.T) {
	t.Parallel()
	for name, want := range map[string][]string{
		"dbPassword":    {"db", "password"},
		"APIKey":        {"api", "key"},
		"OPENAI_API_2":  {"openai", "api", "2"},
		"--a..b--":      {"a", "b"},
		"HTTPSServerIP": {"https", "server", "ip"},
		"schlüsselWort": {"schlüssel", "wort"},
		"":              nil,
	} {
		if diff := cmp.Diff(want, words(name)); diff != "" {
			t.Errorf("words(%q) (-want +got):\n%s", name, diff)
		}
	}
}

func TestLiteralSecrets(t *testing.T) {
	t.Parallel()
	secret := schema.Reference{Of: schema.RefSecret, Name: "x"}.Token()
	values := map[string]any{
		"token":    "literal",
		"password": secret,
		"dsn":      "literal",
		"empty":    map[string]any{"password": ""},
		"db":       map[string]any{"password": "literal", "pwd": "Bearer " + secret},
		"tokens":   []any{"a", secret, "b"},
		"list":     []any{map[string]any{"api_key": "literal"}},
		"secret":   true,
	}
	rows := []struct {
		public, want []string
	}{
		{nil, []string{"db.password", "list.api_key", "token", "tokens"}},
		{[]string{"token", "db.password"}, []string{"list.api_key", "tokens"}},
		{[]string{"password", "api_key", "tokens", "token"}, nil},
	}
	for _, row := range rows {
		if diff := cmp.Diff(row.want, literalSecrets(values, row.public)); diff != "" {
			t.Errorf("public %v (-want +got):\n%s", row.public, diff)
		}
	}
}

func TestLooksSecret(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		"sk-proj-" + strings.Repeat("aB3_", 10):          true,
		"Bearer sk-ant-api03-" + strings.Repeat("x", 20): true,
		"hvs." + strings.Repeat("C", 24):                 true,
		"ghp_" + strings.Repeat("a1", 18):                true,
		"postgres://app:hunter2@db:5432/app":             true,
		"-----BEGIN RSA PRIVATE KEY-----\nMII":           true,
		"postgres://{{username}}:{{password}}@db:5432/":  false,
		"https://hooks.example/ai?x=1":                   false,
		"task-" + strings.Repeat("a", 30):                false,
		"desk-of-the-team-in-the-third-floor":            false,
		"mailto:alice@acme.com":                          false,
		"https://acme.com/@alice":                        false,
		"-----BEGIN CERTIFICATE-----\nMII":               false,
	} {
		if got := looksSecret(text); got != want {
			t.Errorf("looksSecret(%q) = %t", text, got)
		}
	}
	found := literalSecrets(map[string]any{"openai": "sk-" + strings.Repeat("a", 40), "note": "x"}, nil)
	if diff := cmp.Diff([]string{"openai"}, found); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestHugeNumbers(t *testing.T) {
	t.Parallel()
	values := map[string]any{
		"fits":  json.Number("9007199254740992"),
		"big":   json.Number("9007199254740994"),
		"exact": json.Number("0.1"),
		"in":    []any{map[string]any{"side": json.Number("-12345678901234567890")}},
		"given": int64(1<<53 + 1),
	}
	if diff := cmp.Diff([]string{"big", "given", "in.side"}, hugeNumbers(values, "")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestPlainlyPublic(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		value any
		want  bool
	}{
		{"eu", true},
		{true, true},
		{json.Number("3"), true},
		{nil, true},
		{"postgres://user:password@host", false},
		{"-----BEGIN\nPRIVATE", false},
		{map[string]any{"a": "b"}, false},
		{[]any{"a"}, false},
	} {
		if got := plainlyPublic(row.value); got != row.want {
			t.Errorf("plainlyPublic(%v) = %t", row.value, got)
		}
	}
}
