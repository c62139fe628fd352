package e2e

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/vault/api"
)

func TestDynamicKeyLife(t *testing.T) {
	t.Parallel()
	s := begin(t)
	s.openAI("main", nil)
	s.write("roles/app", s.dynamic("main", fields{"ttl": "10m", "max_ttl": "1h", "metadata": fields{"team": "search"}}))

	k := s.creds("app")
	s.works(k, "a leased key")
	if k.ttl != 600 || k.fields["role"] != "app" || k.fields["account"] != "main" || k.fields["provider"] != "openai" {
		t.Errorf("the key is %v, lease of %ds", k.fields["role"], k.ttl)
	}
	if diff := cmp.Diff(map[string]any{"team": "search"}, k.fields["metadata"]); diff != "" {
		t.Error(diff)
	}
	expires, err := time.Parse(time.RFC3339, k.fields["expires_at"].(string))
	if left := time.Until(expires); err != nil || left < time.Hour || left > 70*time.Minute {
		t.Errorf("expires_at is %v (%v), want max_ttl and a margin", k.fields["expires_at"], err)
	}
	if other := s.creds("app"); other.secret() == k.secret() || other.id() == k.id() {
		t.Error("two reads got one key")
	}

	tags := s.list("keys/main")
	if len(tags) != 2 {
		t.Fatalf("the inventory lists %v, want two keys", tags)
	}
	line := s.read("keys/main/" + tags[0])
	if line["state"] != "live" || line["role"] != "app" || line["api_key"] != nil {
		t.Errorf("the inventory says %v", line)
	}

	renewed, err := s.client.Sys().Renew(k.lease, 1200)
	if err != nil {
		t.Fatal(err)
	}
	if d := renewed.LeaseDuration; d < 600 || d > 1200 {
		t.Errorf("renewed for %ds", d)
	}
	if err := s.client.Sys().Revoke(k.lease); err != nil {
		t.Fatal(err)
	}
	s.dies(k, "the key of a revoked lease")
	if _, err := s.client.Sys().Renew(k.lease, 60); err == nil {
		t.Error("a revoked lease was renewed")
	}
	s.until("the inventory lists one key", func() bool { return len(s.list("keys/main")) == 1 })
}

func TestLeaseEnds(t *testing.T) {
	t.Parallel()
	s := begin(t)
	s.openAI("main", nil)
	s.write("roles/short", s.dynamic("main", fields{"ttl": "1h"}))
	k := s.credsOf(s.do(http.MethodGet, "creds/short?ttl=2s", nil))
	if k.ttl != 2 {
		t.Errorf("the lease is of %ds, want the 2s asked for", k.ttl)
	}
	s.works(k, "a key with a short lease")
	s.dies(k, "the key of a lease that has ended")
	s.refused(http.StatusBadRequest, http.MethodGet, "creds/short?ttl=2h", nil, "ttl", "longer")
}

func TestMaxActive(t *testing.T) {
	t.Parallel()
	s := begin(t)
	s.openAI("main", nil)
	s.write("roles/few", s.dynamic("main", fields{"max_active": 2}))
	first, second := s.creds("few"), s.creds("few")
	s.refused(http.StatusTooManyRequests, http.MethodGet, "creds/few", nil, "max_active is 2", "revoke a lease")
	if n := len(s.minted()); n != 2 {
		t.Errorf("%d keys are live, want 2", n)
	}
	if err := s.client.Sys().RevokeWithOptions(&api.RevokeOptions{LeaseID: first.lease, Sync: true}); err != nil {
		t.Fatal(err)
	}
	s.works(s.creds("few"), "a key in the place of another")
	s.works(second, "the other key")
}

func TestWrappedRead(t *testing.T) {
	t.Parallel()
	s := begin(t)
	s.openAI("main", nil)
	s.write("roles/wrapped", s.dynamic("main", fields{"wrap_ttl": "5m"}))
	secret := s.do(http.MethodGet, "creds/wrapped", nil)
	if secret.WrapInfo == nil || secret.WrapInfo.TTL != 300 || secret.Data["api_key"] != nil {
		t.Fatal("the answer is not wrapped")
	}
	inner, err := s.client.Logical().Unwrap(secret.WrapInfo.Token)
	if err != nil {
		t.Fatal(err)
	}
	s.works(s.credsOf(inner), "an unwrapped key")
	if _, err := s.client.Logical().Unwrap(secret.WrapInfo.Token); err == nil {
		t.Error("it was unwrapped twice")
	}
}

