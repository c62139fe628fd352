package backend

import (
	"context"
	"maps"
	"time"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/backend/provider"
)

// Role fields that every provider has, by the type of role they are for.
var (
	commonRoleFields  = []string{"name", "account", "type", "key_name_template", "metadata", "wrap_ttl", "disabled", "cas"}
	dynamicRoleFields = []string{"ttl", "max_ttl", "max_active"}
	staticRoleFields  = []string{"rotation_period", "rotation_schedule", "rotation_window", "grace_period"}
)

// defaultGrace is the grace period of a role that does not say.
const defaultGrace = time.Hour

func pathsRoles(b *Backend) []*framework.Path {
	answer := withProviderFields(map[string]*framework.FieldSchema{
		"name":              text("Name of the role."),
		"account":           text("The account that its keys belong to. Cannot change."),
		"type":              {Type: framework.TypeString, AllowedValues: []any{typeDynamic, typeStatic}, Description: "dynamic: each read mints a key on a lease. static: one shared key, rotated with an overlap. Default: dynamic where the provider can mint, else static."},
		"ttl":               seconds("Dynamic: first lease of a key. Default: the mount's."),
		"max_ttl":           seconds("Dynamic: longest life of a key, renewals included. Default: the mount's."),
		"max_active":        number("Dynamic: how many keys may be live at once; 0: no limit."),
		"rotation_period":   seconds("Static: time between rotations. Without this and rotation_schedule the key is rotated on demand only."),
		"rotation_schedule": text("Static: cron schedule of rotations in UTC, such as \"0 3 * * SAT\"; instead of rotation_period."),
		"rotation_window":   seconds("Static: how long after a scheduled time a rotation may begin; at least 1h. 0: at any time after."),
		"grace_period":      seconds("Static: how long the previous key goes on working after a rotation. Default: 1h, or half the rotation_period if that is shorter."),
		"key_name_template": text("Name of the keys at the provider, before the part that makes them unique: a template with .RoleName, .Account, .Provider and .DisplayName. Default: vault-{{.RoleName}}."),
		"metadata":          {Type: framework.TypeKVPairs, Description: "Free pairs of name and text, returned with the key."},
		"wrap_ttl":          seconds("Every read of the key is response-wrapped with this TTL."),
		"disabled":          yesno("Serve, mint and rotate nothing. Withdrawing goes on.", false),
	}, func(d provider.Definition) []provider.Field { return d.Role })
	fields := maps.Clone(answer)
	fields["cas"] = casField
	answer["version"] = number("Version of the role, for cas.")
	return []*framework.Path{
		listPath("roles/?$", b.roles.list, "List the roles.", "Roles: what consumers read at creds/<role>."),
		{
			Pattern:        "roles/" + namePattern("name"),
			Fields:         fields,
			ExistenceCheck: exists(b.roles),
			Operations: map[logical.Operation]framework.OperationHandler{
				logical.CreateOperation: forwarded(b.writeRole, "Create a role; a static one gets its first key.", done("Saved.")),
				logical.UpdateOperation: forwarded(b.writeRole, "Change a role.", done("Saved.")),
				logical.ReadOperation:   &framework.PathOperation{Callback: b.readRole, Summary: "Read a role.", Responses: responds("The role.", answer)},
				logical.DeleteOperation: forwarded(b.deleteRole, "Delete a role and withdraw the keys that were minted for it.", done("Deleted.")),
			},
			HelpSynopsis: "What consumers get at creds/<role>.",
			HelpDescription: `
A role names an account, a type, its times, and the provider's own fields (see
providers/<name>). Writing only some fields keeps the others.

Creating a static role mints and verifies its first key; if that fails nothing is
saved. Where the provider has two fixed keys, the first is taken over as it is;
where it has no create call, bring a key with import/<role>.

A changed rotation_period takes effect at once; changed scopes with the next key
(rotate-role/<role> asks for one now). The type can be changed without changing
a consumer's path: static to dynamic withdraws the shared key after grace_period,
also one that a person brought, if its key_id is known.

Deleting a role withdraws every key the engine minted for it, and leaves a key
that a person brought alone: use revoke/<role> first to withdraw that one too.
`,
		},
	}
}

