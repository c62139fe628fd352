package envelope

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
)

// lock orders what changes data keys in storage. It is held across calls to
// transit; readers never take it.
func (k *Keyring) lock(ctx context.Context) (unlock func(), err error) {
	select {
	case k.layout <- struct{}{}:
		return func() { <-k.layout }, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: another change of the data keys is under way: %w", ErrUnreachable, ctx.Err())
	}
}

// currentID finds the current data key, or makes one.
func (k *Keyring) currentID(ctx context.Context, s logical.Storage) (string, error) {
	st := k.state.Load()
	if id := st.current.Load(); id != nil {
		return *id, nil
	}
	if st.closed {
		return "", errClosed
	}
	return wait[string](ctx, k.current.DoChan("", func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), st.settings.timeout())
		defer cancel()
		unlock, err := k.lock(ctx)
		if err != nil {
			return nil, err
		}
		defer unlock()
		st := k.state.Load() // the lock may have been held by a Move
		e, err := newest(ctx, s, st)
		if err != nil {
			return nil, err
		}
		if e == nil {
			if e, err = k.create(ctx, s, st); err != nil {
				return nil, err
			}
		}
		st.current.Store(&e.ID)
		return e.ID, nil
	}))
}

// newest finds the data key that seals: the newest of the mode that the
// settings can unwrap; nil if there is none.
func newest(ctx context.Context, s logical.Storage, st *state) (*storedKey, error) {
	entries, err := loadKeys(ctx, s)
	if err != nil {
		return nil, err
	}
	for _, e := range slices.Backward(entries) {
		if e.Mode == st.mode && (e.Mode == ModeBarrier || st.settings != nil && e.wrappedFor(st.settings.place()) != nil) {
			return e, nil
		}
	}
	return nil, nil //nolint:nilnil // absence is an answer here, and both callers ask for it
}

// create stores a new data key, after transit has unwrapped what it wrapped: a
// key that could not be opened again never seals anything. If the write fails
// but took effect, the next search finds the key, and nothing was sealed with it.
func (k *Keyring) create(ctx context.Context, s logical.Storage, st *state) (*storedKey, error) {
	if st.closed {
		return nil, errClosed
	}
	made, err := afterAll(ctx, s, k.now())
	if err != nil {
		return nil, err
	}
	e := newStoredKey(st.mode, made)
	if st.mode == ModeBarrier {
		key := newKey()
		defer clear(key[:])
		e.Plain = key[:]
		e.Check = checkValue(e.ID, key)
		return e, e.save(ctx, s)
	}
	c, err := st.client()
	if err != nil {
		return nil, err
	}
	key, ciphertext, err := c.dataKey(ctx)
	if err != nil {
		return nil, fmt.Errorf("making a data key: %w", err)
	}
	e.Check = checkValue(e.ID, key)
	clear(key[:])
	e.Wrapped = []wrapping{{place: st.settings.place(), Ciphertext: ciphertext}}
	again, err := k.open(ctx, st, e)
	if err != nil {
		return nil, fmt.Errorf("proving a new data key: %w", err)
	}
	clear(again[:])
	return e, e.save(ctx, s)
}

// afterAll is now, or just after the newest data key: which of them seals goes by
// their times, and the clock of the node that made the last one may be ahead.
func afterAll(ctx context.Context, s logical.Storage, now time.Time) (time.Time, error) {
	entries, err := loadKeys(ctx, s)
	if err != nil || len(entries) == 0 {
		return now, err
	}
	if last := entries[len(entries)-1].Created; !now.After(last) {
		return last.Add(time.Nanosecond), nil
	}
	return now, nil
}

// NewDataKey makes a data key that seals from now on. Older ones stay for opening.
func (k *Keyring) NewDataKey(ctx context.Context, s logical.Storage) error {
	unlock, err := k.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	st := k.state.Load()
	e, err := k.create(ctx, s, st)
	if err != nil {
		st.current.Store(nil) // it may be stored all the same
		return err
	}
	st.current.Store(&e.ID)
	return nil
}

// Current is the id of the data key that seals, or "" if the next Seal makes
// one. What is sealed with another one is due for resealing.
func (k *Keyring) Current(ctx context.Context, s logical.Storage) (string, error) {
	if id := k.state.Load().current.Load(); id != nil {
		return *id, nil
	}
	unlock, err := k.lock(ctx)
	if err != nil {
		return "", err
	}
	defer unlock()
	st := k.state.Load()
	e, err := newest(ctx, s, st)
	if err != nil || e == nil {
		return "", err
	}
	st.current.Store(&e.ID)
	return e.ID, nil
}

// DataKeys lists the data keys, oldest first, without a call to transit.
func (k *Keyring) DataKeys(ctx context.Context, s logical.Storage) ([]DataKey, error) {
	unlock, err := k.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	entries, err := loadKeys(ctx, s)
	if err != nil {
		return nil, err
	}
	keys := make([]DataKey, 0, len(entries))
	for _, e := range entries {
		keys = append(keys, DataKey{ID: e.ID, Mode: e.Mode, Created: e.Created})
	}
	return keys, nil
}

// Forget deletes a data key for good. The caller knows that nothing is sealed
// with it; the current one is refused.
func (k *Keyring) Forget(ctx context.Context, s logical.Storage, id string) error {
	unlock, err := k.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	st := k.state.Load()
	e, err := newest(ctx, s, st)
	if err != nil {
		return err
	}
	if e != nil && e.ID == id {
		return fmt.Errorf("data key %s is the current one: it stays", id)
	}
	if err := s.Delete(ctx, storagePrefix+id); err != nil {
		return fmt.Errorf("deleting data key %s: %w", id, err)
	}
	st.forget(id, nil)
	return nil
}
