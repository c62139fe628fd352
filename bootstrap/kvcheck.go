package bootstrap

import (
	"encoding/json"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/file"
	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/schema"
)

// prepareKVData checks what only an entry is checked for: above all that no
// value that is a secret by its name stands in the file.
func prepareKVData(o *Object, n *file.Node) file.Diagnostics {
	path := strings.Trim(o.Key(), "/")
	o.Labels[len(o.Labels)-1] = path
	if path == "" || strings.Contains(path, "//") {
		return mistake(n.At, "an entry needs a path", `Its label is the path below the mount, as in data "ai/openai".`)
	}
	given := o.Values["values"]
	if text, ok := given.V.(string); ok { // as jsonencode and other tools give it
		f := schema.Field{Type: schema.JSON}
		if c, err := f.Canonical(text); err == nil {
			given.V = c
			o.Values["values"] = given
		}
	}
	values, ok := given.V.(map[string]any)
	if !ok {
		return mistake(given.At, "values has to be an object", `The values by their names, as in values = { region = "eu" }.`)
	}
	var diags file.Diagnostics
	for _, found := range literalSecrets(values, texts(n, "public")) {
		diags = append(diags, mistake(given.At, "a literal secret in values: "+found,
			fmt.Sprintf("Declare a secret block and write secret.<name> here; if it is no secret: public = [%q].", found))...)
	}
	for _, found := range hugeNumbers(values, "") {
		diags = append(diags, mistake(given.At, "the number "+found+" in values has too many digits",
			"Vault would keep another one: write it in quotes.")...)
	}
	if o.fileVersion() == "2" {
		return diags
	}
	for _, name := range kvMetaFields {
		if v, set := o.Values[name]; set {
			diags = append(diags, mistake(v.At, name+" is for a kv of version 2", `Write mount "kv-v2" for one.`)...)
		}
	}
	return diags
}

// literalSecrets finds the texts that stand in the file and are secrets by
// their names, "token", "db.password", or by what they look like.
func literalSecrets(values map[string]any, public []string) []string {
	return literalsIn(values, "", func(name, whole, text string) bool {
		return (soundsSecret(name) || looksSecret(text)) && !slices.Contains(public, name) && !slices.Contains(public, whole)
	})
}

// literalsIn finds texts without references in values, by name and by all the
// names that lead to them: "password", "db.password".
func literalsIn(values map[string]any, in string, wanted func(name, whole, text string) bool) []string {
	var found []string
	for _, name := range sortedKeys(values) {
		whole := in + name
		switch v := values[name].(type) {
		case string:
			if v != "" && len(schema.References(v)) == 0 && wanted(name, whole, v) {
				found = append(found, whole)
			}
		case map[string]any:
			found = append(found, literalsIn(v, whole+".", wanted)...)
		case []any:
			for _, item := range v {
				found = append(found, literalsIn(map[string]any{name: item}, in, wanted)...)
			}
		}
	}
	return slices.Compact(found)
}

// secretLooks are the forms of credentials that are known by their first
// letters: of AI providers, Vault, GitHub, GitLab, Slack, Google, and private keys.
var secretLooks = regexp.MustCompile(`(?:^|[^A-Za-z0-9_-])(?:sk-[A-Za-z0-9_-]{20}|hv[sbr]\.[A-Za-z0-9_-]{20}|gh[pousr]_[A-Za-z0-9]{36}|` +
	`github_pat_[A-Za-z0-9_]{22}|glpat-[A-Za-z0-9_-]{20}|xox[abeoprs]-[A-Za-z0-9-]{10}|AIza[A-Za-z0-9_-]{35}|-----BEGIN [A-Z ]*PRIVATE KEY-----)`)

// looksSecret tells whether a text is a credential whatever it is called, or an
// address with a password in it.
func looksSecret(text string) bool {
	return secretLooks.MatchString(text) || strings.Contains(text, "://") && literalPassword(text)
}