func (b *Backend) readRole(ctx context.Context, req *logical.Request, data *framework.FieldData) (*logical.Response, error) {
	r, err := b.roles.get(ctx, req.Storage, fieldText(data.Get("name")))
	if err != nil || r == nil || r.Deleting {
		return nil, err
	}
	answer := map[string]any{
		"name":              r.Name,
		"account":           r.Account,
		"type":              r.Type,
		"key_name_template": r.KeyNameTemplate,
		"metadata":          metadataOf(r),
		"wrap_ttl":          int64(r.WrapTTL.Seconds()),
		"disabled":          r.Disabled,
		"version":           r.Version,
	}
	if r.Type == typeDynamic {
		answer["ttl"] = int64(r.TTL.Seconds())
		answer["max_ttl"] = int64(r.MaxTTL.Seconds())
		answer["max_active"] = r.MaxActive
	} else {
		answer["grace_period"] = int64(r.GracePeriod.Seconds())
		r.describe(answer)
	}
	_, def, err := b.accountOf(ctx, req.Storage, r)
	if err == nil {
		shown(def.Role, r.place(def), answer)
	}
	return &logical.Response{Data: answer}, nil
}

// metadataOf is never nil: what is read can be written back.
func metadataOf(r *roleEntry) map[string]string {
	if r.Metadata == nil {
		return map[string]string{}
	}
	return r.Metadata
}

// writeRole changes settings, and whatever keys the change calls for: the first
// key of a static role, or the end of one that becomes dynamic.
func (b *Backend) writeRole(ctx context.Context, req *logical.Request, data *framework.FieldData) (*logical.Response, error) {
	name := fieldText(data.Get("name"))
	if err := checkName("role", name); err != nil {
		return nil, err
	}
	if err := b.ledger.wait(ctx); err != nil {
		return nil, err
	}
	unlock, err := b.roleLocks.lock(ctx, name)
	if err != nil {
		return nil, err
	}
	defer unlock()
	old, err := b.roles.get(ctx, req.Storage, name)
	if err != nil {
		return nil, err
	}
	if old != nil && old.Deleting {
		return nil, problemf(statusConflict, "role %q is being deleted: try again shortly", name)
	}
	role := &roleEntry{Name: name}
	if old != nil {
		clone := *old
		role = &clone
	}
	if err := checkCAS(data, role.Version, "role "+name); err != nil {
		return nil, err
	}
	role.Version++
	if err := b.takeRoleFields(ctx, req.Storage, data, role, old); err != nil {
		return nil, err
	}
	if role.Type == typeDynamic {
		return nil, b.saveDynamic(ctx, req.Storage, role, old)
	}
	keyless, err := b.saveStatic(ctx, req.Storage, role)
	if err != nil || keyless == "" {
		return nil, err
	}
	resp := &logical.Response{}
	resp.AddWarning("the role has no key yet: " + keyless)
	return resp, nil
}

// takeRoleFields merges a request into role and checks the result.
func (b *Backend) takeRoleFields(ctx context.Context, s logical.Storage, data *framework.FieldData, role, old *roleEntry) error {
	if v, ok := data.GetOk("account"); ok {
		if old != nil && fieldText(v) != old.Account {
			return invalidf("account is %q and cannot change: its keys lie there; make another role", old.Account)
		}
		role.Account = fieldText(v)
	}
	if role.Account == "" {
		return invalidf("account is required: the name of an account, see the list of accounts")
	}
	account, err := b.accounts.get(ctx, s, role.Account)
	if err != nil {
		return err
	}
	if account == nil {
		return invalidf("account: no account named %q: write accounts/%s first", role.Account, role.Account)
	}
	if !roleAllowed(account, role.Name) {
		return invalidf("account %q does not allow role %q: add it to its allowed_roles", account.Name, role.Name)
	}
	_, def, err := b.accountOf(ctx, s, role)
	if err != nil {
		return err
	}
	if err := takeType(data, role, def); err != nil {
		return err
	}
	common := append(append(append([]string{}, commonRoleFields...), dynamicRoleFields...), staticRoleFields...)
	var was stored
	if old != nil {
		was = stored{exists: true, plain: old.place(def)} // as it is read, so that it can be written back
	}
	if role.Scope, _, err = providerFields(data, def, def.Role, common, was); err != nil {
		return err
	}
	if err := b.ownOwner(role, def); err != nil {
		return err
	}
	if err := takeCommon(data, role, def); err != nil {
		return err
	}
	if role.Type == typeStatic {
		return takeStatic(data, role, old)
	}
	return takeDynamic(data, role, def)
}

// ownOwner tells an owner that the operator names from one that the engine made:
// this role's own is not part of its settings, and another role's would go, with
// every key on it, when that role goes.
func (b *Backend) ownOwner(role *roleEntry, def provider.Definition) error {
	if def.Owner == nil || role.Scope[def.Owner.Field] == "" {
		return nil
	}
	id := role.Scope[def.Owner.Field]
	if role.Owner != nil && role.Owner.ID == id {
		delete(role.Scope, def.Owner.Field)
		return nil
	}
	made := b.ledger.filter(func(l *line) bool { return l.Kind == lineOwner && l.Account == role.Account && l.ID == id })
	if len(made) > 0 {
		return invalidf("%s: %s was made for role %q and goes with it: leave the field out, and this role gets one of its own", def.Owner.Field, id, made[0].Role)
	}
	return nil
}

