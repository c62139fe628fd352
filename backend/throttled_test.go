package backend

import (
	"testing"
	"time"

	"github.com/hashicorp/vault/sdk/logical"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/backend/provider/providertest"
)

// A 429 may come from something between us and a provider that did what it was
// asked: what that was is found once the delay is over, and withdrawn.
func TestThrottledAfterTheEffect(t *testing.T) {
	t.Parallel()
	for name, do := range map[string]struct {
		path string // of the call that is answered so
		act  func(*world) error
	}{
		"rotation": {"/api_keys", func(w *world) error {
			_, err := w.call(logical.UpdateOperation, "rotate-role/app", nil)
			return err
		}},
		"leased key": {"/api_keys", func(w *world) error {
			_, err := w.call(logical.ReadOperation, "creds/ci", nil)
			return err
		}},
		"first key": {"/api_keys", func(w *world) error {
			_, err := w.call(logical.UpdateOperation, "roles/new", staticFields)
			return err
		}},
		"service account": {"/service_accounts", func(w *world) error {
			_, err := w.call(logical.UpdateOperation, "roles/new", staticFields)
			return err
		}},
		"admin credential": {"/admin_api_keys", func(w *world) error {
			_, err := w.call(logical.UpdateOperation, "rotate-root/oa", nil)
			return err
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inWorld(t, func(w *world) {
				w.openai()
				w.write("roles/app", staticFields)
				w.write("roles/ci", dynamicFields)
				w.pass(time.Minute)
				keys, roots := len(w.live("openai")), w.liveRoots()
				w.cloud.Fault(providertest.Fault{Kind: providertest.Throttled, RetryAfter: "5", After: true, Times: 1, Method: "POST", Path: do.path})
				if err := do.act(w); statusOf(err) != statusUnavailable {
					t.Fatalf("%v, want that the provider throttles", err)
				}
				w.sample()
				w.pass(time.Minute)
				if n, r := len(w.live("openai")), w.liveRoots(); n != keys || r != roots {
					t.Errorf("%d keys and %d admin credentials are live, want %d and %d", n, r, keys, roots)
				}
				for _, o := range w.cloud.Owners() {
					if o.Live && len(w.b.ledger.filter(func(l *line) bool { return l.ID == o.ID })) == 0 {
						t.Errorf("the service account %s is live and nobody knows it", o.Name)
					}
				}
				for _, l := range w.b.ledger.filter(func(l *line) bool { return l.State != stateLive }) {
					t.Errorf("%s %s is still %s", l.Kind, l.Tag, l.State)
				}
				if phase := w.read("status/app")["phase"]; phase != string(phaseStable) {
					t.Errorf("the role is %v", phase)
				}
			})
		})
	}
}

// liveRoots counts the live admin credentials.
func (w *world) liveRoots() int {
	n := 0
	for _, k := range w.cloud.Keys() {
		if k.Provider == providertest.ProviderOpenAI && k.Admin && k.Live {
			n++
		}
	}
	return n
}

// Whoever asked for a rotation that was throttled was told so: it is not made for
// them when they may have asked again.
func TestThrottledRotationIsNotMadeLater(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		w.openai()
		w.write("roles/app", staticFields)
		version := w.read("creds/app")["version"]
		w.cloud.Fault(providertest.Fault{Kind: providertest.Throttled, RetryAfter: "5", Times: 1, Method: "POST", Path: "/api_keys"})
		w.refused(statusUnavailable, logical.UpdateOperation, "rotate-role/app", nil)
		w.pass(10 * time.Minute)
		if got := w.read("creds/app")["version"]; got != version {
			t.Errorf("version %v, want %v", got, version)
		}
		if got := w.read("status/app"); got["phase"] != string(phaseStable) {
			t.Errorf("the role stands so: %v", got)
		}
	})
}
