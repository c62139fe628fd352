package envelope

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/vault/sdk/logical"
)

func TestSealedValueOpensOnlyInItsPlace(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.seal(t, "key/reader")
	w.opens(t, w.Keyring, "key/reader", b)
	w.opens(t, w.restart(), "key/reader", b)
	w.noCanary(t, string(b)+w.store.dump(t))
	if got := w.store.keys(t)[0].ID; b.DataKey() != got {
		t.Errorf("DataKey() = %q; want %q", b.DataKey(), got)
	}

	w.fails(t, w.openErr(t, "key/writer", b), ErrCorrupt, "key/writer")

	stranger := NewKeyring("another-mount", hclog.NewNullLogger())
	stranger.transport = w.net
	stranger.Configure(ModeTransit, &w.set)
	_, err := stranger.Open(t.Context(), w.store, "key/reader", b)
	w.fails(t, err, ErrCorrupt, "another mount")

	head, sealed := string(b[:len(b)-40]), string(b[len(b)-40:])
	for name, bad := range map[string]Blob{
		"tampered":        Blob(head + flip(sealed)),
		"cut short":       Blob(head[:len(head)-20]),
		"other version":   Blob(strings.Replace(string(b), "v1:", "v2:", 1)),
		"not base64":      b + "!",
		"no blob":         "v1",
		"no data key":     "v1::" + Blob(sealed),
		"empty":           "",
		"unknown key":     Blob("v1:0123:" + sealed),
		"nothing in seal": Blob("v1:" + b.DataKey() + ":"),
	} {
		w.fails(t, w.openErr(t, "key/reader", bad), ErrCorrupt, "key/reader")
		if strings.HasPrefix(name, "no ") && bad.DataKey() != "" {
			t.Errorf("%s: DataKey() = %q", name, bad.DataKey())
		}
	}
}

func flip(s string) string {
	c := byte('A')
	if s[10] == c {
		c = 'B'
	}
	return s[:10] + string(c) + s[11:]
}

// The additional data is bound to the format: a value that was sealed under
// another version number does not open when it is relabelled.
func TestSealBindsItsVersion(t *testing.T) {
	t.Parallel()
	key := newKey()
	aead := newAEAD(key)
	ad := appendBound(nil, "v2", "mount", "path")
	sealed := encoding.EncodeToString(aead.Seal(nil, nil, []byte("x"), ad))
	if _, err := openBlob(aead, sealed, "mount", "path"); !errors.Is(err, ErrCorrupt) {
		t.Errorf("error = %v; want %v", err, ErrCorrupt)
	}
	if cmp.Equal(appendBound(nil, "a", "bc"), appendBound(nil, "ab", "c")) {
		t.Error("two lists of parts look the same")
	}
}

func TestWithoutSettingsNothingIsSealed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Configure(ModeTransit, nil)
	_, err := w.Seal(t.Context(), w.store, "key/reader", []byte(canaryPlain))
	w.fails(t, err, ErrNotConfigured, "write config/transit, or set encryption=barrier in config")
	if dump := w.store.dump(t); dump != "" {
		t.Errorf("storage holds %s", dump)
	}
	_, err = NewKeyring("m", hclog.NewNullLogger()).Seal(t.Context(), w.store, "p", nil)
	w.fails(t, err, ErrNotConfigured, "config/transit")

	bad := w.set
	bad.Address = "http://vault.test"
	w.Configure(ModeTransit, &bad)
	_, err = w.Seal(t.Context(), w.store, "key/reader", []byte(canaryPlain))
	w.fails(t, err, ErrNotConfigured, "https")
	if s := w.Status(); !s.Failing || s.LastClass != "not_configured" {
		t.Errorf("status = %+v", s)
	}
}

func TestBarrierModeMakesNoCall(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.net.setDown(errRefused)
	w.Configure(ModeBarrier, nil)
	b := w.seal(t, "key/reader")
	w.opens(t, w.Keyring, "key/reader", b)
	k := w.restart()
	w.opens(t, k, "key/reader", b) // whatever the mode is by then

	e := w.store.keys(t)[0]
	e.Plain = e.Plain[1:]
	if err := e.save(t.Context(), w.store); err != nil {
		t.Fatal(err)
	}
	w.Invalidate(e.path())
	w.Invalidate("account/prod")
	w.fails(t, w.openErr(t, "key/reader", b), ErrCorrupt, "wrong size")
	e.Plain = append(e.Plain, 1)
	e.Check[0] ^= 1
	if err := e.save(t.Context(), w.store); err != nil {
		t.Fatal(err)
	}
	w.fails(t, w.openErr(t, "key/reader", b), ErrCorrupt, "another key")
}

