package file

import (
	"errors"
	"regexp"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// hints are the ways out of what HCL finds wrong, by HCL's summary. HCL's own
// details are not shown: they may quote the source, and with it a secret.
var hints = map[string]string{
	"Argument or block definition required":           `Write name = value, or a block: name { … }. Text stands in quotes.`,
	"Argument definition required":                    `Put each attribute and each block on a line of its own.`,
	"Invalid single-argument block definition":        `A block on one line takes one attribute: put each on a line of its own.`,
	"Invalid argument name":                           `Names on the left of "=" have no quotes.`,
	"Invalid block definition":                        `A block is written name "label" { … }, with the brace on the same line and without "=".`,
	"Missing newline after argument":                  `Put each attribute on a line of its own.`,
	"Unexpected comma after argument":                 `Put each attribute on a line of its own, without commas.`,
	"Missing newline after block definition":          `Put what follows the closing brace on the next line.`,
	"Unclosed configuration block":                    `A closing brace "}" is missing, here or in a block further down.`,
	"Unclosed configuration body":                     `A closing brace "}" is missing.`,
	"Unterminated template string":                    `The closing quotation mark, or the end mark of the text, is missing.`,
	"Unterminated string literal":                     `The closing quotation mark is missing.`,
	"Invalid multi-line string":                       `Close the quotation on the same line, or write the text as <<EOT … EOT.`,
	"Unterminated object constructor expression":      `A closing brace "}" is missing.`,
	"Unterminated tuple constructor expression":       `A closing bracket "]" is missing.`,
	"Unterminated function call":                      `A closing parenthesis ")" is missing.`,
	"Unbalanced parentheses":                          `A closing parenthesis ")" is missing.`,
	"Missing item separator":                          `Put a comma between the items of a list.`,
	"Missing attribute separator":                     `Put a comma or a new line between the entries of an object.`,
	"Missing key/value separator":                     `An entry of an object is written name = value; put quotes around a name with dots or slashes.`,
	"Missing attribute value":                         `An entry of an object is written name = value.`,
	"Missing argument separator":                      `Put a comma between the arguments of a function.`,
	"Missing expression":                              `A value is missing here.`,
	"Invalid expression":                              `A value is missing here, or text stands without quotes.`,
	"Invalid attribute name":                          `A name is wanted after the dot; text stands in quotes.`,
	"Invalid character":                               `Text stands in double quotes; a text of several lines is written <<EOT … EOT.`,
	"Unsupported operator":                            `Text stands in double quotes.`,
	"Invalid escape sequence":                         `A backslash itself is written \\.`,
	"Invalid string literal":                          `A label is plain text: no ${…} can stand in it.`,
	"Invalid number literal":                          `Text stands in double quotes.`,
	"Unclosed template interpolation sequence":        `A closing brace "}" is missing; if "${" is meant as it stands, write "$${".`,
	"Extra characters after interpolation expression": `Only one value can stand in ${…}; if "${" is meant as it stands, write "$${".`,
	"Invalid template directive":                      `If "%{" is meant as it stands, write "%%{".`,
	"Invalid template control keyword":                `If "%{" is meant as it stands, write "%%{".`,
	"Unexpected end of template":                      `An %{endif} is missing.`,
	"Missing false expression in conditional":         `A condition is written condition ? one : other.`,
	"Inconsistent conditional result types":           `Both results of a condition have to be of the same kind.`,
	"Incorrect condition type":                        `Before the "?" has to stand true or false.`,
	"Invalid template interpolation value":            `Only text, numbers, true and false can stand in a string; jsonencode(…) makes text of the rest.`,
	"Unsupported attribute":                           `What stands before the dot has no attribute of that name.`,
	"Invalid index":                                   `There is nothing at that index.`,
	"Invalid operand":                                 `The operator does not take a value of this kind.`,
	"Not enough function arguments":                   `The function takes one argument.`,
	"Too many function arguments":                     `The function takes one argument.`,
	"Invalid function argument":                       `The function takes text.`,
	"Extra characters after expression":               `Only one value can stand here.`,
}

// ways are the ways out of what the limits, the functions and the parser of
// YAML find wrong, by words of theirs; the first that fits counts.
var ways = []struct{ words, out string }{
	{"more than 64 deep", `Nothing in Vault is nested that deep: look for a bracket that is opened too often.`},
	{"exceeded max depth", `Nothing in Vault is nested that deep: look for a bracket that is opened too often.`},
	{"operators in one expression", `Write it in parts, as locals.`},
	{"number that is too large", `If it is text, put it into quotes.`},
	{"MB of values", `Locals that have one another more than once grow like this: write less of it.`},
	{"the files come to more than", `Read less, or once, into a local.`},
	{"refer to one another in a row", `Write the values themselves.`},
	{"is too large: ", `Only settings and texts belong here: is it the right file? Several files can lie in one folder.`},
	{"there is no such file or folder", `A path after -f begins where the program is started.`},
	{"there is no such file", `A path begins at the folder of the file that it stands in.`},
	{"is not UTF-8 text", `Save it as UTF-8; of a program, filesha256("…") gives the checksum.`},
	{"not YAML: found character that cannot start any token", "It is indented with spaces, not with tabs; text that begins with @, ` or % stands in quotes."},
	{"not YAML: mapping values are not allowed", `Look at the indentation; text with a colon and a space in it stands in quotes.`},
	{"not YAML", `Look at the indentation, and for a bracket or a quotation mark that is not closed, here and above.`},
}

// wayOut is the way out of what is wrong, or "".
func wayOut(summary string) string {
	for _, way := range ways {
		if strings.Contains(summary, way.words) {
			return way.out
		}
	}
	return ""
}

// redefinition is HCL's word for what breaks nothing else.
const redefinition = "Attribute redefined"

// redefined finds where an attribute stood first.
var redefined = regexp.MustCompile(` at (\S+:\d+),\d+`)

// found takes over what HCL found wrong, once for each place.
func (l *loader) found(diags hcl.Diagnostics, src []byte) {
	seen := make(map[Position]bool)
	for _, d := range diags {
		if d.Subject == nil || seen[position(*d.Subject)] {
			continue // HCL always knows the place
		}
		at := position(*d.Subject)
		seen[at] = true
		summary, detail := strings.ToLower(d.Summary[:1])+d.Summary[1:], hints[d.Summary]
		if extra, ok := hcl.DiagnosticExtra[hclsyntax.FunctionCallDiagExtra](d); ok && extra.FunctionCallError() != nil {
			if errors.Is(extra.FunctionCallError(), errSpent) {
				continue
			}
			summary = extra.CalledFunctionName() + ": " + extra.FunctionCallError().Error()
			detail = ""
		}
		if d.Summary == redefinition && d.Subject.CanSliceBytes(src) {
			summary = "attribute \"" + string(d.Subject.SliceBytes(src)) + "\" stands here a second time"
			if m := redefined.FindStringSubmatch(d.Detail); m != nil {
				detail = "The first is at " + m[1] + "; one of them has to go."
			}
		}
		l.errorf(at, detail, "%s", summary)
	}
}
