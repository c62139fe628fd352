package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/schema"
	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/vault"
)

// rotationKind is the one rotation of a root credential that rotate_root = true
// asks for: its parent is the object that has the credential. What it has to
// remember stands in the parent's [Entry].
//
// Once a rotation was begun the file's secret may be dead, and sending it would
// shut Vault out; that must hold wherever the process is killed:
//
//  1. Before the pending mark is kept, nothing was rotated. The file's secret
//     is good, and may be sent again.
//  2. Pending mark kept, no request yet: the secret is withheld from here on.
//     The next apply rotates.
//  3. Database: the mark is on the connection too ([rotatedMark]), so that a
//     record that is lost later does not bring the old password back.
//  4. The request was sent and its outcome is not known. AWS: another access
//     key on the server says that it happened. Database: nobody can tell, but to
//     rotate once more does no harm, since Vault changes the password with the one
//     that it has stored, and not with the file's.
//  5. Vault changed the password in the database and died before it had stored
//     it: Vault takes that back when it starts, and if it cannot, every rotation
//     fails. The error says what to do; nothing is sent by itself.
//  6. Done, and the mark not yet kept: as 4.
//
// A record that is lost altogether looks like 1 with the mark of 3 or another
// access key: the secret is withheld, and a database is rotated once more.
var rotationKind = &Kind{
	Name: "root rotation", Stage: StageRotation,
	Read: readRotation, Review: reviewRotation, Write: writeRotation,
	Delete: func(context.Context, *Session, *Object) error { return nil }, // it goes with its parent
	Access: func(o *Object) []Access {
		accesses := []Access{{o.rotatePath(), []string{"update"}}, {o.Parent.Kind.Path(o.Parent), []string{"read"}}}
		if !o.Parent.isAWS() {
			accesses[1].Capabilities = []string{"read", "update"}
		}
		return accesses
	},
}

func (o *Object) isAWS() bool { return o.Kind.Name == "aws root" }

// rotatePath is where a rotation is asked for.
func (o *Object) rotatePath() string {
	if o.Parent.isAWS() {
		return slashed(o.MountPath(), "config", "rotate-root")
	}
	return slashed(o.MountPath(), "rotate-root", o.Parent.Key())
}

// wantsRotation tells whether the file asks for a rotation of the object's
// credential.
func wantsRotation(o *Object) bool {
	f := schema.Field{Type: schema.Bool}
	c, _ := f.Canonical(o.Values["rotate_root"].V) // checked when the file was read
	return c != nil
}

func deriveRotation(o *Object) []*Object {
	if !wantsRotation(o) {
		return nil
	}
	return []*Object{{Kind: rotationKind, Parent: o, At: o.Values["rotate_root"].At}}
}

// readRotation: it exists when it was done to the object that is there now.
func readRotation(ctx context.Context, s *Session, o *Object) (*State, error) {
	st, err := s.Read(ctx, o.Parent)
	if err != nil || !st.Exists {
		return absent, err
	}
	e, err := s.Entry(ctx, o.Parent)
	if err != nil {
		return nil, err
	}
	if e.Rotation != nil {
		return &State{Exists: e.Rotation.Done}, nil
	}
	if !o.Parent.isAWS() || e.Fingerprints != nil {
		return absent, nil
	}
	// Nothing is recorded: only the access key can tell.
	rotated, err := awsRotated(ctx, s, o.Parent, st)
	return &State{Exists: rotated}, err
}

func reviewRotation(ctx context.Context, s *Session, c *Change) error {
	if c.State.Exists && !s.resends(c.Object.Parent) {
		return nil
	}
	c.Action = Rotate
	e, err := s.Entry(ctx, c.Object.Parent)
	if err == nil && e.Rotation != nil && !e.Rotation.Done {
		c.Notes = append(c.Notes, fmt.Sprintf("begun at %s, and it is not known how it ended", e.Rotation.At.Format(time.DateTime)))
	}
	return err
}

// writeRotation rotates, and keeps a mark before and after it.
func writeRotation(ctx context.Context, s *Session, c *Change) error {
	parent := c.Object.Parent
	e, err := s.Entry(ctx, parent)
	if err != nil {
		return err
	}
	key, err := accessKey(ctx, s, parent)
	if err != nil {
		return err
	}
	if e.Rotation != nil && !e.Rotation.Done && key != e.Rotation.Before {
		return s.rotated(ctx, parent, e)
	}
	e.Rotation = &Rotation{Before: key, At: time.Now().UTC().Truncate(time.Second)}
	if err := s.Keep(ctx, parent, e); err != nil {
		return err
	}
	if !parent.isAWS() {
		if err := markRotated(ctx, s, parent); err != nil {
			return s.notRotated(ctx, parent, e, err)
		}
	}
	if _, err := s.Vault.Write(ctx, c.Object.rotatePath(), nil); err != nil {
		return s.notRotated(ctx, parent, e, err)
	}
	return s.rotated(ctx, parent, e)
}

