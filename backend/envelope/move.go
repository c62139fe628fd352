package envelope

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/hashicorp/vault/sdk/logical"
)

// Prove makes a full round trip with candidate settings: a login, a data key,
// its unwrapping, a comparison. It saves nothing, and ends its login.
func (k *Keyring) Prove(ctx context.Context, t *Settings) error {
	c, err := newClient(*t, k.transport, k.now)
	if err != nil {
		return err
	}
	defer c.leave(ctx)
	key, ciphertext, err := c.dataKey(ctx)
	if err != nil {
		return fmt.Errorf("making a data key: %w", err)
	}
	defer clear(key[:])
	again, err := c.decrypt(ctx, ciphertext)
	if err != nil {
		return fmt.Errorf("unwrapping a data key: %w", err)
	}
	defer clear(again)
	if !bytes.Equal(key[:], again) {
		return fmt.Errorf("%w: it unwraps to something else than it wrapped", ErrKey)
	}
	return nil
}

// Move makes to the settings in use: it wraps every data key for the transit key
// that to names, calls save, which stores to, and only then removes the former
// wrappings and configures the keyring with to. Data keys made meanwhile wait.
//
// Whatever fails and wherever the process dies, each data key can be opened with
// the settings that storage holds. Move can be called again, with the same
// settings or others; what it left behind goes with the next Move or Rewrap that
// succeeds. Where to differs in its credentials or limits only, no call is made.
//
// A data key that to can unwrap as it is (the same transit key at another
// address, or restored there) keeps its ciphertext: the former server need not
// answer. Any other is unwrapped with the present settings, and sealed under a
// wrapping key that the new transit key makes.
func (k *Keyring) Move(ctx context.Context, s logical.Storage, to *Settings, save func(context.Context) error) error {
	c, err := newClient(*to, k.transport, k.now)
	if err != nil {
		return err
	}
	defer c.leave(ctx)
	unlock, err := k.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()

	st := k.state.Load()
	entries, err := loadKeys(ctx, s)
	if err != nil {
		return err
	}
	if st.settings == nil || st.settings.place() != to.place() {
		for _, e := range entries {
			if err := k.move(ctx, s, st, c, e); err != nil {
				return fmt.Errorf("moving data key %s to %s: %w", e.ID, to, err)
			}
		}
	}
	if err := save(ctx); err != nil {
		return fmt.Errorf("saving the new settings: %w", err)
	}
	k.Configure(k.state.Load().mode, to)
	for _, e := range entries {
		if err := e.keepOnly(ctx, s, to.place()); err != nil {
			k.log.Warn("a former wrapping of a data key stays in storage until the next rewrap", "data_key", e.ID, "error", err)
		}
	}
	return nil
}

// move adds a wrapping of e for the transit key of c.
func (k *Keyring) move(ctx context.Context, s logical.Storage, st *state, c *client, e *storedKey) error {
	if e.Mode != ModeTransit {
		return nil
	}
	w, err := k.asItIs(ctx, c, e)
	if err != nil {
		return err
	}
	if w == nil {
		if w, err = k.wrapAnew(ctx, st, c, e); err != nil {
			return err
		}
	}
	e.rewrapped(*w)
	return e.save(ctx, s)
}

// asItIs finds a wrapping that c can open already; nil if there is none.
func (k *Keyring) asItIs(ctx context.Context, c *client, e *storedKey) (*wrapping, error) {
	for i := range e.Wrapped {
		w := e.Wrapped[i]
		key, err := k.openWith(ctx, c, e, &w)
		switch {
		case err == nil:
			clear(key[:])
			w.place = c.set.place()
			return &w, nil
		case errors.Is(err, ErrKey), errors.Is(err, ErrCorrupt): // made by another transit key
		default:
			return nil, err
		}
	}
	return nil, nil //nolint:nilnil // absence is an answer here, and the one caller asks for it
}

// wrapAnew opens e with the present settings and seals it under a wrapping key
// that c makes. The result is opened once: it is proven before it is relied on.
func (k *Keyring) wrapAnew(ctx context.Context, st *state, c *client, e *storedKey) (*wrapping, error) {
	key, err := k.open(ctx, st, e)
	if err != nil {
		return nil, err
	}
	defer clear(key[:])
	outer, ciphertext, err := c.dataKey(ctx)
	if err != nil {
		return nil, fmt.Errorf("making a wrapping key: %w", err)
	}
	defer clear(outer[:])
	w := &wrapping{
		place:      c.set.place(),
		Ciphertext: ciphertext,
		Inner:      sealBlob(newAEAD(outer), e.ID, k.mount, e.path(), key[:]),
	}
	again, err := k.openWith(ctx, c, e, w)
	if err != nil {
		return nil, fmt.Errorf("proving the new wrapping: %w", err)
	}
	clear(again[:])
	return w, nil
}

// Rewrap wraps each data key with the newest version of the transit key, and
// reports how many. Each new wrapping is opened once before it replaces the old
// one; after an error, the rest stays as it was, and Rewrap can be called again.
func (k *Keyring) Rewrap(ctx context.Context, s logical.Storage) (n int, err error) {
	unlock, err := k.lock(ctx)
	if err != nil {
		return 0, err
	}
	defer unlock()
	st := k.state.Load()
	entries, err := loadKeys(ctx, s)
	if err != nil {
		return 0, err
	}
	for _, e := range entries {
		if e.Mode != ModeTransit {
			continue
		}
		done, err := k.rewrap(ctx, s, st, e)
		if err != nil {
			return n, fmt.Errorf("rewrapping data key %s: %w", e.ID, err)
		}
		if done {
			n++
		}
	}
	return n, nil
}

func (k *Keyring) rewrap(ctx context.Context, s logical.Storage, st *state, e *storedKey) (done bool, err error) {
	c, err := st.client()
	if err != nil {
		return false, err
	}
	w := e.wrappedFor(st.settings.place())
	if w == nil { // opening what it sealed says so to those whom it concerns
		k.log.Warn("a data key is wrapped by another transit key than config/transit names", "data_key", e.ID)
		return false, nil
	}
	next := *w
	if next.Ciphertext, err = c.rewrap(ctx, w.Ciphertext); err != nil {
		return false, err
	}
	key, err := k.openWith(ctx, c, e, &next)
	if err != nil {
		return false, fmt.Errorf("proving the new wrapping: %w", err)
	}
	defer clear(key[:])
	e.Wrapped = []wrapping{next}
	if err := e.save(ctx, s); err != nil {
		return false, err
	}
	k.hold(st, e, key)
	return true, nil
}
