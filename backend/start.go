package backend

import (
	"context"
	"slices"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
)

// start begins the background work, from storage. It returns at once: Vault
// calls it under its state lock, where no call to Vault may be made.
func (b *Backend) start() {
	if b.started.Swap(true) {
		return
	}
	b.background.Go(func() { b.keyring.Run(b.life) })
	b.background.Go(func() { b.queue.run(b.life) })
	b.background.Go(func() { b.fill(b.life, b.storage) })
	b.background.Go(func() { b.keepAgenda(b.life, b.storage) })
	b.background.Go(func() { b.sendNews(b.life) })
	b.background.Go(func() {
		if _, err := b.settings(b.life, b.storage); err != nil {
			return // fill tells it
		}
		if err := b.keyring.Warm(b.life, b.storage); err != nil {
			b.Logger().Warn("the data key could not be unwrapped ahead of the first read", "error", err)
		}
	})
}

// fill puts everything that storage says is to be done into the queue. It goes
// on trying until storage answers.
func (b *Backend) fill(ctx context.Context, s logical.Storage) {
	for failures := 1; ; failures++ {
		err := b.fillOnce(ctx, s)
		if err == nil {
			return
		}
		b.Logger().Error("reading what is due from storage: will try again", "error", err)
		select {
		case <-time.After(retryDelay(failures, err)):
		case <-ctx.Done():
			return
		}
	}
}

func (b *Backend) fillOnce(ctx context.Context, s logical.Storage) error {
	if _, err := b.settings(ctx, s); err != nil {
		return err
	}
	recalled := b.recall(ctx, s) // what is due begins here
	if !b.ledger.loaded() {
		if err := b.ledger.load(ctx, s, b.Logger()); err != nil {
			return err
		}
	}
	for _, l := range b.ledger.filter(func(*line) bool { return true }) {
		b.queue.at(lineItem(l.Tag), time.Now())
	}
	b.queue.at(resealItem, time.Now()) // finds nothing to do unless a change of encryption was cut off
	accounts, err := b.accounts.list(ctx, s)
	if err != nil {
		return err
	}
	for _, name := range accounts {
		b.queue.at(accountItem(name), time.Now()) // finds nothing to do unless something is due
	}
	if err := b.survey(ctx, s, !recalled); err != nil {
		return err
	}
	b.surveyed.Store(ctx.Err() == nil)
	return nil
}

// survey goes through all roles, and puts each into the queue when it is due. With
// an agenda there is no hurry: it leaves room for what is due.
func (b *Backend) survey(ctx context.Context, s logical.Storage, hurry bool) error {
	roles, err := b.roles.list(ctx, s)
	if err != nil {
		return err
	}
	for chunk := range slices.Chunk(roles, surveyChunk) {
		for _, name := range chunk {
			due, err := b.roleDue(ctx, s, name)
			if err != nil { // one role must not keep the others from their turn
				b.Logger().Error("a role cannot be scheduled: will look again", "role", name, "error", err)
				due = time.Now().Add(lastRetry)
			}
			if !due.IsZero() {
				b.queue.at(roleItem(name), due)
			}
		}
		if hurry {
			continue
		}
		select {
		case <-time.After(surveyPause):
		case <-ctx.Done():
			return nil // the mount is ending
		}
	}
	return nil
}

// After so many roles, the survey rests for so long.
const (
	surveyChunk = 100
	surveyPause = 10 * time.Millisecond
)
