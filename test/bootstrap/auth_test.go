package bootstrap_test

import (
	"encoding/json"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/hashicorp/vault/api"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/test/okta"
)

const oktaFile = `
secret "okta" { from = "env:OKTA_API_TOKEN" }

auth "okta" "okta" {
  config {
    org_name                = "acme"
    api_token               = secret.okta
    base_url                = "okta-emea.com"
    bypass_okta_mfa         = true
    token_ttl               = "1h"
    token_max_ttl           = "8h"
    token_policies          = ["Everybody"]
    token_bound_cidrs       = ["127.0.0.1/32", "::1/128", "10.0.0.5/8"]
    token_explicit_max_ttl  = "9h"
    token_no_default_policy = true
    token_num_uses          = 100
    token_type              = "service"
  }
  group "AI-Developers" { policies = ["Developer", "reader"] }
  group "AI Ops/Night"  {}
  user "Bob@example.com" {
    groups   = ["AI-Developers"]
    policies = ["Bob"]
  }
}
`

func TestOkta(t *testing.T) {
	t.Parallel()
	h := start(t)
	h.secret("OKTA_API_TOKEN")
	h.story(oktaFile, func(*api.Client) {
		h.vault("auth/okta/config", map[string]any{
			"org_name": "other", "base_url": "", "production": false, "bypass_okta_mfa": false,
			"token_ttl": "2h", "token_policies": "", "token_bound_cidrs": "127.0.0.1", "token_explicit_max_ttl": 0,
			"token_no_default_policy": false, "token_num_uses": 0, "token_period": "1h", "token_type": "default",
		})
		h.vault("auth/okta/groups/AI-developers", map[string]any{"policies": "developer"})
		h.vault("auth/okta/groups/ai ops/night", map[string]any{"policies": "operator"})
		h.vault("auth/okta/users/Bob@example.com", map[string]any{"policies": "bob"})
	},
		updates("auth/okta config", "org_name", "base_url", "bypass_okta_mfa", "token_ttl", "token_policies", "token_bound_cidrs",
			"token_explicit_max_ttl", "token_no_default_policy", "token_num_uses", "token_period", "token_type"),
		updates("auth/okta group ai-developers", "policies"),
		updates("auth/okta group ai ops/night", "policies"),
		updates("auth/okta user Bob@example.com", "groups"))
	h.secretStory("story.hcl", "OKTA_API_TOKEN", updates("auth/okta config", "api_token"))

	h.vault("auth/okta/groups/unknown", nil)
	h.vault("auth/okta/users/unknown", nil)
	got := map[string]string{}
	for _, c := range h.least("story.hcl").plan("story.hcl").Unmanaged {
		got[c.Object] = c.Kind
	}
	want := map[string]string{"auth/okta group unknown": "okta group", "auth/okta user unknown": "okta user"}
	for object, kind := range want {
		if got[object] != kind {
			t.Errorf("%s is not among what is unmanaged: %v", object, got)
		}
	}
}

// What is left out of the file is as in a new Vault again, also where an old
// setting without a name of its own in the file says otherwise.
func TestOktaIsReset(t *testing.T) {
	t.Parallel()
	h := start(t)
	h.story(`auth "okta" "okta" {
		config { org_name = "acme" }
		group "x" {}
		user "y" {}
	}`, func(*api.Client) {
		h.vault("auth/okta/config", map[string]any{"production": false, "max_ttl": "1h", "bypass_okta_mfa": true})
		h.vault("auth/okta/groups/x", map[string]any{"policies": "x"})
		h.vault("auth/okta/users/y", map[string]any{"policies": "x", "groups": "x"})
	},
		updates("auth/okta config", "base_url", "token_max_ttl", "bypass_okta_mfa"),
		updates("auth/okta group x", "policies"),
		updates("auth/okta user y", "policies", "groups"))
	// Vault answers nothing for Okta's own domain, and the file may name it.
	h.write("named.hcl", `auth "okta" "okta" {
		config {
			organization = "acme"
			base_url     = "okta.com"
		}
	}`)
	h.run("plan", "-f", "named.hcl").exits(0).says(`"organization" is called "org_name" here`, "without an api_token")
}

// issuer is an OpenID provider for one test.
func issuer(t *testing.T) *okta.Issuer {
	t.Helper()
	i, err := okta.StartIssuer(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := i.Close(); err != nil {
			t.Error(err)
		}
	})
	return i
}

