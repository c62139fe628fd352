package backend

import (
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
		w.cloud.Fault(providertest.Fault{Kind: providertest.Hang, Method: "POST", Path: "/api_keys", Times: 1})
		rotated := make(chan error)
		go func() { rotated <- w.try(logical.UpdateOperation, "rotate-role/app", nil) }()
		synctest.Wait()
		began := time.Now()
		w.request++
		w.write("revoke/app", nil)
		if took := time.Since(began); took > time.Second {
			t.Errorf("revoke took %s", took)
		}
		if err := <-rotated; err == nil {
			t.Error("the interrupted rotation reports success")
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
