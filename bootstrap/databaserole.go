package bootstrap

import (
	"context"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/file"
	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/schema"
)

var databaseRoleKind = &Kind{
	Name: "database role", Word: "role", Stage: StageEngineRole,
	Block: &schema.Block{
		Name: "role", Labels: []string{"name"}, Doc: "Accounts that Vault makes and takes away again.",
		Fields: append([]*schema.Field{
			{Name: "creation_statements", Type: schema.List, Doc: "Statements that make an account: {{name}}, {{password}}, {{expiration}}."},
			{Name: "revocation_statements", Type: schema.List, Doc: "Statements that take an account away."},
			{Name: "rollback_statements", Type: schema.List, Doc: "Statements that undo what could not be made to the end."},
			{Name: "renew_statements", Type: schema.List, Doc: "Statements that make an account live longer."},
			{Name: "default_ttl", Type: schema.Duration, Doc: "Life of an account, where none is asked for."},
			{Name: "max_ttl", Type: schema.Duration, Doc: "Longest life of an account."},
		}, databaseCredentialFields...),
	},
	Path:     func(o *Object) string { return slashed(o.MountPath(), "roles", o.Key()) },
	ListPath: func(o *Object) string { return slashed(o.MountPath(), "roles") },
}

// databaseCredentialFields are those of both kinds of role. What is in a
// credential_config cannot be taken out again, and Vault adds its own defaults.
var databaseCredentialFields = []*schema.Field{
	{Name: "db_name", Required: true, Names: "database connection", Doc: "Name of the connection."},
	{
		Name: "credential_type", Default: "password", OneOf: []string{"password", "rsa_private_key", "client_certificate"},
		Doc: "What a credential is.",
	},
	{
		Name: "credential_config", Type: schema.Map, Secrecy: schema.Sensitive, Keep: true,
		Doc: "How a credential is made up, such as its password_policy or key_bits.",
	},
}

var databaseStaticRoleKind = &Kind{
	Name: "database static role", Word: "static_role", Stage: StageEngineRole,
	Block: &schema.Block{
		Name: "static_role", Labels: []string{"name"}, Doc: "An account of the database whose password Vault keeps and replaces.",
		Fields: append([]*schema.Field{
			{Name: "username", Required: true, Immutable: true, Doc: "The account."},
			{
				Name: "rotation_period", Type: schema.Duration, Check: longEnough(5, "Vault takes at least 5 seconds"),
				Doc: "How often the password is replaced; or rotation_schedule.",
			},
			{Name: "rotation_schedule", Doc: "When the password is replaced, as cron writes it; or rotation_period."},
			{Name: "rotation_window", Type: schema.Duration, Keep: true, Doc: "How long after the schedule's time it may be replaced; Vault cannot take it back."},
			{Name: "rotation_statements", Type: schema.List, Doc: "Statements that change the password."},
		}, databaseCredentialFields...),
	},
	Path:     func(o *Object) string { return slashed(o.MountPath(), "static-roles", o.Key()) },
	ListPath: func(o *Object) string { return slashed(o.MountPath(), "static-roles") },
	Prepare:  prepareDatabaseStaticRole, Write: writeDatabaseStaticRole,
	Review: func(_ context.Context, _ *Session, c *Change) error {
		if c.Action == Create {
			c.Notes = append(c.Notes, "replaces the password of "+c.Object.Text("username")+" at once")
		}
		return nil
	},
}

func prepareDatabaseStaticRole(o *Object, n *file.Node) file.Diagnostics {
	_, period := o.Value("rotation_period")
	_, schedule := o.Value("rotation_schedule")
	_, window := o.Value("rotation_window")
	switch {
	case period == schedule:
		return mistake(n.At, "static_role "+o.Key()+" needs either a rotation_period or a rotation_schedule", `Such as rotation_period = "24h".`)
	case window && !schedule:
		return mistake(o.Values["rotation_window"].At, "rotation_window needs a rotation_schedule", "Remove it: a rotation_period has no window.")
	}
	return nil
}

// writeDatabaseStaticRole sends the user name each time, without which Vault
// takes it for changed, and never resets a period or a schedule: the other one
// does that, and Vault refuses both together.
func writeDatabaseStaticRole(ctx context.Context, s *Session, c *Change) error {
	o := c.Object
	body, err := s.Body(ctx, c)
	if err != nil {
		return err
	}
	for _, name := range []string{"rotation_period", "rotation_schedule"} {
		if _, set := o.Value(name); !set {
			delete(body, name)
		}
	}
	body["username"] = o.Text("username")
	_, err = s.Vault.Write(ctx, o.Kind.Path(o), body)
	return err
}