// accessKey is the public part of the credential that the server has now.
func accessKey(ctx context.Context, s *Session, o *Object) (string, error) {
	if !o.isAWS() {
		return "", nil
	}
	answer, err := s.Vault.Read(ctx, o.Kind.Path(o))
	return textOf(answer, "access_key"), err
}

// rotated keeps that the rotation is done.
func (s *Session) rotated(ctx context.Context, o *Object, e *Entry) error {
	e.Rotation.Done = true
	return s.Keep(ctx, o, e)
}

// notRotated settles what a failed request has left.
func (s *Session) notRotated(ctx context.Context, o *Object, e *Entry, failure error) error {
	unsure, ok := errors.AsType[*vault.OutcomeUnknownError](failure)
	switch {
	case !ok:
		e.Rotation = nil // nothing happened, and the file's secret is as good as before
		return errors.Join(failure, s.Keep(ctx, o, e))
	case !o.isAWS():
		return fmt.Errorf("%w. Applying again rotates again, which does no harm. If Vault has not got the right password any more, "+
			"set a new one in the database and in its source, and apply with%s", failure, resendFlags(o))
	case vault.StatusOf(failure) == 0:
		return failure // it may still be going on: the next apply looks
	}
	key, err := accessKey(ctx, s, o)
	if err != nil {
		return errors.Join(failure, err)
	}
	if key == e.Rotation.Before {
		e.Rotation = nil
		return errors.Join(fmt.Errorf("the root credential was not rotated: %w (an IAM user can have two access keys at most: is there room for another?)", unsure.Err), s.Keep(ctx, o, e))
	}
	// Vault deletes the old key when the new one is stored already.
	return errors.Join(
		fmt.Errorf("%w. Vault has the new access key %s; the old one, %s, is still there: delete it in IAM, and apply again to go on", unsure.Err, key, e.Rotation.Before),
		s.rotated(ctx, o, e),
	)
}

// resendFlags are the flags with which an object's rotated secrets are sent again.
func resendFlags(o *Object) string {
	var b strings.Builder
	for _, f := range o.fields() {
		if !f.Rotates {
			continue
		}
		for _, r := range schema.References(o.Values[f.Name].V) {
			if flag := " --resend-secret " + r.Name; r.Of == schema.RefSecret && !strings.Contains(b.String(), flag) {
				b.WriteString(flag)
			}
		}
	}
	if b.Len() == 0 {
		return " its secret in the file and --resend-secret"
	}
	return b.String()
}

// A sourceState says what is known of a secret's source.
type sourceState int

const (
	sourceUnknown sourceState = iota
	sourceSame
	sourceChanged
)

// sourceIsAsSent compares a secret with the one that was sent last.
func (s *Session) sourceIsAsSent(ctx context.Context, o *Object, field string) (sourceState, error) {
	e, err := s.Entry(ctx, o)
	v, set := o.Value(field)
	if err != nil || !set || e.Fingerprints[field] == "" {
		return sourceUnknown, err
	}
	v, unknown, err := s.Resolve(ctx, v)
	if err != nil || len(unknown) > 0 {
		return sourceUnknown, err
	}
	prints, err := s.fingerprints(ctx, []sample{{o, field, v}})
	if err != nil {
		return sourceUnknown, err
	}
	if prints[0] != e.Fingerprints[field] {
		return sourceChanged, nil
	}
	return sourceSame, nil
}

// reviewRotates explains, for an object with a root credential, why its secret
// is not sent.
func reviewRotates(ctx context.Context, s *Session, c *Change) error {
	if len(c.Withheld) == 0 {
		return nil
	}
	c.Unchecked = slices.DeleteFunc(c.Unchecked, func(name string) bool { return slices.Contains(c.Withheld, name) })
	e, err := s.Entry(ctx, c.Object)
	if err != nil {
		return err
	}
	if e.Rotation == nil {
		c.Notes = append(c.Notes, "its credential was rotated, of which nothing is recorded: the file's is not sent (it would be with"+resendFlags(c.Object)+")")
		return nil
	}
	for _, f := range c.Object.fields() {
		if f.Secrecy != schema.Secret || !f.Rotates {
			continue
		}
		state, err := s.sourceIsAsSent(ctx, c.Object, f.Name)
		if err != nil {
			return err
		}
		if state == sourceChanged {
			c.Notes = append(c.Notes, f.Name+": its source has changed since it was rotated, and is not sent (it would be with"+resendFlags(c.Object)+")")
		}
	}
	return nil
}

// startAnew forgets, before an object with a root credential is made, what was
// recorded of one that had its name: it has not been rotated.
func startAnew(ctx context.Context, s *Session, c *Change) error {
	if c.Action != Create {
		return nil
	}
	e, err := s.Entry(ctx, c.Object)
	if err != nil || e.Rotation == nil && e.Fingerprints == nil {
		return err
	}
	e.Rotation, e.Fingerprints = nil, nil
	return s.Keep(ctx, c.Object, e)
}
