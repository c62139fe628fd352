package backend

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/vault/sdk/logical"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/backend/provider/providertest"
)

// admins are the live admin keys at OpenAI, by id.
func (w *world) admins() map[string]providertest.Key {
	live := map[string]providertest.Key{}
	for _, k := range w.cloud.Keys() {
		if k.Provider == providertest.ProviderOpenAI && k.Admin && k.Live {
			live[k.ID] = k
		}
	}
	return live
}

// later makes a call beside the test, and says where its outcome will be.
func (w *world) later(op logical.Operation, path string, data map[string]any) chan outcome {
	w.request++
	req := &logical.Request{ID: fmt.Sprintf("request-%d", w.request), Operation: op, Path: path, Data: data}
	c := make(chan outcome, 1)
	go func() {
		resp, err := w.send(req)
		c <- outcome{resp, err, time.Now()}
	}()
	synctest.Wait()
	return c
}

type outcome struct {
	resp *logical.Response
	err  error
	at   time.Time
}

const initialRoot = "key_initial" // the admin credential that the fake begins with

func TestRootRotation(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		w.openai()
		otherRoot(w)
		w.write("roles/app", staticFields)
		w.write("roles/ci", dynamicFields)
		if got := w.read("providers/openai")["root_rotation"]; got != true {
			t.Errorf("providers/openai: root_rotation %v", got)
		}
		if got := w.read("accounts/oa"); got["credential_version"] != 0 || got["last_vault_rotation"] != nil || got["next_rotation"] != nil {
			t.Errorf("before the first rotation: %v", got)
		}
		var before string
		for version := 1; version <= 2; version++ {
			got := w.write("rotate-root/oa", nil)
			if got["version"] != version || w.root() != got["key_id"] || got["key_id"] == before {
				t.Fatalf("rotation %d: %v, and %s is in use", version, got, w.root())
			}
			// At once: the old one is dead before the caller is answered.
			if live := w.admins(); len(live) != 2 || live[w.otherRoot].ID == "" || live[fmt.Sprint(got["key_id"])].ID == "" {
				t.Errorf("live after rotation %d: %v", version, live)
			}
			before = fmt.Sprint(got["key_id"])
			a := w.read("accounts/oa")
			if a["credential_version"] != version || a["credential_id"] != before || a["last_vault_rotation"] != rfc3339(time.Now()) || a["last_error"] != nil {
				t.Errorf("accounts/oa after rotation %d: %v", version, a)
			}
			w.sample()
			w.write("rotate-role/app", nil)
			w.lease("ci", nil)
		}
		w.pass(time.Hour)
		w.atRest()
		if st := w.read("status"); st["healthy"] != true {
			t.Errorf("status: %v", st)
		}
		w.must(logical.DeleteOperation, "roles/ci", nil)
		w.must(logical.DeleteOperation, "roles/app", nil)
		w.pass(time.Minute)
		w.must(logical.DeleteOperation, "accounts/oa", nil)
		if live := w.admins(); len(live) != 1 || live[w.otherRoot].ID == "" {
			t.Errorf("after the account was deleted, its credential lives on: %v", live)
		}
	})
}

func TestRootRotationRefused(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		w.anthropic()
		w.openai()
		for _, c := range []struct {
			status     int
			path, want string
			data       map[string]any
		}{
			{statusMissing, "rotate-root/nobody", "no account named", nil},
			{statusInvalid, "rotate-root/an", "in its console", nil},
			{statusInvalid, "accounts/an", "no API that replaces", map[string]any{"rotation_period": "24h"}},
			{statusInvalid, "accounts/an", "no API that replaces", map[string]any{"rotation_schedule": "0 3 * * *"}},
			{statusInvalid, "accounts/oa", "exclude each other", map[string]any{"rotation_period": "24h", "rotation_schedule": "0 3 * * *"}},
			{statusInvalid, "accounts/oa", "belongs to rotation_schedule", map[string]any{"rotation_window": "2h"}},
		} {
			if got := w.refused(c.status, logical.UpdateOperation, c.path, c.data); !strings.Contains(got, c.want) {
				t.Errorf("%s %v: %q does not say %q", c.path, c.data, got, c.want)
			}
		}
		w.write("accounts/oa", map[string]any{"disabled": true})
		w.refused(statusForbidden, logical.UpdateOperation, "rotate-root/oa", nil)
		if live := w.admins(); len(live) != 1 {
			t.Errorf("a refusal made or withdrew something: %v", live)
		}
	})
}

