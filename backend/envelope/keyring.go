package envelope

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/vault/sdk/logical"
	"golang.org/x/sync/singleflight"
)

// A Keyring owns the data keys of one mount. All its methods may be called at
// the same time. Nothing in it is shared between mounts.
type Keyring struct {
	mount string
	log   hclog.Logger

	now       func() time.Time
	transport http.RoundTripper // nil: one of its own for each client

	unwraps atomic.Int64
	state   atomic.Pointer[state]
	current singleflight.Group // finds or makes the current data key
	// layout is held while the set of data keys or their wrappings change in storage.
	layout chan struct{}
	wake   chan struct{} // something to look after for Run
}

// NewKeyring makes no call and starts nothing. Until [Keyring.Configure] says
// otherwise, the mode is [ModeTransit], without settings.
func NewKeyring(mountUUID string, log hclog.Logger) *Keyring {
	k := &Keyring{
		mount:  mountUUID,
		log:    log,
		now:    time.Now,
		layout: make(chan struct{}, 1),
		wake:   make(chan struct{}, 1),
	}
	k.state.Store(&state{mode: ModeTransit})
	return k
}

// Via has calls to transit made through another transport, in tests. It comes
// before [Keyring.Configure].
func (k *Keyring) Via(t http.RoundTripper) { k.transport = t }

// Configure says how new values are sealed and how transit is reached; nil
// settings mean that there are none. It makes no call. The same settings again
// change nothing; other ones drop the data keys in memory and the login.
//
// While data keys are wrapped under the settings in use, other settings come in
// through [Keyring.Move]; Configure then only tells what storage already says.
func (k *Keyring) Configure(mode Mode, t *Settings) {
	for {
		old := k.state.Load()
		next := k.newState(old, mode, t)
		if next == old {
			return
		}
		if k.state.CompareAndSwap(old, next) {
			if old.transit != next.transit {
				old.close()
			}
			k.rouse()
			return
		}
	}
}

func (k *Keyring) newState(old *state, mode Mode, t *Settings) *state {
	same := !old.closed && (t == nil) == (old.settings == nil) && (t == nil || *t == *old.settings)
	if same && mode == old.mode {
		return old
	}
	next := &state{mode: mode}
	if same {
		next.settings, next.transit, next.invalid = old.settings, old.transit, old.invalid
		return next
	}
	if t != nil {
		set := *t
		next.settings = &set
		if next.transit, next.invalid = newClient(set, k.transport, k.now); next.transit != nil {
			next.transit.changed = k.rouse
		}
	}
	return next
}

// Invalidate drops what memory holds of a storage entry that another node changed.
func (k *Keyring) Invalidate(storageKey string) {
	if id, ok := strings.CutPrefix(storageKey, storagePrefix); ok {
		st := k.state.Load()
		st.forget(id, nil)
		st.current.Store(nil)
	}
}

// Close drops every data key and the login. Nothing seals or opens afterwards,
// unless the keyring is configured again.
func (k *Keyring) Close() {
	k.state.Swap(&state{closed: true}).close()
	k.rouse()
}

// Seal seals plaintext for path with the current data key, which it makes if
// there is none. A Blob opens with the same path on the same mount only.
func (k *Keyring) Seal(ctx context.Context, s logical.Storage, path string, plaintext []byte) (Blob, error) {
	id, err := k.currentID(ctx, s)
	if err != nil {
		return "", fmt.Errorf("sealing %s: %w", path, err)
	}
	h, err := k.dataKey(ctx, s, id)
	if err != nil {
		return "", fmt.Errorf("sealing %s: %w", path, err)
	}
	return sealBlob(h.aead, id, k.mount, path, plaintext), nil
}

// Open opens what was sealed for path. While the data key is in memory it takes
// no lock and makes no call, neither to storage nor to transit.
func (k *Keyring) Open(ctx context.Context, s logical.Storage, path string, b Blob) ([]byte, error) {
	plaintext, _, err := k.OpenHeld(ctx, s, path, b)
	return plaintext, err
}

