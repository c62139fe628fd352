package bootstrap

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/vault"
)

// lostShown is how many of the objects that go with a mount are named.
const lostShown = 5

// What more there is to say of what is lost.
const lostForGood = "everything in it is lost"

var lostWith = map[string]string{
	"ai-keys":  "every key is withdrawn at its provider first; then everything in it is lost",
	"aws":      "Vault ends its leases first, and deletes the IAM users that it made; credentials of STS end by themselves",
	"database": "Vault ends its leases first, and drops the accounts that it made: the databases have to be there for that",
	"kv":       "every entry in it is lost, with all its versions",
	"transit":  "its keys are lost, and what they encrypted can never be read again",
}

// findLost finds what is in the mounts that go, and in no file.
func (f *fate) findLost(ctx context.Context) error {
	f.lost = make(map[*Object][]*Object)
	var mounts []*Object
	for o := range f.going {
		if o.isMount() {
			mounts = append(mounts, o)
		}
	}
	if len(mounts) == 0 {
		return nil
	}
	all, err := f.s.Inventory(ctx, mounts)
	if err != nil {
		return err
	}
	wanted := make(map[string]bool, len(f.d.Objects))
	for _, o := range f.d.Objects {
		wanted[o.Name()] = true
	}
	for _, o := range all {
		if o.Parent != nil && !wanted[o.Name()] {
			f.lost[o.Parent] = append(f.lost[o.Parent], o)
		}
	}
	return nil
}

// explain says what a deletion means, and whether it is not possible.
func (f *fate) explain(ctx context.Context, c *Change) error {
	o := c.Object
	switch {
	case o.isMount():
		return f.explainMount(ctx, c)
	case o.Kind == transitKeyKind:
		c.Notes = append(c.Notes, "what it encrypted can never be read again")
		c.Refused = refusedKey(o, c.State.Answer, o)
	case o.Kind == kvDataKind && o.fileVersion() == "2" && o.kvMode() == kvReplace:
		c.Notes = append(c.Notes, "its latest version is deleted; vault kv undelete brings it back")
	case o.Kind == databaseStaticRoleKind:
		c.Notes = append(c.Notes, "the account "+c.textThere("username")+" stays, with a password that nobody knows any more")
	case o.Kind == awsStaticRoleKind:
		c.Notes = append(c.Notes, "the access key of the IAM user "+c.textThere("username")+" stays valid at AWS")
	case o.Kind == pluginKind:
		return f.explainPlugin(ctx, c)
	case o.Kind == mfaKind:
		return f.explainMFA(ctx, c)
	case o.Kind == enforcementKind:
		return f.explainEnforcement(ctx, c)
	case o.Kind == groupKind:
		return f.explainGroup(ctx, c)
	case o.Kind == databaseConnectionKind:
		return f.explainRoot(ctx, c, o)
	}
	return nil
}

// textThere is a field as the server has it.
func (c *Change) textThere(field string) string {
	text, _ := c.State.Values[field].(string)
	return text
}

func (f *fate) explainMount(ctx context.Context, c *Change) error {
	o := c.Object
	c.Notes = append(c.Notes, f.lostIn(o))
	for _, child := range slices.Concat(f.objects, f.lost[o]) {
		if st := f.states[child]; child.Parent != o || st != nil && !st.Exists {
			continue
		}
		if err := f.explainRoot(ctx, c, child); err != nil {
			return err
		}
	}
	if o.Kind.Mounts == SecretsMount && o.Labels[0] == "transit" {
		return f.explainKeys(ctx, c)
	}
	return nil
}

// lostIn says what is lost with a mount.
func (f *fate) lostIn(o *Object) string {
	text, known := lostWith[o.Labels[0]]
	switch {
	case o.Kind.Mounts == AuthMount:
		text = "nobody logs in there any more, and every token that it gave ends"
	case !known:
		text = lostForGood
	}
	if lost := f.lost[o]; len(lost) > 0 {
		var names []string
		for _, l := range lost[:min(len(lost), lostShown)] {
			names = append(names, l.Name())
		}
		if more := len(lost) - len(names); more > 0 {
			names = append(names, fmt.Sprintf("and %d more", more))
		}
		text += fmt.Sprintf("; %s that no file names included: %s", counted(len(lost), "object"), strings.Join(names, ", "))
	}
	return text
}

// explainKeys finds keys that may not be deleted in a transit engine that goes.
func (f *fate) explainKeys(ctx context.Context, c *Change) error {
	o := c.Object
	keys := slashed(o.MountPath(), "keys")
	names, err := f.s.Vault.List(ctx, keys)
	if vault.StatusOf(err) == 403 || vault.IsAbsentMount(err) {
		return nil // the mount's deletion will look
	}
	for _, name := range names {
		key := &Object{Kind: transitKeyKind, Parent: o, Labels: []string{name}}
		answer, err := f.s.Vault.Read(ctx, key.Kind.Path(key))
		if err != nil && vault.StatusOf(err) != 403 {
			return err
		}
		if err == nil && c.Refused == "" {
			c.Refused = refusedKey(key, answer, o)
		}
	}
	return err
}

// refusedKey says why a transit key is not deleted, and what to protect instead;
// "" if it can be.
func refusedKey(o *Object, answer map[string]any, instead *Object) string {
	if allowed, _ := answer["deletion_allowed"].(bool); answer == nil || allowed {
		return ""
	}
	return fmt.Sprintf("the key %s may not be deleted, because what it encrypted could never be read again. If that is what you want, set deletion_allowed = true in it and apply, or: vault write %s/config deletion_allowed=true. "+
		"Or keep it: ownership { protect = [%q] }", o.Key(), o.Kind.Path(o), instead.Name())
}

// explainRoot says that a password which only Vault knows is lost with it.
func (f *fate) explainRoot(ctx context.Context, c *Change, o *Object) error {
	if o.Kind != databaseConnectionKind && o.Kind != awsRootKind {
		return nil
	}
	e, err := f.s.Entry(ctx, o)
	if err != nil || e.Rotation == nil {
		return err
	}
	text := "the password of Vault's own account in the database, which was rotated and which only Vault knows, is lost: set another there"
	if o.isAWS() {
		text = "the secret of Vault's own access key, which was rotated and which only Vault knows, is lost: delete the key in IAM"
	}
	if o != c.Object {
		text = o.Name() + ": " + text
	}
	c.Notes = append(c.Notes, text)
	return nil
}

// explainPlugin finds mounts that would be left without their program.
func (f *fate) explainPlugin(ctx context.Context, c *Change) error {
	mounts, err := f.s.mountsOf(ctx, c.Object)
	if err != nil {
		return err
	}
	for o := range f.going {
		if o.isMount() {
			delete(mounts, o.MountPath()+"/")
		}
	}
	if len(mounts) > 0 {
		c.Refused = fmt.Sprintf("%s run it, and stay: protect it as well, with ownership { protect = [%q] }, or unmount them first", strings.Join(sortedKeys(mounts), ", "), c.Object.Name())
	}
	return nil
}
