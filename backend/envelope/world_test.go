package envelope

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/vault/sdk/logical"
)

// inProcess carries requests to a handler without a network, so that synctest
// can turn the clock. While down, it takes no connection.
type inProcess struct {
	mu   sync.Mutex
	to   map[string]http.Handler // by host
	down error
}

var errRefused = &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("connection refused " + canaryBody)}

func (p *inProcess) setDown(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down = err
}

func (p *inProcess) RoundTrip(req *http.Request) (*http.Response, error) {
	p.mu.Lock()
	h, down := p.to[req.URL.Host], p.down
	p.mu.Unlock()
	if down != nil {
		return nil, down
	}
	if h == nil {
		return nil, errRefused
	}
	in := req.Clone(req.Context())
	if in.Body == nil {
		in.Body = http.NoBody
	}
	rec := httptest.NewRecorder()
	done := make(chan struct{})
	go func() {
		defer close(done)
		h.ServeHTTP(rec, in)
	}()
	select {
	case <-req.Context().Done():
		return nil, req.Context().Err()
	case <-done:
		return rec.Result(), nil
	}
}

// A world is one keyring with its Vault, its storage and its log.
type world struct {
	*Keyring
	vault *fakeVault
	net   *inProcess
	store *crashStorage
	log   *syncBuffer
	set   Settings
}

func newWorld(tb testing.TB, change ...func(*Settings)) *world {
	tb.Helper()
	w := &world{vault: newFakeVault(), store: &crashStorage{Storage: &logical.InmemStorage{}}, log: new(syncBuffer)}
	w.net = &inProcess{to: map[string]http.Handler{"vault.test:8200": w.vault}}
	w.set = Settings{
		Address: "https://vault.test:8200", Mount: "transit", Key: "ai-keys",
		AuthMethod: AuthAppRole, AuthMount: "approle", RoleID: "role-id", SecretID: canarySecret,
		DataKeyTTL: 5 * time.Minute, Timeout: 5 * time.Second,
	}
	for _, c := range change {
		c(&w.set)
	}
	w.Keyring = w.restart()
	tb.Cleanup(func() { w.noCanary(tb, w.log.String()) })
	return w
}

// restart is a new process on the same storage.
func (w *world) restart() *Keyring {
	k := NewKeyring("mount-uuid", hclog.New(&hclog.LoggerOptions{Output: w.log, Level: hclog.Trace}))
	k.transport = w.net
	k.Configure(ModeTransit, &w.set)
	return k
}

func (w *world) seal(t *testing.T, path string) Blob {
	t.Helper()
	b, err := w.Seal(t.Context(), w.store, path, []byte(canaryPlain))
	if err != nil {
		t.Fatalf("Seal: %v", err)
	}
	return b
}

func (w *world) opens(t *testing.T, k *Keyring, path string, b Blob) {
	t.Helper()
	got, err := k.Open(t.Context(), w.store, path, b)
	if err != nil || string(got) != canaryPlain {
		t.Fatalf("Open(%s) = %d bytes, %v", path, len(got), err)
	}
}

// fails checks that err is of exactly one class, says want, and leaks nothing.
func (w *world) fails(t *testing.T, err, is error, want string) {
	t.Helper()
	if !errors.Is(err, is) {
		t.Fatalf("error = %v; want %v", err, is)
	}
	if !strings.Contains(err.Error(), want) {
		t.Errorf("error %q does not say %q", err, want)
	}
	w.noCanary(t, fmt.Sprintf("%v %+v %#v", err, err, err))
	n := 0
	for _, s := range []error{ErrNotConfigured, ErrUnreachable, ErrToken, ErrPolicy, ErrKey, ErrCorrupt} {
		if errors.Is(err, s) {
			n++
		}
	}
	if n != 1 {
		t.Errorf("error %q is of %d classes", err, n)
	}
}

func (w *world) noCanary(tb testing.TB, text string) {
	tb.Helper()
	for _, c := range []string{canaryPlain, canaryBody, canarySecret, canaryToken} {
		if strings.Contains(text, c) {
			tb.Errorf("%s has leaked into: %s", c, text)
		}
	}
}

func (w *world) openErr(t *testing.T, path string, b Blob) error {
	t.Helper()
	got, err := w.Open(t.Context(), w.store, path, b)
	if err == nil {
		t.Fatalf("Open(%s) gave %d bytes; want an error", path, len(got))
	}
	return err
}

// A syncBuffer takes a log from several goroutines.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

var errStorage = errors.New("storage is broken")

// crashStorage fails a chosen operation, before or after it takes effect.
type crashStorage struct {
	logical.Storage
	mu        sync.Mutex
	failPut   int // the nth Put from now on fails; 0: none
	after     bool
	failGet   bool
	failList  bool
	failPurge bool
	gets      int
}

func (s *crashStorage) arm(put int, after bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failPut, s.after = put, after
}

func (s *crashStorage) Put(ctx context.Context, e *logical.StorageEntry) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failPut > 0 {
		if s.failPut--; s.failPut == 0 {
			if s.after {
				_ = s.Storage.Put(ctx, e)
			}
			return errStorage
		}
	}
	return s.Storage.Put(ctx, e)
}

func (s *crashStorage) Get(ctx context.Context, key string) (*logical.StorageEntry, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gets++
	if s.failGet {
		return nil, errStorage
	}
	return s.Storage.Get(ctx, key)
}

func (s *crashStorage) List(ctx context.Context, prefix string) ([]string, error) {
	if s.failList {
		return nil, errStorage
	}
	return s.Storage.List(ctx, prefix)
}

func (s *crashStorage) Delete(ctx context.Context, key string) error {
	if s.failPurge {
		return errStorage
	}
	return s.Storage.Delete(ctx, key)
}

// dump is all that storage holds.
func (s *crashStorage) dump(t *testing.T) string {
	t.Helper()
	var all strings.Builder
	ids, err := s.Storage.List(t.Context(), storagePrefix)
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range ids {
		e, err := s.Storage.Get(t.Context(), storagePrefix+id)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&all, "%s %s\n", e.Key, e.Value)
	}
	return all.String()
}

func (s *crashStorage) keys(t *testing.T) []*storedKey {
	t.Helper()
	all, err := loadKeys(t.Context(), s.Storage)
	if err != nil {
		t.Fatal(err)
	}
	return all
}
