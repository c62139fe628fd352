package e2e

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/hashicorp/vault/api"
)

// TestTransitOutages: whatever stands between the engine and its transit key,
// reads fail with the name of it and work again without a restart.
func TestTransitOutages(t *testing.T) {
	t.Parallel()
	t.Run("policy withdrawn", func(t *testing.T) {
		t.Parallel()
		s := away(t, "1s")
		if err := s.client.Sys().PutPolicy(s.engine.Identity(), `path "transit/none" { capabilities = ["deny"] }`); err != nil {
			t.Fatal(err)
		}
		s.outage("transit call denied by policy", "policy")
		if err := s.client.Sys().PutPolicy(s.engine.Identity(), s.engine.Policy()); err != nil {
			t.Fatal(err)
		}
		s.recovers()
	})
	t.Run("key no longer decrypts", func(t *testing.T) {
		t.Parallel()
		s := away(t, "1s")
		s.transit("keys/"+s.engine.Key+"/rotate", nil)
		s.transit("keys/"+s.engine.Key+"/config", fields{"min_decryption_version": 2})
		s.outage("transit key unusable", "key")
		s.transit("keys/"+s.engine.Key+"/config", fields{"min_decryption_version": 1})
		s.recovers()
	})
	t.Run("role of the login deleted", func(t *testing.T) {
		t.Parallel()
		s := away(t, "1s")
		role := "auth/approle/role/" + s.engine.Identity()
		if _, err := s.client.Logical().Delete(role); err != nil {
			t.Fatal(err)
		}
		s.revokeTokens() // the other way round, it could log in once more in between
		s.outage("no valid token for transit", "token")
		settings, err := s.vault.Identify(s.Context(), devEngine(s, mark+"-another-secret-id"))
		if err != nil {
			t.Fatal(err)
		}
		s.write("config/transit", settings)
		s.recovers()
	})
	t.Run("key deleted", func(t *testing.T) {
		t.Parallel()
		s := away(t, "1s")
		backup, err := s.client.Logical().Write("transit/keys/"+s.engine.Key+"/config", fields{
			"deletion_allowed": true, "exportable": true, "allow_plaintext_backup": true,
		})
		if err != nil {
			t.Fatal(backup, err)
		}
		backup, err = s.client.Logical().Read("transit/backup/" + s.engine.Key)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.client.Logical().Delete("transit/keys/" + s.engine.Key); err != nil {
			t.Fatal(err)
		}
		s.outage("transit key unusable", "key")
		s.transit("restore/"+s.engine.Key, fields{"backup": backup.Data["backup"]})
		s.recovers()
	})
	t.Run("token revoked", func(t *testing.T) {
		t.Parallel()
		s := away(t, "0")
		s.revokeTokens()
		s.works(s.creds("static"), "a key read with a fresh login") // no outage at all
	})
}

// TestNewTransitKeyVersion: after rewrap the old version of the transit key may be
// retired, and with a new data key everything is sealed anew.
func TestNewTransitKeyVersion(t *testing.T) {
	t.Parallel()
	s := away(t, "0") // each read asks transit
	before := s.creds("static")
	s.transit("keys/"+s.engine.Key+"/rotate", nil)
	if got := s.write("rewrap", nil); got.Data["rewrapped"] != json.Number("1") {
		t.Errorf("rewrap answers %v, want one data key", got.Data)
	}
	s.transit("keys/"+s.engine.Key+"/config", fields{"min_decryption_version": 2})
	if got := s.creds("static"); got.secret() != before.secret() {
		t.Error("another key after rewrap")
	}
	s.transit("keys/"+s.engine.Key+"/rotate", nil)
	s.write("rewrap", fields{"new_data_key": true})
	s.transit("keys/"+s.engine.Key+"/config", fields{"min_decryption_version": 3}) // before everything is sealed anew
	s.until("everything is sealed anew", func() bool { return s.read("status")["resealing"] == json.Number("0") })
	if got := s.creds("static"); got.secret() != before.secret() {
		t.Error("another key after resealing")
	}
	s.works(s.creds("dynamic"), "a leased key")
}

// away is a story with a static key and a leased one, about to lose transit.
func away(t *testing.T, dataKeyTTL string) *story {
	t.Helper()
	s := beginAt(t, sharedVault(t), fields{"data_key_ttl": dataKeyTTL})
	s.openAI("main", nil)
	s.write("roles/static", s.static("main", nil))
	s.write("roles/dynamic", s.dynamic("main", nil))
	return s
}

