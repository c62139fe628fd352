package backend

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/vault/sdk/logical"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/backend/provider/providertest"
)

// inImport runs a test in a world with a role that has a key of its own.
func inImport(t *testing.T, f func(w *world, minted string)) {
	t.Helper()
	t.Parallel()
	inWorld(t, func(w *world) {
		w.openai()
		w.write("roles/app", staticFields)
		minted, _ := w.read("creds/app")["api_key"].(string)
		f(w, minted)
	})
}

// refusesImport makes an import that must change nothing.
func (w *world) refusesImport(status int, role string, data map[string]any, says string) {
	w.t.Helper()
	before := w.read("status/" + role)["version"]
	if text := w.refused(status, logical.UpdateOperation, "import/"+role, data); !strings.Contains(text, says) {
		w.t.Errorf("answer %q does not say %q", text, says)
	}
	if after := w.read("status/" + role)["version"]; after != before {
		w.t.Errorf("version %v after a refused import, want %v", after, before)
	}
}

// Whoever names somebody else's key does not get it withdrawn.
func TestImportUnderAnotherKeysID(t *testing.T) {
	inImport(t, func(w *world, minted string) {
		stranger := w.cloud.OpenAI.AddUserKey(providertest.MainProject, "somebody's")
		elsewhere := w.cloud.OpenAI.AddUserKey(providertest.DefaultProject, "another project's")
		here := w.cloud.OpenAI.AddUserKey(providertest.MainProject, "to import")
		for _, k := range []providertest.Key{elsewhere, here} {
			w.refusesImport(statusInvalid, "app", map[string]any{"api_key": k.Secret, "key_id": stranger.ID}, "key_id")
		}
		w.write("revoke/app", nil)
		w.pass(time.Hour)
		if !w.works(stranger.Secret) || !w.works(elsewhere.Secret) || w.works(minted) {
			t.Error("revoke must end the role's own key, and no other")
		}
	})
}

// A slot is no key of another resource.
func TestImportOfAnotherResourcesSlot(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		w.azure()
		w.write("roles/gpt", azureFields)
		w.refusesImport(statusInvalid, "gpt", map[string]any{"api_key": strings.Repeat("k", 32), "key_id": "Key1"}, "neither Key1 nor Key2")
	})
}

// A key that the role could never withdraw is not taken for one that it can.
func TestImportFromElsewhere(t *testing.T) {
	inImport(t, func(w *world, _ string) {
		elsewhere := w.cloud.OpenAI.AddUserKey(providertest.DefaultProject, "another project's")
		w.refusesImport(statusInvalid, "app", map[string]any{"api_key": elsewhere.Secret, "key_id": elsewhere.ID}, "project or workspace of role")

		resp, err := w.call(logical.UpdateOperation, "import/app", map[string]any{"api_key": elsewhere.Secret})
		if err != nil || len(resp.Warnings) == 0 || resp.Data["key_id"] != "" {
			t.Fatalf("without an id: %v %v", resp, err)
		}
		w.pass(time.Hour)
		if got := w.write("revoke/app", nil); got["withdrawn"] != 0 || len(got["by_hand"].([]string)) != 1 {
			t.Errorf("revoke says %v of a key that it cannot withdraw", got)
		}
		w.anthropic()
		w.write("roles/claude", map[string]any{"account": "an", "workspace_id": "wrkspc_ours"})
		theirs := w.cloud.Anthropic.AddKey("theirs", "wrkspc_theirs", 0)
		w.refusesImport(statusInvalid, "claude", map[string]any{"api_key": theirs.Secret, "key_id": theirs.ID}, "project or workspace of role")
	})
}

// An id that cannot be looked up is not taken on trust.
func TestImportWhileTheListIsAway(t *testing.T) {
	inImport(t, func(w *world, _ string) {
		k := w.cloud.OpenAI.AddUserKey(providertest.MainProject, "to import")
		for _, fault := range []providertest.Fault{
			{Kind: providertest.Broken}, {Kind: providertest.Status, Status: 500}, {Kind: providertest.Throttled, RetryAfter: "1"},
		} {
			fault.Method, fault.Path = "GET", "/api_keys"
			w.cloud.Fault(fault)
			w.refusesImport(statusUnavailable, "app", map[string]any{"api_key": k.Secret, "key_id": k.ID}, "nothing changed")
			w.cloud.ClearFaults()
			w.pass(time.Minute)
		}
		w.write("import/app", map[string]any{"api_key": k.Secret, "key_id": k.ID})
	})
}

// A key that was only just made is waited for.
func TestImportBeforeTheListHasIt(t *testing.T) {
	inImport(t, func(w *world, _ string) {
		w.net.behind(10*time.Second, time.Hour)
		k := w.cloud.OpenAI.AddUserKey(providertest.MainProject, "to import")
		if got := w.write("import/app", map[string]any{"api_key": k.Secret, "key_id": k.ID}); got["key_id"] != k.ID {
			t.Errorf("imported: %v", got)
		}
		began := time.Now()
		w.refusesImport(statusInvalid, "app", map[string]any{"api_key": "sk-proj-nobody's", "key_id": "key_nobody"}, "refuses this key")
		if took := time.Since(began); took > time.Second {
			t.Errorf("a key that does not work was waited for: %s", took)
		}
	})
}

