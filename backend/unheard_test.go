package backend

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/vault/sdk/logical"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/backend/provider/providertest"
)

// A slot about which a call went unanswered gets no new key while that call may
// still take effect; the other slot goes on being served, and the leak switch does
// not wait.
func TestUnansweredCallsAboutSlots(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		w.azure()
		w.write("roles/gpt", azureFields)
		first := w.read("creds/gpt")["api_key"]
		w.cloud.Fault(providertest.Fault{Kind: providertest.Broken, Path: "regenerateKey", Times: 1})
		w.refused(statusUnavailable, logical.UpdateOperation, "rotate-role/gpt", nil)
		for range 2 {
			if got := w.refused(statusUnavailable, logical.UpdateOperation, "rotate-role/gpt", nil); !strings.Contains(got, "may still take effect") {
				t.Errorf("asked again at once: %s", got)
			}
		}
		if st := w.read("status/gpt"); st["phase"] != string(phaseMinting) || !strings.Contains(st["last_error"].(string), "may still take effect") {
			t.Errorf("status: %v", st)
		}
		if got := w.read("creds/gpt")["api_key"]; got != first || !w.works(got) {
			t.Error("the key in use is not served meanwhile")
		}
		w.pass(5 * time.Minute) // it was asked for, so it comes by itself
		if got := w.read("creds/gpt"); got["key_id"] != "Key2" || !w.works(got["api_key"]) {
			t.Errorf("after the wait: %v", got["key_id"])
		}
		w.pass(time.Hour)
		w.cloud.Fault(providertest.Fault{Kind: providertest.Broken, Path: "regenerateKey", Times: 1})
		w.refused(statusUnavailable, logical.UpdateOperation, "rotate-role/gpt", nil)
		if got := w.write("revoke/gpt", nil); got["withdrawn"] != 2 { // the key in use, and what the attempt may make
			t.Errorf("revoke: %v", got)
		}
		if got := w.refused(statusConflict, logical.ReadOperation, "creds/gpt", nil); got == "" {
			t.Error("something is served after revoke")
		}
		w.write("rotate-role/gpt", nil) // the slot that the call was not about
		w.sample()
		w.pass(time.Hour)
		w.sample()
	})
}

// A key that is found under a tag and withdrawn makes room for another at once,
// while the tag is watched for more.
func TestSweptKeysMakeRoom(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		w.openai()
		w.write("roles/ci", map[string]any{"account": "oa", "project_id": providertest.MainProject, "max_active": 1})
		w.lease("ci", nil) // makes the service account
		w.write("revoke/ci", nil)
		w.cloud.After(func(r *http.Request) error {
			if r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/api_keys") {
				w.storage.die()
				return errInjected
			}
			return nil
		})
		read := &logical.Request{ID: "a-read", Operation: logical.ReadOperation, Path: "creds/ci"}
		if _, err := w.send(read); err == nil {
			t.Fatal("the process should have died")
		}
		w.cloud.After(nil)
		w.crash()
		if n := len(w.live("openai")); n != 1 {
			t.Fatalf("%d keys are live, want what the dead process asked for", n)
		}
		resp, err := w.send(read)
		if err != nil {
			t.Fatalf("sent again: %v", err)
		}
		if n := len(w.live("openai")); n != 1 || !w.works(resp.Data["api_key"]) {
			t.Errorf("%d keys are live, want the one that was handed out", n)
		}
		w.refused(statusExhausted, logical.ReadOperation, "creds/ci", nil)
		w.pass(10 * time.Minute)
		if lines := w.b.ledger.ofRole("ci"); len(lines) != 2 { // its key and its service account
			t.Errorf("the ledger at the end: %v", lines)
		}
		w.refused(statusExhausted, logical.ReadOperation, "creds/ci", nil)
		w.crash()
		w.refused(statusExhausted, logical.ReadOperation, "creds/ci", nil)
	})
}

// A call that was not answered is looked for long enough, however long it took to
// write down that it would be made.
func TestLateCallsAfterSlowStorage(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		prepare func(*world)
		act     func(*world) error
	}{
		{"dynamic read", leased, func(w *world) error { return w.try(logical.ReadOperation, "creds/ci", nil) }},
		{"static create", leased, tryWrite("roles/app", staticFields)},
		{"static rotate", writing("roles/app", staticFields), tryWrite("rotate-role/app", nil)},
		{"two-slot rotate", writing("roles/gpt", azureFields), tryWrite("rotate-role/gpt", nil)},
		{"root rotate", nil, tryWrite("rotate-root/oa", nil)},
	} {
		for how, dies := range map[string]bool{"goes on": false, "dies": true} {
			t.Run(c.name+"/"+how, func(t *testing.T) {
				t.Parallel()
				inWorld(t, func(w *world) {
					w.openai()
					w.azure()
					w.brought = w.cloud.OpenAI.AddUserKey(providertest.MainProject, "a person's").ID
					if c.prepare != nil {
						c.prepare(w)
					}
					w.write("config", map[string]any{"settle_after": "30s", "provider_timeout": "10s", "verify_timeout": "10s"})
					w.storage.beforePut(func(string) { time.Sleep(25 * time.Second) })
					w.net.plan(1, func() bool {
						w.storage.beforePut(nil)
						return dies && w.storage.die()
					}, 35*time.Second)
					if err := c.act(w); err == nil {
						t.Fatal("a call was lost, and nobody noticed")
					}
					if !w.net.reached() {
						t.Fatal("no call was sent")
					}
					w.net.plan(0, nil)
					if dies {
						w.crash()
					}
					for range 12 {
						w.pass(time.Minute)
						w.sample()
					}
					w.atRest()
					w.tearDown()
				})
			})
		}
	}
}
