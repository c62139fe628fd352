package backend

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/vault/sdk/logical"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/backend/provider/providertest"
)

func TestStaticMintedKey(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		w.openai()
		w.write("roles/app", map[string]any{"account": "oa", "type": "static", "project_id": providertest.MainProject, "rotation_period": "24h", "grace_period": "1h"})
		first := w.read("creds/app")
		if !w.works(first["api_key"]) || len(w.live("openai")) != 1 {
			t.Fatalf("after creation: %v, live %v", first, w.live("openai"))
		}
		if first["ttl"] != int64(24*3600) || first["rotation_period"] != int64(24*3600) || first["version"] != 1 {
			t.Errorf("first answer: %v", first)
		}

		w.write("rotate-role/app", map[string]any{"grace_period": "10m"})
		second := w.read("creds/app")
		if second["api_key"] == first["api_key"] || second["version"] != 2 {
			t.Errorf("rotate-role did not change the key: %v", second)
		}
		if !w.works(first["api_key"]) || !w.works(second["api_key"]) {
			t.Error("both keys must work during the grace")
		}
		w.pass(11 * time.Minute)
		if w.works(first["api_key"]) || !w.works(second["api_key"]) {
			t.Error("after the grace the old key must be dead and the new one live")
		}

		w.pass(24 * time.Hour) // scheduled
		third := w.read("creds/app")
		if third["version"] != 3 || !w.works(third["api_key"]) || !w.works(second["api_key"]) {
			t.Errorf("after a period: %v", third)
		}
		w.write("rotate-role/app", map[string]any{"grace_period": 0})
		if w.works(third["api_key"]) {
			t.Error("grace_period=0 left the old key alive")
		}
		w.pass(time.Minute)
		if n := len(w.live("openai")); n != 1 {
			t.Errorf("%d keys live at rest, want 1", n)
		}
		w.must(logical.DeleteOperation, "roles/app", nil)
		w.pass(time.Minute)
		if n := len(w.live("openai")); n != 0 {
			t.Errorf("%d keys live after the role was deleted", n)
		}
		for _, o := range w.cloud.Owners() {
			if o.Live {
				t.Errorf("service account %s outlives its role", o.ID)
			}
		}
		w.must(logical.DeleteOperation, "accounts/oa", nil)
	})
}

func TestDynamicKey(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		w.openai()
		w.write("roles/ci", map[string]any{"account": "oa", "project_id": providertest.MainProject, "ttl": "10m", "max_ttl": "1h"})
		resp, lease := w.lease("ci", nil)
		if !w.works(resp.Data["api_key"]) || lease.TTL != 10*time.Minute {
			t.Fatalf("lease %v of %v", lease, resp.Data)
		}
		if resp.Data["expires_at"] == nil {
			t.Error("the provider was given no expiry")
		}
		w.pass(5 * time.Minute)
		renewed, err := w.send(leaseRequest("renew", logical.RenewOperation, lease))
		if err != nil || renewed.Secret.TTL != 10*time.Minute {
			t.Fatalf("renew: %v %v", renewed, err)
		}
		if err := w.endLease(lease); err != nil {
			t.Fatal(err)
		}
		if w.works(resp.Data["api_key"]) {
			t.Error("the key outlives its lease")
		}
		if err := w.endLease(lease); err != nil {
			t.Errorf("revoking twice: %v", err)
		}
		// A key whose lease Vault never stored.
		lost, _ := w.lease("ci", nil)
		w.pass(time.Hour + leaseMargin + time.Minute)
		if w.works(lost.Data["api_key"]) || len(w.b.ledger.ofRole("ci")) != 1 { // the service account stays
			t.Errorf("a key without a lease lives on: %v", w.b.ledger.ofRole("ci"))
		}
	})
}

