package okta

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/test/devvault"
)

// A vault is a real Vault in front of an organisation with alice in it.
type vault struct {
	t      *testing.T
	org    *Server
	server *devvault.Server
	root   *api.Client
}

// inFront starts a Vault with auth/okta as an operator would set it up.
func inFront(t *testing.T) vault {
	t.Helper()
	b, err := devvault.Find()
	switch {
	case errors.Is(err, devvault.ErrMissing) && os.Getenv("AI_KEYS_REQUIRE_ALL") != "1":
		t.Skip(err)
	case err != nil:
		t.Fatal(err)
	}
	org := serve(t)
	s, err := devvault.Start(t.Context(), devvault.Options{
		Binaries: devvault.Binaries{Vault: b.Vault}, Dir: t.TempDir(), Env: org.Environment(),
	})
	must(t, err)
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
		if refused := org.Refused(); len(refused) > 0 {
			t.Errorf("Vault asked the proxy for %q", refused)
		}
		if missing := org.Calls()[""]; missing > 0 {
			t.Errorf("Vault called %d times what there is not", missing)
		}
	})
	root, err := s.Client(s.RootToken)
	must(t, err)
	v := vault{t, org, s, root}
	v.enable("okta")
	v.write("auth/okta/config", map[string]any{"org_name": "acme", "base_url": "okta.com", "api_token": org.APIToken()})
	v.write("auth/okta/groups/AI-Developers", map[string]any{"policies": "developer"})
	return v
}

func (v vault) enable(method string) {
	v.t.Helper()
	must(v.t, v.root.Sys().EnableAuthWithOptionsWithContext(v.t.Context(), method, &api.MountInput{Type: method}))
}

func (v vault) write(path string, data map[string]any) map[string]any {
	v.t.Helper()
	s, err := v.root.Logical().WriteWithContext(v.t.Context(), path, data)
	must(v.t, err)
	if s == nil {
		return nil
	}
	return s.Data
}

func (v vault) accessor(mount string) string {
	v.t.Helper()
	mounts, err := v.root.Sys().ListAuthWithContext(v.t.Context())
	must(v.t, err)
	return mounts[mount+"/"].Accessor
}

// anybody is a client without a token.
func (v vault) anybody() *api.Client {
	v.t.Helper()
	c, err := v.server.Client("")
	must(v.t, err)
	return c
}

// login logs somebody in with alice's password, or with what the fields say.
func (v vault) login(name string, fields map[string]any) (*api.SecretAuth, error) {
	v.t.Helper()
	if fields["password"] == nil {
		fields["password"] = secret
	}
	s, err := v.anybody().Logical().WriteWithContext(v.t.Context(), "auth/okta/login/"+name, fields)
	if err != nil {
		return nil, err
	}
	return s.Auth, nil
}

// enters is a login that ends with a token for developers.
func (v vault) enters(name string, fields map[string]any) *api.SecretAuth {
	v.t.Helper()
	auth, err := v.login(name, fields)
	must(v.t, err)
	if auth.ClientToken == "" || !slices.Contains(auth.Policies, "developer") {
		v.t.Errorf("%s entered with %q", name, auth.Policies)
	}
	return auth
}

func (v vault) staysOut(name string, fields map[string]any, because string) {
	v.t.Helper()
	_, err := v.login(name, fields)
	refused(v.t, err, because)
}

func refused(t *testing.T, err error, because string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), because) {
		t.Errorf("refused with %v, want %q", err, because)
	}
}

func TestVaultPassword(t *testing.T) {
	t.Parallel()
	v := inFront(t)
	if auth := v.enters(alice, map[string]any{}); auth.Metadata["username"] != alice {
		t.Errorf("%v", auth.Metadata)
	}
	v.enters("alice", map[string]any{})
	v.staysOut(alice, map[string]any{"password": "wrong"}, "okta authentication failed")
	must(t, v.org.SetStatus(alice, LockedOut))
	v.staysOut(alice, map[string]any{}, "okta authentication failed")
	must(t, v.org.SetStatus(alice, Active))

	v.org.RevokeAPIToken()
	v.staysOut(alice, map[string]any{}, "okta authentication failed")
	v.write("auth/okta/config", map[string]any{"api_token": v.org.RenewAPIToken()})
	v.enters(alice, map[string]any{})

	must(t, v.org.Leave(alice, "AI-Developers"))
	auth, err := v.login(alice, map[string]any{})
	must(t, err)
	if !slices.Equal(auth.Policies, []string{"default"}) {
		t.Errorf("out of the group, alice has %q", auth.Policies)
	}
}

