package bootstrap

import (
	"context"
	"fmt"
	"slices"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/schema"
)

// An Action is what an apply would do to an object.
type Action string

const (
	// None is for what needs nothing: the server has what the file wants.
	None Action = "none"
	// Create makes what is not there.
	Create Action = "create"
	// Update changes it in place.
	Update Action = "update"
	// Delete removes it.
	Delete Action = "delete"
	// Blocked is for what differs and cannot be changed in place.
	Blocked Action = "blocked"
	// Rotate replaces a credential.
	Rotate Action = "rotate"
)

// A Change is what has to be done about one object.
type Change struct {
	Object *Object
	Action Action
	State  *State
	Fields []FieldChange
	// Notes are for the reader: what could not be checked, what it means.
	Notes []string
	// Unchecked are secret fields whose source is not there.
	Unchecked []string
	// Withheld are fields that a root rotation has replaced: they are not sent.
	Withheld []string
	// Refused says why the operator has to allow the change first, and how.
	Refused string
}

// A FieldChange is one difference. Old and New can be shown: secrets stand in
// them by name only.
type FieldChange struct {
	Field string
	// Old is the server's, New the file's, both canonical.
	Old, New any
	// Why is more than the two values say.
	Why string
	// Diff is a unified diff, for long texts.
	Diff string
	// Immutable cannot be changed in place.
	Immutable bool
}

// compare finds what differs between the file and the server. Secrets that
// Vault does not return are left to [Session.compareSecrets].
func (s *Session) compare(ctx context.Context, o *Object, st *State) (*Change, error) {
	c := &Change{Object: o, Action: None, State: st}
	if !st.Exists {
		c.Action = Create
	}
	for _, f := range o.fields() {
		if f.Local || f.Secrecy == schema.Secret {
			continue
		}
		d, unchecked, err := s.difference(ctx, o, f, st)
		if err != nil {
			return nil, err
		}
		if unchecked {
			c.Unchecked = append(c.Unchecked, f.Name)
		}
		if d != nil {
			c.Fields = append(c.Fields, *d)
		}
	}
	return c, nil
}

// difference compares one field.
func (s *Session) difference(ctx context.Context, o *Object, f *schema.Field, st *State) (*FieldChange, bool, error) {
	raw, set := o.Value(f.Name)
	if !set {
		return leftOut(o, f, st), false, nil
	}
	resolved, unknown, err := s.Resolve(ctx, raw)
	if err != nil {
		return nil, false, err
	}
	want, err := f.Canonical(resolved)
	if err != nil {
		return nil, false, fmt.Errorf("%s: %s: %s: %w", o.Values[f.Name].At, o.Name(), f.Name, err)
	}
	have := st.Values[f.Name]
	if st.Exists && hasSecretRef(unknown) {
		return nil, true, nil
	}
	if !st.Exists {
		have, err = f.Canonical(f.Default)
		if err != nil {
			return nil, false, fmt.Errorf("%s: the default of %s: %w", o.Name(), f.Name, err)
		}
	}
	if len(unknown) == 0 && schema.Equal(want, have) && (st.Exists || want == nil) {
		return nil, false, nil
	}
	if !st.Exists {
		have = nil
	}
	d := &FieldChange{Field: f.Name, Old: have, New: f.Plain(want), Immutable: st.Exists && f.Immutable}
	if schema.HasSecret(raw) {
		d.New = raw
		if d.Old != nil {
			d.Old = anotherValue
		}
	}
	if st.Exists && f.OneWay != nil && schema.Equal(have, f.OneWay) {
		d.Immutable, d.Why = true, "Vault cannot take this back"
	}
	if len(unknown) > 0 {
		d.Why = "known after " + unknown[0].String() + " is there"
	}
	return d, false, nil
}

// leftOut compares a field that the file does not set.
func leftOut(o *Object, f *schema.Field, st *State) *FieldChange {
	if f.Keep || o.Loose || !st.Exists {
		return nil
	}
	want, err := f.Canonical(f.Default)
	if err != nil || schema.Equal(want, st.Values[f.Name]) {
		return nil
	}
	old := st.Values[f.Name]
	if f.Secrecy == schema.Sensitive { // it may be a secret that the file once had
		old = anotherValue
	}
	return &FieldChange{
		Field: f.Name, Old: old, New: f.Plain(want), Immutable: f.Immutable,
		Why: "not in the file: back to Vault's default",
	}
}

func hasSecretRef(refs []schema.Reference) bool {
	return slices.ContainsFunc(refs, func(r schema.Reference) bool { return r.Of == schema.RefSecret })
}

// conclude settles the action of a comparison.
func (c *Change) conclude() {
	if c.Action != None {
		return
	}
	for _, f := range c.Fields {
		if f.Immutable {
			c.Action = Blocked
			return
		}
		c.Action = Update
	}
}
