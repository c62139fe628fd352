package backend

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/hashicorp/go-secure-stdlib/strutil"
	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/helper/wrapping"
	"github.com/hashicorp/vault/sdk/logical"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/backend/provider"
)

func pathsCreds(b *Backend) []*framework.Path {
	return []*framework.Path{{
		Pattern: "creds/" + namePattern("role"),
		Fields: map[string]*framework.FieldSchema{
			"role": text("Name of the role."),
			"ttl": {
				Type: framework.TypeDurationSecond, Query: true,
				Description: "Dynamic roles: a shorter first lease than the role's ttl.",
			},
		},
		Operations: map[logical.Operation]framework.OperationHandler{
			// Not forwarded as a whole: any node serves a static key from memory.
			logical.ReadOperation: &framework.PathOperation{Callback: b.readCreds, Summary: "Read the key of a role.", Responses: responds("The key.", credsFields())},
		},
		HelpSynopsis: "Read an AI provider key.",
		HelpDescription: `
A static role answers with its shared key, from memory: no call to the provider,
and no lease. "ttl" is the time until the next rotation; after a rotation the key
you hold goes on working for the role's grace_period, so read again before then.
Vault Agent and the Vault Secrets Operator do that by themselves.

A dynamic role mints a key of your own at each read, on a lease: revoke the lease
when you are done. The end of the lease withdraws the key at the provider.

Answers: 404 no such role; 403 role or account disabled; 409 no key to serve now
(withdrawn, or none brought yet); 429 max_active is reached; 503 provider or
transit cannot be reached (a static read never needs the provider).
`,
	}}
}

func credsFields() map[string]*framework.FieldSchema {
	return map[string]*framework.FieldSchema{
		"api_key":             secretText("The key."),
		"key_id":              text("The provider's name for the key; not secret. Empty if the key was brought without one."),
		"role":                text("The role."),
		"account":             text("The account the key belongs to."),
		"provider":            text("The provider."),
		"api_base":            text("Base URL to use the key at."),
		"version":             number("Static: number of the key; grows by one with each rotation or import."),
		"ttl":                 number("Static, if rotated on a schedule: seconds until the next rotation."),
		"last_vault_rotation": moment("Static: when this key became current."),
		"rotation_period":     number("Static: seconds between rotations."),
		"rotation_schedule":   text("Static: cron schedule of rotations, UTC."),
		"rotation_window":     number("Static: seconds after a scheduled time in which a rotation may begin."),
		"expires_at":          moment("When the provider ends the key by itself, if it was told to."),
		"metadata":            {Type: framework.TypeKVPairs, Description: "The role's metadata, if it has any."},
	}
}

// readCreds is the path of every consumer. The static branch is the hot one.
func (b *Backend) readCreds(ctx context.Context, req *logical.Request, data *framework.FieldData) (*logical.Response, error) {
	name := fieldText(data.Get("role"))
	role, err := b.role(ctx, req.Storage, name)
	if err != nil {
		return nil, err
	}
	account, def, err := b.accountOf(ctx, req.Storage, role)
	if err != nil {
		return nil, err
	}
	if err := mayServe(role, account); err != nil {
		return nil, err
	}
	var resp *logical.Response
	if role.Type == typeStatic {
		resp, err = b.readStatic(ctx, req, data, role, account, def)
	} else {
		resp, err = b.readDynamic(ctx, req, data, role, account, def)
	}
	if err != nil {
		return nil, err
	}
	if len(role.Metadata) > 0 {
		resp.Data["metadata"] = role.Metadata
	}
	if role.WrapTTL > 0 {
		resp.WrapInfo = &wrapping.ResponseWrapInfo{TTL: role.WrapTTL}
	}
	return resp, nil
}

func mayServe(role *roleEntry, account *accountEntry) error {
	switch {
	case role.Disabled:
		return problemf(statusForbidden, "role %q is disabled: an operator enables it with disabled=false", role.Name)
	case account.Disabled:
		return problemf(statusForbidden, "account %q is disabled: an operator enables it with disabled=false", account.Name)
	case !roleAllowed(account, role.Name):
		return problemf(statusForbidden, "account %q does not allow role %q: see its allowed_roles", account.Name, role.Name)
	}
	return nil
}