// outage waits until reads fail as they must, and sees that everything says why.
func (s *story) outage(text, class string) {
	s.Helper()
	leased := s.try(http.MethodGet, "creds/dynamic", nil)
	s.until("reads fail", func() bool { return s.try(http.MethodGet, "creds/static", nil).status != 0 })
	s.refused(http.StatusServiceUnavailable, http.MethodGet, "creds/static", nil, text)
	s.refused(http.StatusServiceUnavailable, http.MethodGet, "creds/dynamic", nil, text)
	s.refused(http.StatusServiceUnavailable, http.MethodPut, "rotate-role/static", nil, text)
	st := s.read("status")
	if tr := st["transit"].(map[string]any); tr["failing"] != true || tr["last_error_class"] != class || st["healthy"] != false {
		s.Errorf("status: healthy %v, transit %v; want class %s", st["healthy"], tr, class)
	}
	if leased.status != 0 {
		return
	}
	// The lease ends now; the key waits on the ledger.
	err := s.client.Sys().RevokeWithOptions(&api.RevokeOptions{LeaseID: leased.LeaseID, Sync: true})
	if err == nil {
		s.Error("a key was withdrawn without the admin credential")
	}
	tags := s.list("keys/main")
	if len(tags) == 0 {
		s.Error("a key that must be withdrawn is not on the ledger")
	}
}

func (s *story) recovers() {
	s.Helper()
	s.until("reads work again", func() bool { return s.try(http.MethodGet, "creds/static", nil).status == 0 })
	s.works(s.creds("static"), "the static key")
	s.works(s.creds("dynamic"), "a new leased key")
	s.until("what waited is withdrawn, and status is healthy", func() bool {
		return s.read("status")["healthy"] == true && len(s.list("keys/main")) == 2
	})
}

func (s *story) transit(path string, data fields) {
	s.Helper()
	if _, err := s.client.Logical().Write("transit/"+path, data); err != nil {
		s.Fatal(err)
	}
}

// revokeTokens ends the tokens that the engine has at transit.
func (s *story) revokeTokens() {
	s.Helper()
	list, err := s.client.Logical().List("auth/token/accessors")
	if err != nil {
		s.Fatal(err)
	}
	revoked := 0
	for _, a := range list.Data["keys"].([]any) {
		token, err := s.client.Auth().Token().LookupAccessor(a.(string))
		if err != nil {
			continue // another test's, and gone meanwhile
		}
		policies, _ := token.Data["policies"].([]any)
		for _, p := range policies {
			if p == s.engine.Identity() {
				if err := s.client.Auth().Token().RevokeAccessor(a.(string)); err != nil {
					s.Fatal(err)
				}
				revoked++
			}
		}
	}
	if revoked == 0 {
		s.Fatal("the engine has no token")
	}
}

// TestMovingTransit: another key, while everything is in use.
func TestMovingTransit(t *testing.T) {
	t.Parallel()
	s := begin(t)
	s.openAI("main", nil)
	s.write("roles/app", s.static("main", nil))
	first := s.creds("app")
	moved := devEngine(s, mark+"-secret-id-moved")
	moved.Key += "-moved"
	moved.Path += "-moved" // an identity of its own, that can use no other key
	settings, err := s.vault.Identify(s.Context(), moved)
	if err != nil {
		t.Fatal(err)
	}
	s.write("config/transit", settings)
	if k := s.creds("app"); k.secret() != first.secret() {
		t.Error("another key is served after the move")
	}
	s.transit("keys/"+s.engine.Key+"/config", fields{"deletion_allowed": true})
	if _, err := s.client.Logical().Delete("transit/keys/" + s.engine.Key); err != nil {
		t.Fatal(err)
	}
	s.write("config/transit", fields{"data_key_ttl": 0}) // nothing is in memory from now on
	if k := s.creds("app"); k.secret() != first.secret() {
		t.Error("another key is served without the old transit key")
	}
	s.write("rotate-role/app", nil)

	s.write("config", fields{"encryption": "barrier"})
	s.until("everything is resealed", func() bool { return s.read("status")["resealing"].(interface{ String() string }).String() == "0" })
	s.remove("config/transit")
	s.works(s.creds("app"), "the key, without transit")
}

// TestWithoutTransit: nothing secret is stored before there is something to
// seal it with.
func TestWithoutTransit(t *testing.T) {
	t.Parallel()
	s := begin(t)
	s.remove("config/transit")
	account := fields{"provider": "openai", "base_url": s.fakes.OpenAI.BaseURL, "admin_key": s.fakes.OpenAI.AdminKey}
	s.refused(http.StatusBadRequest, http.MethodPut, "accounts/main", account, "transit is not configured")
	s.refused(http.StatusNotFound, http.MethodGet, "accounts/main", nil)
	s.write("config", fields{"encryption": "barrier"})
	s.write("accounts/main", account)
	s.write("roles/app", s.static("main", nil))
	s.works(s.creds("app"), "a key sealed by the barrier")
	if st := s.read("status"); st["encryption"] != "barrier" || !strings.Contains(toText(st["transit"]), "configured:false") {
		t.Errorf("status: %v", st)
	}
}
