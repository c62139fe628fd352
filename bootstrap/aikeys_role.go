package bootstrap

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/file"
	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/schema"
)

// Fields of a role that only one of the types has.
var (
	dynamicFields = []string{"ttl", "max_ttl", "max_active"}
	staticFields  = []string{"rotation_period", "rotation_schedule", "rotation_window", "grace_period"}
)

var aikeysRoleKind = &Kind{
	Name: "ai-keys role", Word: "role", Stage: StageAIKeysRole,
	Block: &schema.Block{
		Name: "role", Labels: []string{"name"}, Doc: "What consumers get at creds/<role>.",
		Fields: []*schema.Field{
			{Name: "account", Required: true, Immutable: true, Names: "ai-keys account", Doc: "The account that its keys belong to."},
			{Name: "type", OneOf: []string{"dynamic", "static"}, Keep: true, Doc: "dynamic: a key on a lease for each read. static: one shared key, rotated."},
			{Name: "ttl", Type: schema.Duration, Doc: "dynamic: first lease of a key; 0: the mount's."},
			{Name: "max_ttl", Type: schema.Duration, Doc: "dynamic: longest life of a key; 0: the mount's."},
			{Name: "max_active", Type: schema.Int, Doc: "dynamic: how many keys may be live at once; 0: no limit."},
			{Name: "rotation_period", Type: schema.Duration, Doc: "static: time between rotations."},
			{Name: "rotation_schedule", Normal: trimmed, Doc: `static: when it is rotated, in UTC, as in "0 3 * * SAT".`},
			{Name: "rotation_window", Type: schema.Duration, Doc: "static: how long after a scheduled time a rotation may begin; 0: any time."},
			{Name: "grace_period", Type: schema.Duration, Keep: true, Doc: "static: how long the previous key goes on working; an hour, or half of a shorter rotation_period, if left out."},
			{Name: "key_name_template", Normal: trimmed, Doc: "What its keys are called at the provider."},
			{Name: "metadata", Type: schema.Map, Doc: "Pairs of name and text, returned with the key."},
			{Name: "wrap_ttl", Type: schema.Duration, Doc: "Every read of the key is response-wrapped with this TTL."},
			{Name: "disabled", Type: schema.Bool, Doc: "Serve, mint and rotate nothing. Withdrawing goes on."},
		},
		Rest: providerRest,
	},
	Path:     func(o *Object) string { return slashed(o.MountPath(), "roles", o.Key()) },
	ListPath: func(o *Object) string { return slashed(o.MountPath(), "roles") },
	Prepare:  prepareAIKeysRole, Review: reviewAIKeysRole, Write: writeAIKeysRole, Verify: verifyAIKeysRole,
	Access: func(o *Object) []Access {
		out := []Access{
			{o.Kind.Path(o), []string{"create", "read", "update", "delete"}},
			{o.within("providers", "+"), []string{"read"}},
			{o.within("status", o.Key()), []string{"read"}},
		}
		if account := o.Text("account"); account != "" { // one that no file names has none
			out = append(out, Access{o.within("accounts", account), []string{"read"}})
		}
		return out
	},
}

// prepareAIKeysRole settles the type where the fields say it, and the grace
// period, which the engine works out only once, when the role is made.
func prepareAIKeysRole(o *Object, n *file.Node) file.Diagnostics {
	found := prepareAIKeysName(o, n)
	dynamic, static := given(o, dynamicFields), given(o, staticFields)
	typ := o.Text("type")
	for _, clash := range []struct {
		are  []string
		with string
		when bool
	}{
		{dynamic, "a static role", typ == "static" && len(dynamic) > 0},
		{static, "a dynamic role", typ == "dynamic" && len(static) > 0},
		{dynamic, strings.Join(static, ", "), typ == "" && len(dynamic) > 0 && len(static) > 0},
		{[]string{"rotation_period"}, "rotation_schedule", o.has("rotation_period") && o.has("rotation_schedule")},
	} {
		if clash.when {
			found = append(found, mistake(o.Values[clash.are[0]].At, fmt.Sprintf("%s: %s does not go with %s", o.Name(), strings.Join(clash.are, ", "), clash.with), "Keep what fits the role.")...)
		}
	}
	if len(found) > 0 {
		return found
	}
	switch {
	case typ == "" && len(dynamic) > 0:
		o.Set("type", "dynamic")
	case typ == "" && len(static) > 0:
		o.Set("type", "static")
	}
	if _, set := o.Value("grace_period"); !set && o.Text("type") == "static" {
		o.Set("grace_period", defaultGrace(o))
	}
	return nil
}

func given(o *Object, fields []string) []string {
	var out []string
	for _, name := range fields {
		if _, set := o.Value(name); set {
			out = append(out, name)
		}
	}
	return out
}

// defaultGrace is the engine's, in seconds.
func defaultGrace(o *Object) int64 {
	const hour = 3600
	v, _ := o.Value("rotation_period")
	period, err := schema.Seconds(v)
	if v == nil || err != nil || period <= 0 {
		return hour
	}
	return min(hour, period/2)
}

// reviewAIKeysRole leaves out what the other type has: the engine drops it by
// itself when the type changes.
func reviewAIKeysRole(ctx context.Context, s *Session, c *Change) error {
	foreign := map[string][]string{"static": dynamicFields, "dynamic": staticFields}[c.Object.Text("type")]
	c.Fields = slices.DeleteFunc(c.Fields, func(f FieldChange) bool { return slices.Contains(foreign, f.Field) })
	account, err := s.readIn(ctx, c.Object.MountPath(), "accounts", c.Object.Text("account"))
	if err != nil || account == nil {
		return err
	}
	def, err := s.providerOf(ctx, c.Object, textOf(account, "provider"))
	if err != nil || def == nil {
		return err
	}
	return def.review(c, "role_fields")
}

func writeAIKeysRole(ctx context.Context, s *Session, c *Change) error {
	body, err := s.Body(ctx, c)
	if err != nil {
		return err
	}
	resets(body, c)
	_, err = s.Vault.Write(ctx, c.Object.Kind.Path(c.Object), body)
	return err
}
