package e2e

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/test/devvault"
)

// TestStorageFaults: Vault's storage takes no more writes. What is served is served
// on, what cannot be written down is not asked of a provider, answers say what is
// wrong, and everything goes on by itself, in the same processes, when there is
// room again.
func TestStorageFaults(t *testing.T) {
	t.Parallel()
	for _, f := range []struct {
		name        string
		begin, over func(*disk)
		says        string
	}{
		{"disk full", (*disk).fill, (*disk).clear, "no space left on device"},
		{"read-only", (*disk).readOnly, (*disk).writable, "read-only file system"},
	} {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			d := newDisk(t, 64)
			s := beginAt(t, vaultWith(t, devvault.Options{Files: true, Data: d.dir}), nil)
			t.Cleanup(func() { f.over(d) }) // before the story ends
			s.storedKeys()
			before, plugins := s.vault.PID(), s.plugins()

			f.begin(d)
			s.withoutStorage(f.says)
			f.over(d)

			s.storageIsBack()
			if s.vault.PID() != before || !slices.Equal(s.plugins(), plugins) {
				t.Errorf("a process was started again: plugins %v, before %v", s.plugins(), plugins)
			}
		})
	}
	t.Run("now and then", func(t *testing.T) {
		t.Parallel()
		d := newDisk(t, 64)
		s := beginAt(t, vaultWith(t, devvault.Options{Files: true, Data: d.dir}), nil)
		t.Cleanup(d.clear)
		s.storedKeys()
		for range 15 { // it fills up in the middle of things
			for _, path := range []string{"rotate-role/sta", "revoke/wild", "rotate-role/wild"} {
				done := make(chan answer, 1)
				go func() { done <- s.try(http.MethodPut, path, nil) }()
				d.fill()
				s.try(http.MethodGet, "creds/dyn", nil)
				<-done
				s.works(s.creds("sta"), "the static key")
				d.clear()
			}
		}
		s.storageIsBack()
	})
}

// TestRaftDiskFull: raft cannot do without its log, so Vault gives up leading, or
// ends. What it had stored is all there when there is room again.
func TestRaftDiskFull(t *testing.T) {
	t.Parallel()
	d := newDisk(t, 128)
	s := beginAt(t, vaultWith(t, devvault.Options{Data: d.dir}), nil)
	s.client.SetClientTimeout(5 * time.Second)
	t.Cleanup(d.clear)
	s.storedKeys()
	static := s.creds("sta")

	d.fill()
	s.until("writes fail", func() bool {
		if a := s.try(http.MethodPut, "rotate-role/sta", fields{"grace_period": "1h"}); a.status != 0 {
			return true
		}
		static = s.creds("sta") // raft had room of its own left
		return false
	})
	s.works(static, "the static key, which its consumers have")
	d.clear()

	if s.vault.Ended() {
		t.Log("Vault has ended, and is started again")
	}
	s.until("Vault leads again", func() bool {
		if s.vault.Ended() {
			if err := s.vault.Restart(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		return s.try(http.MethodGet, "status", nil).status == 0
	})
	s.storageIsBack()
}

// storedKeys makes an account and roles of all sorts.
func (s *story) storedKeys() {
	s.Helper()
	s.openAI("main", nil)
	s.write("roles/sta", s.static("main", fields{"grace_period": "1s"}))
	s.write("roles/wild", s.static("main", fields{"grace_period": "1s"}))
	s.write("roles/busy", s.static("main", fields{"rotation_period": "2s", "grace_period": "1s"}))
	s.write("roles/dyn", s.dynamic("main", nil))
	s.creds("dyn")
}

// withoutStorage sees what happens while nothing can be written.
func (s *story) withoutStorage(says string) {
	s.Helper()
	leased := s.list("keys/main")
	s.until("writes fail", func() bool { return s.try(http.MethodPut, "rotate-role/sta", nil).status != 0 })
	made := len(s.cloud.Keys())
	s.refused(http.StatusInternalServerError, http.MethodPut, "rotate-role/sta", nil, says)
	s.refused(http.StatusInternalServerError, http.MethodGet, "creds/dyn", nil, says)
	s.refused(http.StatusInternalServerError, http.MethodPut, "roles/more", s.static("main", nil), says)
	s.refused(http.StatusInternalServerError, http.MethodPut, "revoke/wild", nil, says)
	s.refused(http.StatusInternalServerError, http.MethodPut, "rotate-root/main", nil, says)
	if err := s.client.Sys().RevokePrefix(s.engine.Path + "/creds/dyn"); err == nil {
		s.Error("leases were revoked without a word in storage")
	}
	var next time.Time
	s.until("a rotation is due", func() bool {
		s.works(s.creds("busy"), "the key that should be rotated")
		s.works(s.creds("sta"), "the static key")
		var err error
		if next, err = time.Parse(time.RFC3339, toText(s.read("status/busy")["next_rotation"])); err != nil {
			s.Fatal(err)
		}
		return time.Since(next) > 2*time.Second
	})
	if now := len(s.cloud.Keys()); now != made {
		s.Errorf("%d keys were asked for that could not be written down", now-made)
	}
	// To delete something needs no room, and makes some: a lease may have ended all
	// the same, and its key with it. None may be forgotten that is alive.
	known := s.list("keys/main")
	for _, k := range s.minted() {
		if !slices.Contains(known, k.Name) {
			s.Errorf("the inventory has lost %s: %v, before %v", k.Name, known, leased)
		}
	}
	metrics := s.metrics()
	if !strings.Contains(metrics, `class="storage"`) {
		s.Errorf("the metrics do not count failures of storage")
	}
}

// storageIsBack sees that everything goes on.
func (s *story) storageIsBack() {
	s.Helper()
	for _, role := range []string{"sta", "wild"} {
		s.until(role+" can be rotated", func() bool { return s.try(http.MethodPut, "rotate-role/"+role, nil).status == 0 })
		s.works(s.creds(role), "the new key of "+role)
	}
	busy := s.creds("busy")
	s.until("what is due is rotated", func() bool { return s.creds("busy").id() != busy.id() })
	s.write("roles/busy", fields{"rotation_period": 0})
	k := s.creds("dyn")
	s.works(k, "a leased key")
	if err := s.client.Sys().RevokeWithOptions(&api.RevokeOptions{LeaseID: k.lease, Sync: true}); err != nil {
		s.Error(err)
	}
	s.dead(k, "a leased key whose lease was revoked")
	s.write("rotate-root/main", nil)
	s.until("status is healthy", func() bool { return s.read("status")["healthy"] == true })
	s.allKnown()
}

func (s *story) plugins() []int {
	s.Helper()
	pids, err := s.vault.PluginProcesses()
	if err != nil {
		s.Fatal(err)
	}
	return pids
}
