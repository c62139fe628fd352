package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/backend/provider/providertest"
)

// TestNothingTellsSecrets plants recognisable secrets, lets the engine do all
// it can do, and looks for them everywhere. The server's log and audit file are
// searched when it has stopped.
func TestNothingTellsSecrets(t *testing.T) {
	t.Parallel()
	v := ownVault(t)
	s := beginAt(t, v, nil)
	s.everything()

	for _, path := range []string{"accounts", "roles", "providers", "keys/main", "keys/claude", "keys/cloud"} {
		s.silent("LIST", path)
	}
	paths := []string{"config", "config/transit", "status"}
	for _, prefix := range []string{"accounts", "roles", "providers", "keys/main", "keys/claude", "keys/cloud"} {
		for _, name := range s.list(prefix) {
			paths = append(paths, prefix+"/"+name)
		}
	}
	for _, role := range s.list("roles") {
		paths = append(paths, "status/"+role)
	}
	for _, path := range paths {
		s.silent(http.MethodGet, path)
	}

	// What sys/raw answers is audited in the clear.
	if err := errors.Join(searchFiles(v), s.client.Sys().DisableAudit("file")); err != nil {
		t.Fatal(err)
	}
	raw, err := v.RawStorage(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	ours, sealed, excepted := 0, 0, 0
	for path, value := range raw {
		if bytes.Contains(value, []byte(`"sealed":"`)) || bytes.Contains(value, []byte(`"secret":"`)) {
			sealed++
		}
		i := slices.IndexFunc(marks(), func(m string) bool { return bytes.Contains(value, []byte(m)) })
		if strings.HasPrefix(path, "logical/") {
			ours++
		}
		switch {
		case i < 0:
		case mayHold(path, s.engine.Path):
			excepted++
		default:
			t.Errorf("storage holds a secret at %s: %s", path, around(value, bytes.Index(value, []byte(marks()[i]))))
		}
	}
	if ours == 0 || sealed < 6 || excepted < 2 { // three accounts, three static roles; a lease, and the engine's login
		t.Errorf("%d entries below logical/, %d sealed ones, %d exceptions: what was searched?", ours, sealed, excepted)
	}
}

// mayHold lists the documented exceptions: Vault keeps the answer of a lease,
// and of a wrapped answer, until it is over; and the engine's own login at
// transit cannot be sealed by transit.
func mayHold(path, mount string) bool {
	return strings.HasPrefix(path, "sys/expire/id/"+mount+"/creds/") ||
		strings.HasPrefix(path, "logical/") && strings.HasSuffix(path, "/transit") && strings.Count(path, "/") == 2 ||
		strings.HasPrefix(path, "logical/") && strings.HasSuffix(path, "/response") // the cubbyhole of a wrapping token
}

// everything makes each kind of secret come by, and each kind of failure.
func (s *story) everything() {
	s.Helper()
	s.openAI("main", nil)
	s.azure("cloud")
	s.anthropic("claude")
	s.write("roles/dyn", s.dynamic("main", fields{"metadata": fields{"team": "a"}}))
	s.write("roles/wrapped", s.dynamic("main", fields{"wrap_ttl": "5m"}))
	s.write("roles/sta", s.static("main", fields{"grace_period": "1h"}))
	s.write("roles/chat", fields{
		"account": "cloud", "resource_group": s.fakes.Azure.ResourceGroup, "resource_name": s.fakes.Azure.ResourceName, "grace_period": "1h",
	})
	s.write("roles/bot", fields{"account": "claude"})
	person := s.cloud.Anthropic.AddKey("by hand", "", 0)
	s.write("import/bot", fields{"api_key": person.Secret})
	for _, role := range []string{"dyn", "sta", "chat", "bot"} {
		k := s.creds(role)
		if !strings.Contains(k.secret(), mark) {
			s.Fatalf("the key of %s does not bear the mark", role)
		}
		s.works(k, "a key")
	}
	s.do(http.MethodGet, "creds/wrapped", nil)
	s.write("rotate-role/sta", nil)
	s.write("rotate-role/chat", nil)
	s.write("revoke/chat", nil)

	for _, kind := range []providertest.Kind{providertest.Status, providertest.Huge, providertest.HTML, providertest.CutShort, providertest.Broken} {
		for _, call := range []struct{ method, path string }{{http.MethodGet, "creds/dyn"}, {http.MethodPut, "rotate-role/sta"}, {http.MethodPut, "rotate-role/chat"}} {
			s.cloud.Fault(providertest.Fault{Kind: kind, Status: http.StatusBadGateway, Method: http.MethodPost, Times: 1, After: true})
			a := s.try(call.method, call.path, nil)
			s.check(a, a.status, call.path)
			s.cloud.ClearFaults()
		}
	}
	secret := mark + "-wrong"
	for _, m := range []mistake{
		{"accounts/main", fields{"admin_key": secret}, 400, nil},
		{"accounts/main", fields{"admin_key": fields{"a": secret}}, 400, nil},
		{"accounts/cloud", fields{"client_secret": secret}, 400, nil},
		{"accounts/claude", fields{"admin_key": secret}, 400, nil},
		{"accounts/new", fields{"provider": "openai", "admin_key": []any{secret}}, 400, nil},
		{"config/transit", fields{"secret_id": secret}, 400, nil},
		{"config/transit", fields{"auth_method": "token", "token": secret}, 400, nil},
		{"import/bot", fields{"api_key": secret}, 400, nil},
		{"import/bot", fields{"api_key": fields{"a": secret}}, 400, nil},
	} {
		m.refusedBy(s)
	}
	s.write("rotate-role/sta", nil) // what failed is made good
	s.write("rotate-role/chat", nil)
	s.until("the dust has settled", func() bool { return len(s.read("status")["failing"].(map[string]any)) == 0 })
}

// silent reads what must hold no secret.
func (s *story) silent(method, path string) {
	s.Helper()
	a := s.try(method, path, nil)
	if a.status != 0 {
		s.Fatalf("%s %s: %d: %s", method, path, a.status, a.text)
	}
	text, err := json.Marshal(a.Secret)
	if err != nil {
		s.Fatal(err)
	}
	for _, m := range marks() {
		if bytes.Contains(text, []byte(m)) {
			s.Errorf("%s %s tells a secret: %s", method, path, text)
		}
	}
}
