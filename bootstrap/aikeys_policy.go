package bootstrap

import (
	"context"
	"strings"
)

// wiringPolicyKind is the policy of a mount that is wired. It is no ordinary
// one: while the engine still has its data keys under another transit key, it
// has to be allowed to use both, or it could open nothing any more.
var wiringPolicyKind = &Kind{
	Name: "ai-keys policy", Word: "policy", Stage: StagePolicy,
	Path:   func(o *Object) string { return "sys/policies/acl/" + o.Key() },
	Review: reviewWiringPolicy, Write: writeWiringPolicy,
}

// newWiringPolicy is the policy for an object of transit settings.
func newWiringPolicy(o *Object) *Object {
	mount, key := transitKeyOf(o)
	policy := &Object{Kind: wiringPolicyKind, Labels: []string{wiringName(o)}, At: o.At}
	policy.Set("engine", o.MountPath())
	policy.Set("key", slashed(mount, key))
	policy.Set("document", wiringPolicy(mount, key))
	return policy
}

// wiringPolicy lets the engine use one key, and nothing else.
func wiringPolicy(mount, key string) string {
	var b strings.Builder
	for _, use := range []string{"datakey/plaintext", "decrypt", "rewrap"} {
		writeRule(&b, slashed(mount, use, key), map[string]any{"capabilities": []string{"update"}})
	}
	return b.String()
}

func reviewWiringPolicy(_ context.Context, _ *Session, c *Change) error {
	want := c.Object.Text("document")
	have := textOf(c.State.Answer, "policy")
	if canonicalPolicy(want) == canonicalPolicy(have) {
		return nil
	}
	f := FieldChange{Field: "document", New: want, Diff: textDiff(c.Object.Key(), have, want)}
	if c.State.Exists {
		f.Old = have
	}
	c.Fields = append(c.Fields, f)
	return nil
}

// writeWiringPolicy leaves the former key in the policy, if there is one, for
// [Session.narrow] to take out.
func writeWiringPolicy(ctx context.Context, s *Session, c *Change) error {
	o := c.Object
	document := o.Text("document")
	now, err := s.readIn(ctx, o.Text("engine"), "config", "transit")
	if err != nil {
		return err
	}
	if mount, key := textOf(now, "mount"), textOf(now, "key"); key != "" && slashed(mount, key) != o.Text("key") {
		document += wiringPolicy(mount, key)
	}
	_, err = s.Vault.Write(ctx, o.Kind.Path(o), map[string]any{"policy": document})
	return err
}