// Whatever is under way with the old credential is let finish before it goes.
func TestRootRotationWaitsForOperations(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		w.openai()
		w.write("roles/ci", dynamicFields)
		w.lease("ci", nil) // makes the service account
		w.cloud.Fault(providertest.Fault{Kind: providertest.Slow, Method: "POST", Path: "service_accounts", Latency: 20 * time.Second, Times: 1})
		read := w.later(logical.ReadOperation, "creds/ci", nil)
		rotation := w.later(logical.UpdateOperation, "rotate-root/oa", nil)
		w.pass(5 * time.Second)
		if len(w.admins()) != 2 {
			t.Errorf("while an operation is under way both credentials must live: %v", w.admins())
		}
		key, rotated := <-read, <-rotation
		if key.err != nil || rotated.err != nil {
			t.Fatalf("read: %v; rotation: %v", key.err, rotated.err)
		}
		if !w.works(key.resp.Data["api_key"]) || rotated.at.Before(key.at) || len(w.admins()) != 1 {
			t.Errorf("the read ended at %s, the rotation at %s; live: %v", key.at, rotated.at, w.admins())
		}
		// But not for ever.
		w.write("config", map[string]any{"provider_timeout": "10s"})
		b := w.b
		b.sessions.enter(b.life, "oa")
		began := time.Now()
		w.write("rotate-root/oa", nil)
		if took := time.Since(began); took != 10*time.Second || len(w.admins()) != 1 {
			t.Errorf("the rotation took %s, live: %v", took, w.admins())
		}
	})
}

// Who found the account before a rotation and opens it afterwards gets the new credential.
func TestOldAccountEntryOpensTheNewCredential(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		w.openai()
		old, err := w.b.accounts.get(w.t.Context(), w.storage, "oa")
		if err != nil {
			t.Fatal(err)
		}
		w.write("rotate-root/oa", nil)
		x, err := w.b.session(w.t.Context(), w.storage, old)
		if err != nil {
			t.Fatal(err)
		}
		if err := x.keys.Check(w.t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// Making a role and rotating the account's credential do not wait for each other
// until a time is up.
func TestRootRotationBesideANewRole(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		w.openai()
		w.cloud.Fault(providertest.Fault{Kind: providertest.Slow, Method: "GET", Path: "/models", Latency: 5 * time.Second, Times: 1})
		role := w.later(logical.UpdateOperation, "roles/app", staticFields)
		began := time.Now()
		rotation := w.later(logical.UpdateOperation, "rotate-root/oa", nil)
		for what, c := range map[string]chan outcome{"role": role, "rotation": rotation} {
			if o := <-c; o.err != nil || o.at.Sub(began) > 6*time.Second {
				t.Errorf("%s: %v after %s", what, o.err, o.at.Sub(began))
			}
		}
		w.sample()
	})
}

func TestRootRotationOfAnUnknownCredential(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		w.openai()
		alike := w.cloud.OpenAI.AddLookAlike("somebody's", w.cloud.Options().OpenAI.AdminKey)
		resp, err := w.call(logical.UpdateOperation, "rotate-root/oa", nil)
		if err != nil || len(resp.Warnings) != 1 || !strings.Contains(resp.Warnings[0], "disable it") {
			t.Fatalf("answer: %v %v", resp, err)
		}
		live := w.admins()
		if len(live) != 3 || live[initialRoot].ID == "" || live[alike.ID].ID == "" {
			t.Errorf("none of the two that look alike may be withdrawn: %v", live)
		}
		w.pass(time.Hour)
		if st := w.read("status"); st["healthy"] != false || !strings.Contains(fmt.Sprint(st["failing"]), "disable it") {
			t.Errorf("status forgets what a person must do: %v", st)
		}
		w.write("rotate-root/oa", nil) // the engine's own is known by its id
		if got := len(w.admins()); got != 3 || w.read("status")["healthy"] != true {
			t.Errorf("%d live after the second rotation, status %v", got, w.read("status"))
		}
	})
}

