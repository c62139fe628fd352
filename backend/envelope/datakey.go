package envelope

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
)

const storagePrefix = "datakey/"

// A storedKey is one data key, stored at "datakey/<id>". Its plaintext never
// changes; its wrappings do, by Rewrap and Move.
type storedKey struct {
	ID      string    `json:"id"`
	Mode    Mode      `json:"mode"`
	Created time.Time `json:"created"`
	// Plain is the key itself, in [ModeBarrier] only.
	Plain []byte `json:"plain,omitempty"`
	// Wrapped holds the key once for each transit key that can unwrap it: one,
	// or two while settings change.
	Wrapped []wrapping `json:"wrapped,omitempty"`
	// Check tells the right key from any other, and gives nothing away.
	Check []byte `json:"check"`
}

// A place is one transit key.
type place struct {
	Address   string `json:"address"`
	Namespace string `json:"namespace,omitempty"`
	Mount     string `json:"mount"`
	Key       string `json:"key"`
}

// A wrapping is a data key as one transit key can unwrap it.
type wrapping struct {
	place
	// Ciphertext is transit's: of the data key, or of the key that seals Inner.
	Ciphertext string `json:"ciphertext"`
	Inner      Blob   `json:"inner,omitempty"`
}

// DataKey describes a data key without any of its contents.
type DataKey struct {
	ID      string
	Mode    Mode
	Created time.Time
}

func newStoredKey(mode Mode, now time.Time) *storedKey {
	var id [16]byte
	_, _ = rand.Read(id[:]) // never fails: it ends the process instead
	return &storedKey{ID: hex.EncodeToString(id[:]), Mode: mode, Created: now.UTC()}
}

func (e *storedKey) path() string { return storagePrefix + e.ID }

func (e *storedKey) wrappedFor(p place) *wrapping {
	for i := range e.Wrapped {
		if e.Wrapped[i].place == p {
			return &e.Wrapped[i]
		}
	}
	return nil
}

// rewrapped replaces the wrapping of w's place, or adds it.
func (e *storedKey) rewrapped(w wrapping) {
	if old := e.wrappedFor(w.place); old != nil {
		*old = w
		return
	}
	e.Wrapped = append(e.Wrapped, w)
}

// keepOnly removes every wrapping but the one of p, if that is there.
func (e *storedKey) keepOnly(ctx context.Context, s logical.Storage, p place) error {
	w := e.wrappedFor(p)
	if w == nil || len(e.Wrapped) == 1 {
		return nil
	}
	e.Wrapped = []wrapping{*w}
	return e.save(ctx, s)
}

func newKey() *[keyBytes]byte {
	key := new([keyBytes]byte)
	_, _ = rand.Read(key[:]) // never fails: it ends the process instead
	return key
}

func checkValue(id string, key *[keyBytes]byte) []byte {
	mac := hmac.New(sha256.New, key[:])
	_, _ = mac.Write(appendBound(nil, "ai-keys data key", id)) // a hash takes everything
	return mac.Sum(nil)
}

// key turns what came out of a wrapping into the data key, and overwrites it.
func (e *storedKey) key(plain []byte) (*[keyBytes]byte, error) {
	defer clear(plain)
	if len(plain) != keyBytes {
		return nil, fmt.Errorf("%w: data key %s has the wrong size", ErrCorrupt, e.ID)
	}
	key := new([keyBytes]byte)
	copy(key[:], plain)
	if !hmac.Equal(e.Check, checkValue(e.ID, key)) {
		clear(key[:])
		return nil, fmt.Errorf("%w: what unwraps as data key %s is another key", ErrCorrupt, e.ID)
	}
	return key, nil
}

// Unhurried is the context of a write to storage. A write that is cut off when
// its caller hangs up, or is interrupted, could land later, over what was
// written after it; so the write's own answer is waited for.
func Unhurried(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
}

func (e *storedKey) save(ctx context.Context, s logical.Storage) error {
	entry, err := logical.StorageEntryJSON(e.path(), e)
	if err != nil {
		return fmt.Errorf("encoding data key %s: %w", e.ID, err)
	}
	ctx, cancel := Unhurried(ctx)
	defer cancel()
	if err := s.Put(ctx, entry); err != nil {
		return fmt.Errorf("storing data key %s: %w", e.ID, err)
	}
	return nil
}

func loadKey(ctx context.Context, s logical.Storage, id string) (*storedKey, error) {
	raw, err := s.Get(ctx, storagePrefix+id)
	if err != nil {
		return nil, fmt.Errorf("reading data key %s: %w", id, err)
	}
	if raw == nil {
		return nil, fmt.Errorf("%w: its data key %s is not in storage", ErrCorrupt, id)
	}
	e := new(storedKey)
	if err := raw.DecodeJSON(e); err != nil || e.ID != id {
		return nil, fmt.Errorf("%w: the entry of data key %s", ErrCorrupt, id)
	}
	return e, nil
}

// loadKeys returns all data keys, oldest first.
func loadKeys(ctx context.Context, s logical.Storage) ([]*storedKey, error) {
	ids, err := s.List(ctx, storagePrefix)
	if err != nil {
		return nil, fmt.Errorf("listing data keys: %w", err)
	}
	entries := make([]*storedKey, 0, len(ids))
	for _, id := range ids {
		e, err := loadKey(ctx, s, id)
		if err != nil {
			return nil, err
		}
		entries = append(entries, e)
	}
	slices.SortFunc(entries, func(a, b *storedKey) int {
		if c := a.Created.Compare(b.Created); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	return entries, nil
}
