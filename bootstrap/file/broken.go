package file

import (
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/schema"
)

// What is known of files that could not be read to the end, so that they hide
// as little as possible of what is wrong elsewhere.

// scan goes over the tokens of a file with syntax errors for what it may
// declare: secret "name", and name = … in locals.
func (l *loader) scan(name string, tokens hclsyntax.Tokens) {
	if l.broken[name] {
		return
	}
	l.broken[name], l.scanned[name] = true, true
	for i, t := range tokens {
		if t.Type != hclsyntax.TokenIdent || i+2 >= len(tokens) {
			continue
		}
		next := tokens[i+1]
		if next.Type == hclsyntax.TokenEqual {
			l.perhaps["local "+string(t.Bytes)] = true
		}
		if next.Type == hclsyntax.TokenOQuote {
			next = tokens[i+2]
		}
		if string(t.Bytes) == secretBlock.Name {
			l.perhaps["secret "+string(next.Bytes)] = true
		}
	}
}

// unread are the files of which not everything is known, not even its names.
func (l *loader) unread() []string {
	return slices.DeleteFunc(sortedNames(l.broken), func(name string) bool { return l.scanned[name] })
}

// sound tells whether all of a block was read: its file has no syntax error,
// or only behind it.
func (l *loader) sound(name string, body *hclsyntax.Body) bool {
	first, known := l.firstError[name]
	return !l.broken[name] || known && body.SrcRange.End.Byte <= first
}

// firstNoText is the offset of the first byte that is not UTF-8; -1 for none.
func firstNoText(src []byte) int {
	for at := 0; at < len(src); {
		r, size := utf8.DecodeRune(src[at:])
		if r == utf8.RuneError && size == 1 {
			return at
		}
		at += size
	}
	return -1
}

// firstOdd is the offset of the first character that [odd] names.
func firstOdd(src []byte) int {
	return strings.IndexFunc(string(src), func(r rune) bool {
		return r == 0 || r == schema.Open || r == schema.Close
	})
}
