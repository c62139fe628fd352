package backend

import (
	"context"
	"fmt"
	"time"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/backend/provider"
)

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
	tag, err := b.newTag(ctx, req.Storage, role, def, req.DisplayName)
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
		return nil, b.leasedOwnerLost(ctx, req.Storage, x, role, err)
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
	b.meters.dynamicReads.Add(1)
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
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	b.roleLocks.interruptible(role.Name, cancel)
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
