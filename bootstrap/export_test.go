package bootstrap

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/file"
	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/schema"
)

// anything takes every value.
var anything = &schema.Field{Name: "v", Type: schema.Any, Secrecy: schema.Sensitive}

// readBack is what a file makes of an exported value.
func readBack(t *testing.T, f *schema.Field, expression string) any {
	t.Helper()
	name := filepath.Join(t.TempDir(), "a.hcl")
	text := "secret \"key\" { from = \"env:KEY\" }\nx {\n  unused = secret.key\n  v = " + expression + "\n}\n"
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	unused := &schema.Field{Name: "unused", Secrecy: schema.Secret}
	doc, diags := file.Load([]string{name}, []*schema.Block{{Name: "x", Fields: []*schema.Field{f, unused}}})
	if len(diags) > 0 {
		t.Fatalf("%v in\n%s", diags, text)
	}
	v, _ := doc.Nodes[0].Value("v")
	return v
}

func TestAnExportedTextIsReadAsItWas(t *testing.T) {
	t.Parallel()
	okta := accessorOf("okta/deep")
	key := schema.Reference{Of: schema.RefSecret, Name: "key"}.Token()
	for _, text := range []string{
		"", "plain", `"quoted" \ and back`, "${a}", "$${a}", "$$${a}", "%{if}", "%%{if}", "$", "%", "a$", "$%{",
		"tab\tnew\nline\rreturn", "one\ntwo\n", "${a}\n%{b}\n$${c}\n", "  indented\n  twice\n", "EOT\n", "a\n EOT \nEOTT\n", "\n", "\n\n", `\n` + "\n",
		"bell\u0007\n", "\u2028", "é", "日本\n", "{{identity.entity.name}}", "# no comment\n",
		okta, key, "a" + okta, "a$" + okta + "}", "$%$" + okta + "%" + key, okta + okta, "x" + okta + "y\nz$" + okta + "\n", "$${" + okta + "}\n",
	} {
		for _, f := range []*schema.Field{
			{Name: "v", Secrecy: schema.Sensitive},
			{Name: "v", Secrecy: schema.Sensitive, Normal: trimmed},
		} {
			got := readBack(t, f, hclField(f, text))
			want, err := f.Canonical(text)
			if err != nil {
				t.Fatal(err)
			}
			if is, err := f.Canonical(got); err != nil || is != want {
				t.Errorf("%q is read as %q from %s", text, got, hclField(f, text))
			}
		}
	}
}

func TestAnExportedValueIsReadAsItWas(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("long ", 10)
	for _, v := range []any{
		true, false, int64(0), int64(-1), 0.25, 500.5, 1e21,
		[]any{},
		[]any{int64(1), "a", nil, []any{long, long, long}},
		map[string]any{},
		map[string]any{"for": "x", "null": nil, "a-b": int64(1), "a b": "", "${c}": true, "é": []any{}, "true": long, "1": long, "": long},
		map[string]any{"deep": map[string]any{"deeper": []any{map[string]any{"text": "a\nb\n" + long + long + long}}}},
	} {
		f := &schema.Field{Name: "v", Type: schema.JSON}
		document, ok := readBack(t, f, "jsonencode("+hclValue(v)+")").(string)
		if !ok {
			t.Fatal("no text")
		}
		want, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(canonical(t, f, string(want)), canonical(t, f, document)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", hclValue(v), diff)
		}
	}
	seconds := &schema.Field{Name: "v", Type: schema.Duration}
	for _, v := range []int64{-1, 0, 1, 59, 60, 3600, 5400, 86400, 90061, 2592000} {
		if got := canonical(t, seconds, readBack(t, seconds, hclField(seconds, v))); got != canonical(t, seconds, v) {
			t.Errorf("%d is read as %v from %s", v, got, hclField(seconds, v))
		}
	}
	for _, v := range []any{[]string{"a,b", " c "}, map[string]string{"a": "1"}} {
		if diff := cmp.Diff(canonical(t, anything, jsonShape(t, v)), canonical(t, anything, readBack(t, anything, hclValue(v)))); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
}

func canonical(t *testing.T, f *schema.Field, v any) any {
	t.Helper()
	c, err := f.Canonical(v)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// jsonShape is a value in the shapes of JSON.
func jsonShape(t *testing.T, v any) any {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var out any
	if err := json.Unmarshal(text, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestNamesOfExportedSecrets(t *testing.T) {
	t.Parallel()
	e := &exporter{taken: make(map[string]bool)}
	declare := func(k *Kind, field string, parent *Object, labels ...string) string {
		x := &exported{Object: &Object{Kind: k, Parent: parent, Labels: labels}}
		f := fieldOf(x.Object, field)
		if f == nil {
			t.Fatalf("%s has no field %s", x.Name(), field)
		}
		e.declare(x, f, "")
		last := e.secrets[len(e.secrets)-1]
		return last.name + " " + last.env
	}
	okta := func(path string) *Object { return &Object{Kind: authKind, Labels: []string{"okta", path}} }
	for _, c := range []struct{ got, want string }{
		{declare(oktaConfigKind, "api_token", okta("okta")), "okta_api_token OKTA_API_TOKEN"},
		{declare(oktaConfigKind, "api_token", okta("Okta/Deep-er")), "okta_deep_er_api_token OKTA_DEEP_ER_API_TOKEN"},
		{declare(oktaConfigKind, "api_token", okta("okta_deep_er")), "okta_deep_er_api_token_2 OKTA_DEEP_ER_API_TOKEN_2"},
		{declare(oktaConfigKind, "api_token", okta("2fa")), "secret_2fa_api_token SECRET_2FA_API_TOKEN"},
		{declare(oktaConfigKind, "api_token", okta("vault")), "vault_api_token SECRET_VAULT_API_TOKEN"},
		{declare(oktaConfigKind, "api_token", okta("日本")), "api_token API_TOKEN"},
		{declare(mfaKind, "api_token", nil, "okta", "push"), "mfa_push_api_token MFA_PUSH_API_TOKEN"},
		{declare(databaseConnectionKind, "password", &Object{Kind: mountKind, Labels: []string{"database", "db"}}, "App 1"), "db_app_1_password DB_APP_1_PASSWORD"},
	} {
		if c.got != c.want {
			t.Errorf("%s, not %s", c.got, c.want)
		}
	}
}