func roleAllowed(a *accountEntry, role string) bool {
	return len(a.AllowedRoles) == 1 && a.AllowedRoles[0] == "*" || strutil.StrListContainsGlob(a.AllowedRoles, role)
}

// readStatic answers from memory: the entry is cached, and so is the data key
// that opens it.
func (b *Backend) readStatic(ctx context.Context, req *logical.Request, data *framework.FieldData, role *roleEntry, account *accountEntry, def provider.Definition) (*logical.Response, error) {
	if _, ok := data.GetOk("ttl"); ok {
		return nil, invalidf("ttl is for dynamic roles: role %q is static, and its key is shared by all readers", role.Name)
	}
	e, cached, err := b.staticKeys.lookup(ctx, req.Storage, role.Name)
	if err != nil {
		return nil, err
	}
	if err := servable(role, def, e); err != nil {
		return nil, err
	}
	if _, err := b.settings(ctx, req.Storage); err != nil {
		return nil, err
	}
	v := e.Current
	secret, held, err := b.keyring.OpenHeld(ctx, req.Storage, keyPrefix+role.Name, v.Secret)
	if err != nil {
		return nil, fmt.Errorf("opening the key of role %q: %w", role.Name, err)
	}
	answer := credsData(role, account, def, v.ID, v.Base, string(secret), v.Expires)
	clear(secret)
	answer["version"] = v.Version
	answer["last_vault_rotation"] = e.LastRotation.Format(time.RFC3339)
	describeRotation(answer, role, e)
	if !cached {
		b.meters.keyMisses.Add(1)
	}
	if !held {
		b.meters.dataKeyMisses.Add(1)
	}
	b.meters.staticReads.Add(1)
	return &logical.Response{Data: answer}, nil
}

// servable says why a static role has no key to give, if so.
func servable(role *roleEntry, def provider.Definition, e *keyEntry) error {
	switch {
	case e != nil && e.Phase == phaseWithdrawn, e != nil && e.Current == nil && !e.Withdrawn.IsZero():
		return problemf(statusConflict, "the key of role %q was withdrawn at %s: give it a new one with rotate-role/%s or import/%s",
			role.Name, e.Withdrawn.Format(time.RFC3339), role.Name, role.Name)
	case e == nil || e.Current == nil:
		if def.Life() == provider.LifeImport {
			return problemf(statusConflict, "role %q has no key yet: bring one with import/%s", role.Name, role.Name)
		}
		return problemf(statusConflict, "role %q has no key yet: see status/%s, or ask for one with rotate-role/%s", role.Name, role.Name, role.Name)
	}
	return nil
}

// overdueTTL is the ttl of a key that should have been rotated already: how
// soon a reader that follows it comes back.
const overdueTTL = 10 * time.Second

// describeRotation adds the fields that Vault Agent and the Vault Secrets
// Operator follow, under the names that they know.
func describeRotation(answer map[string]any, role *roleEntry, e *keyEntry) {
	next := nextRotation(role, e)
	if next.IsZero() {
		return // on demand only: a ttl would make readers poll for nothing
	}
	left := time.Until(next)
	if left <= 0 {
		left = overdueTTL
	}
	answer["ttl"] = int64(math.Ceil(left.Seconds()))
	role.describe(answer)
}

func credsData(role *roleEntry, account *accountEntry, def provider.Definition, id provider.KeyID, base, secret string, expires time.Time) map[string]any {
	if base == "" {
		base = baseURL(def, account)
	}
	answer := map[string]any{
		"api_key":  secret,
		"role":     role.Name,
		"account":  account.Name,
		"provider": account.Provider,
		"api_base": base,
		"key_id":   string(id),
	}
	if !expires.IsZero() {
		answer["expires_at"] = expires.UTC().Format(time.RFC3339)
	}
	return answer
}