func TestScheduledRootRotation(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		w.openai()
		version := func() any { return w.read("accounts/oa")["credential_version"] }
		w.write("accounts/oa", map[string]any{"rotation_period": "24h"})
		if got := w.read("accounts/oa"); got["rotation_period"] != int64(86400) || got["next_rotation"] != rfc3339(time.Now().Add(24*time.Hour)) {
			t.Errorf("accounts/oa: %v", got)
		}
		w.pass(12 * time.Hour)
		// The same settings written again, as programs do, are no new credential.
		w.write("accounts/oa", map[string]any{"admin_key": w.cloud.Options().OpenAI.AdminKey, "rotation_period": "24h"})
		w.pass(13 * time.Hour)
		if version() != 1 || len(w.admins()) != 1 {
			t.Errorf("after a period: version %v, live %v", version(), w.admins())
		}
		w.write("rotate-root/oa", nil) // the period begins again
		w.pass(23 * time.Hour)
		if version() != 2 {
			t.Errorf("version %v 23h after a rotation by hand", version())
		}
		w.write("accounts/oa", map[string]any{"disabled": true})
		w.pass(48 * time.Hour)
		if version() != 2 {
			t.Errorf("a disabled account rotates: version %v", version())
		}
		w.write("accounts/oa", map[string]any{"disabled": false})
		w.pass(time.Minute)
		if version() != 3 {
			t.Errorf("enabled again: version %v", version())
		}

		// A window: what could not be done in it waits for the next one.
		w.write("accounts/oa", map[string]any{"rotation_schedule": "0 3 * * *", "rotation_window": "1h"})
		if got := w.read("accounts/oa"); got["rotation_period"] != nil || got["rotation_schedule"] != "0 3 * * *" || got["rotation_window"] != int64(3600) {
			t.Errorf("accounts/oa: %v", got)
		}
		w.cloud.Fault(providertest.Fault{Kind: providertest.Status, Status: 403, Method: "POST", Path: "admin_api_keys"})
		at := time.Now().UTC().Truncate(24 * time.Hour).Add(27 * time.Hour)
		w.pass(time.Until(at.Add(30 * time.Minute)))
		st := w.read("status")
		if st["healthy"] != false || !strings.Contains(fmt.Sprint(st["failing"]), "accounts/oa") || !strings.Contains(fmt.Sprint(st["overdue"]), "accounts/oa") {
			t.Errorf("status does not show that the rotation fails: %v", st)
		}
		if a := w.read("accounts/oa"); a["attempts"] == 0 || !strings.Contains(fmt.Sprint(a["last_error"]), "403") {
			t.Errorf("accounts/oa: %v", a)
		}
		w.pass(40 * time.Minute) // the window is over
		w.cloud.ClearFaults()
		w.pass(time.Hour)
		if version() != 3 {
			t.Errorf("rotated outside of its window: version %v", version())
		}
		w.pass(24 * time.Hour)
		if version() != 4 || w.read("status")["healthy"] != true {
			t.Errorf("in the next window: version %v, status %v", version(), w.read("status"))
		}
	})
}

// A scheduled rotation stays one, also after one that a caller asked for: no
// window and no disabled account holds up what was demanded.
func TestScheduledRootRotationIsNotDemanded(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		w.openai()
		w.write("accounts/oa", map[string]any{"rotation_period": "24h"})
		w.write("rotate-root/oa", nil)
		w.cloud.Fault(providertest.Fault{Kind: providertest.Broken, Method: "POST", Path: "admin_api_keys", After: true})
		w.cloud.Fault(providertest.Fault{Kind: providertest.Broken, Method: "GET", Path: "admin_api_keys"})
		w.pass(24*time.Hour + time.Minute)
		w.write("accounts/oa", map[string]any{"disabled": true})
		w.cloud.ClearFaults()
		w.pass(time.Hour)
		if got := w.read("accounts/oa")["credential_version"]; got != 1 {
			t.Errorf("a disabled account rotated: version %v", got)
		}
		w.oneRoot()
	})
}

func TestRootRotationByManyAtOnce(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		w.openai()
		w.cloud.SetLatency(time.Second)
		var calls []chan outcome
		for range 5 {
			calls = append(calls, w.later(logical.UpdateOperation, "rotate-root/oa", nil))
		}
		for _, c := range calls {
			if o := <-c; o.err != nil || o.resp.Data["version"] != 1 {
				t.Errorf("%v %v", o.resp, o.err)
			}
		}
		// Vault sends a request again when the plugin died under it.
		req := func() *logical.Request {
			return &logical.Request{ID: "sent again", Operation: logical.UpdateOperation, Path: "rotate-root/oa"}
		}
		for range 2 {
			resp, err := w.send(req())
			if err != nil || resp.Data["version"] != 2 {
				t.Errorf("the same request again: %v %v", resp, err)
			}
			w.crash()
		}
		w.cloud.SetLatency(0)
		w.pass(time.Minute)
		w.oneRoot()
	})
}

