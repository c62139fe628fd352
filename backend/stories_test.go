package backend

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/hashicorp/vault/sdk/logical"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/backend/provider/providertest"
)

// otherRoot adds an admin credential that is none of the engine's.
func otherRoot(w *world) { w.otherRoot = w.cloud.OpenAI.AddAdminKey("a person's").ID }

func (w *world) try(op logical.Operation, path string, data map[string]any) error {
	_, err := w.call(op, path, data)
	return err
}

// The fields of the roles in the stories.
var (
	staticFields  = map[string]any{"account": "oa", "type": "static", "project_id": providertest.MainProject, "rotation_period": "24h", "grace_period": "10m"}
	dynamicFields = map[string]any{"account": "oa", "type": "dynamic", "project_id": providertest.MainProject, "ttl": "2h", "max_ttl": "12h"}
	azureFields   = map[string]any{"account": "az", "resource_group": providertest.AzureGroup, "resource_name": providertest.AzureResourceName, "grace_period": "10m"}
	claudeFields  = map[string]any{"account": "an", "grace_period": "10m"}
)

// renew asks for a longer lease.
func (w *world) renew(s *logical.Secret) error {
	w.request++
	_, err := w.send(leaseRequest(fmt.Sprintf("request-%d", w.request), logical.RenewOperation, s))
	return err
}

func writing(path string, data map[string]any) func(*world) {
	return func(w *world) { w.write(path, data) }
}

func tryWrite(path string, data map[string]any) func(*world) error {
	return func(w *world) error { return w.try(logical.UpdateOperation, path, data) }
}

func leased(w *world) {
	w.write("roles/ci", dynamicFields)
	_, w.held = w.lease("ci", nil)
}

func overlapping(fields map[string]any, role string) func(*world) {
	return func(w *world) {
		w.write("roles/"+role, fields)
		w.write("rotate-role/"+role, nil)
	}
}

// sealed has two keys of a role, and two roles, stored.
func sealed(w *world) {
	w.write("roles/app", staticFields)
	w.write("rotate-role/app", nil)
	w.write("roles/gpt", azureFields)
	leased(w)
}

// livesAt reports whether the key of a lease is live.
func (w *world) livesAt(vendor string, s *logical.Secret) bool {
	return slices.ContainsFunc(w.live(vendor), func(k providertest.Key) bool { return k.Name == s.InternalData["tag"] })
}

func importing(w *world) {
	w.write("roles/claude", claudeFields)
	w.write("import/claude", map[string]any{"api_key": w.cloud.Anthropic.AddKey("one", "", 0).Secret})
	w.next = w.cloud.Anthropic.AddKey("two", "", 0)
}

func deleteAccount(w *world) error {
	w.leaving = true
	return w.try(logical.DeleteOperation, "accounts/oa", nil)
}

// What reconcile is asked in the stories.
var (
	sweeping    = map[string]any{"dry_run": false, "min_age": "1h"}
	sweepingAll = map[string]any{"dry_run": false, "min_age": "1h", "include_used": true}
)

// forgotten has storage go back to before a lease.
func forgotten(w *world) {
	leased(w)
	old := w.storage.copy()
	resp, _ := w.lease("ci", nil)
	w.orphaned, _ = resp.Data["key_id"].(string)
	w.restore(old)
	w.pass(2 * time.Hour)
}

// forgottenRole has storage go back to before a role, service account and all.
func forgottenRole(w *world) {
	leased(w)
	old := w.storage.copy()
	w.write("roles/app", staticFields)
	w.restore(old)
	w.pass(2 * time.Hour)
}

