package bootstrap

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/schema"
)

func tokenField(t *testing.T, name string) *schema.Field {
	t.Helper()
	f, _ := (&schema.Block{Fields: tokenFields()}).Field(name)
	if f == nil {
		t.Fatalf("there is no field %q", name)
	}
	return f
}

// What Vault 1.21 answered for each of these is on the right.
func TestAddressesAreComparedAsVaultAnswersThem(t *testing.T) {
	t.Parallel()
	f := tokenField(t, "token_bound_cidrs")
	written := []any{"10.0.0.5/8", "127.0.0.1/32", "::1/128", "FE80::/10", "2001:db8::1", "192.168.1.1"}
	answered := []any{"10.0.0.5/8", "127.0.0.1", "::1", "fe80::/10", "2001:db8::1", "192.168.1.1"}
	want, err := f.Canonical(written)
	if err != nil {
		t.Fatal(err)
	}
	have, err := f.Canonical(answered)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(have, want); diff != "" {
		t.Errorf("they differ (-Vault +file):\n%s", diff)
	}
	twice, err := f.Canonical([]any{"127.0.0.1", "127.0.0.1/32"})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"127.0.0.1"}, twice); diff != "" {
		t.Errorf("one address in two forms:\n%s", diff)
	}
}

func TestAddressesThatAreNone(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		check func(any) error
		text  string
		want  string
	}{
		{checkAddresses, "10.0.0.1", ""},
		{checkAddresses, "10.0.0.0/8", ""},
		{checkAddresses, "fe80::/10", ""},
		{checkAddresses, "localhost", `"localhost" is no address and no block; one is written 10.1.2.3, the other 10.0.0.0/8`},
		{checkAddresses, "10.0.0.0/33", `"10.0.0.0/33" is no address and no block; one is written 10.1.2.3, the other 10.0.0.0/8`},
		{checkBlocks, "10.0.0.0/8", ""},
		{checkBlocks, "10.0.0.1", `"10.0.0.1" is no block; write 10.0.0.1/32`},
		{checkBlocks, "::1", `"::1" is no block; write ::1/128`},
		{checkBlocks, "here", `"here" is no block; one is written 10.0.0.0/8`},
	} {
		got := ""
		if err := tc.check([]string{tc.text}); err != nil {
			got = err.Error()
		}
		if got != tc.want {
			t.Errorf("%s:\ngot  %s\nwant %s", tc.text, got, tc.want)
		}
	}
}

// loaded is what a file with this text wants, and what is wrong with it.
func loaded(t *testing.T, text string) (*Desired, []string) {
	t.Helper()
	d, diags := Load([]string{written(t, "vault.hcl", text)})
	var found []string
	for _, d := range diags {
		found = append(found, d.Severity.String()+": "+d.Summary)
	}
	return d, found
}

