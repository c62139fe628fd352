package backend

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/backend/provider"
)

func pathsRevoke(b *Backend) []*framework.Path {
	answer := responds("What was done.", map[string]*framework.FieldSchema{
		"withdrawn": number("Keys that are gone at the provider."),
		"by_hand":   {Type: framework.TypeCommaStringSlice, Description: "Keys that no API can withdraw: disable them at the provider."},
	})
	return []*framework.Path{
		{
			Pattern: "revoke/" + namePattern("role"),
			Fields:  map[string]*framework.FieldSchema{"role": text("Name of the role.")},
			Operations: map[logical.Operation]framework.OperationHandler{
				logical.UpdateOperation: forwarded(b.revokeRole, "Withdraw every key of a role at the provider, now.", answer),
			},
			HelpSynopsis: "The leak switch: kill every key of a role now.",
			HelpDescription: `
Every key of the role is withdrawn at the provider, leased or not, brought or
minted. A static role then answers reads with an error until rotate-role/<role>
or import/<role>; a dynamic role goes on minting (disabled=true stops that).

503 means that some could not be withdrawn yet. They are on the ledger, none of
them is served any more, and the engine goes on trying: see keys/<account>.
`,
		},
		{
			Pattern: "revoke-account/" + namePattern("account"),
			Fields:  map[string]*framework.FieldSchema{"account": text("Name of the account.")},
			Operations: map[logical.Operation]framework.OperationHandler{
				logical.UpdateOperation: forwarded(b.revokeAccount, "Withdraw every key of every role of an account, now.", answer),
			},
			HelpSynopsis: "Kill every key of an account now.",
			HelpDescription: `
As revoke/<role>, for every role of the account. Use it when the account itself is
compromised (set disabled=true first, so that nothing new is minted), and before
the mount is disabled: Vault tells an engine nothing when that happens. Service
accounts that the engine made go as well.
`,
		},
	}
}

// dropOwner removes what the engine made for a role's keys to hang on, since the
// mount may be about to go. A role that mints again gets another.
func (b *Backend) dropOwner(ctx context.Context, s logical.Storage, name string) error {
	tag, err := b.disown(ctx, s, name)
	if tag == "" {
		return err
	}
	if err == nil {
		_, err = b.workLine(ctx, s, tag) // no role names it any more, so it goes
	}
	if err != nil {
		b.queue.at(lineItem(tag), time.Now().Add(firstRetry))
	}
	return err
}

// disown takes the owner out of a role, and returns the tag of its line.
func (b *Backend) disown(ctx context.Context, s logical.Storage, name string) (provider.Tag, error) {
	unlock, err := b.roleLocks.lock(ctx, name)
	if err != nil {
		return "", err
	}
	defer unlock()
	role, err := b.role(ctx, s, name)
	if err != nil || role.Owner == nil {
		return "", err
	}
	bare := *role
	bare.Owner = nil
	return role.Owner.Tag, b.roles.put(ctx, s, name, &bare)
}

// killed is what a revoke did.
type killed struct {
	withdrawn int
	byHand    []string
	left      []*line
	reason    error
}

func (k *killed) add(o killed) {
	k.withdrawn += o.withdrawn
	k.byHand = append(k.byHand, o.byHand...)
	k.left = append(k.left, o.left...)
	if k.reason == nil {
		k.reason = o.reason
	}
}

func (k *killed) response(what string) (*logical.Response, error) {
	if len(k.left) > 0 {
		return nil, problemf(statusUnavailable, "%s could not be withdrawn yet, of %s; none is served, and the engine goes on trying: %w",
			plural(len(k.left), "key", "keys"), what, orPending(k.reason))
	}
	resp := &logical.Response{Data: map[string]any{"withdrawn": k.withdrawn, "by_hand": append([]string{}, k.byHand...)}}
	if len(k.byHand) > 0 {
		resp.AddWarning("disable at the provider by hand, no API can: " + strings.Join(k.byHand, ", "))
	}
	return resp, nil
}

func (b *Backend) revokeRole(ctx context.Context, req *logical.Request, data *framework.FieldData) (*logical.Response, error) {
	name := fieldText(data.Get("role"))
	k, err := b.kill(ctx, req.Storage, name)
	if err != nil {
		return nil, err
	}
	return k.response(fmt.Sprintf("role %q", name))
}