// Without a token Vault cannot see groups, and nobody is told.
func TestVaultWithoutToken(t *testing.T) {
	t.Parallel()
	v := inFront(t)
	v.write("auth/okta/config", map[string]any{"api_token": ""})
	auth, err := v.login(alice, map[string]any{})
	must(t, err)
	if !slices.Equal(auth.Policies, []string{"default"}) {
		t.Errorf("without groups, alice has %q", auth.Policies)
	}
	v.staysOut(alice, map[string]any{"password": "wrong"}, "E0000004")
}

// An external group's alias is Okta's name of the group, in any case: one that
// differs in nothing but case is refused.
func TestVaultGroupAlias(t *testing.T) {
	t.Parallel()
	v := inFront(t)
	accessor := v.accessor("okta")
	for group, alias := range map[string]string{"developers": "ai-DEVELOPERS", "all": everyone, "admins": "AI-Admins"} {
		id := v.write("identity/group", map[string]any{"name": group, "type": "external", "policies": group})["id"]
		v.write("identity/group-alias", map[string]any{"name": alias, "mount_accessor": accessor, "canonical_id": id})
	}
	another := v.write("identity/group", map[string]any{"name": "another", "type": "external"})["id"]
	_, err := v.root.Logical().WriteWithContext(t.Context(), "identity/group-alias", map[string]any{
		"name": "AI-developers", "mount_accessor": accessor, "canonical_id": another,
	})
	refused(t, err, "combination of mount and group alias name is already in use")
	auth := v.enters(alice, map[string]any{})
	slices.Sort(auth.IdentityPolicies)
	if !slices.Equal(auth.IdentityPolicies, []string{"all", "developers"}) {
		t.Errorf("alice has %q by identity", auth.IdentityPolicies)
	}
}

func TestVaultSecondFactorAtOkta(t *testing.T) {
	t.Parallel()
	v := inFront(t)
	v.org.RequireMFA(true)
	v.staysOut(alice, map[string]any{}, "you must complete MFA enrollment")
	totp, err := v.org.Enroll(alice, Factor{Type: TOTP})
	must(t, err)
	v.staysOut(alice, map[string]any{}, "'totp' passcode parameter is required")
	_, err = v.org.Enroll(alice, Factor{Type: Push})
	must(t, err)
	v.enters(alice, map[string]any{}) // by push

	code, err := Code(totp.Secret, time.Now())
	must(t, err)
	v.enters(alice, map[string]any{"totp": code})
	v.staysOut(alice, map[string]any{"totp": code}, "okta authentication failed") // a code is good once
	must(t, v.org.AnswerPushes(alice, Reject))
	v.staysOut(alice, map[string]any{}, "multi-factor authentication denied")

	v.write("auth/okta/config", map[string]any{"bypass_okta_mfa": true})
	v.enters(alice, map[string]any{})
}

// Vault's login waits for the user's answer.
func TestVaultPushIsAwaited(t *testing.T) {
	t.Parallel()
	v := inFront(t)
	v.org.RequireMFA(true)
	_, err := v.org.Enroll(alice, Factor{Type: Push})
	must(t, err)
	must(t, v.org.AnswerPushes(alice, Ignore))
	go func() {
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for v.org.Calls()["POST /api/v1/authn/factors/{factor}/verify"] < 2 {
			select {
			case <-tick.C:
			case <-t.Context().Done():
				return
			}
		}
		_ = v.org.AnswerPushes(alice, Approve) // alice exists
	}()
	v.enters(alice, map[string]any{})
}
