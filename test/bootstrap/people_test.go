package bootstrap_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/hashicorp/vault/api"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/test/okta"
)

// secondFactor logs somebody in, with a second factor that Vault asks for.
func (h *harness) secondFactor(name, method string, codes ...string) (*api.SecretAuth, error) {
	h.t.Helper()
	auth := h.signIn("okta", name, password)
	if auth.ClientToken != "" || auth.MFARequirement == nil {
		h.t.Fatal("the second factor was not asked for")
	}
	s, err := h.clientOf("").Sys().MFAValidateWithContext(h.t.Context(), auth.MFARequirement.MFARequestID, map[string]any{method: append([]string{}, codes...)})
	if err != nil {
		return nil, err
	}
	return s.Auth, nil
}

// people: alice by push and by an authenticator, bob by way of an identity
// group; each may do what the policy says and nothing else.
func (p *production) people() {
	t := p.t
	t.Helper()
	pushes := len(p.org.Transactions())
	auth, err := p.secondFactor(alice, "okta-push")
	if err != nil {
		t.Fatal(err)
	}
	if len(p.org.Transactions()) != pushes+1 {
		t.Error("nothing was pushed to alice's telephone")
	}
	p.isAlice(auth)
	if err := p.org.AnswerPushes(alice, okta.Reject); err != nil {
		t.Fatal(err)
	}
	if _, err := p.secondFactor(alice, "okta-push"); err == nil {
		t.Error("alice got in, and said no on the telephone")
	}

	enrolled := p.vault("identity/mfa/method/totp/admin-generate", map[string]any{"method_id": p.mfaMethod("authenticator")["id"], "entity_id": auth.EntityID})
	address, err := url.Parse(enrolled.Data["url"].(string))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.secondFactor(alice, "authenticator", "000000"); err == nil {
		t.Error("alice got in with a wrong code")
	}
	if auth, err = p.secondFactor(alice, "authenticator", passcode(t, address.Query())); err != nil {
		t.Fatal(err)
	}
	p.isAlice(auth)

	if _, err := p.org.Enroll(bob, okta.Factor{Type: okta.Push}); err != nil {
		t.Fatal(err)
	}
	if auth, err = p.secondFactor(bob, "okta-push"); err != nil {
		t.Fatal(err)
	}
	if diff := gocmp.Diff([]string{"ai-security"}, auth.IdentityPolicies); diff != "" {
		t.Errorf("bob's policies by identity (-want +got):\n%s", diff)
	}
	p.may(auth.ClientToken, map[string][]string{
		"ai-keys/status": {"read"}, "ai-keys/keys/openai": {"list", "read"}, "ai-keys/revoke/search": {"update"},
		"ai-keys/creds/search": nil, "secret/data/ai/webhook": nil, "ai-keys/accounts/openai": nil,
	})
}

// isAlice checks what alice's token is good for.
func (p *production) isAlice(auth *api.SecretAuth) {
	t := p.t
	t.Helper()
	if diff := gocmp.Diff([]string{"ai-users", "default"}, auth.Policies); diff != "" {
		t.Errorf("alice's policies (-want +got):\n%s", diff)
	}
	if auth.LeaseDuration != 3600 {
		t.Errorf("alice's token lives %d s", auth.LeaseDuration)
	}
	p.mayUseAI(auth.ClientToken)
	c := p.clientOf(auth.ClientToken)
	key, err := c.Logical().ReadWithContext(t.Context(), "ai-keys/creds/search")
	if err != nil || key == nil || !strings.HasPrefix(key.Data["api_base"].(string), "http") {
		t.Fatalf("alice reads no key: %v, %v", key, err)
	}
	secret := key.Data["api_key"].(string)
	p.hide(secret)
	live := p.fakes.Cloud.Live("openai")
	if len(live) != 1 || live[0].Secret != secret {
		t.Errorf("alice's key is not the one that OpenAI knows: %d are live", len(live))
	}
	entry, err := c.Logical().ReadWithContext(t.Context(), "secret/data/ai/webhook")
	if err != nil || entry == nil {
		t.Fatalf("alice reads no entry: %v", err)
	}
	if diff := gocmp.Diff(map[string]any{"url": "https://hooks.acme.example/ai", "token": p.env["WEBHOOK_TOKEN"]}, entry.Data["data"]); diff != "" {
		t.Errorf("the entry (-want +got):\n%s", diff)
	}
}