func (b *Backend) revokeAccount(ctx context.Context, req *logical.Request, data *framework.FieldData) (*logical.Response, error) {
	name := fieldText(data.Get("account"))
	a, err := b.accounts.get(ctx, req.Storage, name)
	if err != nil {
		return nil, err
	}
	if a == nil {
		return nil, problemf(statusMissing, "no account named %q: see the list of accounts", name)
	}
	if err := b.ledger.wait(ctx); err != nil {
		return nil, err
	}
	roles, err := b.rolesOf(ctx, req.Storage, name)
	if err != nil {
		return nil, err
	}
	var all killed
	var failures []error
	for _, r := range roles {
		if r.Deleting {
			continue // its keys are on the ledger already
		}
		k, err := b.kill(ctx, req.Storage, r.Name) // one that fails does not spare the others
		if err != nil {
			failures = append(failures, fmt.Errorf("role %q: %w", r.Name, err))
			continue // what its keys hang on stays, or one that is still served would die
		}
		all.add(k)
		if err := b.dropOwner(ctx, req.Storage, r.Name); err != nil {
			failures = append(failures, fmt.Errorf("role %q: %w", r.Name, err))
		}
	}
	if len(failures) > 0 {
		return nil, problemf(statusUnavailable, "not every role of account %q could be revoked: %w", name, errors.Join(failures...))
	}
	return all.response(fmt.Sprintf("account %q", name))
}

// kill withdraws every key of a role. What it stores first stops the serving;
// the rest goes on by itself if we die.
func (b *Backend) kill(ctx context.Context, s logical.Storage, name string) (k killed, err error) {
	if err := b.ledger.wait(ctx); err != nil {
		return k, err
	}
	b.ledger.revoke(name)
	ctx = provider.Urgent(ctx) // a provider that does not answer, or asked to wait, is tried all the same
	var (
		tags   []provider.Tag
		failed []error
	)
	tags, k.byHand, err = b.stopServing(ctx, s, name)
	if err != nil {
		return k, err
	}
	for _, l := range b.ledger.ofRole(name) {
		if l.Kind != lineKey || b.ledger.inFlight(l.Tag) {
			continue // an owner stays with its role; what is just being asked for is withdrawn by who asked
		}
		if l.State == stateLive { // in the queue as well, should the next one fail
			failed = append(failed, b.withdrawLater(ctx, s, l))
		}
		if l.State == stateLive || l.State == stateWithdrawing && !slices.Contains(tags, l.Tag) {
			tags = append(tags, l.Tag)
		}
	}
	left, reason := b.withdrawNow(ctx, s, tags)
	if reason == nil {
		reason = errors.Join(failed...)
	}
	b.tell(eventRevoked, "role", name, "account", b.standings.accountOf(name), "withdrawn", strconv.Itoa(len(tags)-len(left)), "left", strconv.Itoa(len(left)))
	k.withdrawn, k.left, k.reason = len(tags)-len(left), left, reason
	return k, nil // what is left is in the queue already
}

// stopServing moves a static role's keys to the ledger. Nothing is served from
// its first Put on. It returns the tags of those that an API can withdraw (the
// queue may have done so before the caller looks), and the others by name.
func (b *Backend) stopServing(ctx context.Context, s logical.Storage, name string) (tags []provider.Tag, byHand []string, err error) {
	// A rotation that waits for a slow provider must not hold up the switch.
	unlock, err := b.roleLocks.seize(ctx, name)
	if err != nil {
		return nil, nil, err
	}
	defer unlock()
	role, err := b.role(ctx, s, name)
	if err != nil {
		return nil, nil, err
	}
	if role.Type != typeStatic { // a change to dynamic may have been cut off
		return nil, nil, b.endStatic(ctx, s, role, time.Now(), true)
	}
	e, err := b.keyEntryOf(ctx, s, name)
	if err != nil || e.Current == nil && e.Previous == nil && e.Attempt == nil {
		return nil, nil, err
	}
	h, err := b.hold(ctx, s, role)
	if err != nil {
		return nil, nil, err
	}
	for _, v := range []*keyVersion{e.Current, e.Previous} {
		if v != nil && v.ID != "" {
			tags = append(tags, v.Tag)
		}
	}
	b.queue.at(roleItem(name), time.Now().Add(firstRetry)) // should we fail on the way
	byHand, err = h.rotation().withdraw(ctx, e)
	return tags, byHand, err
}

// plural counts things for people.
func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
