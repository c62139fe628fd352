// Package file reads a bootstrap file into a checked tree: HCL, YAML or JSON,
// one file, several, or a folder of them, all taken as one document.
//
// What may stand in it is a list of [schema.Block]. Two blocks are the
// package's own:
//
//	locals { region = "eu-west-1" }                    # local.region
//	secret "okta" { from = "env:OKTA_API_TOKEN" }      # secret.okta
//
// A secret stands in a value as a [schema.Reference]; its content is never
// read here. It may go, whole or inside a string, into fields that are declared
// for secrets and nowhere else, and such a field takes no literal.
//
// There are four functions: file and filesha256, whose paths are relative to
// the file that they stand in, auth_accessor and jsonencode. Conditions and
// operators work on everything but secrets; there is no for.
//
// YAML and JSON have the shape of HCL's JSON syntax: a block's labels are
// nested objects, strings are templates, and a list of objects is several
// blocks:
//
//	mount: { transit: { transit: { key: { ai-keys: { type: aes256-gcm96 } } } } }
//
// In YAML an alias works and a merge key does not, yes and no are text, and a
// number has one plain form: 0777 is refused. What is null is left out, except
// that a block with nothing in it may be written so.
//
// [Load] reports every mistake that it finds, each with its place and a way
// out. A diagnostic never quotes a value: it may be a secret that somebody put
// in the wrong place.
package file

import (
	"strconv"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/schema"
)

// A Position is a place in a file.
type Position struct {
	File   string `json:"file"`
	Line   int    `json:"line"`
	Column int    `json:"column,omitempty"`
}

// String is "vault.hcl:12".
func (p Position) String() string {
	if p.Line == 0 {
		return p.File
	}
	return p.File + ":" + strconv.Itoa(p.Line)
}

// A Value is what a field was given: a string, bool, [json.Number], []any or
// map[string]any. Its strings may hold tokens of [schema.Reference].
type Value struct {
	V  any      `json:"v"`
	At Position `json:"at"`
}

// A Node is one block of the file.
type Node struct {
	// Block describes it, with the variant that its first label chose.
	Block  *schema.Block `json:"-"`
	Labels []string
	// Values are by the names of the schema, also where the file used an alias.
	Values map[string]Value
	Nodes  []*Node
	At     Position
	// Wrong: there is an error in it, or in a block in it, so that values may be
	// missing.
	Wrong bool
}

// Value is what the file gives a field.
func (n *Node) Value(name string) (any, bool) {
	v, ok := n.Values[name]
	return v.V, ok
}

// String is what the file gives a field, if that is a string.
func (n *Node) String(name string) string {
	s, _ := n.Values[name].V.(string)
	return s
}

// A Secret is the declaration of a secret: where it is to be had.
type Secret struct {
	Name string   `json:"name"`
	From string   `json:"from"`
	At   Position `json:"at"`
}

// A Document is everything that the files say.
type Document struct {
	Nodes   []*Node
	Secrets []Secret
	Files   []string
	// Partial: a file has syntax errors, so that blocks may be missing.
	Partial bool
}

// Load reads files and folders as one document. Of a folder it takes what ends
// in .hcl, .yaml, .yml or .json, in the order of the names, and nothing from
// the folders inside. The document is never nil, but of use only if the
// diagnostics have no errors.
func Load(paths []string, top []*schema.Block) (*Document, Diagnostics) {
	l := newLoader(top)
	doc := l.load(l.find(paths))
	return doc, l.diags.Sorted()
}