// The leak switch does not wait for a key that is waited for.
func TestRevokeInterruptsAnImport(t *testing.T) {
	inImport(t, func(w *world, minted string) {
		elsewhere := w.cloud.OpenAI.AddUserKey(providertest.DefaultProject, "another project's")
		imported := make(chan error, 1)
		req := &logical.Request{ID: "import", Operation: logical.UpdateOperation, Path: "import/app", Data: map[string]any{"api_key": elsewhere.Secret, "key_id": elsewhere.ID}}
		go func() { _, err := w.send(req); imported <- err }()
		w.pass(time.Second)
		began := time.Now()
		w.write("revoke/app", nil)
		if took := time.Since(began); took > time.Second || w.works(minted) {
			t.Errorf("revoke took %s", took)
		}
		if err := <-imported; statusOf(err) != statusUnavailable {
			t.Errorf("the interrupted import answers %v", err)
		}
	})
}

// What the provider could not tell the first time is made good by the next.
func TestImportAgainLearnsTheID(t *testing.T) {
	t.Parallel()
	for _, withID := range []bool{true, false} {
		t.Run(fmt.Sprint("key_id ", withID), func(t *testing.T) {
			inImport(t, func(w *world, _ string) {
				w.net.behind(time.Minute, time.Hour)
				k := w.cloud.OpenAI.AddUserKey(providertest.MainProject, "to import")
				data := map[string]any{"api_key": k.Secret}
				if got := w.write("import/app", data); got["key_id"] != "" {
					t.Fatalf("known before it is listed: %v", got)
				}
				if got := w.write("import/app", data); got["key_id"] != "" || got["version"] != 2 {
					t.Errorf("again, not listed yet: %v", got)
				}
				w.pass(2 * time.Minute)
				stranger := w.cloud.OpenAI.AddUserKey(providertest.MainProject, "somebody's")
				w.pass(2 * time.Minute)
				w.refusesImport(statusInvalid, "app", map[string]any{"api_key": k.Secret, "key_id": stranger.ID}, k.ID)
				if withID {
					data["key_id"] = k.ID
				}
				resp, err := w.call(logical.UpdateOperation, "import/app", data)
				if err != nil || resp.Data["key_id"] != k.ID || resp.Data["version"] != 2 || !strings.Contains(fmt.Sprint(resp.Warnings), k.ID) {
					t.Errorf("again: %v %v", resp, err)
				}
				w.crash()
				if got := w.read("creds/app"); got["key_id"] != k.ID || got["api_key"] != k.Secret {
					t.Errorf("served: %v", got["key_id"])
				}
				w.write("revoke/app", nil)
				if w.works(k.Secret) || !w.works(stranger.Secret) {
					t.Error("revoke must end the brought key, and no other")
				}
			})
		})
	}
}

// Of two roles that are brought one key at the same moment, one gets it.
func TestImportIntoTwoRolesAtOnce(t *testing.T) {
	inImport(t, func(w *world, _ string) {
		w.write("roles/second", staticFields)
		k := w.cloud.OpenAI.AddUserKey(providertest.MainProject, "to import")
		w.cloud.Fault(providertest.Fault{Kind: providertest.Slow, Path: "/models", Latency: 3 * time.Second})
		imported := make(chan error, 2)
		for _, role := range []string{"app", "second"} {
			req := &logical.Request{ID: "import-" + role, Operation: logical.UpdateOperation, Path: "import/" + role, Data: map[string]any{"api_key": k.Secret}}
			go func() { _, err := w.send(req); imported <- err }()
		}
		if err := errors.Join(<-imported, <-imported); err == nil || statusOf(err) != statusConflict {
			t.Errorf("two roles with one key: %v, want one refused", err)
		}
		w.cloud.ClearFaults()
		w.pass(time.Hour)
		held := 0
		for _, role := range []string{"app", "second"} {
			if w.read("creds/" + role)["api_key"] == k.Secret {
				held++
			}
		}
		if held != 1 {
			t.Errorf("%d roles hold the key, want 1", held)
		}
	})
}

// A key whose id is not known yet is known by its secret.
func TestImportOfANamelessKeyIntoTwoRoles(t *testing.T) {
	inImport(t, func(w *world, _ string) {
		w.write("roles/second", staticFields)
		k := w.cloud.OpenAI.AddUserKey(providertest.MainProject, "to import")
		w.net.behind(time.Minute, time.Hour)
		w.write("import/app", map[string]any{"api_key": k.Secret})
		w.refusesImport(statusConflict, "second", map[string]any{"api_key": k.Secret}, `role "app"`)
		w.pass(2 * time.Minute) // listed
		w.refusesImport(statusConflict, "second", map[string]any{"api_key": k.Secret}, `role "app"`)
		w.write("import/app", map[string]any{"api_key": k.Secret, "key_id": k.ID})
		w.refusesImport(statusConflict, "second", map[string]any{"api_key": k.Secret}, `role "app"`)
	})
}