func TestTwoSlotKey(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		w.azure()
		before := w.live("azure-openai")
		w.write("roles/gpt", map[string]any{"account": "az", "resource_group": providertest.AzureGroup, "resource_name": providertest.AzureResourceName, "grace_period": "1h"})
		first := w.read("creds/gpt")
		if first["api_key"] != before[0].Secret || first["key_id"] != "Key1" {
			t.Fatalf("the first slot was not taken over as it is: %v", first)
		}
		w.write("rotate-role/gpt", nil)
		second := w.read("creds/gpt")
		if second["key_id"] != "Key2" || !w.works(second["api_key"]) || !w.works(first["api_key"]) {
			t.Fatalf("first rotation: %v", second)
		}
		w.pass(61 * time.Minute)
		if w.works(first["api_key"]) || !w.works(second["api_key"]) {
			t.Error("after the grace the old slot must hold another value")
		}
		w.write("rotate-role/gpt", nil)
		third := w.read("creds/gpt")
		w.write("rotate-role/gpt", nil) // in the overlap: the elder one ends early
		fourth := w.read("creds/gpt")
		w.pass(time.Minute)
		if !w.works(third["api_key"]) || !w.works(fourth["api_key"]) || w.works(second["api_key"]) {
			t.Errorf("rotation in an overlap: %v %v", third, fourth)
		}
		w.refused(statusInvalid, logical.UpdateOperation, "roles/twin", map[string]any{"account": "az", "resource_group": providertest.AzureGroup, "resource_name": providertest.AzureResourceName})
		if got := w.write("revoke/gpt", nil); got["withdrawn"] != 2 {
			t.Errorf("revoke in an overlap: %v, want both keys withdrawn", got)
		}
		w.refused(statusConflict, logical.ReadOperation, "creds/gpt", nil)
		if w.works(third["api_key"]) || w.works(fourth["api_key"]) {
			t.Error("revoke left a key alive")
		}
		w.write("rotate-role/gpt", nil)
		fifth := w.read("creds/gpt")
		w.pass(time.Hour)
		if !w.works(fifth["api_key"]) {
			t.Error("the key after a revoke died")
		}
	})
}

func TestBroughtKey(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		w.anthropic()
		w.write("roles/claude", map[string]any{"account": "an", "rotation_period": "720h", "grace_period": "1h"})
		w.refused(statusConflict, logical.ReadOperation, "creds/claude", nil)
		w.refused(statusConflict, logical.UpdateOperation, "rotate-role/claude", nil)
		one, two := w.cloud.Anthropic.AddKey("one", "", 0), w.cloud.Anthropic.AddKey("two", "", 0)
		w.refused(statusInvalid, logical.UpdateOperation, "import/claude", map[string]any{"api_key": "sk-ant-api03-wrong"})
		w.write("import/claude", map[string]any{"api_key": one.Secret})
		got := w.read("creds/claude")
		if got["api_key"] != one.Secret || got["key_id"] != one.ID {
			t.Fatalf("imported: %v", got)
		}
		w.write("import/claude", map[string]any{"api_key": one.Secret}) // again: nothing
		w.refused(statusConflict, logical.UpdateOperation, "import/claude", map[string]any{"api_key": two.Secret, "cas": 7})
		w.write("import/claude", map[string]any{"api_key": two.Secret, "cas": 1})
		w.pass(30 * time.Minute)
		if !w.works(one.Secret) || !w.works(two.Secret) {
			t.Error("both keys must work during the grace")
		}
		w.pass(time.Hour)
		if w.works(one.Secret) || !w.works(two.Secret) {
			t.Error("the replaced key must be inactive after its grace")
		}
		w.pass(720 * time.Hour)
		if st := w.read("status/claude"); st["overdue"] != true {
			t.Errorf("an import that is due is not overdue: %v", st)
		}
		w.must(logical.DeleteOperation, "roles/claude", nil)
		w.pass(time.Hour)
		if !w.works(two.Secret) {
			t.Error("deleting the role withdrew a key that a person brought")
		}
	})
}

// The leak switch does not wait for a rotation that waits for its provider.
func TestRevokeInterruptsRotation(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		w.openai()
		w.write("roles/app", staticFields)
		leaked := w.read("creds/app")["api_key"]
		w.cloud.Fault(providertest.Fault{Kind: providertest.Hang, Method: "POST", Path: "/api_keys", Times: 2})
		rotated := make(chan error, 2)
		for i := range 2 { // the second one waits for the first
			req := &logical.Request{ID: fmt.Sprint("rotation", i), Operation: logical.UpdateOperation, Path: "rotate-role/app"}
			go func() { _, err := w.send(req); rotated <- err }()
			synctest.Wait()
		}
		began := time.Now()
		w.write("revoke/app", nil)
		if took := time.Since(began); took > time.Second {
			t.Errorf("revoke took %s", took)
		}
		if err := errors.Join(<-rotated, <-rotated); err == nil {
			t.Error("the interrupted rotations report success")
		}
		if w.works(leaked) {
			t.Error("the leaked key works")
		}
		w.pass(5 * time.Minute)
		w.refused(statusConflict, logical.ReadOperation, "creds/app", nil)
		if n := len(w.live("openai")); n != 0 {
			t.Errorf("%d keys live after revoke", n)
		}
	})
}

// A leak switch that was cut off is finished before anything else: what leaked
// is not served again.
func TestHalfWithdrawnIsNotServedAgain(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		w.openai()
		w.write("roles/app", staticFields)
		leaked := w.read("creds/app")["api_key"]
		e, err := w.b.keyEntryOf(w.t.Context(), w.storage, "app")
		if err != nil {
			t.Fatal(err)
		}
		e.Phase, e.Withdrawn = phaseWithdrawn, time.Now() // the switch's first write, and no more
		if err := save(w.t.Context(), w.storage, keyPrefix+"app", e); err != nil {
			t.Fatal(err)
		}
		w.b.InvalidateKey(w.t.Context(), keyPrefix+"app")
		w.write("rotate-role/app", nil)
		if got := w.read("creds/app"); got["api_key"] == leaked {
			t.Error("the leaked key is served again")
		}
		w.pass(time.Second)
		if w.works(leaked) {
			t.Error("the leaked key works")
		}
	})
}

