// Package schema describes what may stand in a bootstrap file, and how Vault
// takes it and answers it. One description serves everything that is done with
// a value: reading the file, comparing it with the server, writing it, and
// exporting it again.
//
// A value keeps Go's JSON shapes: string, bool, [json.Number], []any and
// map[string]any. What the file leaves to be looked up later (a secret, the
// accessor of an auth mount) stands in its strings as a [Reference].
package schema

import (
	"maps"
	"slices"
)

// A Type is the shape of a field's value, and with it the way two are compared.
type Type int

const (
	// String is compared byte by byte.
	String Type = iota
	// Bool is true or false; Vault's "true" is true.
	Bool
	// Int is a whole number; Vault's "3" is 3.
	Int
	// Duration is compared in seconds: 3600, "3600", "1h" and "60m" are equal; "1d" is a day.
	Duration
	// List is strings in an order that matters. One string is a list of one.
	List
	// Set is strings whose order and repetition do not matter; a string with
	// commas is a set too, as Vault takes it.
	Set
	// Map is strings by name.
	Map
	// JSON is a document, given as text or as a value; compared as a value.
	JSON
	// Any is any value, compared as it is.
	Any
)

// Secrecy says what a field has to do with secrets.
type Secrecy int

const (
	// Plain refuses secrets: its value is shown.
	Plain Secrecy = iota
	// Sensitive takes a secret as well as a literal; Vault returns it.
	Sensitive
	// Secret takes secrets only, and Vault never returns it.
	Secret
)

// A Field is one attribute of a block.
type Field struct {
	// Name is what it is called in the file, and by Vault unless ReadAs or WriteAs say otherwise.
	Name string
	Type Type
	// Doc says in one line what it is for: it ends errors and stands in exports.
	Doc string
	// Required fields must stand in the file.
	Required bool
	Secrecy  Secrecy
	// Literal fields take literals although they are [Secret]: some of what they
	// hold is secret, and Vault returns none of it.
	Literal bool
	// OneOf are the values that are possible, where they are few.
	OneOf []string
	// Default is what Vault has when it is not told: a field left out of the
	// file is compared with it, and set to it if it differs. Nil is Vault's
	// empty value: "", 0, false, none.
	Default any
	// Keep leaves alone on the server what is left out of the file: for what
	// Vault itself changes or chooses.
	Keep bool
	// Local is for the program, not for Vault: never read, never written.
	Local bool
	// ReadAs is Vault's name in answers, where it differs: dots go into
	// objects ("connection_details.username"). WriteAs is its name in requests.
	ReadAs, WriteAs string
	// Immutable can be set when the object is made, and never again.
	Immutable bool
	// OneWay can be changed once, to the value given here, and not back.
	OneWay any
	// Rotates: a rotation of the root credential replaces it. After one it is
	// neither compared nor sent any more.
	Rotates bool
	// Aliases are names that other tools use for it: taken, with a warning.
	Aliases []string
	// Names is the kind of object that the values name, in the same mount or in
	// none: what no file has is warned of.
	Names string
	// Lower is for names that Vault stores in lower case.
	Lower bool
	// Normal brings a canonical value (see [Field.Canonical]) to the form that
	// Vault answers, where Type does not say enough.
	Normal func(any) any
	// Check refuses a canonical value, saying what is wrong and the way out. It
	// is not asked about values with references.
	Check func(any) error
}

// Answered is the field's name in Vault's answers.
func (f *Field) Answered() string {
	if f.ReadAs != "" {
		return f.ReadAs
	}
	return f.Name
}

// Written is the field's name in requests to Vault.
func (f *Field) Written() string {
	if f.WriteAs != "" {
		return f.WriteAs
	}
	return f.Name
}

// A Block is one kind of block: what may stand in it.
type Block struct {
	// Name is the block's type: "mount".
	Name string
	// Labels say what its labels are: "type", "path".
	Labels []string
	// Doc says in one line what it is for.
	Doc    string
	Fields []*Field
	Blocks []*Block
	// Rest describes every attribute that Fields does not name; nil refuses
	// them.
	Rest *Field
	// Variants are more of what may stand in it, by the first label.
	Variants map[string]*Block
	// Most is how many of them may stand in one place with the same labels
	// left out; 0 is any number, each with labels of its own.
	Most int
}

// Variant is the block as its first label makes it: with the variant's fields
// and blocks added. A label without a variant gives the block itself.
func (b *Block) Variant(label string) *Block {
	v, ok := b.Variants[label]
	if !ok {
		return b
	}
	whole := *v
	whole.Name, whole.Labels, whole.Variants = b.Name, b.Labels, nil
	whole.Fields = slices.Concat(b.Fields, v.Fields)
	whole.Blocks = slices.Concat(b.Blocks, v.Blocks)
	if whole.Doc == "" {
		whole.Doc = b.Doc
	}
	return &whole
}

// VariantNames are the labels that the block has variants for, in order.
func (b *Block) VariantNames() []string {
	return slices.Sorted(maps.Keys(b.Variants))
}

// Field is the field of that name or alias. For an alias the second result is
// true.
func (b *Block) Field(name string) (f *Field, alias bool) {
	for _, f := range b.Fields {
		if f.Name == name {
			return f, false
		}
	}
	for _, f := range b.Fields {
		if slices.Contains(f.Aliases, name) {
			return f, true
		}
	}
	return nil, false
}
