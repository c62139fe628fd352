package backend

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/vault/sdk/logical"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/backend/provider/providertest"
)

// second is another account of the fake OpenAI, whose calls [organization] tells
// apart.
func (w *world) second() {
	w.t.Helper()
	w.write("accounts/second", map[string]any{"provider": "openai", "admin_key": w.cloud.Options().OpenAI.AdminKey, "organization_id": w.cloud.Options().OpenAI.Organization})
}

func organization(r *http.Request) string { return r.Header.Get("OpenAI-Organization") }

// hang answers nothing on the second account until the caller has gone, and counts
// what was sent there.
func (w *world) hang() *atomic.Int64 {
	sent := &atomic.Int64{}
	w.cloud.Before(func(r *http.Request) error {
		if organization(r) == "" {
			return nil
		}
		sent.Add(1)
		<-r.Context().Done()
		return r.Context().Err()
	})
	return sent
}

// team makes static roles that are all due a day later.
func (w *world) team(account string, n int) {
	w.t.Helper()
	for i := range n {
		w.write(fmt.Sprintf("roles/%s-%03d", account, i), map[string]any{"account": account, "type": "static", "project_id": providertest.MainProject, "rotation_period": "24h", "grace_period": "1h"})
	}
}

// rotated waits until the roles of an account have their second key, and says how
// long that took.
func (w *world) rotated(account string, n int) time.Duration {
	w.t.Helper()
	start := time.Now()
	for time.Since(start) < 20*time.Minute {
		w.pass(50 * time.Millisecond)
		done := 0
		for i := range n {
			if e, err := w.b.staticKeys.get(w.t.Context(), w.storage, fmt.Sprintf("%s-%03d", account, i)); err == nil && e.Version > 1 {
				done++
			}
		}
		if done == n {
			return time.Since(start)
		}
	}
	w.t.Fatalf("the roles of %s are not rotated in twenty minutes", account)
	return 0
}

// TestDeadProviderDelaysNobody: one account's calls all hang for as long as they
// may; another one's rotations take what half of the workers need for them.
func TestDeadProviderDelaysNobody(t *testing.T) {
	t.Parallel()
	const roles = 100
	run := func(t *testing.T, dead bool) (took time.Duration) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.openai()
			w.second()
			w.team("oa", roles)
			if dead {
				w.team("second", roles)
			}
			w.pass(24*time.Hour - time.Millisecond)
			w.cloud.SetLatency(100 * time.Millisecond)
			sent := w.hang()
			took = w.rotated("oa", roles)
			if !dead {
				return
			}
			if n := sent.Load(); n > 16 {
				t.Errorf("%d calls of the dead account took a worker, want half of the 32 at most", n)
			}
			w.pass(30 * time.Minute)
			// Silence costs a call for each worker once, then one in each pause.
			if n := sent.Load(); n < 20 || n > 16+40 {
				t.Errorf("%d calls in half an hour to a provider that does not answer", n)
			}
			text := fmt.Sprint(w.read("status/second-000")["last_error"])
			if !strings.Contains(text, "did not answer") && !strings.Contains(text, "timed out") {
				t.Errorf("last_error = %q", text)
			}
			w.cloud.Before(nil)
			w.rotated("second", roles)
		})
		return took
	}
	alone, beside := run(t, false), run(t, true)
	t.Logf("%d roles: %s alone, %s beside a dead account", roles, alone, beside)
	if beside > 5*alone/2 {
		t.Errorf("%d rotations took %s beside a dead account, and %s without it", roles, beside, alone)
	}
}

// through is a network.
type through func(*http.Request) (*http.Response, error)

func (f through) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// A delay that a provider asks for holds for all workers of the account, and for
// no other account.
func TestThrottledAccount(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		var sent atomic.Int64
		var throttle atomic.Bool
		cloud := w.cloud.Transport()
		w.b.clients.transport = through(func(r *http.Request) (*http.Response, error) {
			if organization(r) == "" || !throttle.Load() {
				return cloud.RoundTrip(r)
			}
			if sent.Add(1) == 1 {
				time.Sleep(50 * time.Millisecond) // the others of the first round are on their way
				return &http.Response{StatusCode: http.StatusTooManyRequests, Header: http.Header{"Retry-After": {"60"}}, Body: http.NoBody}, nil
			}
			time.Sleep(100 * time.Millisecond)
			return cloud.RoundTrip(r)
		})
		w.openai()
		w.second()
		w.team("oa", 20)
		w.team("second", 20)
		w.pass(24*time.Hour - time.Millisecond)
		sent.Store(0)
		throttle.Store(true)
		w.rotated("oa", 20)
		w.pass(200 * time.Millisecond)
		round := sent.Load()
		w.pass(58 * time.Second)
		if n := sent.Load() - round; n > 0 || round > 16 {
			t.Errorf("%d calls in the first round, %d more during the delay", round, n)
		}
		failing, _ := w.read("status")["failing"].(map[string]any)
		if len(failing) != 5 || strings.Count(fmt.Sprint(failing), "asked to wait; nothing was sent") != 4 {
			t.Errorf("failing = %v, want the one that was refused and the four whose turn came during the delay", failing)
		}
		w.rotated("second", 20)
		if n := len(w.live("openai")); n != 80 { // the keys that were made then are in service
			t.Errorf("%d keys are live, want two a role", n)
		}
	})
}

// The leak switch does not wait for the end of a pause.
func TestLeakSwitchWhileHeldBack(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		w.openai()
		w.write("roles/app", staticFields)
		w.write("roles/ci", dynamicFields)
		leased, _ := w.lease("ci", nil)
		static := w.read("creds/app")
		w.cloud.Fault(providertest.Fault{Kind: providertest.Status, Status: 503})
		for range 5 {
			w.refused(statusUnavailable, logical.ReadOperation, "creds/ci", nil)
		}
		w.pass(0) // what looks for the keys that may have been made has heard its answer
		before := w.cloud.Counts().Calls
		text := w.refused(statusUnavailable, logical.ReadOperation, "creds/ci", nil)
		if !strings.Contains(text, "did not answer 5 times; next try in 5s") || w.cloud.Counts().Calls != before {
			t.Errorf("during the pause: %s; %d calls", text, w.cloud.Counts().Calls-before)
		}
		if held := w.read("status")["held_back"]; !strings.Contains(fmt.Sprint(held), "api.openai.com: the provider did not answer 5 times") {
			t.Errorf("status: held_back = %v", held)
		}
		w.cloud.ClearFaults()
		w.refused(statusUnavailable, logical.ReadOperation, "creds/ci", nil) // nobody knows yet that it is back
		w.write("revoke/ci", nil)
		if w.works(leased.Data["api_key"]) {
			t.Error("a leaked key is alive after revoke")
		}
		w.write("revoke/app", nil)
		if w.works(static["api_key"]) {
			t.Error("a leaked static key is alive after revoke")
		}
		w.lease("ci", nil) // and now it is known
	})
}

// Whoever writes an account's connection anew does not wait for a pause either.
func TestAccountWrittenWhileHeldBack(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		w.openai()
		w.write("roles/ci", dynamicFields)
		w.cloud.Fault(providertest.Fault{Kind: providertest.Broken})
		for range 6 {
			w.refused(statusUnavailable, logical.ReadOperation, "creds/ci", nil)
		}
		w.cloud.ClearFaults()
		w.write("accounts/oa", map[string]any{"admin_key": w.cloud.Options().OpenAI.AdminKey})
		w.lease("ci", nil)
	})
}
