package e2e

import (
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/backend/provider/providertest"
)

// TestPluginKilled: the plugin dies while the provider is being asked. Vault
// starts it again, and repeats the request if it has noticed by then; nothing is
// lost, nothing is left.
func TestPluginKilled(t *testing.T) { //nolint:tparallel // they kill one and the same plugin
	t.Parallel()
	v := ownVault(t)
	if _, err := v.PluginProcesses(); errors.Is(err, errors.ErrUnsupported) {
		t.Skip(err)
	}
	for _, moment := range []struct {
		name string
		hook func(*providertest.Cloud, func(*http.Request) error)
	}{
		{"before the provider acts", (*providertest.Cloud).Before},
		{"after the provider has acted", (*providertest.Cloud).After},
	} {
		for _, call := range []struct{ name, method, path, asked string }{
			{"leasing", http.MethodGet, "creds/dyn", "POST /api_keys"},
			{"rotating", http.MethodPut, "rotate-role/sta", "POST /api_keys"},
			{"creating", http.MethodPut, "roles/new", "POST /api_keys"},
			{"creating the owner", http.MethodPut, "roles/new", "POST /service_accounts"},
			{"tidying the owner", http.MethodPut, "roles/new", "DELETE /api_keys/"},
			{"revoking", http.MethodPut, "revoke/dyn", "DELETE /api_keys/"},
			{"deleting", http.MethodDelete, "roles/dyn", "DELETE /"},
			{"making an admin key", http.MethodPut, "rotate-root/main", "POST /admin_api_keys"},
			{"ending an admin key", http.MethodPut, "rotate-root/main", "DELETE /admin_api_keys/"},
		} {
			t.Run(call.name+", "+moment.name, func(t *testing.T) {
				s := beginAt(t, v, nil)
				s.openAI("main", nil)
				s.write("roles/dyn", s.dynamic("main", nil))
				s.write("roles/sta", s.static("main", fields{"grace_period": "1h"}))
				s.creds("dyn")
				static := s.creds("sta")
				killed := make(chan int, 1)
				var once atomic.Bool
				method, part, _ := strings.Cut(call.asked, " ")
				moment.hook(s.cloud, func(r *http.Request) error {
					if r.Method != method || !strings.Contains(r.URL.Path, part) || once.Swap(true) {
						return nil
					}
					n, err := v.KillPlugin()
					if err != nil {
						return err
					}
					killed <- n
					return errors.New("the caller has gone")
				})
				var data fields
				if call.path == "roles/new" {
					data = s.static("main", nil)
				}
				a := s.try(call.method, call.path, data)
				if n := <-killed; n != 1 {
					t.Fatalf("%d plugins were killed, want 1", n)
				}
				s.afterCrash(a, call.path, static)
			})
		}
	}
}

// afterCrash checks what must hold, whatever the interrupted request answered.
func (s *story) afterCrash(a answer, path string, static key) {
	s.Helper()
	s.until("Vault has started the plugin again", func() bool { return s.try(http.MethodGet, "status", nil).status == 0 })
	s.allKnown()
	s.until("the engine has settled", func() bool { return s.read("status")["healthy"] == true })
	if path != "rotate-role/sta" || a.status != 0 {
		s.works(static, "the static key from before the crash") // in its grace, at the least
	}
	if path == "rotate-root/main" {
		s.until("one admin key is left", func() bool { return len(s.admins()) == 1 })
	}
	current := s.creds("sta")
	s.works(current, "the static key that is served")
	if a.status == 0 && path == "creds/dyn" {
		s.works(s.credsOf(a.Secret), "the key that the interrupted reader got")
	}
	if a.status == 0 && path == "roles/new" {
		s.works(s.creds("new"), "the key of the role that was being made")
	} else if path == "roles/new" {
		s.refused(http.StatusNotFound, http.MethodGet, "roles/new", nil)
	}
	if path == "revoke/dyn" && a.status == 0 && len(s.list("keys/main")) != 1 {
		s.Errorf("a key of the revoked role is left: %v", s.list("keys/main"))
	}
	if path == "roles/dyn" {
		s.remove("roles/dyn") // done already, or not at all
		s.until("its keys are gone", func() bool { return len(s.list("keys/main")) == 1 })
		return
	}
	s.works(s.creds("dyn"), "a new leased key")
}

// TestRestart: stopped, and killed, and started again.
func TestRestart(t *testing.T) {
	t.Parallel()
	v := ownVault(t)
	s := beginAt(t, v, nil)
	s.openAI("main", nil)
	s.write("roles/dyn", s.dynamic("main", nil))
	s.write("roles/sta", s.static("main", fields{"rotation_period": "24h", "grace_period": "1h"}))
	s.write("rotate-role/sta", nil)
	static, leased, ending := s.creds("sta"), s.creds("dyn"), s.credsOf(s.do(http.MethodGet, "creds/dyn?ttl=3s", nil))
	before := s.read("status/sta")

	for _, how := range []struct {
		name string
		stop func() error
	}{{"stopped", v.Stop}, {"killed", v.Kill}} {
		if err := how.stop(); err != nil {
			t.Fatal(err)
		}
		s.works(static, "the static key, while Vault is "+how.name)
		if err := v.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
		if k := s.creds("sta"); k.secret() != static.secret() || k.fields["version"] != static.fields["version"] {
			t.Errorf("another key is served after Vault was %s", how.name)
		}
		after := s.read("status/sta")
		for _, name := range []string{"phase", "version", "key_id", "previous_key_id", "previous_expires", "next_rotation"} {
			if before[name] != after[name] {
				t.Errorf("%s was %v, and is %v after Vault was %s", name, before[name], after[name], how.name)
			}
		}
	}
	s.dies(ending, "a key whose lease ended around a restart")
	if err := s.client.Sys().RevokeWithOptions(&api.RevokeOptions{LeaseID: leased.lease, Sync: true}); err != nil {
		t.Fatal(err)
	}
	s.dead(leased, "a key leased before the restarts, and revoked")
}

// TestRotationWhileDown: what came due while Vault was away is done at its return.
func TestRotationWhileDown(t *testing.T) {
	t.Parallel()
	v := ownVault(t)
	s := beginAt(t, v, nil)
	s.openAI("main", nil)
	s.write("roles/sta", s.static("main", fields{"rotation_period": "4s", "grace_period": "2s"}))
	first := s.creds("sta")
	if err := v.Kill(); err != nil {
		t.Fatal(err)
	}
	made, _ := s.cloud.Key(first.secret())
	s.until("the rotation is due", func() bool { return time.Since(made.Created) > 4*time.Second })
	s.works(first, "the key, while Vault is away")
	if err := v.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.until("the key is rotated", func() bool { return s.creds("sta").secret() != first.secret() })
	s.works(s.creds("sta"), "the new key")
	s.dies(first, "the old key")
}