// hugeNumbers finds whole numbers that JSON's readers, and Vault, round.
func hugeNumbers(v any, in string) []string {
	var found []string
	switch v := v.(type) {
	case map[string]any:
		for _, name := range sortedKeys(v) {
			found = append(found, hugeNumbers(v[name], strings.TrimPrefix(in+"."+name, "."))...)
		}
	case []any:
		for _, item := range v {
			found = append(found, hugeNumbers(item, in)...)
		}
	case json.Number:
		if f, err := v.Float64(); err == nil && math.Abs(f) > 1<<53 && f == math.Trunc(f) {
			return []string{in}
		}
	case int64:
		if v > 1<<53 || v < -1<<53 {
			return []string{in}
		}
	}
	return slices.Compact(found)
}

// isPublic tells whether the values of a name may be shown.
func isPublic(o *Object, name string) bool {
	if !soundsSecret(name) {
		return true
	}
	f := schema.Field{Type: schema.List}
	c, _ := f.Canonical(o.Values["public"].V) // checked when the file was read
	public, _ := c.([]string)
	return slices.Contains(public, name)
}

// anotherValue stands for a value of the server's that is not shown.
const anotherValue = "(another value)"

// plainlyPublic tells whether a value of the server's can be shown under a name
// that does not sound secret: a short text without a password in it, a number.
func plainlyPublic(v any) bool {
	switch v := v.(type) {
	case string:
		return len(v) <= 80 && !strings.ContainsAny(v, "\n@")
	case map[string]any, []any:
		return false
	}
	return true
}

var (
	secretWords = []string{
		"password", "passwords", "passwd", "passphrase", "pass", "pwd", "pw",
		"secret", "secrets", "token", "tokens", "credential", "credentials",
		"apikey", "apikeys", "privatekey", "secretkey", "accesskey", "authtoken",
	}
	// A key is a secret after one of these words.
	keyWords = []string{
		"api", "private", "secret", "access", "encryption", "signing", "master", "auth", "account",
		"shared", "service", "client", "server", "ssh", "tls", "ssl", "hmac", "license", "storage", "deploy", "root", "admin",
	}
	// What may follow a secret word and leave it one.
	afterwards = []string{"value", "text", "base64", "b64", "hex", "json", "pem", "old", "new", "current", "next", "previous", "primary", "secondary"}
)

// soundsSecret tells whether a name says that its value is a secret: "API_KEY",
// "dbPassword", "token2"; but not "token_url" or "access_key_id".
func soundsSecret(name string) bool {
	w := words(name)
	for len(w) > 1 && (slices.Contains(afterwards, w[len(w)-1]) || strings.Trim(w[len(w)-1], "0123456789") == "") {
		w = w[:len(w)-1]
	}
	if len(w) == 0 {
		return false
	}
	last := strings.TrimRight(w[len(w)-1], "0123456789")
	before := ""
	if len(w) > 1 {
		before = w[len(w)-2]
	}
	switch {
	case before == "max" || before == "min" || before == "total":
		return false // a number of tokens
	case slices.Contains(secretWords, last):
		return true
	case last == "key" || last == "keys":
		return slices.Contains(keyWords, before)
	}
	return last == "id" && before == "secret" // an AppRole's
}

// words splits a name at what is no letter or digit, and where small letters
// end: "dbPassword" is two words, "APIKey" too.
func words(name string) []string {
	var out []string
	runes := []rune(name)
	start := 0
	cut := func(end int) {
		if end > start {
			out = append(out, strings.ToLower(string(runes[start:end])))
		}
		start = end
	}
	for i, r := range runes {
		switch {
		case !unicode.IsLetter(r) && !unicode.IsDigit(r):
			cut(i)
			start = i + 1
		case i > start && unicode.IsUpper(r) && !unicode.IsUpper(runes[i-1]):
			cut(i)
		case i > start && unicode.IsLower(r) && unicode.IsUpper(runes[i-1]) && i-1 > start:
			cut(i - 1)
		}
	}
	cut(len(runes))
	return out
}