func TestModeDecidesWhichDataKeySeals(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	inTransit := w.seal(t, "key/a")
	w.Configure(ModeBarrier, &w.set)
	inBarrier := w.seal(t, "key/a")
	if inTransit.DataKey() == inBarrier.DataKey() {
		t.Fatal("the mode changed, the data key did not")
	}
	w.opens(t, w.Keyring, "key/a", inTransit)
	logins := w.vault.count("login")
	w.Configure(ModeTransit, &w.set)
	if again := w.seal(t, "key/a"); again.DataKey() != inTransit.DataKey() {
		t.Error("back in transit mode, a new data key was made")
	}
	w.opens(t, w.Keyring, "key/a", inBarrier)
	if got := w.vault.count("login"); got != logins {
		t.Errorf("%d logins after the mode changed; want %d", got, logins)
	}
}

func TestConcurrentUseMakesOneDataKeyAndOneUnwrap(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	blobs := make([]Blob, 100)
	var all sync.WaitGroup
	for i := range blobs {
		all.Go(func() { blobs[i] = w.seal(t, "key/reader") })
	}
	all.Wait()
	if n := len(w.store.keys(t)); n != 1 {
		t.Fatalf("%d data keys; want 1", n)
	}

	synctest.Test(t, func(t *testing.T) {
		k := w.restart()
		w.vault.set(func(f *fakeVault) {
			f.before = func(op string, _ http.ResponseWriter, _ *http.Request) bool {
				if op == "decrypt" {
					time.Sleep(time.Second)
				}
				return false
			}
		})
		before := w.vault.count("decrypt")
		// The first caller gives up: the others get their answer all the same.
		gone, cancel := context.WithCancel(t.Context())
		go func() {
			_, err := k.Open(gone, w.store, "key/reader", blobs[0])
			w.fails(t, err, ErrUnreachable, "request ended")
		}()
		synctest.Wait()
		cancel()
		var all sync.WaitGroup
		for _, b := range blobs {
			all.Go(func() { w.opens(t, k, "key/reader", b) })
		}
		all.Wait()
		if got := w.vault.count("decrypt") - before; got != 1 {
			t.Errorf("%d decrypt calls for 100 concurrent opens; want 1", got)
		}
	})
	w.vault.set(func(f *fakeVault) { f.before = nil })
}

func TestOtherSettingsDropWhatMemoryHolds(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.seal(t, "key/reader")
	same := w.set
	w.Configure(ModeTransit, &same)
	if s := w.Status(); s.Held != 1 || !s.LoggedIn {
		t.Errorf("the same settings again dropped something: %+v", s)
	}
	other := w.set
	other.Timeout = time.Second
	st := w.state.Load()
	w.Configure(ModeTransit, &other)
	if st.held.Load() != nil || st.transit.session().token != "" {
		t.Error("a data key or a token of the former settings is still in memory")
	}
	if s := w.Status(); s.Held != 0 || s.LoggedIn || s.DataKey != "" {
		t.Errorf("other settings dropped too little: %+v", s)
	}
	w.opens(t, w.Keyring, "key/reader", b)

	other.Key = "someone-elses"
	w.Configure(ModeTransit, &other)
	w.fails(t, w.openErr(t, "key/reader", b), ErrKey, "transit key transit/someone-elses at https://vault.test:8200")
	w.vault.rotate("transit/someone-elses")
	w.opens(t, w.Keyring, "key/reader", w.seal(t, "key/reader")) // with a data key that it can unwrap
}

func TestCloseDropsEverything(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.seal(t, "key/reader")
	st := w.state.Load()
	w.Close()
	if st.held.Load() != nil || st.transit.session().token != "" {
		t.Error("a data key or a token is still in memory")
	}
	ctx := t.Context()
	_, openErr := w.Open(ctx, w.store, "key/reader", b)
	_, sealErr := w.Seal(ctx, w.store, "key/reader", nil)
	for name, err := range map[string]error{"Open": openErr, "Seal": sealErr, "NewDataKey": w.NewDataKey(ctx, w.store)} {
		if !errors.Is(err, errClosed) {
			t.Errorf("%s after Close: %v", name, err)
		}
	}
	w.Configure(ModeTransit, &w.set)
	w.opens(t, w.Keyring, "key/reader", b)
}

func TestBytesOfADataKeyAreOverwritten(t *testing.T) {
	t.Parallel()
	for _, check := range []bool{true, false} {
		e := newStoredKey(ModeTransit, time.Unix(0, 0))
		key := newKey()
		if check {
			e.Check = checkValue(e.ID, key)
		}
		plain := append([]byte(nil), key[:]...)
		if _, err := e.key(plain); (err == nil) != check {
			t.Fatal(err)
		}
		if !cmp.Equal(plain, make([]byte, keyBytes)) {
			t.Error("what came out of the wrapping is still there")
		}
	}
}