func TestAuthMistakes(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, text string
		want       []string
	}{
		{"okta without a token", `auth "okta" "o" {
			config { org_name = "acme" }
		}`, []string{"warning: without an api_token Vault does not see anybody's groups at Okta"}},
		{"Pulumi's names", `secret "s" { from = "env:S" }
		auth "okta" "okta" {
			config {
				organization = "acme"
				token        = secret.s
			}
		}
		mfa "okta" "push" {
			organization    = "acme"
			token           = secret.s
			username_format = "{{identity.entity.aliases.${auth_accessor("okta")}.name}}"
		}`, []string{
			`warning: config: "organization" is called "org_name" here`, `warning: config: "token" is called "api_token" here`,
			`warning: mfa "okta" "push": "organization" is called "org_name" here`, `warning: mfa "okta" "push": "token" is called "api_token" here`,
		}},
		{"okta by its address", `auth "okta" "o" {
			config { org_name = "acme.okta.com" }
		}`, []string{`error: config: field "org_name": the organisation's name alone is wanted: "acme" of https://acme.okta.com; the domain goes into base_url`}},
		{"okta's domain as an address", `auth "okta" "o" {
			config {
				org_name = "acme"
				base_url = "https://okta.com"
			}
		}`, []string{`error: config: field "base_url": a domain alone is wanted, as "okta.com"; leave the field out for that one`}},
		{"tokens that cannot be", `auth "approle" "a" {
			role "x" {
				token_ttl     = "2h"
				token_max_ttl = "1h"
				token_type    = "batch"
				token_period  = "1h"
				num_uses      = 3
			}
		}`, []string{
			"error: token_ttl is longer than token_max_ttl",
			"error: token_period cannot be with batch tokens",
			`warning: role "x": "num_uses" is called "token_num_uses" here`,
			"error: token_num_uses cannot be with batch tokens",
		}},
		{"no source of keys", `auth "jwt" "j" {
			config { bound_issuer = "https://i" }
		}`, []string{"error: it is not said where the keys come from"}},
		{"two sources of keys", `auth "jwt" "j" {
			config {
				jwks_url               = "https://i/keys"
				jwt_validation_pubkeys = ["x"]
			}
		}`, []string{"error: the keys come from jwks_url and jwt_validation_pubkeys"}},
		{"a source that is empty is none", `auth "jwt" "j" {
			config {
				jwks_url               = "https://i/keys"
				jwt_validation_pubkeys = []
			}
		}`, nil},
		{"half a client", `auth "oidc" "j" {
			config {
				oidc_discovery_url = "https://i"
				oidc_client_id     = "vault"
			}
		}`, []string{"error: oidc_client_id and oidc_client_secret belong together"}},
		{"a client without discovery", `
		secret "s" { from = "env:S" }
		auth "oidc" "j" {
			config {
				jwks_url           = "https://i/keys"
				oidc_client_id     = "vault"
				oidc_client_secret = secret.s
			}
		}`, []string{"error: oidc_client_id needs an oidc_discovery_url"}},
		{"pairs", `auth "jwt" "j" {
			config {
				jwks_pairs   = [{ jwks_url = "https://i/keys" }]
				jwks_ca_pem  = "x"
				bound_issuer = "https://i"
			}
		}`, []string{"error: jwks_ca_pem cannot be with jwks_pairs", "error: bound_issuer cannot be with jwks_pairs"}},
		{"id_token in a query", `auth "oidc" "j" {
			config {
				oidc_discovery_url  = "https://i"
				oidc_response_types = "id_token"
			}
		}`, []string{"error: the response type id_token needs another response mode"}},
		{"Google's account in the open", `auth "oidc" "j" {
			config {
				oidc_discovery_url = "https://i"
				provider_config    = { provider = "gsuite", gsuite_service_account = "{}" }
			}
		}`, []string{"error: gsuite_service_account is a field of its own"}},
		{"Google's account for nobody", `
		secret "s" { from = "env:S" }
		auth "oidc" "j" {
			config {
				oidc_discovery_url     = "https://i"
				gsuite_service_account = secret.s
			}
		}`, []string{"error: gsuite_service_account needs a provider_config"}},
		{"a role for everybody", `auth "jwt" "j" {
			role "x" { user_claim = "sub" }
		}`, []string{"error: the role would let in everybody whom the issuer knows"}},
		{"a browser that cannot come back", `auth "oidc" "j" {
			role "x" { user_claim = "sub" }
		}`, []string{"error: a role of type oidc needs allowed_redirect_uris"}},
		{"a claim with a comma", `auth "jwt" "j" {
			role "x" {
				user_claim   = "sub"
				bound_claims = { department = "a,b" }
			}
		}`, []string{`warning: bound_claims: the value of "department" has a comma in it`}},
		{"a role's name", `auth "jwt" "j" {
			role "a/b" {
				user_claim    = "sub"
				bound_subject = "x"
			}
		}`, []string{"error: a role cannot have this name"}},
		{"two names that are one", `auth "approle" "a" {
			role "CI" {}
			role "ci" {}
		}`, []string{"error: auth/a role ci stands here a second time"}},
		{"an AppRole for everybody", `auth "approle" "a" {
			role "x" { bind_secret_id = false }
		}`, []string{"error: anybody who knows the role_id could log in"}},
		{"a secret-id that is not wanted", `auth "approle" "a" {
			role "x" {
				bind_secret_id        = false
				secret_id_bound_cidrs = ["10.0.0.0/8"]
				issue_secret_id "y" { to = "y" }
			}
		}`, []string{"error: a role without bind_secret_id has no secret-ids"}},
		{"two secret-ids in a file", `auth "approle" "a" {
			role "x" {
				issue_secret_id "y" { to = "y" }
				issue_secret_id "z" { to = "./y" }
			}
		}`, []string{"error: another secret-id of the role goes to the same file"}},
		{"more than the role has", `auth "approle" "a" {
			role "x" {
				secret_id_ttl      = "1h"
				secret_id_num_uses = 1
				issue_secret_id "y" {
					to  = "y"
					ttl = "2h"
				}
				issue_secret_id "z" {
					to       = "z"
					num_uses = 2
				}
			}
		}`, []string{"error: ttl is more than the role's secret_id_ttl", "error: num_uses is more than the role's secret_id_num_uses"}},
		{"the program's own metadata", `auth "approle" "a" {
			role "x" {
				issue_secret_id "y" {
					to       = "y"
					metadata = { issued_by = "me" }
				}
			}
		}`, []string{`error: issue_secret_id "y": field "metadata": "issued_by" is what this program itself writes there: choose another name`}},
		{"a wrapping for no time", `auth "approle" "a" {
			role "x" {
				issue_secret_id "y" {
					to       = "y"
					wrap_ttl = "0"
				}
			}
		}`, []string{`error: issue_secret_id "y": field "wrap_ttl": it needs a time, as "1h"`}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			if _, found := loaded(t, tc.text); !cmp.Equal(tc.want, found) {
				t.Errorf("(-want +got):\n%s", cmp.Diff(tc.want, found))
			}
		})
	}
}

