package backend

import (
	"context"
	"fmt"
	"time"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/backend/provider"
)

const secretKeyType = "ai_key"

// secretKey is the lease of a dynamic key.
func secretKey(b *Backend) *framework.Secret {
	return &framework.Secret{
		Type:   secretKeyType,
		Fields: map[string]*framework.FieldSchema{"api_key": secretText("The key.")},
		Renew:  b.renewKey,
		Revoke: b.revokeKey,
	}
}

// leased finds the ledger line of a lease. Internal data has been through
// JSON, so everything in it is text.
func (b *Backend) leased(ctx context.Context, req *logical.Request) (*line, error) {
	if err := b.ledger.wait(ctx); err != nil {
		return nil, err
	}
	tag, ok := req.Secret.InternalData["tag"].(string)
	if !ok || tag == "" {
		return nil, invalidf("the lease does not say which key it is for")
	}
	return b.ledger.get(provider.Tag(tag)), nil
}

// renewKey lengthens a lease, never past the life that the provider was told.
func (b *Backend) renewKey(ctx context.Context, req *logical.Request, _ *framework.FieldData) (*logical.Response, error) {
	l, err := b.leased(ctx, req)
	if err != nil {
		return nil, err
	}
	if l == nil || l.State != stateLive {
		return nil, problemf(statusConflict, "the key of this lease was withdrawn: read creds again for a new one")
	}
	role, err := b.role(ctx, req.Storage, l.Role)
	if err != nil {
		return nil, err
	}
	account, _, err := b.accountOf(ctx, req.Storage, role)
	if err != nil {
		return nil, err
	}
	if err := mayServe(role, account); err != nil {
		return nil, err
	}
	longest := l.Deadline.Sub(req.Secret.IssueTime) - leaseMargin
	if !l.Expires.IsZero() {
		longest = min(longest, l.Expires.Sub(req.Secret.IssueTime)-leaseMargin/2)
	}
	if role.MaxTTL > 0 {
		longest = min(longest, role.MaxTTL)
	}
	if longest <= 0 {
		return nil, problemf(statusConflict, "the key of this lease is at the end of its life: read creds again for a new one")
	}
	ttl, warnings, err := framework.CalculateTTL(b.System(), req.Secret.Increment, role.TTL, 0, longest, 0, req.Secret.IssueTime)
	if err != nil {
		return nil, err
	}
	resp := &logical.Response{Secret: req.Secret, Warnings: warnings}
	resp.Secret.TTL, resp.Secret.MaxTTL = ttl, longest
	return resp, nil
}

// revokeKey withdraws a leased key. Vault gives up on a lease after six tries;
// the line goes on by itself, so a failure here is told but loses nothing.
func (b *Backend) revokeKey(ctx context.Context, req *logical.Request, _ *framework.FieldData) (*logical.Response, error) {
	l, err := b.leased(ctx, req)
	if err != nil || l == nil { // no line: it is gone already
		return nil, err
	}
	if l.State == stateLive {
		l = l.with(stateWithdrawing)
		if err := b.putLine(ctx, req.Storage, l); err != nil {
			return nil, err
		}
	}
	if _, err := b.workLine(ctx, req.Storage, l.Tag); err != nil {
		again := time.Now().Add(retryDelay(b.ledger.trouble(l.Tag).attempts, err))
		b.queue.at(lineItem(l.Tag), again)
		return nil, fmt.Errorf("withdrawing key %s at the provider (it stays on the ledger and is tried again): %w", l.ID, err)
	}
	return nil, nil //nolint:nilnil // the framework's way to say done
}