const jwtFile = `
locals { issuer = "ISSUER" }

auth "jwt" "ci" {
  config {
    jwks_url           = "${local.issuer}/.well-known/jwks.json"
    bound_issuer       = local.issuer
    jwt_supported_algs = ["RS256", "ES256"]
    default_role       = "Deploy"
  }
  role "Deploy" {
    user_claim              = "/user/name"
    user_claim_json_pointer = true
    bound_audiences         = ["vault", "b"]
    bound_subject           = "repo"
    bound_claims            = { groups = ["a", "b"], admin = true, number = 3 }
    claim_mappings          = { sub = "who" }
    groups_claim            = "groups"
    clock_skew_leeway       = -1
    expiration_leeway       = "10s"
    not_before_leeway       = 20
    max_age                 = "1h"
    token_policies          = ["Deployer"]
    token_period            = "1h"
  }
  role "web" {
    role_type             = "oidc"
    user_claim            = "email"
    allowed_redirect_uris = ["http://localhost:8250/oidc/callback"]
    oidc_scopes           = ["groups", "profile"]
    bound_claims_type     = "glob"
    bound_claims          = { email = "*@example.com" }
    verbose_oidc_logging  = true
  }
}
`

func TestJWT(t *testing.T) {
	t.Parallel()
	h, i := start(t), issuer(t)
	h.story(strings.ReplaceAll(jwtFile, "ISSUER", i.URL), func(*api.Client) {
		h.vault("auth/ci/config", map[string]any{"oidc_discovery_url": i.URL, "namespace_in_state": false})
		h.vault("auth/ci/role/deploy", map[string]any{
			"role_type": "oidc", "allowed_redirect_uris": "http://localhost", "user_claim": "sub", "user_claim_json_pointer": false,
			"bound_audiences": "b", "bound_subject": "", "bound_claims": map[string]any{"groups": "a"}, "bound_claims_type": "glob",
			"claim_mappings": map[string]any{"sub": "x"}, "groups_claim": "", "clock_skew_leeway": 1, "expiration_leeway": 0,
			"not_before_leeway": -1, "max_age": 0, "oidc_scopes": "x", "verbose_oidc_logging": true, "token_policies": "root", "token_period": 0,
		})
		h.vault("auth/ci/role/web", map[string]any{ // what is not told here goes back to jwt and string
			"role_type": "jwt", "bound_claims_type": "string",
		})
	},
		updates("auth/ci config", "jwks_url", "oidc_discovery_url", "bound_issuer", "jwt_supported_algs", "default_role", "namespace_in_state"),
		updates("auth/ci role deploy", "role_type", "allowed_redirect_uris", "user_claim", "user_claim_json_pointer", "bound_audiences",
			"bound_subject", "bound_claims", "bound_claims_type", "claim_mappings", "groups_claim", "clock_skew_leeway", "expiration_leeway",
			"not_before_leeway", "max_age", "oidc_scopes", "verbose_oidc_logging", "token_policies", "token_period"),
		updates("auth/ci role web", "role_type", "bound_claims_type"))

	claims := map[string]any{
		"aud": "vault", "sub": "repo", "user": map[string]any{"name": "runner"}, "groups": []string{"b"}, "admin": true, "number": 3,
		"auth_time": 0,
	}
	login := func() error {
		token, err := i.Sign(claims)
		if err != nil {
			t.Fatal(err)
		}
		s, err := h.api.Logical().WriteWithContext(t.Context(), "auth/ci/login", map[string]any{"jwt": token})
		if err != nil {
			return err
		}
		if diff := gocmp.Diff([]string{"default", "deployer"}, s.Auth.Policies); diff != "" || s.Auth.Metadata["who"] != "repo" {
			t.Errorf("metadata %v, policies (-want +got):\n%s", s.Auth.Metadata, diff)
		}
		return nil
	}
	if err := login(); err != nil {
		t.Error(err)
	}
	claims["groups"] = []string{"c"}
	if err := login(); err == nil {
		t.Error("somebody of no bound group came in")
	}
}