func TestRoleTypeFollowsTheMount(t *testing.T) {
	t.Parallel()
	d, found := loaded(t, `
	auth "jwt" "one" {
		role "X" {
			user_claim    = "sub"
			bound_subject = "x"
		}
	}
	auth "oidc" "two" {
		role "x" {
			user_claim            = "sub"
			allowed_redirect_uris = ["http://localhost"]
		}
		role "y" {
			role_type     = "jwt"
			user_claim    = "sub"
			bound_subject = "x"
		}
	}`)
	got := make(map[string]string)
	for _, o := range d.Objects {
		if !o.isMount() {
			got[o.Name()] = o.Text("role_type")
		}
	}
	want := map[string]string{"auth/one role x": "jwt", "auth/two role x": "oidc", "auth/two role y": "jwt"}
	if diff := cmp.Diff(want, got); diff != "" || found != nil {
		t.Errorf("%q (-want +got):\n%s", found, diff)
	}
}

func TestRevocationByOthers(t *testing.T) {
	t.Parallel()
	d, _ := loaded(t, `auth "approle" "a" {
		role "plain"   {}
		role "bare"    { token_no_default_policy = true }
		role "distant" { token_bound_cidrs = ["10.0.0.0/8"] }
	}`)
	got := make(map[string]bool)
	for _, o := range d.Objects[1:] {
		for _, a := range o.access() {
			got[o.Key()] = got[o.Key()] || a.Path == "auth/token/revoke-accessor"
		}
	}
	if diff := cmp.Diff(map[string]bool{"plain": false, "bare": true, "distant": true}, got); diff != "" {
		t.Errorf("who needs it (-want +got):\n%s", diff)
	}
}

func TestMissingPolicies(t *testing.T) {
	t.Parallel()
	st := &State{Values: map[string]any{"token_policies": []string{"a", "b"}}}
	if diff := cmp.Diff([]string{"b", "default"}, missingPolicies(st, []string{"a", "identity"})); diff != "" {
		t.Error(diff)
	}
	st.Values["token_no_default_policy"] = true
	if got := missingPolicies(st, []string{"b", "a"}); len(got) > 0 {
		t.Errorf("%q is missing", got)
	}
}

func TestAccountIsNoPartOfWhatIsCompared(t *testing.T) {
	t.Parallel()
	f, _ := jwtConfigKind.Block.Field("provider_config")
	got, err := f.Canonical(map[string]any{"provider": "gsuite", accountField: "x"})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]any{"provider": "gsuite"}, got); diff != "" {
		t.Error(diff)
	}
}
