package okta

import (
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"
)

// An enforcement is a method of login MFA, required at auth/okta.
func (v vault) enforce(kind string, method map[string]any) (id string) {
	v.t.Helper()
	method["method_name"] = "second"
	id = v.write("identity/mfa/method/"+kind, method)["method_id"].(string)
	v.write("identity/mfa/login-enforcement/second", map[string]any{
		"mfa_method_ids": []string{id}, "auth_method_accessors": []string{v.accessor("okta")},
		"auth_method_types": []string{}, "identity_entity_ids": []string{}, "identity_group_ids": []string{},
	})
	return id
}

// begins is a login that waits for its second factor.
func (v vault) begins(name, kind string, passcode bool) *api.MFARequirement {
	v.t.Helper()
	auth, err := v.login(name, map[string]any{})
	must(v.t, err)
	if auth.ClientToken != "" || auth.MFARequirement == nil {
		v.t.Fatal("the second factor was not asked for")
	}
	asked := auth.MFARequirement.MFAConstraints["second"]
	if asked == nil || len(asked.Any) != 1 || asked.Any[0].Type != kind || asked.Any[0].UsesPasscode != passcode {
		v.t.Errorf("%+v", auth.MFARequirement)
	}
	return auth.MFARequirement
}

// validate brings the second factor.
func (v vault) validate(asked *api.MFARequirement, method, passcode string) (*api.SecretAuth, error) {
	v.t.Helper()
	s, err := v.anybody().Sys().MFAValidateWithContext(v.t.Context(), asked.MFARequestID, map[string]any{method: []string{passcode}})
	if err != nil {
		return nil, err
	}
	return s.Auth, nil
}

func (v vault) validates(asked *api.MFARequirement, method, passcode string) {
	v.t.Helper()
	auth, err := v.validate(asked, method, passcode)
	must(v.t, err)
	if auth.ClientToken == "" || !slices.Contains(auth.Policies, "developer") {
		v.t.Errorf("entered with %q", auth.Policies)
	}
}

func (v vault) enforcePush() (method string) {
	v.t.Helper()
	_, err := v.org.Enroll(alice, Factor{Type: Push})
	must(v.t, err)
	return v.enforce("okta", map[string]any{
		"org_name": "acme", "base_url": "okta.com", "api_token": v.org.APIToken(),
		"username_format": "{{identity.entity.aliases." + v.accessor("okta") + ".name}}",
	})
}

func TestVaultLoginMFAByPush(t *testing.T) {
	t.Parallel()
	v := inFront(t)
	method := v.enforcePush()
	asked := v.begins(alice, "okta", false)
	v.validates(asked, method, "")
	_, err := v.validate(asked, method, "")
	refused(t, err, "invalid request ID")

	asked = v.begins(alice, "okta", false)
	must(t, v.org.AnswerPushes(alice, Reject))
	_, err = v.validate(asked, method, "")
	refused(t, err, "push verification explicitly rejected")
	must(t, v.org.AnswerPushes(alice, Approve))
	v.validates(asked, method, "") // the request survives a refusal

	// Both factors in one request.
	c := v.anybody()
	c.AddHeader("X-Vault-MFA", method)
	s, err := c.Logical().WriteWithContext(t.Context(), "auth/okta/login/"+alice, map[string]any{"password": secret})
	must(t, err)
	if s.Auth.ClientToken == "" || s.Auth.MFARequirement != nil {
		t.Errorf("%+v", s.Auth.MFARequirement)
	}

	// The short name has a password, but the filter wants a login.
	_, err = v.validate(v.begins("alice", "okta", false), method, "")
	refused(t, err, "no users found for e-mail address")

	// The MFA method has a token of its own.
	v.write("auth/okta/config", map[string]any{"api_token": v.org.RenewAPIToken()})
	_, err = v.validate(v.begins(alice, "okta", false), method, "")
	refused(t, err, "401 Unauthorized")
}

// An auth method that is made anew has a new accessor, which the enforcement
// does not know: the second factor is no longer asked for.
func TestVaultStaleAccessor(t *testing.T) {
	t.Parallel()
	v := inFront(t)
	v.enforcePush()
	v.begins(alice, "okta", false)
	must(t, v.root.Sys().DisableAuthWithContext(t.Context(), "okta"))
	v.enable("okta")
	v.write("auth/okta/config", map[string]any{"org_name": "acme", "base_url": "okta.com", "api_token": v.org.APIToken()})
	v.write("auth/okta/groups/AI-Developers", map[string]any{"policies": "developer"})
	v.enters(alice, map[string]any{})
}

func TestVaultLoginMFAByCode(t *testing.T) {
	t.Parallel()
	v := inFront(t)
	entity := v.enters(alice, map[string]any{}).EntityID
	method := v.enforce("totp", map[string]any{"issuer": "Vault", "period": 30, "algorithm": "SHA1", "digits": 6, "skew": 1})
	made := v.write("identity/mfa/method/totp/admin-generate", map[string]any{"method_id": method, "entity_id": entity})
	address, err := url.Parse(made["url"].(string))
	must(t, err)
	code, err := Code(address.Query().Get("secret"), time.Now())
	must(t, err)

	asked := v.begins(alice, "totp", true)
	_, err = v.validate(asked, method, code[1:]+code[:1]+"0")
	refused(t, err, "failed to validate TOTP passcode")
	v.validates(asked, method, code)
	_, err = v.validate(v.begins(alice, "totp", true), method, code)
	refused(t, err, "failed to validate TOTP passcode") // a code is good once
}

func TestVaultJWT(t *testing.T) {
	t.Parallel()
	v, i := inFront(t), issue(t)
	key, err := i.PublicKey()
	must(t, err)
	v.enable("jwt")
	login := func(claims map[string]any) error {
		t.Helper()
		token, err := i.Sign(claims)
		must(t, err)
		_, err = v.anybody().Logical().WriteWithContext(t.Context(), "auth/jwt/login", map[string]any{"role": "ci", "jwt": token})
		return err
	}
	for _, test := range []struct {
		from    map[string]any
		rotates bool // whether Vault notices a new key
	}{
		{map[string]any{"jwt_validation_pubkeys": key}, false},
		{map[string]any{"jwks_url": i.JWKSURL()}, true},
		{map[string]any{"oidc_discovery_url": i.URL}, true},
	} {
		test.from["bound_issuer"] = i.URL
		v.write("auth/jwt/config", test.from)
		v.write("auth/jwt/role/ci", map[string]any{
			"role_type": "jwt", "user_claim": "sub", "bound_audiences": []string{"vault"}, "token_policies": []string{"ci"},
		})
		must(t, login(map[string]any{"sub": "build", "aud": "vault"}))
		refused(t, login(map[string]any{"sub": "build", "aud": "another"}), "audience")
		refused(t, login(map[string]any{"sub": "build", "aud": "vault", "iss": "another"}), "issuer")
		refused(t, login(map[string]any{"sub": "build", "aud": "vault", "exp": time.Now().Add(-time.Hour).Unix()}), "expired")
		must(t, i.Rotate())
		i.Retire()
		if err := login(map[string]any{"sub": "build", "aud": "vault"}); (err == nil) != test.rotates {
			t.Errorf("with a new key: %v", err)
		}
	}
}