func TestSourcesOfKeys(t *testing.T) {
	t.Parallel()
	h, i := start(t), issuer(t)
	key, err := i.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	h.write("key.pem", key)
	h.story(`
	auth "jwt" "keys" {
		config { jwt_validation_pubkeys = [file("key.pem")] }
	}
	auth "jwt" "pairs" {
		config { jwks_pairs = [{ jwks_url = "`+i.JWKSURL()+`" }] }
	}
	auth "oidc" "discovery" {
		config { oidc_discovery_url = "`+i.URL+`" }
	}`, func(*api.Client) {
		for _, mount := range []string{"keys", "pairs", "discovery"} {
			h.vault("auth/"+mount+"/config", map[string]any{"jwks_url": i.JWKSURL()})
		}
	},
		updates("auth/keys config", "jwks_url", "jwt_validation_pubkeys"),
		updates("auth/pairs config", "jwks_url", "jwks_pairs"),
		updates("auth/discovery config", "jwks_url", "oidc_discovery_url"))

	h.write("gone.hcl", `auth "jwt" "keys" {
		config { jwks_url = "`+i.URL+`/nowhere" }
	}`)
	h.run("apply", "-f", "gone.hcl", "--auto-approve").exits(3).says("error checking jwks URL", i.URL+"/nowhere")
}

// Both secrets of an OpenID client: the second is inside a field that Vault
// answers without it.
func TestOIDCSecrets(t *testing.T) {
	t.Parallel()
	h, i := start(t), issuer(t)
	account := func() string {
		text, err := json.Marshal(map[string]string{"type": "service_account", "client_email": "a@example.com", "private_key": h.canary()})
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	h.secret("OIDC_SECRET")
	h.secret("ACCOUNT", account())
	h.write("oidc.hcl", `
	secret "oidc"    { from = "env:OIDC_SECRET" }
	secret "account" { from = "env:ACCOUNT" }
	auth "oidc" "oidc" {
		config {
			oidc_discovery_url     = "`+i.URL+`"
			oidc_client_id         = "vault"
			oidc_client_secret     = secret.oidc
			oidc_response_mode     = "form_post"
			oidc_response_types    = ["code", "id_token"]
			provider_config        = { provider = "gsuite", fetch_groups = true, groups_recurse_max_depth = 5 }
			gsuite_service_account = secret.account
		}
	}`)
	h.secretStory("oidc.hcl", "OIDC_SECRET", updates("auth/oidc config", "oidc_client_secret"))
	h.secret("ACCOUNT", account())
	least := h.least("oidc.hcl")
	least.plan("oidc.hcl", updates("auth/oidc config", "gsuite_service_account"))
	least.apply("oidc.hcl")
	stored := h.has("auth/oidc/config")["provider_config"]
	want := map[string]any{"provider": "gsuite", "fetch_groups": true, "groups_recurse_max_depth": json.Number("5")}
	if diff := gocmp.Diff(any(want), stored); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

const approleFile = `
auth "approle" "machines" {
  role "CI" {
    role_id               = "ci-role"
    secret_id_bound_cidrs = ["127.0.0.0/8", "10.1.2.3/8"]
    secret_id_num_uses    = 5
    secret_id_ttl         = "24h"
    local_secret_ids      = true
    token_policies        = ["Deployer"]
    token_ttl             = "10m"
  }
  role "open" {
    bind_secret_id    = false
    token_bound_cidrs = ["127.0.0.1"]
  }
  role "plain" {}
}
`

func TestAppRole(t *testing.T) {
	t.Parallel()
	h := start(t)
	h.story(approleFile, func(*api.Client) {
		h.vault("auth/machines/role/ci", map[string]any{
			"secret_id_bound_cidrs": "", "secret_id_num_uses": 0, "secret_id_ttl": 0, "token_policies": "", "token_ttl": 0, "role_id": "other",
		})
		h.vault("auth/machines/role/open", map[string]any{"bind_secret_id": true, "token_bound_cidrs": ""})
		h.vault("auth/machines/role/plain", map[string]any{
			"secret_id_bound_cidrs": "10.0.0.0/8", "bind_secret_id": false, "token_type": "batch", "role_id": "chosen",
		})
	},
		updates("auth/machines role ci", "role_id", "secret_id_bound_cidrs", "secret_id_num_uses", "secret_id_ttl", "token_policies", "token_ttl"),
		updates("auth/machines role open", "bind_secret_id", "token_bound_cidrs"),
		updates("auth/machines role plain", "secret_id_bound_cidrs", "bind_secret_id", "token_type"))

	h.write("story.hcl", strings.ReplaceAll(approleFile, "local_secret_ids      = true", ""))
	h.plan("story.hcl", blocks("auth/machines role ci", "local_secret_ids"))
	h.run("apply", "-f", "story.hcl", "--auto-approve").exits(1).says("cannot be changed in place")
}
