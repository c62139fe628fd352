package backend

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/vault/sdk/logical"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/backend/envelope"
)

// resealItem is the queue's item for moving every stored secret to the current
// data key. It needs no state of its own: a blob names the data key that it is
// sealed with, so a restart goes on where it stopped.
const resealItem = "reseal"

// quarantine is how long a data key that seals no more is kept even without
// users: longer than any write that began with it can still be under way.
const quarantine = time.Hour

// reseal opens what is sealed with another data key than the current one and
// seals it again, one entry at a time, then forgets data keys without use. It
// returns when to look again; zero: there is nothing left to do.
func (b *Backend) reseal(ctx context.Context, s logical.Storage) (again time.Time, err error) {
	cfg, err := b.settings(ctx, s)
	if err != nil {
		return again, err
	}
	stale, err := b.staleEntries(ctx, s)
	if err != nil {
		return again, err
	}
	var failed []error
	for _, path := range stale { // one that cannot be opened does not hold up the others
		failed = append(failed, b.resealEntry(ctx, s, path))
	}
	if err := errors.Join(failed...); err != nil {
		return again, err
	}
	return b.forgetUnused(ctx, s, cfg.EncryptionSince)
}

// staleEntries names the entries that are not sealed with the current data key.
// Where that is the only one there can be none, so that neither a start nor a
// read of status has to go through everything that is stored.
func (b *Backend) staleEntries(ctx context.Context, s logical.Storage) ([]string, error) {
	current, err := b.keyring.Current(ctx, s)
	if err != nil {
		return nil, err
	}
	keys, err := b.keyring.DataKeys(ctx, s)
	if err != nil || len(keys) == 0 || len(keys) == 1 && keys[0].ID == current {
		return nil, err
	}
	return b.sealedEntries(ctx, s, func(blob envelope.Blob) bool { return blob.DataKey() != current })
}

func (b *Backend) resealEntry(ctx context.Context, s logical.Storage, path string) error {
	if name, ok := strings.CutPrefix(path, accountPrefix); ok {
		unlock, err := b.accountLocks.lock(ctx, name)
		if err != nil {
			return err
		}
		defer unlock()
		a, err := b.accounts.get(ctx, s, name)
		if err != nil || a == nil {
			return err
		}
		fresh := *a
		if fresh.Sealed, err = b.sealAgain(ctx, s, path, a.Sealed); err != nil {
			return err
		}
		return b.accounts.put(ctx, s, name, &fresh)
	}
	name := strings.TrimPrefix(path, keyPrefix)
	unlock, err := b.roleLocks.lock(ctx, name)
	if err != nil {
		return err
	}
	defer unlock()
	e, err := b.staticKeys.get(ctx, s, name)
	if err != nil || e == nil {
		return err
	}
	fresh := e.clone()
	for _, v := range []**keyVersion{&fresh.Current, &fresh.Previous} {
		if *v == nil {
			continue
		}
		again := **v
		if again.Secret, err = b.sealAgain(ctx, s, path, again.Secret); err != nil {
			return err
		}
		*v = &again
	}
	return b.staticKeys.put(ctx, s, name, fresh)
}

func (b *Backend) sealAgain(ctx context.Context, s logical.Storage, path string, blob envelope.Blob) (envelope.Blob, error) {
	raw, err := b.keyring.Open(ctx, s, path, blob)
	if err != nil {
		return "", err
	}
	defer clear(raw)
	return b.keyring.Seal(ctx, s, path, raw)
}

// forgetUnused deletes data keys that nothing is sealed with, a quarantine
// after another one took over.
func (b *Backend) forgetUnused(ctx context.Context, s logical.Storage, since time.Time) (again time.Time, err error) {
	keys, err := b.keyring.DataKeys(ctx, s)
	if err != nil || len(keys) < 2 {
		return again, err
	}
	current, err := b.keyring.Current(ctx, s)
	if err != nil {
		return again, err
	}
	for _, k := range keys {
		if k.ID == current && k.Created.After(since) {
			since = k.Created
		}
	}
	if end := since.Add(quarantine); current == "" || time.Now().Before(end) {
		return end, nil
	}
	for _, k := range keys {
		if k.ID == current {
			continue
		}
		users, err := b.sealedEntries(ctx, s, func(blob envelope.Blob) bool { return blob.DataKey() == k.ID })
		if err != nil {
			return again, err
		}
		if len(users) == 0 {
			if err := b.keyring.Forget(ctx, s, k.ID); err != nil {
				return again, err
			}
		}
	}
	return again, nil
}

// sealedEntries names the stored entries with a blob that matches.
func (b *Backend) sealedEntries(ctx context.Context, s logical.Storage, match func(envelope.Blob) bool) ([]string, error) {
	var found []string
	accounts, err := b.accounts.list(ctx, s)
	if err != nil {
		return nil, err
	}
	for _, name := range accounts {
		a, err := b.accounts.get(ctx, s, name)
		if err != nil {
			return nil, err
		}
		if a != nil && a.Sealed != "" && match(a.Sealed) {
			found = append(found, a.storagePath())
		}
	}
	keys, err := b.staticKeys.list(ctx, s)
	if err != nil {
		return nil, err
	}
	for _, name := range keys {
		e, err := b.staticKeys.get(ctx, s, name)
		if err != nil {
			return nil, err
		}
		if e != nil && slices.ContainsFunc(e.blobs(), match) {
			found = append(found, keyPrefix+name)
		}
	}
	return found, nil
}

// blobs are the sealed secrets of an entry.
func (e *keyEntry) blobs() []envelope.Blob {
	var blobs []envelope.Blob
	for _, v := range []*keyVersion{e.Current, e.Previous} {
		if v != nil {
			blobs = append(blobs, v.Secret)
		}
	}
	return blobs
}
