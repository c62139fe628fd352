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
	e, err := b.staticKeys.get(ctx, req.Storage, role.Name)
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
	secret, err := b.keyring.Open(ctx, req.Storage, keyPrefix+role.Name, v.Secret)
	if err != nil {
		return nil, fmt.Errorf("opening the key of role %q: %w", role.Name, err)
	}
	answer := credsData(role, account, def, v.ID, v.Base, string(secret), v.Expires)
	clear(secret)
	answer["version"] = v.Version
	answer["last_vault_rotation"] = e.LastRotation.Format(time.RFC3339)
	describeRotation(answer, role, e)
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
	describeSchedule(answer, role)
}

func describeSchedule(answer map[string]any, role *roleEntry) {
	if role.RotationPeriod > 0 {
		answer["rotation_period"] = int64(role.RotationPeriod.Seconds())
	}
	if role.RotationSchedule != "" {
		answer["rotation_schedule"] = role.RotationSchedule
		answer["rotation_window"] = int64(role.RotationWindow.Seconds())
	}
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

// readDynamic mints a key on a lease: intent, provider, live, lease. There is
// no rollback here: what fails leaves its ledger line, which is worked off.
func (b *Backend) readDynamic(ctx context.Context, req *logical.Request, data *framework.FieldData, role *roleEntry, account *accountEntry, def provider.Definition) (*logical.Response, error) {
	if !b.changesHere() {
		return nil, logical.ErrReadOnly
	}
	var asked time.Duration
	takeDuration(data, "ttl", &asked)
	if _, given := data.GetOk("ttl"); given && asked == 0 {
		return nil, invalidf("ttl: at least 1s; leave it out for the role's")
	}
	ttl, maxTTL, warnings, err := b.leaseTimes(role, def, asked)
	if err != nil {
		return nil, err
	}
	if err := b.ledger.wait(ctx); err != nil {
		return nil, err
	}
	if err := b.settleEarlierRun(ctx, req); err != nil {
		return nil, err
	}
	x, err := b.session(ctx, req.Storage, account)
	if err != nil {
		return nil, err
	}
	role, err = b.withOwner(ctx, req.Storage, x, role)
	if err != nil {
		return nil, err
	}
	tag, err := b.newTag(role, def, req.DisplayName)
	if err != nil {
		return nil, err
	}
	intent := &line{
		Account: account.Name, Tag: tag, Kind: lineKey, State: stateIntent, Role: role.Name,
		Scope: role.place(def), Created: time.Now().UTC(),
		Request: req.ID, EntityID: req.EntityID, DisplayName: req.DisplayName,
	}
	k, land, err := b.ask(ctx, req.Storage, x, intent, nativeLifetime(def, maxTTL), role.MaxActive)
	if err != nil {
		return nil, err
	}
	live := intent.with(stateLive)
	live.ID, live.Expires = string(k.ID), k.Expires
	live.Deadline = intent.Created.Add(maxTTL + leaseMargin)
	if err := b.record(ctx, req.Storage, live, role, land); err != nil {
		return nil, err
	}
	resp := b.Secret(secretKeyType).Response(
		credsData(role, account, def, k.ID, k.Base, k.Secret.Reveal(), k.Expires),
		map[string]any{"account": account.Name, "tag": string(tag), "role": role.Name},
	)
	resp.Secret.TTL, resp.Secret.MaxTTL, resp.Secret.Renewable = ttl, maxTTL, true
	resp.Warnings = warnings
	return resp, nil
}

// record stores that a leased key is live. If its role is gone meanwhile, or
// the caller hung up, nobody will use the key: it goes at once.
func (b *Backend) record(ctx context.Context, s logical.Storage, live *line, asked *roleEntry, land func()) error {
	err := b.putLine(ctx, s, live)
	land()
	if err == nil {
		var role *roleEntry
		role, err = b.role(ctx, s, live.Role)
		if err == nil && !role.sameKeys(asked) {
			err = problemf(statusConflict, "role %q became another one meanwhile: read it again", live.Role)
		}
	}
	if err == nil && b.ledger.revokedSince(live.Role, live.Created) {
		err = problemf(statusConflict, "role %q was revoked meanwhile: read it again", live.Role)
	}
	if err == nil {
		err = ctx.Err()
	}
	if err == nil {
		b.queue.at(lineItem(live.Tag), live.Deadline)
		return nil
	}
	if err := b.withdrawLater(context.WithoutCancel(ctx), s, live); err != nil {
		b.Logger().Warn("a key that nobody was given is withdrawn later", "tag", live.Tag, "error", err)
		b.queue.at(lineItem(live.Tag), time.Now())
	}
	return fmt.Errorf("issuing a key of role %q: %w", live.Role, err)
}

// sameKeys reports whether keys of one are keys of the other: the same type, at
// the same place. A role deleted and made again has another owner.
func (r *roleEntry) sameKeys(o *roleEntry) bool {
	sameOwner := r.Owner == o.Owner || r.Owner != nil && o.Owner != nil && *r.Owner == *o.Owner
	return r.Type == o.Type && r.Account == o.Account && sameOwner
}

// settleEarlierRun deals with the key that an earlier run of the same request
// asked for: Vault sends a request again when the plugin died under it, and
// nobody got that key.
func (b *Backend) settleEarlierRun(ctx context.Context, req *logical.Request) error {
	l := b.ledger.ofRequest(req.ID)
	if l == nil || b.ledger.inFlight(l.Tag) {
		return nil
	}
	if l.State == stateLive {
		if err := b.putLine(ctx, req.Storage, l.with(stateWithdrawing)); err != nil {
			return err
		}
	}
	if _, err := b.withdrawNow(ctx, req.Storage, []provider.Tag{l.Tag}); err != nil {
		b.Logger().Warn("the key of an interrupted request is not withdrawn yet", "tag", l.Tag, "error", err)
	}
	b.queue.at(lineItem(l.Tag), time.Now())
	return nil
}

// withOwner makes what the role's keys hang on at the first read.
func (b *Backend) withOwner(ctx context.Context, s logical.Storage, x *session, role *roleEntry) (*roleEntry, error) {
	if !x.makesOwner(role) || role.Owner != nil {
		return role, nil
	}
	unlock, err := b.roleLocks.lock(ctx, role.Name)
	if err != nil {
		return nil, err
	}
	defer unlock()
	role, err = b.role(ctx, s, role.Name)
	if err != nil || role.Owner != nil {
		return role, err
	}
	owner, land, err := b.makeOwner(ctx, s, x, role)
	if err != nil {
		return nil, err
	}
	defer land()
	changed := *role
	changed.Owner = owner
	return &changed, b.roles.put(ctx, s, role.Name, &changed)
}

// leaseTimes are a new lease's first and longest life, by the role, the mount,
// the provider and the caller.
func (b *Backend) leaseTimes(role *roleEntry, def provider.Definition, asked time.Duration) (ttl, maxTTL time.Duration, warnings []string, err error) {
	maxTTL = b.System().MaxLeaseTTL()
	if role.MaxTTL > 0 {
		maxTTL = min(maxTTL, role.MaxTTL)
	}
	if def.Expiry != nil {
		maxTTL = min(maxTTL, def.Expiry.Max-leaseMargin)
	}
	ttl, warnings, err = framework.CalculateTTL(b.System(), 0, role.TTL, 0, maxTTL, 0, time.Time{})
	if err != nil {
		return 0, 0, nil, err
	}
	if asked > ttl {
		return 0, 0, nil, invalidf("ttl: %s is longer than the %s of role %q; a caller can only ask for less", asked, ttl, role.Name)
	}
	if asked > 0 {
		ttl = asked
	}
	return ttl, maxTTL, warnings, nil
}

// nativeLifetime is what the provider is told: the key dies there even if
// Vault is gone, a margin after its longest lease. 0: the provider cannot.
func nativeLifetime(def provider.Definition, maxTTL time.Duration) time.Duration {
	if def.Expiry == nil {
		return 0
	}
	return max(def.Expiry.Min, min(def.Expiry.Max, maxTTL+leaseMargin))
}
