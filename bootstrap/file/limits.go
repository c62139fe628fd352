package file

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/big"
	"os"
	"strings"
	"unicode/utf8"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/schema"
)

// The limits keep a broken or hostile file from using up the machine: the
// parsers and the evaluation are recursive, and a stack that overflows ends
// the program.
const (
	maxFile     = 4 << 20  // bytes of one file, and of what YAML's aliases make of it
	maxIncluded = 1 << 20  // bytes of a file that file() reads
	maxDepth    = 64       // brackets, blocks and templates inside one another
	maxChain    = 500      // operators in one expression
	maxLocals   = 1000     // locals that refer to one another
	maxValues   = 64 << 20 // bytes of everything that references and functions produce
	maxBits     = 4096     // of a number
)

var errNoText = errors.New("it is not UTF-8 text")

// readText reads a regular file of limited size that is UTF-8 text.
func readText(name string, limit int64) ([]byte, error) {
	text, err := readFile(name, limit)
	if err == nil && !utf8.Valid(text) {
		err = errNoText
	}
	return text, err
}

// readFile reads a regular file of limited size.
func readFile(name string, limit int64) ([]byte, error) {
	f, err := openRegular(name)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // it was only read
	text, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, fmt.Errorf("it cannot be read: %w", err)
	}
	if int64(len(text)) > limit {
		size := "more"
		if info, err := f.Stat(); err == nil {
			size = megabytes(info.Size())
		}
		return nil, fmt.Errorf("it is too large: %s, and %s is the limit", size, megabytes(limit))
	}
	return bytes.TrimPrefix(text, []byte("\uFEFF")), nil
}

func openRegular(name string) (*os.File, error) {
	info, err := os.Stat(name)
	if err == nil && !info.Mode().IsRegular() {
		return nil, errors.New("it is not a regular file")
	}
	var f *os.File
	if err == nil {
		f, err = os.Open(name) //nolint:gosec // the operator names the file
	}
	if errors.Is(err, os.ErrNotExist) {
		return nil, errors.New("there is no such file")
	}
	if pathErr := (*os.PathError)(nil); errors.As(err, &pathErr) {
		return nil, fmt.Errorf("it cannot be read: %w", pathErr.Err)
	}
	return f, err
}

func megabytes(n int64) string {
	return fmt.Sprintf("%.1f MB", float64(n)/(1<<20))
}

// odd names what no text may contain: it would be taken for a reference.
func odd(s string) string {
	switch {
	case strings.ContainsRune(s, 0):
		return "a NUL character"
	case strings.ContainsRune(s, schema.Open), strings.ContainsRune(s, schema.Close):
		return "a private-use character (U+E000 or U+E001)"
	}
	return ""
}

// A frame is an open bracket, quotation or template of the source.
type frame struct {
	close hclsyntax.TokenType
	// chain counts the operators of the expression that is being read.
	chain int
}

// closers are what opens something, and what closes it.
var closers = map[hclsyntax.TokenType]hclsyntax.TokenType{
	hclsyntax.TokenOBrace:          hclsyntax.TokenCBrace,
	hclsyntax.TokenOBrack:          hclsyntax.TokenCBrack,
	hclsyntax.TokenOParen:          hclsyntax.TokenCParen,
	hclsyntax.TokenOQuote:          hclsyntax.TokenCQuote,
	hclsyntax.TokenOHeredoc:        hclsyntax.TokenCHeredoc,
	hclsyntax.TokenTemplateInterp:  hclsyntax.TokenTemplateSeqEnd,
	hclsyntax.TokenTemplateControl: hclsyntax.TokenTemplateSeqEnd,
}

// chains are the tokens by which an expression grows deeper without a bracket
// that stays open.
var chains = map[hclsyntax.TokenType]bool{
	hclsyntax.TokenStar: true, hclsyntax.TokenSlash: true, hclsyntax.TokenPlus: true,
	hclsyntax.TokenMinus: true, hclsyntax.TokenPercent: true, hclsyntax.TokenEqualOp: true,
	hclsyntax.TokenNotEqual: true, hclsyntax.TokenLessThan: true, hclsyntax.TokenLessThanEq: true,
	hclsyntax.TokenGreaterThan: true, hclsyntax.TokenGreaterThanEq: true, hclsyntax.TokenAnd: true,
	hclsyntax.TokenOr: true, hclsyntax.TokenBang: true, hclsyntax.TokenQuestion: true,
	hclsyntax.TokenOBrack: true, hclsyntax.TokenTemplateControl: true,
}

// tooDeep looks over the tokens of HCL, before they are parsed, for what is
// nested deeper than the parser may go. The scanner that makes the tokens is
// not recursive.
func tooDeep(tokens hclsyntax.Tokens) (at hcl.Range, problem string) {
	frames := []frame{{close: hclsyntax.TokenCBrace}}
	for _, t := range tokens {
		top := &frames[len(frames)-1]
		if chains[t.Type] {
			if top.chain++; top.chain > maxChain {
				return t.Range, fmt.Sprintf("more than %d operators in one expression", maxChain)
			}
		}
		if end, opens := closers[t.Type]; opens {
			if len(frames) > maxDepth {
				return t.Range, fmt.Sprintf("nested more than %d deep", maxDepth)
			}
			frames = append(frames, frame{close: end})
			continue
		}
		switch {
		case t.Type == top.close && len(frames) > 1:
			frames = frames[:len(frames)-1]
		case t.Type == hclsyntax.TokenComma,
			t.Type == hclsyntax.TokenNewline && top.close == hclsyntax.TokenCBrace:
			top.chain = 0
		case t.Type == hclsyntax.TokenNumberLit && hugeNumber(string(t.Bytes)):
			return t.Range, "a number that is too large"
		}
	}
	return hcl.Range{}, ""
}

// hugeNumber tells whether a number's text stands for more digits than there
// is a use for.
func hugeNumber(text string) bool {
	mantissa, exponent, _ := strings.Cut(strings.ToLower(text), "e")
	return len(mantissa) > 400 || len(strings.TrimLeft(exponent, "+-0")) > 3
}

// perValue is what a value costs besides its text.
const perValue = 64

// A measure adds up what values cost to copy and to walk, in bytes.
type measure struct {
	size, limit int
	problem     string
}

// add counts a value, until the limit is passed or the problem is found.
func (m *measure) add(v cty.Value, depth int) {
	v, _ = v.Unmark()
	m.size += perValue
	if depth > maxDepth {
		m.problem = fmt.Sprintf("nested more than %d deep", maxDepth)
		return
	}
	switch t := v.Type(); {
	case v.IsNull() || !v.IsKnown():
	case t == cty.String:
		m.size += len(v.AsString())
	case t == cty.Number:
		if !saneNumber(v.AsBigFloat()) {
			m.problem = "a number that is too large"
		}
	case t.IsObjectType() || t.IsTupleType() || t.IsCollectionType():
		for it := v.ElementIterator(); it.Next() && m.size <= m.limit && m.problem == ""; {
			key, item := it.Element()
			if key.Type() == cty.String {
				m.size += len(key.AsString())
			}
			m.add(item, depth+1)
		}
	}
}

func saneNumber(f *big.Float) bool {
	exponent := f.MantExp(nil)
	return !f.IsInf() && exponent < maxBits && exponent > -maxBits
}
