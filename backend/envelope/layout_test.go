package envelope

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/vault/sdk/logical"
)

func TestReadersDoNotNoticeARewrap(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		stop := w.run(t)
		defer stop()
		b := w.seal(t, "key/a")
		w.vault.rotate("transit/ai-keys")
		if _, err := w.Rewrap(t.Context(), w.store); err != nil {
			t.Fatal(err)
		}
		w.vault.set(func(f *fakeVault) { f.keys["transit/ai-keys"].minVersion = 2 })
		for range 60 {
			w.opens(t, w.Keyring, "key/a", b)
			time.Sleep(10 * time.Second)
		}
		if s := w.Status(); s.LastError != "" {
			t.Errorf("status = %+v", s)
		}
	})
}

func TestRewrapFollowsTheKeyVersion(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.seal(t, "key/a")
	node := w.restart() // another node of the cluster, with the data key in memory
	w.opens(t, node, "key/a", b)
	w.vault.rotate("transit/ai-keys")
	if n, err := w.Rewrap(t.Context(), w.store); n != 1 || err != nil {
		t.Fatalf("Rewrap = %d, %v", n, err)
	}
	w.vault.set(func(f *fakeVault) { f.keys["transit/ai-keys"].minVersion = 2 })
	node.Invalidate(storagePrefix + b.DataKey())
	for _, k := range []*Keyring{w.Keyring, node, w.restart()} {
		w.opens(t, k, "key/a", b)
	}

	w.vault.rotate("transit/ai-keys")
	w.vault.set(func(f *fakeVault) { f.keys["transit/ai-keys"].minVersion = 3 })
	_, err := w.restart().Open(t.Context(), w.store, "key/a", b)
	w.fails(t, err, ErrKey, "min_decryption_version")
	_, err = w.Rewrap(t.Context(), w.store)
	w.fails(t, err, ErrKey, "min_decryption_version")

	w.Configure(ModeTransit, nil)
	_, err = w.Rewrap(t.Context(), w.store)
	w.fails(t, err, ErrNotConfigured, "config/transit")
	w.Configure(ModeBarrier, w.other()) // the barrier's keys need no rewrap; another key's are left alone
	w.seal(t, "key/a")
	if n, err := w.Rewrap(t.Context(), w.store); n != 0 || err != nil {
		t.Errorf("Rewrap = %d, %v", n, err)
	}
}

func TestRewrapProvesEachNewWrapping(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.seal(t, "key/a")
	before := w.store.dump(t)
	w.vault.set(func(f *fakeVault) { f.denied["decrypt"] = true })
	_, err := w.Rewrap(t.Context(), w.store)
	w.fails(t, err, ErrPolicy, "proving the new wrapping")
	if diff := cmp.Diff(before, w.store.dump(t)); diff != "" {
		t.Error(diff)
	}
}

func TestADataKeyThatDoesNotUnwrapIsNeverStored(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.vault.set(func(f *fakeVault) { f.denied["decrypt"] = true })
	_, err := w.Seal(t.Context(), w.store, "key/a", []byte(canaryPlain))
	w.fails(t, err, ErrPolicy, "proving a new data key")
	w.vault.set(func(f *fakeVault) { f.denied["plaintext"] = true })
	w.fails(t, w.NewDataKey(t.Context(), w.store), ErrPolicy, "making a data key")
	if n := len(w.store.keys(t)); n != 0 {
		t.Errorf("%d data keys stored", n)
	}
	w.Configure(ModeTransit, nil)
	w.fails(t, w.NewDataKey(t.Context(), w.store), ErrNotConfigured, "config/transit")
}

func TestForgetSparesTheCurrentDataKey(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	old := w.seal(t, "key/a")
	if err := w.NewDataKey(t.Context(), w.store); err != nil {
		t.Fatal(err)
	}
	current := w.seal(t, "key/a")
	keys, err := w.DataKeys(t.Context(), w.store)
	if err != nil || len(keys) != 2 || keys[0].ID != old.DataKey() || keys[1].ID != current.DataKey() {
		t.Fatalf("DataKeys = %+v, %v", keys, err)
	}
	if err := w.Forget(t.Context(), w.store, current.DataKey()); err == nil {
		t.Error("the current data key was deleted")
	}
	if err := w.Forget(t.Context(), w.store, old.DataKey()); err != nil {
		t.Fatal(err)
	}
	w.fails(t, w.openErr(t, "key/a", old), ErrCorrupt, "is not in storage")
	w.opens(t, w.Keyring, "key/a", current)
}

func TestDataKeysOfOneMomentHaveAnOrder(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, id := range []string{"b", "a"} {
		e := &storedKey{ID: id, Mode: ModeBarrier, Created: time.Unix(7, 0)}
		if err := e.save(t.Context(), w.store); err != nil {
			t.Fatal(err)
		}
	}
	if all := w.store.keys(t); all[0].ID != "a" || all[1].ID != "b" {
		t.Errorf("order: %s, %s", all[0].ID, all[1].ID)
	}
}