// A caller that waited while a person replaced the credential gets a rotation.
func TestRootRotationAfterAReplacement(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		w.openai()
		byHand := w.cloud.OpenAI.AddAdminKey("by hand")
		w.cloud.Fault(providertest.Fault{Kind: providertest.Slow, Path: "/projects", Latency: 5 * time.Second, Times: 1})
		replaced := w.later(logical.UpdateOperation, "accounts/oa", map[string]any{"admin_key": byHand.Secret})
		rotated := <-w.later(logical.UpdateOperation, "rotate-root/oa", nil)
		if o := <-replaced; o.err != nil {
			t.Fatal(o.err)
		}
		if rotated.err != nil || rotated.resp.Data["version"] != 1 {
			t.Fatalf("%v %v", rotated.resp, rotated.err)
		}
		if live := w.admins(); len(live) != 2 || live[initialRoot].ID == "" { // that one is the person's
			t.Errorf("live: %v", live)
		}
	})
}

func TestRootReplacedByHand(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		w.openai()
		w.write("roles/app", staticFields)
		w.write("rotate-root/oa", nil)
		k := w.cloud.OpenAI.AddAdminKey("by hand")
		w.write("accounts/oa", map[string]any{"admin_key": k.Secret})
		w.pass(time.Minute)
		if live := w.admins(); len(live) != 1 || live[k.ID].ID == "" || w.root() != k.ID {
			t.Errorf("the engine's own must go, the person's stay: %v", live)
		}
		w.write("rotate-role/app", nil)
		w.sample()
		w.write("rotate-root/oa", nil)
		if live := w.admins(); len(live) != 1 || live[k.ID].ID != "" {
			t.Errorf("after the next rotation: %v", live)
		}
		// One that does not work changes nothing.
		w.refused(statusInvalid, logical.UpdateOperation, "accounts/oa", map[string]any{"admin_key": k.Secret})
		w.root()
	})
}

// A person goes back to the credential that a rotation replaced, and that is
// still waiting to be withdrawn.
func TestRootGoneBackTo(t *testing.T) {
	t.Parallel()
	for name, alike := range map[string]bool{"told apart": false, "not told apart": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inWorld(t, func(w *world) {
				given := w.cloud.Options().OpenAI.AdminKey
				w.openai()
				w.cloud.Fault(providertest.Fault{Kind: providertest.Status, Status: 403, Method: "DELETE", Path: "admin_api_keys"})
				if resp, err := w.call(logical.UpdateOperation, "rotate-root/oa", nil); err != nil || len(resp.Warnings) != 1 {
					t.Fatalf("%v %v", resp, err)
				}
				if alike {
					w.cloud.OpenAI.AddLookAlike("somebody's", given)
				}
				w.write("accounts/oa", map[string]any{"admin_key": given})
				w.cloud.ClearFaults()
				w.pass(time.Hour)
				want := map[bool]int{false: 1, true: 2}[alike]
				if live := w.admins(); w.root() != initialRoot || len(live) != want {
					t.Errorf("the credential in use is %s, live are %v", w.root(), live)
				}
				if healthy := w.read("status")["healthy"]; healthy != !alike {
					t.Errorf("status: %v", w.read("status"))
				}
				w.write("rotate-root/oa", nil)
				w.pass(time.Hour)
				if live := w.admins(); live[initialRoot].ID != "" || len(live) != want || !alike && w.read("status")["healthy"] != true {
					t.Errorf("after a rotation: %v, status %v", live, w.read("status"))
				}
			})
		})
	}
}

// The new credential exists and cannot be sealed: it must not stay.
func TestRootRotationWithoutASeal(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		w.openai()
		w.write("config", map[string]any{"encryption": "transit"}) // which is not set up
		w.refused(statusInvalid, logical.UpdateOperation, "rotate-root/oa", nil)
		w.root()
		w.write("config", map[string]any{"encryption": "barrier"})
		w.pass(10 * time.Minute)
		w.oneRoot()
		if got := w.read("accounts/oa")["credential_version"]; got != 1 {
			t.Errorf("a rotation that was asked for is not made good: version %v", got)
		}
	})
}

