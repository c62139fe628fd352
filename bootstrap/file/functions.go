package file

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/schema"
)

// functionNames are those of [loader.functions].
var functionNames = []string{"auth_accessor", "file", "filesha256", "jsonencode"}

// errSpent is not shown: that there is too much was said once.
var errSpent = errors.New("too much was read")

// functions are what an expression can call. Paths are relative to the file
// that the expression stands in.
func (l *loader) functions(expr hclsyntax.Expression) map[string]function.Function {
	in := func(name string) string {
		if filepath.IsAbs(name) {
			return name
		}
		return filepath.Join(folder(expr), name)
	}
	return map[string]function.Function{
		"file": ofText(func(name string) (string, error) {
			if l.spent > maxValues {
				return "", errSpent
			}
			text, err := readText(in(name), maxIncluded)
			if err != nil {
				return "", fmt.Errorf("%s: %w", in(name), err)
			}
			if what := odd(string(text)); what != "" {
				return "", fmt.Errorf("%s: it contains %s", in(name), what)
			}
			if l.spent += len(text); l.spent > maxValues {
				return "", fmt.Errorf("the files come to more than %s", megabytes(maxValues))
			}
			return string(text), nil
		}),
		"filesha256": ofText(func(name string) (string, error) {
			sum, err := SHA256(in(name))
			if err != nil {
				return "", fmt.Errorf("%s: %w", in(name), err)
			}
			return sum, nil
		}),
		"auth_accessor": ofText(accessor),
		"jsonencode":    jsonEncode,
	}
}

// ofText is a function that makes text of text.
func ofText(f func(string) (string, error)) function.Function {
	return function.New(&function.Spec{
		Params: []function.Parameter{{Name: "text", Type: cty.String}},
		Type:   function.StaticReturnType(cty.String),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			out, err := f(args[0].AsString())
			return cty.StringVal(out), err
		},
	})
}

// SHA256 is the checksum of a regular file, in hexadecimal digits.
func SHA256(name string) (string, error) {
	f, err := openRegular(name)
	if err != nil {
		return "", err
	}
	defer f.Close() //nolint:errcheck // it was only read
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return "", fmt.Errorf("it cannot be read: %w", err)
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// accessor refers to the accessor of an auth mount.
func accessor(path string) (string, error) {
	path = strings.Trim(strings.TrimPrefix(strings.Trim(path, "/"), "auth/"), "/")
	if path == "" || odd(path) != "" {
		return "", errors.New(`the path of an auth mount is wanted, as in auth_accessor("okta")`)
	}
	return schema.Reference{Of: schema.RefAccessor, Name: path}.Token(), nil
}

// jsonEncode leaves <, > and & as they are: policies are full of them.
var jsonEncode = function.New(&function.Spec{
	Params: []function.Parameter{{Name: "value", Type: cty.DynamicPseudoType, AllowNull: true}},
	Type:   function.StaticReturnType(cty.String),
	Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
		m := measure{limit: maxFile}
		if m.add(args[0], 1); m.problem != "" {
			return cty.NilVal, errors.New(m.problem)
		}
		if m.size > maxFile {
			return cty.NilVal, fmt.Errorf("more than %s of values", megabytes(maxFile))
		}
		var b bytes.Buffer
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false)
		if err := e.Encode(plain(args[0], true)); err != nil {
			return cty.NilVal, errors.New("the value cannot be written as JSON")
		}
		return cty.StringVal(strings.TrimSuffix(b.String(), "\n")), nil
	},
})
