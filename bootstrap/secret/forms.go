package secret

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/url"
	"strconv"
	"strings"
)

// shortestLine is the least length of a line that is masked by itself. What is
// shorter is an indented brace rather than a secret.
const shortestLine = 8

// forms are the ways in which a secret may turn up, without repetitions.
func forms(secret string) []string {
	seen := make(map[string]bool)
	var all []string
	for _, part := range append([]string{secret}, lines(secret)...) {
		for _, form := range written(part) {
			if len(form) >= ShortestSecret && !seen[form] {
				seen[form] = true
				all = append(all, form)
			}
		}
	}
	return all
}

// lines are those of a secret that has several. The fences of PEM are no
// secret, and stand in every document about keys.
func lines(secret string) []string {
	if !strings.Contains(secret, "\n") {
		return nil
	}
	var parts []string
	for line := range strings.Lines(secret) {
		line = strings.TrimSpace(line)
		if len(line) >= shortestLine && !strings.HasPrefix(line, "-----") {
			parts = append(parts, line)
		}
	}
	return parts
}

// written is a secret as programs write it.
func written(s string) []string {
	query, path := url.QueryEscape(s), url.PathEscape(s)
	user := strings.TrimPrefix(url.UserPassword("", s).String(), ":")
	inHex := hex.EncodeToString([]byte(s))
	quoted, ascii := inner(strconv.Quote(s)), inner(strconv.QuoteToASCII(s))
	plain, html := inner(inJSON(s, false)), inner(inJSON(s, true))
	return []string{
		s,
		plain, html,
		// JSON in JSON: an error that holds a request.
		inner(inJSON(plain, false)), inner(inJSON(html, true)),
		query, path, user, lowerEscapes(query), lowerEscapes(path),
		// A request in Go's quotes, and one in a URL.
		inner(strconv.Quote(html)), inner(strconv.QuoteToASCII(plain)), inner(strconv.QuoteToASCII(html)),
		url.QueryEscape(plain), url.QueryEscape(html), url.PathEscape(plain), url.PathEscape(html),
		base64.StdEncoding.EncodeToString([]byte(s)), base64.RawStdEncoding.EncodeToString([]byte(s)),
		base64.URLEncoding.EncodeToString([]byte(s)), base64.RawURLEncoding.EncodeToString([]byte(s)),
		inHex, strings.ToUpper(inHex),
		quoted, ascii,
		// In a shell's single and double quotes.
		strings.ReplaceAll(s, "'", `'\''`), strings.ReplaceAll(s, "'", `'"'"'`),
		strings.NewReplacer(`\`, `\\`, `"`, `\"`, "$", `\$`, "`", "\\`").Replace(s),
	}
}

func inJSON(s string, html bool) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(html)
	_ = e.Encode(s) //nolint:errchkjson // a string always has a form
	return strings.TrimSuffix(b.String(), "\n")
}

// inner is what stands between the quotes.
func inner(quoted string) string { return quoted[1 : len(quoted)-1] }

// lowerEscapes writes %2F as %2f.
func lowerEscapes(s string) string {
	b := []byte(s)
	for i := 0; i+2 < len(b); i++ {
		if b[i] == '%' {
			copy(b[i+1:], strings.ToLower(string(b[i+1:i+3])))
		}
	}
	return string(b)
}