// mayUseAI checks that a token has the policy ai-users, and no more.
func (p *production) mayUseAI(token string) {
	p.t.Helper()
	p.may(token, map[string][]string{
		"ai-keys/creds/search": {"read"}, "secret/data/ai/webhook": {"read"},
		"ai-keys/creds/ci": nil, "ai-keys/accounts/openai": nil, "ai-keys/config/transit": nil, "ai-keys/keys/openai": nil,
		"ai-keys/revoke/search": nil, "secret/data/other": nil, "secret/metadata/ai/webhook": nil,
		"transit/decrypt/ai-keys": nil, "transit/datakey/plaintext/ai-keys": nil, "database/creds/app": nil, "aws/creds/uploader": nil,
		"auth/okta/config": nil, "sys/mounts": nil, "sys/policies/acl/ai-users": nil, "identity/group/name/ai-security": nil,
		"ai-keys-bootstrap/record/data/lock": nil, "ai-keys-bootstrap/fingerprints/hmac/ai-keys-bootstrap": nil,
	})
}

// may checks what a token is allowed, path by path, and that what it is not
// allowed is refused.
func (h *harness) may(token string, allowed map[string][]string) {
	h.t.Helper()
	ctx, c := h.t.Context(), h.clientOf(token)
	for path, want := range allowed {
		got, err := c.Sys().CapabilitiesSelfWithContext(ctx, path)
		if err != nil {
			h.t.Fatal(err)
		}
		if len(want) == 0 {
			want = []string{"deny"}
		}
		slices.Sort(got)
		if diff := gocmp.Diff(want, got); diff != "" {
			h.t.Errorf("what is allowed at %s (-want +got):\n%s", path, diff)
		}
		if want[0] == "deny" {
			h.forbidden(path, func() error { _, err := c.Logical().ReadWithContext(ctx, path); return err })
			h.forbidden(path, func() error { _, err := c.Logical().WriteWithContext(ctx, path, nil); return err })
		}
	}
}

func (h *harness) forbidden(path string, try func() error) {
	h.t.Helper()
	var answer *api.ResponseError
	if err := try(); !errors.As(err, &answer) || answer.StatusCode != http.StatusForbidden {
		h.t.Errorf("at %s: %v, want 403", path, err)
	}
}

// oktasOwnFactors is the other way: Okta asks for the second factor, and Vault
// for none.
func (p *production) oktasOwnFactors() {
	t := p.t
	t.Helper()
	text := p.read("vault.hcl")
	from := strings.Index(text, "# Either factor will do.")
	to := from + strings.Index(text[from:], "# --- Machines")
	p.write("vault.hcl", swap(t, "vault.hcl", text[:from]+text[to:], map[string]string{
		"bypass_okta_mfa = true":  "bypass_okta_mfa = false",
		`["policy", "okta group"`: `["policy", "login enforcement", "okta group"`,
	}))
	r := p.run("plan", "-f", "vault.hcl", "--prune", "--json").exits(2).report()
	r.wants(t, updates("auth/okta config", "bypass_okta_mfa"), p.leastPolicies(r), want{"delete", "login enforcement people", nil})
	p.run("apply", "-f", "vault.hcl", "--prune", "--auto-approve").exits(0)

	p.org.RequireMFA(true)
	factor, err := p.org.Enroll(alice, okta.Factor{Type: okta.TOTP})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.org.AnswerPushes(alice, okta.Approve); err != nil {
		t.Fatal(err)
	}
	p.isAlice(p.signIn("okta", alice, password)) // by push
	code, err := okta.Code(factor.Secret, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	enter := func() (*api.Secret, error) {
		return p.clientOf("").Logical().WriteWithContext(context.WithoutCancel(t.Context()), "auth/okta/login/"+alice, map[string]any{"password": password, "totp": code})
	}
	s, err := enter()
	if err != nil {
		t.Fatal(err)
	}
	p.isAlice(s.Auth)
	if _, err := enter(); err == nil {
		t.Error("a code was good twice")
	}
}

// leastPolicies is the pruning of the policy that this test made for the token
// of its applies.
func (p *production) leastPolicies(r report) want {
	p.t.Helper()
	for _, c := range r.Changes {
		if strings.HasPrefix(c.Object, "policy least-") {
			return want{"delete", c.Object, nil}
		}
	}
	p.t.Fatal("the policy of the test's token is not unmanaged")
	return want{}
}

// passcode is the one-time code of now for what is in an otpauth URL with
// SHA-256, 30 seconds and six digits (RFC 6238).
func passcode(t *testing.T, q url.Values) string {
	t.Helper()
	if q.Get("algorithm") != "SHA256" || q.Get("digits") != "6" || q.Get("period") != "30" || q.Get("issuer") != "Acme Vault" {
		t.Errorf("the enrolment is %v", q)
	}
	key, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(q.Get("secret"))
	if err != nil {
		t.Fatal(err)
	}
	mac := hmac.New(sha256.New, key)
	_ = binary.Write(mac, binary.BigEndian, time.Now().Unix()/30) // a hash takes everything
	sum := mac.Sum(nil)
	return fmt.Sprintf("%06d", binary.BigEndian.Uint32(sum[sum[len(sum)-1]&0xf:])&0x7fffffff%1_000_000)
}