func TestANewDataKeySealsWhateverTheClockSays(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.seal(t, "key/a")
	behind := w.restart() // another node takes over
	behind.now = func() time.Time { return time.Now().Add(-time.Hour) }
	if err := behind.NewDataKey(t.Context(), w.store); err != nil {
		t.Fatal(err)
	}
	id, err := w.restart().Current(t.Context(), w.store)
	if err != nil || id == b.DataKey() {
		t.Errorf("after a restart, the former data key %s seals again (%v)", id, err)
	}
	if err := w.restart().Forget(t.Context(), w.store, b.DataKey()); err != nil {
		t.Errorf("the former data key cannot be forgotten: %v", err)
	}
}

// hungUp is storage whose caller hangs up when it begins to write.
type hungUp struct {
	*crashStorage
	now context.CancelFunc
}

func (s hungUp) Put(ctx context.Context, e *logical.StorageEntry) error {
	s.now()
	if err := ctx.Err(); err != nil {
		return err
	}
	return s.crashStorage.Put(ctx, e)
}

func TestAWriteIsNotCutOff(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.seal(t, "key/a")
	w.vault.rotate("transit/ai-keys")
	ctx, cancel := context.WithCancel(t.Context())
	if n, err := w.Rewrap(ctx, hungUp{w.store, cancel}); n != 1 || err != nil {
		t.Errorf("Rewrap = %d, %v; want the write brought to its end", n, err)
	}
	w.vault.set(func(f *fakeVault) { f.keys["transit/ai-keys"].minVersion = 2 })
	w.opens(t, w.restart(), "key/a", b)
}

func TestDamagedWrappingsAreTold(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.seal(t, "key/a")
	e := w.store.keys(t)[0]
	whole := e.Wrapped[0]
	for want, change := range map[string]func(*wrapping){
		"not a sealed value": func(v *wrapping) { v.Inner = "x" },
		"another mount":      func(v *wrapping) { v.Inner = Blob("v1:x:" + strings.Repeat("A", 80)) },
	} {
		v := whole
		change(&v)
		e.Wrapped = []wrapping{v}
		if err := e.save(t.Context(), w.store); err != nil {
			t.Fatal(err)
		}
		w.Invalidate(e.path())
		w.fails(t, w.openErr(t, "key/a", b), ErrCorrupt, want)
	}
	w.vault.set(func(f *fakeVault) {
		f.before = func(op string, rw http.ResponseWriter, _ *http.Request) bool {
			if op == "decrypt" {
				_, _ = rw.Write([]byte(`{"data":{"plaintext":"AAAA"}}`))
			}
			return op == "decrypt"
		}
	})
	w.fails(t, w.openErr(t, "key/a", b), ErrCorrupt, "wrong size")
	if err := e.keepOnly(t.Context(), w.store, place{}); err != nil || len(e.Wrapped) != 1 {
		t.Error("the only wrapping was removed")
	}
}

func TestProve(t *testing.T) {
	t.Parallel()
	reply := func(op, body string) func(*fakeVault) {
		return func(f *fakeVault) {
			f.before = func(got string, w http.ResponseWriter, _ *http.Request) bool {
				if got == op {
					_, _ = w.Write([]byte(body))
				}
				return got == op
			}
		}
	}
	for name, c := range map[string]struct {
		do   func(*fakeVault)
		is   error
		want string
	}{
		"works":            {func(*fakeVault) {}, nil, ""},
		"no datakey":       {func(f *fakeVault) { f.denied["plaintext"] = true }, ErrPolicy, "datakey"},
		"no decrypt":       {func(f *fakeVault) { f.denied["decrypt"] = true }, ErrPolicy, "unwrapping a data key"},
		"other plaintext":  {reply("decrypt", `{"data":{"plaintext":"AAAA"}}`), ErrKey, "something else"},
		"short data key":   {reply("plaintext", `{"data":{"plaintext":"AAAA","ciphertext":"vault:v1:x"}}`), ErrUnreachable, "not whole"},
		"no data":          {reply("plaintext", `{}`), ErrUnreachable, "not whole"},
		"plaintext no b64": {reply("plaintext", `{"data":{"plaintext":"`+canaryBody+`!"}}`), ErrUnreachable, "no JSON of Vault's"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.vault.set(c.do)
			err := w.Prove(t.Context(), &w.set)
			if c.is == nil && err != nil {
				t.Fatal(err)
			}
			if c.is != nil {
				w.fails(t, err, c.is, c.want)
			}
			if len(w.vault.tokens) != 1 {
				t.Error("the proof's login was left behind")
			}
			if dump := w.store.dump(t); dump != "" || w.Status().LoggedIn {
				t.Errorf("a proof left something behind: %s", dump)
			}
		})
	}
	w := newWorld(t)
	w.fails(t, w.Prove(t.Context(), &Settings{}), ErrNotConfigured, "address")
}

func TestARewrapWithoutCiphertextIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.seal(t, "key/a")
	w.vault.set(func(f *fakeVault) {
		f.before = func(op string, rw http.ResponseWriter, _ *http.Request) bool {
			if op == "rewrap" {
				_, _ = rw.Write([]byte(`{"data":{}}`))
			}
			return op == "rewrap"
		}
	})
	_, err := w.Rewrap(t.Context(), w.store)
	w.fails(t, err, ErrUnreachable, "not whole")
}
