package backend

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/vault/sdk/helper/consts"
	"github.com/hashicorp/vault/sdk/logical"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/backend/provider/providertest"
)

// A world is a mount, its storage and the vendors, in a synctest bubble: time
// passes only by pass.
type world struct {
	t       testing.TB
	cloud   *providertest.Cloud
	net     *lateNet // to the cloud
	transit *fakeTransit
	storage *shakyStorage
	b       *Backend
	log     *logBuffer
	events  logical.EventSender // nil: this Vault has none
	system  *askedSystem
	request int

	brought string           // a person's key, which nobody may touch
	next    providertest.Key // to be imported
	held    *logical.Secret  // a lease

	otherRoot string // an admin credential of somebody else's
	byHand    string // one that replaced the account's
	leaving   bool   // the account is being deleted, and its credential with it
	orphaned  string // a key that storage has forgotten
	doubled   int    // names that the network may have sent twice
}

// inWorld runs a test in a world whose mount is sealed by the barrier.
func inWorld(t *testing.T, f func(*world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f(newWorld(t))
	})
}

func newWorld(tb testing.TB) *world {
	tb.Helper()
	w := &world{t: tb, cloud: providertest.New(providertest.Options{}), transit: newFakeTransit(), storage: &shakyStorage{}, log: &logBuffer{}}
	w.net = &lateNet{RoundTripper: w.cloud.Transport()}
	w.start()
	tb.Cleanup(func() {
		w.stop()
		if tb.Failed() {
			tb.Log("the mount's log:\n" + w.log.String())
		}
	})
	w.must(logical.UpdateOperation, "config", map[string]any{"encryption": "barrier"})
	return w
}

// start makes the backend from storage, as Vault does.
func (w *world) start() {
	w.t.Helper()
	if w.system == nil {
		w.system = &askedSystem{StaticSystemView: logical.StaticSystemView{
			DefaultLeaseTTLVal: time.Hour, MaxLeaseTTLVal: 32 * 24 * time.Hour,
			ReplicationStateVal: consts.ReplicationDRDisabled | consts.ReplicationPerformanceDisabled,
		}}
	}
	conf := &logical.BackendConfig{
		StorageView: w.storage,
		Logger:      hclog.New(&hclog.LoggerOptions{Level: hclog.Trace, Output: w.log}),
		System:      w.system,
		BackendUUID: "5f1f7a3e-mount", EventsSender: w.events,
	}
	w.b = newBackend(conf)
	w.b.clients.transport = w.net
	w.b.keyring.Via(providertest.Transport(map[string]http.Handler{transitHost: w.transit}))
	ctx, cancel := context.WithCancel(w.t.Context())
	if err := w.b.Setup(ctx, conf); err != nil {
		w.t.Fatal(err)
	}
	cancel() // as Vault does when Setup returns
	if err := w.b.Initialize(w.t.Context(), &logical.InitializationRequest{Storage: w.storage}); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) stop() {
	w.b.Cleanup(w.t.Context())
}

// crash loses everything but storage and what the vendors hold.
func (w *world) crash() {
	w.storage.dead.Store(true) // whatever the old process still writes is lost
	w.stop()
	w.storage.dead.Store(false)
	w.storage.plan(0, false)
	w.start()
}

// restore goes on with other storage, as after a snapshot is put back.
func (w *world) restore(old *shakyStorage) {
	w.stop()
	w.storage = old
	w.start()
}

// pass lets time go by, and what is due then happen.
func (w *world) pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func (w *world) call(op logical.Operation, path string, data map[string]any) (*logical.Response, error) {
	w.request++
	return w.send(&logical.Request{ID: fmt.Sprintf("request-%d", w.request), Operation: op, Path: path, Data: maps.Clone(data)})
}

