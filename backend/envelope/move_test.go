package envelope

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// A story is something that changes data keys in storage.
var stories = map[string]func(context.Context, *world, *Keyring) error{
	"first seal": func(ctx context.Context, w *world, k *Keyring) error {
		_, err := k.Seal(ctx, w.store, "key/other", []byte("x"))
		return err
	},
	"new data key": func(ctx context.Context, w *world, k *Keyring) error { return k.NewDataKey(ctx, w.store) },
	"rewrap": func(ctx context.Context, w *world, k *Keyring) error {
		_, err := k.Rewrap(ctx, w.store)
		return err
	},
	"move": func(ctx context.Context, w *world, k *Keyring) error { return k.Move(ctx, w.store, w.other(), w.save) },
}

func (w *world) other() *Settings {
	to := w.set
	to.Key = "other"
	return &to
}

// save is the backend's Put of the settings: a restart configures what it wrote.
func (w *world) save(context.Context) error {
	w.set = *w.other()
	return nil
}

// Each story is cut off at each of its writes, before and after the write took
// effect. Then the process starts again: all that was sealed opens, new values
// can be sealed, and the story can be told to its end.
func TestACrashAtAnyWriteLosesNothing(t *testing.T) {
	t.Parallel()
	for name, story := range stories {
		for put := 1; put <= 6; put++ {
			for _, after := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s/put %d/after %v", name, put, after), func(t *testing.T) {
					t.Parallel()
					crash(t, name, story, put, after)
				})
			}
		}
	}
}

func crash(t *testing.T, name string, story func(context.Context, *world, *Keyring) error, put int, after bool) {
	t.Helper()
	w := newWorld(t)
	w.vault.rotate("transit/other")
	sealed := map[string]Blob{}
	if name != "first seal" {
		for i := range 2 {
			path := fmt.Sprintf("key/%d", i)
			sealed[path] = w.seal(t, path)
			if err := w.NewDataKey(t.Context(), w.store); err != nil {
				t.Fatal(err)
			}
		}
		w.vault.rotate("transit/ai-keys")
	}
	w.store.arm(put, after)
	err := story(t.Context(), w, w.Keyring)
	w.store.arm(0, false)
	if err != nil {
		wantStorage(t, name, err)
	}
	for path, b := range sealed {
		w.opens(t, w.Keyring, path, b) // the process lives on
	}
	k := w.restart()
	for path, b := range sealed {
		w.opens(t, k, path, b)
	}
	b, err := k.Seal(t.Context(), w.store, "key/new", []byte(canaryPlain))
	if err != nil {
		t.Fatal(err)
	}
	if err := story(t.Context(), w, k); err != nil {
		t.Fatalf("told again: %v", err)
	}
	k = w.restart()
	sealed["key/new"] = b
	for path, b := range sealed {
		w.opens(t, k, path, b)
	}
	w.noCanary(t, w.store.dump(t))
}

func TestMoveNeedsNoEncryptAndLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.vault.rotate("transit/other")
	first := w.seal(t, "key/a")
	if err := w.NewDataKey(t.Context(), w.store); err != nil {
		t.Fatal(err)
	}
	second := w.seal(t, "key/b")
	w.Configure(ModeBarrier, &w.set)
	third := w.seal(t, "key/c")
	w.Configure(ModeTransit, &w.set)
	logins := len(w.vault.tokens)
	if err := w.Move(t.Context(), w.store, w.other(), w.save); err != nil {
		t.Fatal(err)
	}
	w.vault.set(func(f *fakeVault) { delete(f.keys, "transit/ai-keys") })
	for _, k := range []*Keyring{w.Keyring, w.restart()} {
		w.opens(t, k, "key/a", first)
		w.opens(t, k, "key/b", second)
		w.opens(t, k, "key/c", third) // never left the barrier
	}
	for _, e := range w.store.keys(t)[:2] {
		if len(e.Wrapped) != 1 || e.Wrapped[0].Key != "other" {
			t.Errorf("data key %s is wrapped by %+v", e.ID, e.Wrapped)
		}
	}
	if got := len(w.vault.tokens) - logins; got != 2 {
		t.Errorf("%d tokens are left of a move and two openings; want 2", got)
	}

	// An inner layer lives through rewraps and further moves.
	w.vault.rotate("transit/other")
	if n, err := w.Rewrap(t.Context(), w.store); n != 2 || err != nil {
		t.Fatalf("Rewrap = %d, %v", n, err)
	}
	w.vault.rotate("transit/third")
	to := w.set
	to.Key = "third"
	if err := w.Move(t.Context(), w.store, &to, func(context.Context) error { return nil }); err != nil {
		t.Fatal(err)
	}
	w.opens(t, w.Keyring, "key/a", first)
	if s := w.Status(); s.Key != "third" {
		t.Errorf("status = %+v", s)
	}
}

