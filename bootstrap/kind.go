package bootstrap

import (
	"context"
	"slices"
	"strings"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/file"
	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/schema"
)

// A Stage is when a kind's turn comes in an apply. What is deleted goes in the
// opposite order.
type Stage int

// The order has reasons: what happens is on record first; a policy stands
// before anything refers to it; an MFA enforcement comes after everything that
// a login needs, because it may shut people out; a root password is rotated
// only when nobody has to know it any more.
const (
	StageAudit Stage = iota
	StagePlugin
	StagePolicy
	StageMount
	StageTransitKey
	StageAuthMount
	StageAuth
	StageAuthRole
	StageEngine
	StageEngineRole
	StageAIKeysTransit
	StageAIKeysAccount
	StageAIKeysRole
	StageGroup
	StageAlias
	StageMFA
	StageEnforcement
	StageQuota
	StageData
	StageSecretID
	StageRotation
)

// A Kind is one kind of object in Vault: what it looks like in the file and on
// the server. Most kinds are described by their fields alone; the hooks are for
// where Vault's API has a shape of its own.
type Kind struct {
	// Name is what people call it, alone: "transit key". Word is what they call
	// it beside its mount: "key". Empty: Name.
	Name, Word string
	Stage      Stage
	// Block is how it stands in a file. Its fields are those of the object.
	Block *schema.Block
	// Path is where it is read and written.
	Path func(o *Object) string
	// ListPath lists the names of all of this kind beside it, given one of them
	// or, for what is in a mount, an object that has only a Parent. Nil: there
	// is one at most, or they cannot be listed.
	ListPath func(o *Object) string
	// Mounts is set for the two kinds that others live in.
	Mounts Mounts
	// FullReplace: a write that leaves a field out resets it.
	FullReplace bool
	// Builtin are names that Vault makes itself; they are never listed as
	// unmanaged, and never deleted.
	Builtin []string
	// Forever objects are not deleted by themselves: they go with their mount.
	Forever bool

	// Prepare turns what stands in the block into values: nested blocks that
	// are no objects of their own, defaults that follow from labels.
	Prepare func(o *Object, n *file.Node) file.Diagnostics
	// Derive returns further objects that this one brings with it.
	Derive func(o *Object) []*Object
	// Read looks at the object. Default: GET Path.
	Read func(ctx context.Context, s *Session, o *Object) (*State, error)
	// Write makes or changes it. Default: POST Path with [Session.Body].
	Write func(ctx context.Context, s *Session, c *Change) error
	// Delete removes it. Default: DELETE Path.
	Delete func(ctx context.Context, s *Session, o *Object) error
	// Review looks at a finished comparison, and may add notes, take fields
	// out, or say that it cannot be done.
	Review func(ctx context.Context, s *Session, c *Change) error
	// Ready tells, before an apply writes anything, why the change cannot be
	// made. It leaves nothing behind.
	Ready func(ctx context.Context, s *Session, c *Change) error
	// Rotated tells from the server alone that the root credential was rotated,
	// where the server shows it: also when the record is lost. It is asked only
	// when no rotation is recorded.
	Rotated func(ctx context.Context, s *Session, o *Object, st *State) (bool, error)
	// List finds all objects of the kind k, which it is called for, in a mount,
	// or on the server if parent is nil. Default: LIST ListPath.
	List func(ctx context.Context, s *Session, k *Kind, parent *Object) ([]*Object, error)
	// Access says which rights the object needs, where they are not those of
	// Path and ListPath.
	Access func(o *Object) []Access
	// Verify proves by use that the object works, without a trace outside
	// Vault. It returns what it did.
	Verify func(ctx context.Context, s *Session, o *Object) (string, error)
}

// Mounts says which kind of mount a kind is.
type Mounts int

const (
	// NoMount is everything else.
	NoMount Mounts = iota
	// SecretsMount is a secrets engine.
	SecretsMount
	// AuthMount is an auth method.
	AuthMount
)

// An Access is a path and what must be allowed there.
type Access struct {
	Path         string
	Capabilities []string
}

