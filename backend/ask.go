package backend

import (
	"context"
	"fmt"
	"time"

	"github.com/hashicorp/vault/sdk/logical"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/backend/provider"
)

// ask is the only place where a key is asked for outside a rotation. The line
// is stored before the provider is called; whatever fails after that leaves the
// line, and workLine finds out and cleans up. There is no other recovery.
//
// On success the line is still an intent, and in flight until land is called:
// the caller stores what it was given first. limit is the role's max_active.
func (b *Backend) ask(ctx context.Context, s logical.Storage, x *session, l *line, lifetime time.Duration, limit int) (k provider.Key, land func(), err error) {
	land = b.ledger.fly(l.Tag)
	if err := b.ledger.open(ctx, s, l, limit); err != nil {
		land()
		b.queue.at(lineItem(l.Tag), time.Now())
		return k, nil, err
	}
	k, err = x.minter().Mint(ctx, provider.Order{Tag: l.Tag, Scope: l.Scope, Lifetime: lifetime})
	if err != nil {
		b.unanswered(ctx, s, l, err)
		land()
		return k, nil, fmt.Errorf("minting for role %q: %w", l.Role, err)
	}
	return k, land, nil
}

// makeOwner makes what a role's keys hang on at the provider, under a line like
// a key. The line lives as long as its role does; workLine asks the stored role
// whether it is in use. land is as in ask.
func (b *Backend) makeOwner(ctx context.Context, s logical.Storage, x *session, role *roleEntry) (ref *ownerRef, land func(), err error) {
	tag, err := b.newTag(ctx, s, role, x.def, "")
	if err != nil {
		return nil, nil, err
	}
	l := &line{
		Account: role.Account, Tag: tag, Kind: lineOwner, State: stateIntent,
		Role: role.Name, Scope: role.place(x.def), Created: time.Now().UTC(),
	}
	fly := b.ledger.fly(tag)
	land = func() {
		fly()
		b.queue.at(lineItem(tag), time.Now())
	}
	if err := b.ledger.open(ctx, s, l, 0); err != nil {
		land()
		return nil, nil, err
	}
	id, err := x.owners().Create(ctx, l.Scope, tag)
	if err != nil {
		b.unanswered(ctx, s, l, err)
		land()
		return nil, nil, fmt.Errorf("making the %s of role %q: %w", x.def.Owner.Field, role.Name, err)
	}
	live := l.with(stateLive)
	live.ID = id
	if err := b.putLine(ctx, s, live); err != nil {
		land()
		return nil, nil, err
	}
	return &ownerRef{ID: id, Tag: tag}, land, nil
}

// unanswered closes a line whose create call failed: nothing is there, or
// nobody knows. Storage errors leave an intent, which says the same.
func (b *Backend) unanswered(ctx context.Context, s logical.Storage, l *line, err error) {
	if nothingChanged(err) && !throttled(err) {
		if b.ledger.drop(ctx, s, l) == nil {
			return
		}
	} else {
		unresolved := l.with(stateUnresolved)
		unresolved.Asked, unresolved.Answered = time.Now().UTC(), throttled(err)
		if err := b.ledger.put(ctx, s, unresolved); err != nil {
			b.Logger().Warn("an unknown outcome stays on the ledger as an intent", "tag", l.Tag, "error", err)
		}
	}
	b.queue.at(lineItem(l.Tag), time.Now())
}

// asked is the last moment at which the call under a line may have been under way,
// as far as is known: at the latest, a process that has died sent it when it died.
// Zero: it was answered.
func (b *Backend) asked(l *line) time.Time {
	if l.Answered {
		return time.Time{}
	}
	last := later(l.Created, l.Asked)
	if l.State == stateIntent {
		last = later(last, b.began)
	}
	return last
}
