package e2e

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/backend/provider/providertest"
)

// admins are the live admin keys at OpenAI.
func (s *story) admins() []providertest.Key {
	return slices.DeleteFunc(s.cloud.Keys(), func(k providertest.Key) bool {
		return k.Provider != providertest.ProviderOpenAI || !k.Admin || !k.Live
	})
}

// TestRotateRoot: the admin key that an operator gave is replaced by one that
// nobody else has seen, and everything goes on with that.
func TestRotateRoot(t *testing.T) {
	t.Parallel()
	s := begin(t)
	s.openAI("main", nil)
	s.write("roles/sta", s.static("main", nil))
	s.write("roles/dyn", s.dynamic("main", nil))
	given := s.cloud.Options().OpenAI.AdminKey
	others := s.cloud.OpenAI.AddAdminKey("by hand").ID

	rotated := s.write("rotate-root/main", nil)
	live := s.admins()
	if len(live) != 2 || live[0].ID != others || live[1].ID != rotated.Data["key_id"] {
		t.Fatalf("rotate-root answers %v; live: %v", rotated.Data, names(live))
	}
	if k, _ := s.cloud.Key(given); k.Live {
		t.Error("the key that the operator gave is still live")
	}
	account := s.read("accounts/main")
	if toText(account["credential_version"]) != "1" || account["credential_id"] != rotated.Data["key_id"] {
		t.Errorf("accounts/main: %v", account)
	}
	s.works(s.creds("sta"), "the static key")
	s.works(s.creds("dyn"), "a leased key")
	s.write("rotate-role/sta", nil)

	s.write("accounts/main", fields{"rotation_period": "3s"})
	s.until("the admin key is rotated by itself", func() bool { return toText(s.read("accounts/main")["credential_version"]) != "1" })
	s.write("accounts/main", fields{"rotation_period": 0})
	s.until("one of ours is left", func() bool { return len(s.admins()) == 2 })
	s.works(s.creds("dyn"), "a leased key")

	s.refused(http.StatusNotFound, http.MethodPut, "rotate-root/nobody", nil, "no account named")
	s.refused(http.StatusBadRequest, http.MethodPut, "accounts/main", fields{"admin_key": given}, "not saved")
}

// TestReconcile: an account is given up while its provider refuses to withdraw
// anything, and what it left there is found and withdrawn later.
func TestReconcile(t *testing.T) {
	t.Parallel()
	s := begin(t)
	s.openAI("main", nil)
	s.write("roles/dyn", s.dynamic("main", nil))
	lost, used := s.creds("dyn"), s.creds("dyn")
	person := s.cloud.OpenAI.AddUserKey(providertest.MainProject, "by hand").ID

	s.cloud.Fault(providertest.Fault{Kind: providertest.Status, Status: 403, Method: http.MethodDelete})
	s.remove("roles/dyn")
	given := s.do(http.MethodDelete, "accounts/main?force=true", nil)
	for _, k := range []key{lost, used} {
		if !strings.Contains(strings.Join(given.Warnings, " "), k.id()) {
			t.Fatalf("what was given up is not named: %v", given.Warnings)
		}
	}
	s.cloud.ClearFaults()
	s.openAI("main", nil)
	s.write("roles/sta", s.static("main", nil))
	owner := s.cloud.Owners()[0].ID

	s.expectOrphans(fields{"dry_run": false}, "reported too_young", lost.id(), used.id(), owner)
	s.cloud.Age(48 * time.Hour)
	s.works(used, "an orphan that somebody uses")
	s.expectOrphans(nil, "reported dry_run", lost.id())
	s.expectOrphans(nil, "reported in_use", used.id(), owner)
	s.expectOrphans(fields{"dry_run": false}, "withdrawn", lost.id())
	s.dead(lost, "the orphan that nobody uses")
	s.works(used, "the orphan that somebody uses")
	s.expectOrphans(fields{"dry_run": false, "include_used": true}, "withdrawn", used.id(), owner)
	s.dead(used, "the orphan that somebody used")
	s.expectOrphans(fields{"dry_run": false, "include_used": true}, "")
	s.works(s.creds("sta"), "the static key")
	if !slices.ContainsFunc(s.cloud.Live(providertest.ProviderOpenAI), func(k providertest.Key) bool { return k.ID == person }) {
		t.Error("a person's key was withdrawn")
	}
	s.refused(http.StatusBadRequest, http.MethodPut, "reconcile/main", fields{"min_age": "1m"}, "at least 1h")
}

// expectOrphans reconciles and checks of which orphans it says that.
func (s *story) expectOrphans(data fields, says string, ids ...string) {
	s.Helper()
	answer := s.write("reconcile/main", data).Data
	got := []string{}
	for _, o := range answer["orphans"].([]any) {
		if o := o.(fields); says == "" || strings.TrimSpace(fmt.Sprint(o["action"], " ", o["reason"])) == says {
			got = append(got, o["key_id"].(string))
		}
	}
	slices.Sort(got)
	slices.Sort(ids)
	if !slices.Equal(got, ids) {
		s.Errorf("reconcile %v: %q of %v, want of %v: %v", data, says, got, ids, answer["orphans"])
	}
	if ghosts := answer["ghosts"].([]any); len(ghosts) > 0 {
		s.Errorf("ghosts: %v", ghosts)
	}
}