func TestRevokeRole(t *testing.T) {
	t.Parallel()
	s := begin(t)
	s.openAI("main", nil)
	s.write("roles/leaky", s.dynamic("main", nil))
	s.write("roles/calm", s.dynamic("main", nil))
	leaked := []key{s.creds("leaky"), s.creds("leaky"), s.creds("leaky")}
	calm := s.creds("calm")

	done := s.write("revoke/leaky", nil)
	if n := (key{fields: done.Data}).number("withdrawn"); n != 3 {
		t.Errorf("%d keys were withdrawn, want 3", n)
	}
	for _, k := range leaked {
		s.dead(k, "a leaked key")
	}
	s.works(calm, "another role's key")
	s.works(s.creds("leaky"), "a key read after the leak") // a dynamic role goes on
	// Vault still has the leases: ending them later must do no harm.
	if err := s.client.Sys().RevokePrefix(s.engine.Path + "/creds/leaky"); err != nil {
		t.Error(err)
	}
	s.write("revoke-account/main", nil)
	s.dead(calm, "a key of a compromised account")
	if left := s.list("keys/main"); len(left) != 0 {
		t.Errorf("the inventory still lists %v", left)
	}
}

func TestDeletingRolesAndAccounts(t *testing.T) {
	t.Parallel()
	s := begin(t)
	s.openAI("main", nil)
	s.write("roles/a", s.dynamic("main", nil))
	s.write("roles/b", s.static("main", nil))
	leased, static := s.creds("a"), s.creds("b")
	s.refused(http.StatusBadRequest, http.MethodDelete, "accounts/main", nil, "used by 2 roles", "a, b")
	s.remove("roles/a")
	s.dies(leased, "the key of a deleted dynamic role")
	s.works(static, "another role's key")
	s.remove("roles/b")
	s.dies(static, "the key of a deleted static role")
	s.refused(http.StatusNotFound, http.MethodGet, "creds/a", nil, `no role named "a"`)
	s.until("the service accounts are gone", func() bool { return s.owners() == 0 })
	s.remove("accounts/main")
	s.refused(http.StatusNotFound, http.MethodGet, "accounts/main", nil)
	s.remove("roles/a") // again: no harm
}

func TestOwnServiceAccount(t *testing.T) {
	t.Parallel()
	s := begin(t)
	s.openAI("main", nil)
	owner := s.ownServiceAccount()
	s.write("roles/guest", s.dynamic("main", fields{"service_account_id": owner, "scopes": "model.request,api.model.read"}))
	k := s.creds("guest")
	s.works(k, "a key of a service account that somebody else made")
	at, _ := s.cloud.Key(k.secret())
	if diff := cmp.Diff([]string{"model.request", "api.model.read"}, at.Permissions); diff != "" || at.Owner != owner {
		t.Errorf("owner %s, want %s; scopes %s", at.Owner, owner, diff)
	}
	s.remove("roles/guest")
	s.dies(k, "the guest's key")
	for _, o := range s.cloud.Owners() {
		if o.ID == owner && !o.Live {
			t.Error("a service account that the role did not make went with it")
		}
	}
}

func TestTypeSwitch(t *testing.T) {
	t.Parallel()
	s := begin(t)
	s.openAI("main", nil)
	s.write("roles/app", s.dynamic("main", nil))
	leased := s.creds("app")
	s.write("roles/app", fields{"type": "static", "grace_period": "1s"})
	static := s.creds("app")
	if static.lease != "" || static.number("version") != 1 {
		t.Errorf("lease %q, version %v after the switch to static", static.lease, static.fields["version"])
	}
	s.works(static, "the static key")
	s.works(leased, "the leased key, after the switch to static")
	s.write("roles/app", fields{"type": "dynamic"})
	fresh := s.creds("app")
	if fresh.lease == "" || fresh.secret() == static.secret() {
		t.Error("the role is still static")
	}
	s.dies(static, "the static key, after its grace")
	s.works(fresh, "the new leased key")
}

func TestManyReadersAtOnce(t *testing.T) {
	t.Parallel()
	s := begin(t)
	s.openAI("main", nil)
	s.write("roles/app", s.dynamic("main", fields{"max_active": 20}))
	const readers = 30
	answers := make(chan answer, readers)
	for range readers {
		go func() { answers <- s.try(http.MethodGet, "creds/app", nil) }()
	}
	given, refused := 0, 0
	for range readers {
		switch a := <-answers; {
		case a.status == 0:
			given++
			s.works(s.credsOf(a.Secret), "a key")
		case a.status == http.StatusTooManyRequests && strings.Contains(a.text, "max_active"):
			refused++
		default:
			t.Errorf("status %d: %s", a.status, a.text)
		}
	}
	if given != 20 || refused != 10 {
		t.Errorf("%d readers got a key and %d were refused, want 20 and 10", given, refused)
	}
	if n := s.owners(); n != 1 {
		t.Errorf("the role has %d service accounts, want 1", n)
	}
}