// An Object is one thing in Vault that the file wants.
type Object struct {
	Kind   *Kind
	Parent *Object
	// Labels are those of the block; for a mount its type and path.
	Labels []string
	// Values are what the file sets, by field.
	Values map[string]file.Value
	// Loose is what others need and the file does not mention: it has to be
	// there, whatever its settings, and it is not the file's to delete.
	Loose bool
	// At is where it stands in the file; for what was derived, where that
	// stands which brings it.
	At file.Position
}

// Name tells the object from every other: "policy reader", "mount transit",
// "transit key ai-keys", "auth/okta config".
func (o *Object) Name() string {
	word := o.Kind.Word
	if word == "" {
		word = o.Kind.Name
	}
	parts := []string{word}
	switch {
	case o.isMount():
		parts = append(parts, o.MountPath())
	case o.Parent != nil && o.Parent.isMount():
		parts = append([]string{o.MountPath(), word}, o.Labels...)
	case o.Parent != nil:
		parts = append([]string{o.Parent.Name(), word}, o.Labels...)
	default:
		parts = append(parts, o.Labels...)
	}
	return strings.Join(parts, " ")
}

// Key is the object's own name in Vault: its last label.
func (o *Object) Key() string {
	if len(o.Labels) == 0 {
		return ""
	}
	return o.Labels[len(o.Labels)-1]
}

func (o *Object) isMount() bool { return o.Kind.Mounts != NoMount }

// MountPath is the path of the mount that the object is, or is in: "transit",
// "auth/okta". It is empty for what is in none.
func (o *Object) MountPath() string {
	for ; o != nil; o = o.Parent {
		switch o.Kind.Mounts {
		case SecretsMount:
			return strings.Trim(o.Key(), "/")
		case AuthMount:
			return "auth/" + strings.Trim(o.Key(), "/")
		case NoMount:
		}
	}
	return ""
}

// mount is the mount that the object is or is in; nil if there is none.
func (o *Object) mount() *Object {
	for o != nil && !o.isMount() {
		o = o.Parent
	}
	return o
}

// Value is what the file sets for a field, with references.
func (o *Object) Value(field string) (any, bool) {
	v, ok := o.Values[field]
	return v.V, ok
}

// Text is a string field's value, or "".
func (o *Object) Text(field string) string {
	v, _ := o.Values[field].V.(string)
	return v
}

// Set gives a field a value that stands in no line of its own.
func (o *Object) Set(field string, v any) {
	if o.Values == nil {
		o.Values = make(map[string]file.Value)
	}
	o.Values[field] = file.Value{V: v, At: o.At}
}

// fields are the object's fields. A mount's are those of its type too.
func (o *Object) fields() []*schema.Field {
	block := o.block()
	if block.Rest == nil {
		return block.Fields
	}
	return append(slices.Clip(block.Fields), o.restFields(block)...)
}

// secrets are the names of the secrets that the object's values refer to, but
// for the fields that are not sent.
func (o *Object) secrets(withheld []string) []string {
	var names []string
	for _, field := range sortedKeys(o.Values) {
		if slices.Contains(withheld, field) {
			continue
		}
		for _, r := range schema.References(o.Values[field].V) {
			if r.Of == schema.RefSecret && !slices.Contains(names, r.Name) {
				names = append(names, r.Name)
			}
		}
	}
	return names
}

// block is the object's block, as its labels make it.
func (o *Object) block() *schema.Block {
	switch block := o.Kind.Block; {
	case block == nil:
		return &schema.Block{}
	case len(o.Labels) > 0 && block.Variants != nil:
		return block.Variant(o.Labels[0])
	default:
		return block
	}
}

// restFields are fields for the attributes that only the server knows.
func (o *Object) restFields(block *schema.Block) []*schema.Field {
	var more []*schema.Field
	for _, name := range sortedKeys(o.Values) {
		if f, _ := block.Field(name); f == nil {
			rest := *block.Rest
			rest.Name = name
			more = append(more, &rest)
		}
	}
	return more
}

// isBuiltin tells whether an object is Vault's own, or this program's.
func (k *Kind) isBuiltin(name string) bool { return slices.Contains(k.Builtin, name) }

// A State is what the server has of an object.
type State struct {
	Exists bool
	// Answer is Vault's, by Vault's names.
	Answer map[string]any
	// Values are canonical, by the file's names.
	Values map[string]any
}

// absent is the state of what is not there.
var absent = &State{}