// The portal regenerates the slot in use and a person brings its new value: the
// slot is not regenerated again when the old value's grace would end.
func TestBroughtSlotIsTheCurrentOne(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		w.azure()
		w.write("roles/gpt", azureFields)
		fresh := w.cloud.Azure.Regenerate(providertest.AzureResource{Group: providertest.AzureGroup, Name: providertest.AzureResourceName}, "Key1")
		w.write("import/gpt", map[string]any{"api_key": fresh.Secret})
		w.pass(time.Hour)
		if got := w.read("creds/gpt"); got["api_key"] != fresh.Secret || !w.works(fresh.Secret) {
			t.Errorf("after the import: %v", got["key_id"])
		}
	})
}

// The key before last, called back, is current again and not withdrawn.
func TestPreviousKeyCalledBack(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		w.openai()
		w.write("roles/app", staticFields)
		first := w.read("creds/app")
		w.write("rotate-role/app", nil)
		second := w.read("creds/app")
		w.write("import/app", map[string]any{"api_key": first["api_key"]})
		w.pass(time.Hour)
		if got := w.read("creds/app"); got["api_key"] != first["api_key"] || !w.works(first["api_key"]) || w.works(second["api_key"]) {
			t.Errorf("called back: %v", got)
		}
		w.refused(statusConflict, logical.UpdateOperation, "import/app", map[string]any{"api_key": w.leaseOf("ci")})
		w.must(logical.DeleteOperation, "roles/app", nil)
		w.pass(time.Minute)
		if w.works(first["api_key"]) {
			t.Error("the engine made this key, and it outlives its role")
		}
	})
}

// leaseOf makes a dynamic role and leases a key of it.
func (w *world) leaseOf(role string) any {
	w.t.Helper()
	w.write("roles/"+role, dynamicFields)
	resp, _ := w.lease(role, nil)
	return resp.Data["api_key"]
}

// One damaged entry does not keep the rest from its turn.
func TestDamagedEntries(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		w.openai()
		w.write("roles/app", staticFields)
		for _, path := range []string{rolePrefix + "aaa", keyPrefix + "aaa", ledgerPrefix + "oa/aaa"} {
			if err := w.storage.Put(w.t.Context(), &logical.StorageEntry{Key: path, Value: []byte("?")}); err != nil {
				t.Fatal(err)
			}
		}
		w.crash()
		w.pass(25 * time.Hour)
		if v := w.read("creds/app")["version"]; v != 2 {
			t.Errorf("version %v: the sound role was not rotated", v)
		}
		w.write("roles/ci", dynamicFields)
		w.lease("ci", nil)
	})
}

// What another role does with a resource is not undone, nor forgotten, by what
// was left over from an earlier role on it.
func TestLeftoverSlots(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		w.azure()
		o := w.cloud.Options().Azure
		w.write("accounts/az2", map[string]any{
			"provider": "azure-openai", "tenant_id": o.TenantID, "client_id": o.ClientID,
			"client_secret": o.ClientSecret, "subscription_id": o.SubscriptionID,
		})
		w.write("roles/gpt", azureFields)
		w.write("rotate-role/gpt", map[string]any{"grace_period": 0})
		old := w.read("creds/gpt")["api_key"] // Key2, made by the engine
		w.cloud.Fault(providertest.Fault{Kind: providertest.Broken, Path: "regenerateKey"})
		w.must(logical.DeleteOperation, "roles/gpt", nil) // Key2 is left to the ledger
		w.cloud.ClearFaults()
		w.write("roles/gpt2", map[string]any{"account": "az2", "resource_group": providertest.AzureGroup, "resource_name": providertest.AzureResourceName})
		w.refused(statusUnavailable, logical.UpdateOperation, "rotate-role/gpt2", nil) // would take Key2
		w.pass(time.Hour)
		w.write("rotate-role/gpt2", nil)
		w.pass(time.Hour)
		now := w.read("creds/gpt2")["api_key"]
		if w.works(old) || !w.works(now) {
			t.Error("the leftover of another role ended the current key")
		}
	})
}

