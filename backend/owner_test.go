package backend

import (
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
)

// Somebody removes, at the provider, the service account that a role's keys hang on.
// The role gets another with its next key.
func TestRemovedOwner(t *testing.T) {
	t.Parallel()
	for name, try := range map[string]func(*world) error{
		"static": func(w *world) error {
			_, err := w.call(logical.UpdateOperation, "rotate-role/app", nil)
			return err
		},
		"dynamic": func(w *world) error {
			_, err := w.call(logical.ReadOperation, "creds/ci", nil)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inWorld(t, func(w *world) {
				w.openai()
				w.write("roles/app", staticFields)
				w.write("roles/ci", dynamicFields)
				w.read("creds/ci")
				first := w.cloud.Owners()
				for _, o := range first {
					w.cloud.OpenAI.RemoveServiceAccount(o.ID)
				}
				if err := try(w); err == nil || strings.Contains(err.Error(), "was removed") {
					t.Fatalf("a young service account was given up: %v", err)
				}
				w.pass(10 * time.Minute)
				if err := try(w); statusOf(err) != statusUnavailable || !strings.Contains(err.Error(), "was removed at the provider") {
					t.Fatalf("%v, want that it was removed", err)
				}
				w.pass(time.Minute)
				if err := try(w); err != nil {
					t.Fatal(err)
				}
				w.pass(time.Hour)
				live := 0
				for _, o := range w.cloud.Owners() {
					if o.Live {
						live++
					}
				}
				if live == 0 || live > 2 {
					t.Errorf("%d service accounts are live", live)
				}
				if name == "static" && !w.works(w.read("creds/app")["api_key"]) {
					t.Error("the static role serves a dead key")
				}
				for _, l := range w.b.ledger.filter(func(l *line) bool { return l.State != stateLive }) {
					t.Errorf("%s %s is %s", l.Kind, l.Tag, l.State)
				}
			})
		})
	}
}