func TestStatusHoldsNoSecret(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(s *Settings) { s.Namespace = "team-a/" })
	w.seal(t, "key/reader")
	s := w.Status()
	got := Status{
		Mode: s.Mode, Address: s.Address, Namespace: s.Namespace, Mount: s.Mount, Key: s.Key,
		Held: s.Held, LoggedIn: s.LoggedIn, DataKey: s.DataKey,
	}
	want := Status{
		Mode: ModeTransit, Address: "https://vault.test:8200", Namespace: "team-a/", Mount: "transit", Key: "ai-keys",
		Held: 1, LoggedIn: true, DataKey: w.store.keys(t)[0].ID,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if s.LastWorked.IsZero() || s.LoggedInUntil.IsZero() {
		t.Errorf("status lacks times: %+v", s)
	}
	if class(errClosed) != "" {
		t.Error("a class for what is none of transit's")
	}
}

func TestTheNewestStoredDataKeySeals(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	node := w.restart()
	b := w.seal(t, "key/reader")
	if id, err := node.Current(t.Context(), w.store); id != b.DataKey() || err != nil {
		t.Fatalf("Current = %q, %v", id, err)
	}
	if err := w.NewDataKey(t.Context(), w.store); err != nil {
		t.Fatal(err)
	}
	newest := w.seal(t, "key/reader").DataKey()
	node.Invalidate(storagePrefix + newest)
	if id, err := node.Current(t.Context(), w.store); id != newest || err != nil {
		t.Errorf("another node seals with %q, %v; want %q", id, err, newest)
	}
	w.store.arm(1, true)
	wantStorage(t, "NewDataKey", w.NewDataKey(t.Context(), w.store))
	if got, want := w.seal(t, "key/reader").DataKey(), w.store.keys(t)[2].ID; got != want {
		t.Errorf("after a write that failed but took effect, %q seals; want %q", got, want)
	}
}

func TestStorageErrorsAreReported(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx := t.Context()
	b := w.seal(t, "key/reader")
	k := w.restart()
	w.store.failGet = true
	_, err := k.Open(ctx, w.store, "key/reader", b)
	wantStorage(t, "Open", err)
	_, err = k.Seal(ctx, w.store, "key/reader", nil)
	wantStorage(t, "Seal", err)
	w.store.failGet, w.store.failList = false, true
	_, err = k.Current(ctx, w.store)
	wantStorage(t, "Current", err)
	_, err = k.DataKeys(ctx, w.store)
	wantStorage(t, "DataKeys", err)
	_, err = k.Rewrap(ctx, w.store)
	wantStorage(t, "Rewrap", err)
	wantStorage(t, "Forget", k.Forget(ctx, w.store, "x"))
	wantStorage(t, "Warm", k.Warm(ctx, w.store))
	wantStorage(t, "Move", k.Move(ctx, w.store, &w.set, func(context.Context) error { return nil }))
	w.store.failList, w.store.failPurge = false, true
	wantStorage(t, "Forget", k.Forget(ctx, w.store, "x"))

	if err := w.store.Put(ctx, &logical.StorageEntry{Key: storagePrefix + "x", Value: []byte(canaryBody)}); err != nil {
		t.Fatal(err)
	}
	_, err = k.Open(ctx, w.store, "key/reader", Blob("v1:x:"+strings.Repeat("A", 80)))
	w.fails(t, err, ErrCorrupt, "data key x")

	e := newStoredKey(ModeBarrier, time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)) // JSON has no such year
	if err := e.save(ctx, w.store); err == nil || !strings.Contains(err.Error(), "encoding") {
		t.Errorf("error = %v", err)
	}
}

func wantStorage(t *testing.T, what string, err error) {
	t.Helper()
	if !errors.Is(err, errStorage) {
		t.Errorf("%s: error = %v; want %v", what, err, errStorage)
	}
}

func TestWarmAndCurrentWithoutAnything(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if err := w.Warm(t.Context(), w.store); err != nil {
		t.Error(err)
	}
	if id, err := w.Current(t.Context(), w.store); id != "" || err != nil {
		t.Errorf("Current = %q, %v", id, err)
	}
	if n := w.vault.count("login"); n != 0 {
		t.Errorf("%d logins for nothing", n)
	}
	b := w.seal(t, "key/reader")
	for _, k := range []*Keyring{w.Keyring, w.restart()} {
		if id, err := k.Current(t.Context(), w.store); id != b.DataKey() || err != nil {
			t.Errorf("Current = %q, %v; want %q", id, err, b.DataKey())
		}
	}
	w.net.setDown(errRefused)
	w.fails(t, w.restart().Warm(t.Context(), w.store), ErrUnreachable, "current data key")
}