var stories = []story{
	{name: "static create", act: tryWrite("roles/app", staticFields)},
	{name: "static create twice", act: tryWrite("roles/app", staticFields), then: tryWrite("roles/app", staticFields)},
	{name: "static rotate twice", prepare: writing("roles/app", staticFields), act: tryWrite("rotate-role/app", nil), then: tryWrite("rotate-role/app", map[string]any{"grace_period": 0})},
	{name: "static revoke then rotate", prepare: overlapping(staticFields, "app"), act: tryWrite("revoke/app", nil), then: tryWrite("rotate-role/app", nil)},
	{name: "static revoke then delete", prepare: overlapping(staticFields, "app"), act: tryWrite("revoke/app", nil), then: func(w *world) error { return w.try(logical.DeleteOperation, "roles/app", nil) }},
	{name: "static revoke then dynamic", prepare: overlapping(staticFields, "app"), act: tryWrite("revoke/app", nil), then: tryWrite("roles/app", map[string]any{"type": "dynamic"})},
	{name: "import revoke then the same", prepare: importing, act: tryWrite("revoke/claude", nil), then: func(w *world) error {
		return w.try(logical.UpdateOperation, "import/claude", map[string]any{"api_key": w.cloud.Live("anthropic")[0].Secret})
	}},
	{name: "static rotate then revoke", prepare: writing("roles/app", staticFields), act: tryWrite("rotate-role/app", nil), then: tryWrite("revoke/app", nil)},
	{name: "static delete then create", prepare: overlapping(staticFields, "app"), act: func(w *world) error { return w.try(logical.DeleteOperation, "roles/app", nil) }, then: tryWrite("roles/app", staticFields)},
	{name: "static to dynamic and back", prepare: writing("roles/app", staticFields), act: tryWrite("roles/app", map[string]any{"type": "dynamic"}), then: tryWrite("roles/app", map[string]any{"type": "static"})},
	{name: "two-slot revoke then rotate", prepare: overlapping(azureFields, "gpt"), act: tryWrite("revoke/gpt", nil), then: tryWrite("rotate-role/gpt", nil)},
	{name: "two-slot delete then create", prepare: overlapping(azureFields, "gpt"), act: func(w *world) error { return w.try(logical.DeleteOperation, "roles/gpt", nil) }, then: tryWrite("roles/gpt2", azureFields)},
	{name: "two-slot create twice", act: tryWrite("roles/gpt", azureFields), then: tryWrite("rotate-role/gpt", nil)},
	{name: "static rotate", prepare: writing("roles/app", staticFields), act: tryWrite("rotate-role/app", nil)},
	{name: "static rotate at once", prepare: writing("roles/app", staticFields), act: tryWrite("rotate-role/app", map[string]any{"grace_period": 0})},
	{name: "static rotate in overlap", prepare: overlapping(staticFields, "app"), act: tryWrite("rotate-role/app", nil)},
	{name: "static rotate on schedule", prepare: writing("roles/app", staticFields), act: func(w *world) error { w.pass(24*time.Hour + 20*time.Minute); return nil }},
	{name: "static revoke", prepare: overlapping(staticFields, "app"), act: tryWrite("revoke/app", nil), final: func(w *world) {
		w.write("revoke/app", nil) // again, should the first have failed
		if n := len(w.live("openai")); n != 1 {
			w.t.Errorf("%d keys live after revoke, want the person's only", n)
		}
		w.write("rotate-role/app", nil)
		w.sample()
	}},
	{name: "static delete", prepare: overlapping(staticFields, "app"), act: func(w *world) error { return w.try(logical.DeleteOperation, "roles/app", nil) }},
	{name: "static import", prepare: func(w *world) {
		w.write("roles/app", staticFields)
		w.next = w.cloud.OpenAI.AddUserKey(providertest.MainProject, "brought")
	}, act: func(w *world) error {
		return w.try(logical.UpdateOperation, "import/app", map[string]any{"api_key": w.next.Secret})
	}, final: func(w *world) { w.cloud.Kill("openai", w.next.ID) }},
	{name: "static to dynamic", prepare: overlapping(staticFields, "app"), act: tryWrite("roles/app", map[string]any{"type": "dynamic"})},
	{name: "dynamic first read", prepare: writing("roles/ci", dynamicFields), act: func(w *world) error { return w.try(logical.ReadOperation, "creds/ci", nil) }},
	{name: "dynamic read", prepare: leased, act: func(w *world) error { return w.try(logical.ReadOperation, "creds/ci", nil) }},
	{name: "dynamic revoke lease", prepare: leased, act: func(w *world) error { return w.endLease(w.held) }, final: func(w *world) {
		if err := w.endLease(w.held); err != nil { // as Vault does until it succeeds
			w.t.Error(err)
		}
		if n := len(w.live("openai")); n != 1 {
			w.t.Errorf("%d keys live after the lease, want the person's only", n)
		}
	}},
	{name: "dynamic revoke role", prepare: leased, act: tryWrite("revoke/ci", nil)},
	{name: "dynamic revoke two leases", prepare: func(w *world) { leased(w); w.lease("ci", nil) }, act: tryWrite("revoke/ci", nil), final: func(w *world) {
		w.write("revoke/ci", nil) // again, should the first have failed
		if n := len(w.live("openai")); n != 1 {
			w.t.Errorf("%d keys live after revoke, want the person's only", n)
		}
	}},
	{name: "account revoke", prepare: func(w *world) { leased(w); w.write("roles/app", staticFields) }, act: tryWrite("revoke-account/oa", nil)},
	{name: "dynamic delete", prepare: leased, act: func(w *world) error { return w.try(logical.DeleteOperation, "roles/ci", nil) }},
	{name: "dynamic to static", prepare: leased, act: tryWrite("roles/ci", map[string]any{"type": "static"})},
	{name: "two-slot create", act: tryWrite("roles/gpt", azureFields)},
	{name: "two-slot rotate", prepare: writing("roles/gpt", azureFields), act: tryWrite("rotate-role/gpt", nil)},
	{name: "two-slot rotate in overlap", prepare: overlapping(azureFields, "gpt"), act: tryWrite("rotate-role/gpt", nil)},
	{name: "two-slot revoke", prepare: overlapping(azureFields, "gpt"), act: tryWrite("revoke/gpt", nil)},
	{name: "two-slot delete", prepare: overlapping(azureFields, "gpt"), act: func(w *world) error { return w.try(logical.DeleteOperation, "roles/gpt", nil) }},
	{name: "import", prepare: importing, act: func(w *world) error {
		return w.try(logical.UpdateOperation, "import/claude", map[string]any{"api_key": w.next.Secret})
	}},
	{name: "import revoke", prepare: importing, act: tryWrite("revoke/claude", nil)},
	{name: "root rotate", prepare: otherRoot, act: tryWrite("rotate-root/oa", nil)},
	{name: "root rotate twice", prepare: otherRoot, act: tryWrite("rotate-root/oa", nil), then: tryWrite("rotate-root/oa", nil)},
	{name: "root rotate again", prepare: func(w *world) { otherRoot(w); w.write("rotate-root/oa", nil) }, act: tryWrite("rotate-root/oa", nil)},
	{name: "root rotate on schedule", prepare: func(w *world) {
		otherRoot(w)
		w.write("accounts/oa", map[string]any{"rotation_period": "24h"})
	}, act: func(w *world) error { w.pass(24*time.Hour + time.Minute); return nil }},
	{name: "root rotate with keys", prepare: func(w *world) { leased(w); w.write("roles/app", staticFields) }, act: tryWrite("rotate-root/oa", nil), then: tryWrite("rotate-role/app", nil)},
	{name: "root rotate then change", prepare: otherRoot, act: tryWrite("rotate-root/oa", nil), then: tryWrite("accounts/oa", map[string]any{"requests_per_second": 50})},
	{name: "root replaced by hand", prepare: otherRoot, act: tryWrite("rotate-root/oa", nil), then: func(w *world) error {
		k := w.cloud.OpenAI.AddAdminKey("by hand")
		err := w.try(logical.UpdateOperation, "accounts/oa", map[string]any{"admin_key": k.Secret})
		w.byHand = k.ID
		return err
	}},
	{name: "account delete", prepare: func(w *world) { otherRoot(w); w.write("rotate-root/oa", nil) }, act: deleteAccount, then: deleteAccount},
	{name: "reconcile", prepare: forgotten, act: tryWrite("reconcile/oa", sweeping), then: tryWrite("reconcile/oa", sweeping), final: func(w *world) {
		for _, k := range w.cloud.Keys() {
			if k.ID == w.orphaned && k.Live {
				w.t.Errorf("the orphan %s (%s) is still live", k.ID, k.Name)
			}
		}
	}},
	{name: "reconcile with an owner", prepare: forgottenRole, act: tryWrite("reconcile/oa", sweepingAll), then: tryWrite("reconcile/oa", sweepingAll)},
	{name: "account change", prepare: writing("roles/app", staticFields), act: tryWrite("accounts/oa", map[string]any{"requests_per_second": 50})},
	{name: "account create", prepare: func(w *world) { otherRoot(w); w.next = w.cloud.OpenAI.AddAdminKey("initial too") }, act: func(w *world) error {
		return w.try(logical.UpdateOperation, "accounts/second", map[string]any{"provider": "openai", "admin_key": w.next.Secret})
	}},
	{name: "dynamic renew", prepare: leased, act: func(w *world) error { return w.renew(w.held) }, final: func(w *world) {
		if !w.livesAt("openai", w.held) {
			w.t.Error("the key of a lease that was to be renewed is dead")
		}
	}},
	{name: "dynamic without a lease", prepare: leased, act: func(w *world) error { w.pass(13 * time.Hour); return nil }, final: func(w *world) {
		if n := len(w.live("openai")); n != 1 {
			w.t.Errorf("%d keys live when no lease of them can be, want the person's only", n)
		}
	}},
	{name: "static grace over", prepare: overlapping(staticFields, "app"), act: func(w *world) error { w.pass(11 * time.Minute); return nil }},
	{name: "reseal", prepare: sealed, act: func(w *world) error {
		err := w.try(logical.UpdateOperation, "rewrap", map[string]any{"new_data_key": true})
		w.pass(time.Minute)
		return err
	}, final: func(w *world) { w.pass(2 * quarantine); w.resealed() }},
	{name: "reseal with transit", prepare: func(w *world) { w.write("config/transit", transitSettings("ai-keys")); sealed(w) }, act: func(w *world) error {
		err := w.try(logical.UpdateOperation, "config", map[string]any{"encryption": "transit"})
		w.pass(time.Minute)
		return err
	}, final: func(w *world) {
		w.write("config", map[string]any{"encryption": "transit"})
		w.pass(2 * quarantine)
		w.resealed()
	}},
	{name: "reseal without transit", prepare: func(w *world) { behindTransit(w); sealed(w) }, act: func(w *world) error {
		err := w.try(logical.UpdateOperation, "config", map[string]any{"encryption": "barrier"})
		w.pass(time.Minute)
		return errors.Join(err, w.try(logical.DeleteOperation, "config/transit", nil))
	}, final: func(w *world) {
		w.write("config", map[string]any{"encryption": "barrier"})
		w.pass(2 * quarantine)
		w.resealed()
		w.must(logical.DeleteOperation, "config/transit", nil)
	}},
	{name: "transit rewrap", prepare: func(w *world) { behindTransit(w); sealed(w); w.transit.rotate("ai-keys") }, act: tryWrite("rewrap", nil), final: func(w *world) {
		w.write("rewrap", nil)
		w.transit.retire("ai-keys")
		w.crash()
		w.sample()
	}},
	{name: "transit rewrap and retire", prepare: func(w *world) { behindTransit(w); sealed(w); w.transit.rotate("ai-keys") }, act: func(w *world) error {
		err := w.try(logical.UpdateOperation, "rewrap", map[string]any{"new_data_key": true})
		if err == nil { // the operator was told that the former version is no longer needed
			w.transit.retire("ai-keys")
		}
		w.pass(time.Minute)
		return err
	}, final: func(w *world) { w.pass(2 * quarantine); w.resealed() }},
	{name: "transit move", prepare: func(w *world) { behindTransit(w); sealed(w) }, act: tryWrite("config/transit", transitSettings("other")), final: func(w *world) {
		w.write("config/transit", transitSettings("other"))
		w.transit.drop("ai-keys")
		w.crash()
		w.sample()
	}},
	{name: "static rotate with transit", prepare: func(w *world) { behindTransit(w); w.write("roles/app", staticFields) }, act: tryWrite("rotate-role/app", nil)},
	{name: "dynamic read with transit", prepare: func(w *world) { behindTransit(w); leased(w) }, act: func(w *world) error { return w.try(logical.ReadOperation, "creds/ci", nil) }},
	{name: "dynamic revoke lease with transit", prepare: func(w *world) { behindTransit(w); leased(w) }, act: func(w *world) error { return w.endLease(w.held) }, final: func(w *world) {
		if err := w.endLease(w.held); err != nil {
			w.t.Error(err)
		}
		if n := len(w.live("openai")); n != 1 {
			w.t.Errorf("%d keys live after the lease, want the person's only", n)
		}
	}},
	{name: "root rotate with transit", prepare: func(w *world) { behindTransit(w); otherRoot(w) }, act: tryWrite("rotate-root/oa", nil)},
}