func TestDeletingAnAccountWhoseRotationIsUnresolved(t *testing.T) {
	t.Parallel()
	for name, took := range map[string]bool{"took effect": true, "had none": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inWorld(t, func(w *world) {
				w.openai()
				w.cloud.Fault(providertest.Fault{Kind: providertest.Broken, Method: "POST", Path: "admin_api_keys", After: took, Times: 1})
				got := w.refused(statusUnavailable, logical.UpdateOperation, "rotate-root/oa", nil)
				if !strings.Contains(got, "looks for the one that may have been made") {
					t.Errorf("the answer: %s", got)
				}
				w.refused(statusConflict, logical.DeleteOperation, "accounts/oa", nil) // it may still appear, or once more
				w.pass(10 * time.Minute)
				w.must(logical.DeleteOperation, "accounts/oa", nil)
				if live := w.admins(); len(live) != 1 || live[initialRoot].ID == "" {
					t.Errorf("live: %v", live)
				}
				w.tearDown()
			})
		})
	}
}

func TestDeletingAnAccountWithdrawsItsCredential(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		w.openai()
		w.write("rotate-root/oa", nil)
		w.cloud.Fault(providertest.Fault{Kind: providertest.Status, Status: 403, Method: "DELETE", Path: "admin_api_keys"})
		if got := w.refused(statusInvalid, logical.DeleteOperation, "accounts/oa", nil); !strings.Contains(got, "force=true") {
			t.Errorf("the answer: %s", got)
		}
		w.cloud.ClearFaults()
		// The process dies right after the withdrawal.
		w.cloud.After(func(r *http.Request) error {
			if r.Method == http.MethodDelete {
				w.storage.die()
			}
			return nil
		})
		if err := w.try(logical.DeleteOperation, "accounts/oa", nil); err == nil || len(w.admins()) != 0 {
			t.Fatalf("%v; live: %v", err, w.admins())
		}
		w.cloud.After(nil)
		w.crash()
		w.must(logical.DeleteOperation, "accounts/oa", nil)
		if names := w.names("accounts/"); len(names) != 0 {
			t.Errorf("accounts: %v", names)
		}
	})
	inWorld(t, func(w *world) {
		w.openai()
		w.write("rotate-root/oa", nil)
		w.cloud.Fault(providertest.Fault{Kind: providertest.Status, Status: 403, Method: "DELETE", Path: "admin_api_keys"})
		id := w.root()
		resp, err := w.call(logical.DeleteOperation, "accounts/oa", map[string]any{"force": true})
		if err != nil || len(resp.Warnings) != 1 || !strings.Contains(resp.Warnings[0], id) {
			t.Errorf("force: %v %v", resp, err)
		}
	})
}

// An account is disabled at once, whatever a rotation waits for.
func TestDisablingInterruptsRootRotation(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		w.openai()
		w.cloud.Fault(providertest.Fault{Kind: providertest.Hang, Method: "POST", Path: "admin_api_keys", Times: 1})
		rotation := w.later(logical.UpdateOperation, "rotate-root/oa", nil)
		began := time.Now()
		w.write("accounts/oa", map[string]any{"disabled": true})
		if took := time.Since(began); took > time.Second {
			t.Errorf("disabling took %s", took)
		}
		if o := <-rotation; statusOf(o.err) != statusUnavailable {
			t.Errorf("the rotation: %v %v", o.resp, o.err)
		}
		w.pass(10 * time.Minute)
		w.oneRoot()
		if got := w.read("accounts/oa")["credential_version"]; got != 0 {
			t.Errorf("a disabled account rotated: version %v", got)
		}
	})
}

// What could not even be begun promises nothing.
func TestRootRotationThatNeverBegan(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		w.openai()
		w.cloud.Fault(providertest.Fault{Kind: providertest.Status, Status: 500, Method: "GET", Path: "admin_api_keys", Times: 1})
		if got := w.refused(statusUnavailable, logical.UpdateOperation, "rotate-root/oa", nil); strings.Contains(got, "may have been made") {
			t.Errorf("the answer: %s", got)
		}
		w.pass(10 * time.Minute)
		if st := w.read("status"); st["healthy"] != true { // its caller was told
			t.Errorf("status: %v", st)
		}
		w.write("rotate-root/oa", nil)
	})
}