// takeType sets the type, and refuses fields of the other one.
func takeType(data *framework.FieldData, role *roleEntry, def provider.Definition) error {
	if v, ok := data.GetOk("type"); ok {
		role.Type = fieldText(v)
	}
	canMint := def.Life() == provider.LifeMint
	switch {
	case role.Type == "" && canMint:
		role.Type = typeDynamic
	case role.Type == "":
		role.Type = typeStatic
	case role.Type == typeDynamic && !canMint:
		return invalidf("type: provider %s cannot mint keys on demand, so its roles are static", def.Name)
	case role.Type != typeDynamic && role.Type != typeStatic:
		return invalidf("type: use dynamic or static")
	}
	foreign := staticRoleFields
	if role.Type == typeStatic {
		foreign = dynamicRoleFields
	}
	for _, name := range foreign {
		if _, ok := data.GetOk(name); ok {
			return invalidf("%s does not apply to a %s role", name, role.Type)
		}
	}
	return nil
}

func takeCommon(data *framework.FieldData, role *roleEntry, def provider.Definition) error {
	takeText(data, "key_name_template", &role.KeyNameTemplate)
	if role.KeyNameTemplate != "" {
		if _, err := expandName(role.KeyNameTemplate, nameInput{role.Name, role.Account, def.Name, "someone"}); err != nil {
			return err
		}
	}
	take(data, "metadata", &role.Metadata)
	takeDuration(data, "wrap_ttl", &role.WrapTTL)
	take(data, "disabled", &role.Disabled)
	return nil
}

// takeDynamic leaves the static type's settings as they are: the role may go
// back to it, and its last static key still has a grace period.
func takeDynamic(data *framework.FieldData, role *roleEntry, def provider.Definition) error {
	takeDuration(data, "ttl", &role.TTL)
	takeDuration(data, "max_ttl", &role.MaxTTL)
	take(data, "max_active", &role.MaxActive)
	switch {
	case role.MaxActive < 0:
		return invalidf("max_active: cannot be negative; 0 is no limit")
	case role.MaxTTL > 0 && role.TTL > role.MaxTTL:
		return invalidf("ttl: %s is longer than max_ttl, %s", role.TTL, role.MaxTTL)
	case def.Expiry != nil && max(role.TTL, role.MaxTTL) > def.Expiry.Max-leaseMargin:
		return invalidf("max_ttl: provider %s keeps a key for at most %s, and a lease must end %s before that", def.Name, def.Expiry.Max, leaseMargin)
	}
	return nil
}

func takeStatic(data *framework.FieldData, role, old *roleEntry) error {
	if err := role.take(data); err != nil {
		return err
	}
	takeDuration(data, "grace_period", &role.GracePeriod)
	if _, given := data.GetOk("grace_period"); !given && role.GracePeriod == 0 && (old == nil || old.Type != typeStatic) {
		role.GracePeriod = defaultGrace
		if role.RotationPeriod > 0 {
			role.GracePeriod = min(defaultGrace, role.RotationPeriod/2)
		}
	}
	if role.RotationPeriod > 0 && role.GracePeriod >= role.RotationPeriod {
		return invalidf("grace_period: %s must be shorter than rotation_period, %s, or more than two keys would be live", role.GracePeriod, role.RotationPeriod)
	}
	return nil
}

// deleteRole marks the role, hands its keys to the ledger, and has them
// withdrawn at once as far as the provider answers.
func (b *Backend) deleteRole(ctx context.Context, req *logical.Request, data *framework.FieldData) (*logical.Response, error) {
	name := fieldText(data.Get("name"))
	if err := b.ledger.wait(ctx); err != nil {
		return nil, err
	}
	lines, err := b.markAndRemove(ctx, req.Storage, name)
	if err != nil || lines == nil {
		return nil, err
	}
	left, reason := b.withdrawNow(ctx, req.Storage, tagsOf(lines))
	if len(left) == 0 {
		return nil, nil //nolint:nilnil // the framework's way to say done
	}
	resp := &logical.Response{}
	resp.AddWarning("the role is deleted; " + plural(len(left), "key is", "keys are") + " still to be withdrawn, and the engine goes on trying: " + orPending(reason).Error())
	return resp, nil
}
