package backend

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/vault/sdk/logical"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/backend/provider"
)

// sweepLine withdraws what bears a line's tag. What was found need not be all: a
// call that was not answered may take effect later, or once more. So it says when
// to look again, until the end of that time.
func (b *Backend) sweepLine(ctx context.Context, s logical.Storage, x *session, l *line, end time.Time) (again time.Time, err error) {
	found, err := b.sweepTag(ctx, x, l)
	if err != nil || !time.Now().Before(end) {
		return again, err
	}
	if found && !l.Swept {
		swept := l.with(l.State)
		swept.Swept = true
		if err := b.ledger.put(ctx, s, swept); err != nil {
			return again, err
		}
	}
	return earlier(time.Now().Add(lookAgain), end), nil
}

// erase makes the provider forget what a line stands for, by its id.
func (b *Backend) erase(ctx context.Context, x *session, l *line) error {
	switch {
	case l.Kind == lineRoot && x.def.Root == nil:
		return nil // this build can no longer do it
	case l.Kind == lineRoot:
		return x.roots().Revoke(ctx, provider.KeyID(l.ID))
	case l.Kind == lineOwner:
		return x.owners().Delete(ctx, l.Scope, l.ID)
	}
	err := x.keys.Revoke(ctx, l.Scope, provider.KeyID(l.ID))
	if errors.Is(err, provider.ErrUnsupported) {
		b.Logger().Warn("a key cannot be withdrawn by API: disable it at the provider", "account", l.Account, "key_id", l.ID)
		return nil
	}
	return err
}

// sweepTag makes the provider forget whatever bears a line's tag. found false means
// that there was nothing.
func (b *Backend) sweepTag(ctx context.Context, x *session, l *line) (found bool, err error) {
	switch l.Kind {
	case lineRoot:
		if x.def.Root == nil {
			return false, nil // this build can no longer do it
		}
		return sweepRoots(ctx, x, l.Tag)
	case lineOwner:
		ids, err := x.owners().Find(ctx, l.Scope, l.Tag)
		for _, id := range ids {
			err = errors.Join(err, x.owners().Delete(ctx, l.Scope, id))
		}
		return len(ids) > 0, err
	case lineKey:
	}
	return b.sweep(ctx, x, l.Scope, l.Tag)
}

// sweep withdraws every key named tag. found false means that there was none.
func (b *Backend) sweep(ctx context.Context, x *session, scope provider.Scope, tag provider.Tag) (found bool, err error) {
	ids, err := x.minter().Find(ctx, scope, tag)
	if err != nil {
		return false, fmt.Errorf("looking for %s: %w", tag, err)
	}
	for _, id := range ids {
		if err := x.keys.Revoke(ctx, scope, id); err != nil {
			return true, fmt.Errorf("withdrawing %s: %w", tag, err)
		}
	}
	return len(ids) > 0, nil
}
