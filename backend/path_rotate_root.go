package backend

import (
	"context"
	"fmt"
	"time"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"
)

func pathsRotateRoot(b *Backend) []*framework.Path {
	return []*framework.Path{{
		Pattern: "rotate-root/" + namePattern("account"),
		Fields:  map[string]*framework.FieldSchema{"account": text("Name of the account.")},
		Operations: map[logical.Operation]framework.OperationHandler{
			logical.UpdateOperation: forwarded(b.rotateRoot, "Replace an account's admin credential now.", responds("The new credential's number.", map[string]*framework.FieldSchema{
				"version": number("Number of the new credential, counted from the first rotation here."),
				"key_id":  text("The provider's name for the new credential."),
			})),
		},
		HelpSynopsis: "Give an account a new admin credential that only this mount knows.",
		HelpDescription: `
The new credential is made with the present one, tried at the provider, sealed and
stored; then the old one is withdrawn by its id, after the operations under way
with it have ended. No other credential is touched. Where the provider does not
tell which of its credentials the present one is, the old one stays, and the answer
says that you must disable it.

It can be done by itself: rotation_period, or rotation_schedule with
rotation_window, in accounts/<account>.

503: the provider could not be reached, throttles, or did not say what it did.
Nothing is lost: the old credential stays in use. In the last case the engine looks
for what may have been made, withdraws it, and rotates then.
`,
	}}
}

func (b *Backend) rotateRoot(ctx context.Context, req *logical.Request, data *framework.FieldData) (*logical.Response, error) {
	name, asked := fieldText(data.Get("account")), time.Now()
	unlock, err := b.accountLocks.lock(ctx, name)
	if err != nil {
		return nil, err
	}
	defer unlock()
	account, err := b.accounts.get(ctx, req.Storage, name)
	if err != nil {
		return nil, err
	}
	if account == nil {
		return nil, problemf(statusMissing, "no account named %q: see the list of accounts", name)
	}
	if account.Disabled {
		return nil, problemf(statusForbidden, "account %q is disabled: an operator enables it with disabled=false", name)
	}
	h, err := b.rootOf(ctx, req.Storage, account)
	if err != nil {
		return nil, err
	}
	e := h.entry()
	// This very request, sent again by Vault, or one that waited while another
	// did the same: one rotation serves both.
	again := e.Request == req.ID && req.ID != "" && e.Phase != phaseMinting
	meanwhile := e.LastRotation.After(asked) && e.Current.Tag != ""
	if again || meanwhile {
		return rotatedRoot(e), nil
	}
	defer func() { b.queue.at(accountItem(name), time.Now()) }()
	ctx, cancel := h.patient(ctx)
	defer cancel()
	if err := h.renew(ctx, e, req.ID); err != nil {
		if e.Phase == phaseMinting {
			err = fmt.Errorf("%w; the old credential stays in use, and the engine looks for the one that may have been made: see accounts/%s", err, name)
		}
		return nil, fmt.Errorf("rotating the admin credential of account %q: %w", name, err)
	}
	return rotatedRoot(e), nil
}

func rotatedRoot(e *keyEntry) *logical.Response {
	resp := &logical.Response{Data: map[string]any{"version": e.Version, "key_id": string(e.Current.ID)}}
	if e.LastError != "" {
		resp.AddWarning("the new credential is in service. About the previous one: " + e.LastError)
	}
	return resp
}

// describeRoot adds to an account's answer where its admin credential stands.
func describeRoot(answer map[string]any, a *accountEntry) {
	a.describe(answer)
	e := a.Root
	if e == nil {
		return
	}
	answer["credential_version"] = e.Version
	if e.Current != nil && e.Current.ID != "" {
		answer["credential_id"] = string(e.Current.ID)
	}
	if e.Version > 0 {
		answer["last_vault_rotation"] = rfc3339(e.LastRotation)
	}
	if next := a.next(e.LastRotation, e.RetryAt); !next.IsZero() {
		answer["next_rotation"] = rfc3339(next)
	}
	if e.LastError != "" {
		answer["last_error"], answer["attempts"] = e.LastError, e.Attempts
	}
}