// Everything moves to a new data key in the background, and the old one goes
// when no write that began with it can still be under way.
func TestResealing(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		w.openai()
		w.write("roles/app", staticFields)
		w.write("rotate-role/app", nil)
		first := w.read("creds/app")["api_key"]
		w.refused(statusInvalid, logical.UpdateOperation, "rewrap", nil)
		w.write("rewrap", map[string]any{"new_data_key": true})
		w.pass(time.Second)
		if st := w.read("status"); st["resealing"] != 0 {
			t.Errorf("status after resealing: %v", st)
		}
		w.crash()
		if got := w.read("creds/app")["api_key"]; got != first {
			t.Error("the key changed with its seal")
		}
		w.pass(2 * quarantine)
		keys, err := w.storage.List(w.t.Context(), dataKeyPrefix)
		if err != nil || len(keys) != 1 {
			t.Errorf("data keys at the end: %v %v, want one", keys, err)
		}
		w.crash()
		w.read("creds/app")
		w.write("rotate-role/app", nil)
	})
}

// A key that is being minted while its role is revoked goes as well.
func TestRevokeDuringARead(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		w.openai()
		leased(w)
		w.cloud.Fault(providertest.Fault{Kind: providertest.Slow, Method: "POST", Path: "/api_keys", Latency: 3 * time.Second, Times: 1})
		read := make(chan error, 1)
		req := &logical.Request{ID: "slow", Operation: logical.ReadOperation, Path: "creds/ci"}
		go func() { _, err := w.send(req); read <- err }()
		w.pass(time.Second)
		w.write("revoke/ci", nil)
		if err := <-read; statusOf(err) != statusConflict {
			t.Errorf("the read answers %v", err)
		}
		w.pass(time.Minute)
		if n := len(w.live("openai")); n != 0 {
			t.Errorf("%d keys live after revoke", n)
		}
	})
}

// An owner that the engine made serves one role, and a role can be written back
// as it was read.
func TestOwners(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		w.openai()
		w.write("roles/app", staticFields)
		was := w.read("roles/app")
		account := was["service_account_id"]
		delete(was, "version")
		w.write("roles/app", was)
		shared := map[string]any{"account": "oa", "project_id": providertest.MainProject, "service_account_id": account}
		w.refused(statusInvalid, logical.UpdateOperation, "roles/second", shared)
		w.write("revoke-account/oa", nil)
		for _, o := range w.cloud.Owners() {
			if o.Live {
				t.Errorf("service account %s is left after revoke-account", o.ID)
			}
		}
		w.write("rotate-role/app", nil) // makes another one
		w.sample()
		w.write("roles/app", map[string]any{"type": "dynamic"})
		w.write("roles/app", map[string]any{"type": "static"})
		if r := w.read("roles/app"); r["grace_period"] != int64(600) || r["rotation_period"] != int64(24*3600) {
			t.Errorf("after dynamic and back: %v", r)
		}
	})
}

// A caller that hangs up just before it gets its key leaves none behind.
func TestCallerHangsUp(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		w.openai()
		leased(w)
		ctx, hangUp := context.WithCancel(w.t.Context())
		puts := 0
		w.storage.beforePut(func(path string) {
			if puts++; puts == 2 && strings.HasPrefix(path, ledgerPrefix) { // intent, then live
				hangUp()
			}
		})
		req := &logical.Request{ID: "gone", Operation: logical.ReadOperation, Path: "creds/ci", Storage: w.storage}
		if resp, err := w.b.HandleRequest(ctx, req); err == nil {
			t.Errorf("answered %v to nobody", resp)
		}
		w.storage.beforePut(nil)
		w.pass(time.Minute)
		if n := len(w.live("openai")); n != 1 {
			t.Errorf("%d keys live, want the leased one", n)
		}
	})
}

// An account can be disabled while its provider is away, and serves nothing then.
func TestDisablingWhileTheProviderIsAway(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		w.openai()
		w.write("roles/app", staticFields)
		w.cloud.Fault(providertest.Fault{Kind: providertest.Broken})
		w.refused(statusUnavailable, logical.UpdateOperation, "accounts/oa", map[string]any{"admin_key": "sk-admin-other"})
		w.write("accounts/oa", map[string]any{"disabled": true})
		w.refused(statusForbidden, logical.ReadOperation, "creds/app", nil)
		w.cloud.ClearFaults()
		w.write("accounts/oa", map[string]any{"disabled": false})
		w.sample()
	})
}

// A previous key that cannot be withdrawn does not hold up the next rotation.
func TestRotationGoesOnWhileWithdrawingFails(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		w.openai()
		w.write("roles/app", staticFields)
		w.cloud.Fault(providertest.Fault{Kind: providertest.Status, Status: 500, Method: "DELETE"})
		w.pass(73 * time.Hour)
		if v := w.read("creds/app")["version"]; v != 4 {
			t.Errorf("version %v after three days, want 4", v)
		}
		w.cloud.ClearFaults()
		w.pass(time.Hour)
		if n := len(w.live("openai")); n != 1 {
			t.Errorf("%d keys live after recovery", n)
		}
	})
}