// A Vault restored at another address has the same transit key; the former
// address may be gone for good.
func TestMoveToTheSameKeyElsewhereNeedsOnlyTheNewAddress(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.seal(t, "key/a")
	ciphertext := w.store.keys(t)[0].Wrapped[0].Ciphertext
	w.net.to = map[string]http.Handler{"restored.test": w.vault}
	to := w.set
	to.Address = "https://restored.test/"
	if err := w.Move(t.Context(), w.store, &to, func(context.Context) error { return nil }); err != nil {
		t.Fatal(err)
	}
	w.opens(t, w.Keyring, "key/a", b)
	if got := w.store.keys(t)[0].Wrapped[0]; got.Ciphertext != ciphertext || got.Address != "https://restored.test" {
		t.Errorf("wrapped by %+v", got)
	}
}

func TestMoveOfCredentialsOnlyMakesNoCall(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.seal(t, "key/a")
	w.net.setDown(errRefused)
	to := w.set
	to.Timeout = time.Second
	saved := false
	if err := w.Move(t.Context(), w.store, &to, func(context.Context) error { saved = true; return nil }); err != nil || !saved {
		t.Fatalf("saved = %v, error = %v", saved, err)
	}
	w.net.setDown(nil)
	w.opens(t, w.Keyring, "key/a", b)
}