// OpenHeld is Open, and says whether memory held the data key.
func (k *Keyring) OpenHeld(ctx context.Context, s logical.Storage, path string, b Blob) (plaintext []byte, held bool, err error) {
	id, sealed, err := b.split()
	if err != nil {
		return nil, false, fmt.Errorf("opening %s: %w", path, err)
	}
	h := k.state.Load().find(id, k.now())
	if held = h != nil; !held {
		if h, err = k.dataKey(ctx, s, id); err != nil {
			return nil, false, fmt.Errorf("opening %s: %w", path, err)
		}
	}
	plaintext, err = openBlob(h.aead, sealed, k.mount, path)
	if err != nil {
		return nil, held, fmt.Errorf("opening %s: %w", path, err)
	}
	return plaintext, held, nil
}

// Warm unwraps the current data key, if there is one, so that the first reader
// does not wait. It is for the background: it may take as long as a timeout.
func (k *Keyring) Warm(ctx context.Context, s logical.Storage) error {
	id, err := k.Current(ctx, s)
	if err != nil || id == "" {
		return err
	}
	if _, err := k.dataKey(ctx, s, id); err != nil {
		return fmt.Errorf("unwrapping the current data key: %w", err)
	}
	return nil
}

// dataKey returns a data key, from memory or unwrapped now.
func (k *Keyring) dataKey(ctx context.Context, s logical.Storage, id string) (*heldKey, error) {
	st := k.state.Load()
	if h := st.find(id, k.now()); h != nil {
		return h, nil
	}
	return wait[*heldKey](ctx, st.flight.DoChan(id, func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), st.settings.timeout())
		defer cancel()
		e, err := loadKey(ctx, s, id)
		if err != nil {
			return nil, err
		}
		return k.unwrap(ctx, st, e)
	}))
}

// unwrap opens a data key and holds it for as long as the settings allow.
func (k *Keyring) unwrap(ctx context.Context, st *state, e *storedKey) (*heldKey, error) {
	key, err := k.open(ctx, st, e)
	if err != nil {
		return nil, err
	}
	defer clear(key[:])
	return k.hold(st, e, key), nil
}

// open gets a data key's plaintext. The caller overwrites it.
func (k *Keyring) open(ctx context.Context, st *state, e *storedKey) (*[keyBytes]byte, error) {
	if st.closed {
		return nil, errClosed
	}
	if e.Mode == ModeBarrier {
		return e.key(append([]byte(nil), e.Plain...))
	}
	c, err := st.client()
	if err != nil {
		return nil, err
	}
	w := e.wrappedFor(st.settings.place())
	if w == nil {
		return nil, fmt.Errorf("%w: data key %s is wrapped by another one than config/transit names (%s)", ErrKey, e.ID, st.settings)
	}
	return k.openWith(ctx, c, e, w)
}

// openWith unwraps one wrapping, and its inner layer where it has one.
func (k *Keyring) openWith(ctx context.Context, c *client, e *storedKey, w *wrapping) (*[keyBytes]byte, error) {
	plain, err := c.decrypt(ctx, w.Ciphertext)
	if err != nil {
		return nil, fmt.Errorf("unwrapping data key %s: %w", e.ID, err)
	}
	k.unwraps.Add(1)
	if w.Inner == "" {
		return e.key(plain)
	}
	defer clear(plain)
	if len(plain) != keyBytes {
		return nil, fmt.Errorf("%w: the wrapping key of data key %s has the wrong size", ErrCorrupt, e.ID)
	}
	_, sealed, err := w.Inner.split()
	if err != nil {
		return nil, fmt.Errorf("unwrapping data key %s: %w", e.ID, err)
	}
	inner, err := openBlob(newAEAD((*[keyBytes]byte)(plain)), sealed, k.mount, e.path())
	if err != nil {
		return nil, fmt.Errorf("unwrapping data key %s: %w", e.ID, err)
	}
	return e.key(inner)
}

// wait takes the result of a flight, or gives up when the caller does; the
// flight then goes on for the others.
func wait[T any](ctx context.Context, flight <-chan singleflight.Result) (T, error) {
	var none T
	select {
	case <-ctx.Done():
		return none, fmt.Errorf("%w: the request ended while waiting for it: %w", ErrUnreachable, ctx.Err())
	case r := <-flight:
		if r.Err != nil {
			return none, r.Err
		}
		v, ok := r.Val.(T)
		if !ok {
			panic("envelope: a flight landed elsewhere")
		}
		return v, nil
	}
}

func (k *Keyring) rouse() {
	select {
	case k.wake <- struct{}{}:
	default: // it is awake
	}
}