func (w *world) send(req *logical.Request) (*logical.Response, error) {
	req.Storage = w.storage
	if req.Operation == logical.UpdateOperation {
		if _, exists, err := w.b.HandleExistenceCheck(w.t.Context(), req); err == nil && !exists && w.hasCreate(req.Path) {
			req.Operation = logical.CreateOperation
		}
	}
	ctx, cancel := context.WithCancel(w.t.Context()) // as Vault does when a request is answered
	defer cancel()
	resp, err := w.b.HandleRequest(ctx, req)
	if err == nil && resp.IsError() {
		err = resp.Error()
	}
	return resp, err
}

func (w *world) hasCreate(path string) bool {
	p := w.b.Route(path)
	return p != nil && p.ExistenceCheck != nil
}

func (w *world) must(op logical.Operation, path string, data map[string]any) map[string]any {
	w.t.Helper()
	resp, err := w.call(op, path, data)
	if err != nil {
		w.t.Fatalf("%s %s: %v", op, path, err)
	}
	if resp == nil {
		return nil
	}
	return resp.Data
}

func (w *world) write(path string, data map[string]any) map[string]any {
	w.t.Helper()
	return w.must(logical.UpdateOperation, path, data)
}

func (w *world) read(path string) map[string]any {
	w.t.Helper()
	return w.must(logical.ReadOperation, path, nil)
}

// refused makes a call that must fail with a status, and returns its text.
func (w *world) refused(status int, op logical.Operation, path string, data map[string]any) string {
	w.t.Helper()
	resp, err := w.call(op, path, data)
	if err == nil {
		w.t.Fatalf("%s %s: succeeded with %v, want status %d", op, path, resp, status)
	}
	if got := statusOf(err); got != status {
		w.t.Errorf("%s %s: status %d (%v), want %d", op, path, got, err, status)
	}
	return err.Error()
}

func statusOf(err error) int {
	if coded, ok := errors.AsType[logical.HTTPCodedError](err); ok {
		return coded.Code()
	}
	return 0
}

// openai writes an account for the fake OpenAI.
func (w *world) openai() {
	w.t.Helper()
	w.write("accounts/oa", map[string]any{"provider": "openai", "admin_key": w.cloud.Options().OpenAI.AdminKey})
}

func (w *world) anthropic() {
	w.t.Helper()
	w.write("accounts/an", map[string]any{"provider": "anthropic", "admin_key": w.cloud.Options().Anthropic.AdminKey})
}

func (w *world) azure() {
	w.t.Helper()
	o := w.cloud.Options().Azure
	w.write("accounts/az", map[string]any{
		"provider": "azure-openai", "tenant_id": o.TenantID, "client_id": o.ClientID,
		"client_secret": o.ClientSecret, "subscription_id": o.SubscriptionID,
	})
}

// live are the keys at a vendor that the engine is answerable for.
func (w *world) live(vendor string) []providertest.Key {
	return w.cloud.Live(vendor)
}

// works reports whether a vendor accepts a secret now.
func (w *world) works(secret any) bool {
	s, ok := secret.(string)
	if !ok {
		w.t.Fatalf("no key to try: %v", secret)
	}
	k, ok := w.cloud.Key(s)
	return ok && k.Live
}

// lease reads a dynamic role, and returns the answer and the lease.
func (w *world) lease(role string, data map[string]any) (*logical.Response, *logical.Secret) {
	w.t.Helper()
	resp, err := w.call(logical.ReadOperation, "creds/"+role, data)
	if err != nil {
		w.t.Fatalf("creds/%s: %v", role, err)
	}
	resp.Secret.IssueTime = time.Now()
	return resp, resp.Secret
}

func (w *world) endLease(s *logical.Secret) error {
	w.request++
	_, err := w.send(leaseRequest(fmt.Sprintf("request-%d", w.request), logical.RevokeOperation, s))
	return err
}

// leaseRequest is what Vault sends at the end or the renewal of a lease: at the
// path of the read, with the lease's internal data.
func leaseRequest(id string, op logical.Operation, s *logical.Secret) *logical.Request {
	return &logical.Request{ID: id, Operation: op, Path: "creds/ci", Secret: s, Data: maps.Clone(s.InternalData)}
}

// logBuffer is a log that tests search.
type logBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