func TestMoveThatCannotBeMadeChangesNothing(t *testing.T) {
	t.Parallel()
	never := func(context.Context) error { panic("saved") }
	for name, c := range map[string]struct {
		do   func(w *world, to *Settings)
		is   error
		want string
	}{
		"invalid":            {func(_ *world, to *Settings) { to.Mount = "../sys" }, ErrNotConfigured, "mount"},
		"no such key":        {func(_ *world, to *Settings) { to.Key = "missing" }, ErrKey, "does not exist"},
		"new one away":       {func(_ *world, to *Settings) { to.Address = "https://elsewhere.test" }, ErrUnreachable, "elsewhere.test takes no connection"},
		"login refused":      {func(_ *world, to *Settings) { to.SecretID = "wrong" }, ErrToken, "refuses the login"},
		"no decrypt":         {func(w *world, _ *Settings) { w.vault.denied["decrypt"] = true }, ErrPolicy, "transit/decrypt/other"},
		"no datakey":         {func(w *world, _ *Settings) { w.vault.denied["plaintext"] = true }, ErrPolicy, "update on transit/datakey/plaintext/other"},
		"old key gone":       {func(w *world, _ *Settings) { w.vault.keys["transit/ai-keys"].versions = nil }, ErrKey, "transit/keys/ai-keys does not exist"},
		"nothing configured": {func(w *world, _ *Settings) { w.Configure(ModeTransit, nil) }, ErrNotConfigured, "write config/transit"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.vault.rotate("transit/other")
			w.seal(t, "key/a")
			before := w.store.dump(t)
			to := w.other()
			c.do(w, to)
			err := w.Move(t.Context(), w.store, to, never)
			w.fails(t, err, c.is, c.want)
			if diff := cmp.Diff(before, w.store.dump(t)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestMoveProvesEachNewWrapping(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.vault.rotate("transit/other")
	w.seal(t, "key/a")
	decrypts := 0
	w.vault.set(func(f *fakeVault) {
		f.before = func(op string, rw http.ResponseWriter, r *http.Request) bool {
			if op != "decrypt" || !strings.HasSuffix(r.URL.Path, "/other") {
				return false
			}
			if decrypts++; decrypts == 1 {
				return false // the look whether the old wrapping opens there
			}
			_, _ = rw.Write([]byte(`{"data":{"plaintext":"` + strings.Repeat("AAAA", 10) + `AAA="}}`))
			return true
		}
	})
	err := w.Move(t.Context(), w.store, w.other(), func(context.Context) error { panic("saved") })
	w.fails(t, err, ErrCorrupt, "proving the new wrapping")
}

func TestASaveThatFailsLeavesBothWaysOpen(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.vault.rotate("transit/other")
	b := w.seal(t, "key/a")
	old := w.set
	err := w.Move(t.Context(), w.store, w.other(), func(context.Context) error { return errStorage })
	wantStorage(t, "Move", err)
	if s := w.Status(); s.Key != "ai-keys" {
		t.Errorf("status = %+v", s)
	}
	w.set = *w.other()
	w.opens(t, w.restart(), "key/a", b) // the write took effect
	w.set = old
	k := w.restart()
	w.opens(t, k, "key/a", b) // it did not
	if n, err := k.Rewrap(t.Context(), w.store); n != 1 || err != nil {
		t.Fatalf("Rewrap = %d, %v", n, err)
	}
	if got := w.store.keys(t)[0].Wrapped; len(got) != 1 || got[0].Key != "ai-keys" {
		t.Errorf("after a rewrap, wrapped by %+v", got)
	}
}

func TestDataKeysMadeMeanwhileWaitForTheMove(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.vault.rotate("transit/other")
		err := w.Move(t.Context(), w.store, w.other(), func(ctx context.Context) error {
			short, cancel := context.WithTimeout(ctx, time.Second)
			defer cancel()
			w.fails(t, w.NewDataKey(short, w.store), ErrUnreachable, "under way")
			_, err := w.Rewrap(short, w.store)
			w.fails(t, err, ErrUnreachable, "under way")
			_, err = w.Current(short, w.store)
			w.fails(t, err, ErrUnreachable, "under way")
			_, err = w.DataKeys(short, w.store)
			w.fails(t, err, ErrUnreachable, "under way")
			w.fails(t, w.Forget(short, w.store, "x"), ErrUnreachable, "under way")
			w.fails(t, w.Move(short, w.store, w.other(), nil), ErrUnreachable, "under way")
			_, err = w.Seal(ctx, w.store, "key/a", nil) // waits as long as a use of transit may
			w.fails(t, err, ErrUnreachable, "under way")
			return w.save(ctx)
		})
		if err != nil {
			t.Fatal(err)
		}
		w.opens(t, w.Keyring, "key/a", w.seal(t, "key/a"))
		if got := w.store.keys(t); len(got) != 1 || got[0].Wrapped[0].Key != "other" {
			t.Errorf("data keys: %+v", got)
		}
	})
}

func TestAFirstSealDuringAMoveUsesTheNewSettings(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.vault.rotate("transit/other")
		var b Blob
		err := w.Move(t.Context(), w.store, w.other(), func(ctx context.Context) error {
			go func() { b = w.seal(t, "key/a") }() //nolint:contextcheck // another request, with a context of its own
			synctest.Wait()
			return w.save(ctx)
		})
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		w.opens(t, w.Keyring, "key/a", b)
		if got := w.store.keys(t)[0].Wrapped[0].Key; got != "other" {
			t.Errorf("wrapped by %s", got)
		}
	})
}

func TestALeftoverWrappingIsLogged(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.vault.rotate("transit/other")
	b := w.seal(t, "key/a")
	w.store.arm(2, false) // the first write adds a wrapping, the second removes one
	if err := w.Move(t.Context(), w.store, w.other(), w.save); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(w.log.String(), "former wrapping") {
		t.Error("the log says nothing")
	}
	w.opens(t, w.restart(), "key/a", b)
}
