package bootstrap

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/file"
	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/schema"
)

// keySources are the ways to give Vault the keys that tokens are signed with.
// It wants one of them. It fetches from a URL when the settings are written.
var keySources = []string{"jwks_url", "jwks_pairs", "jwt_validation_pubkeys", "oidc_discovery_url"}

// accountField is the one entry of provider_config that Vault does not return.
const accountField = "gsuite_service_account"

var jwtConfigKind = &Kind{
	Name: "jwt config", Word: "config", Stage: StageAuth, FullReplace: true, Forever: true,
	Block: &schema.Block{
		Name: "config", Most: 1, Doc: "Whose tokens are believed.",
		Fields: []*schema.Field{
			{Name: "jwks_url", Aliases: []string{"jwks_uri"}, Doc: "Where the issuer publishes its keys."},
			{Name: "jwks_ca_pem", Normal: trimmed, Doc: "The authority of that server's certificate, if the system does not know it."},
			{Name: "jwks_pairs", Type: schema.Any, Doc: "Several issuers: a list of { jwks_url, jwks_ca_pem }."},
			{Name: "jwt_validation_pubkeys", Type: schema.Set, Doc: "The issuer's public keys, as PEM."},
			{Name: "oidc_discovery_url", Doc: "The issuer, if it is found by OpenID discovery: without /.well-known."},
			{Name: "oidc_discovery_ca_pem", Normal: trimmed, Doc: "The authority of that server's certificate, if the system does not know it."},
			{Name: "oidc_client_id", Doc: "The client that Vault is at the issuer, for logins in a browser."},
			{Name: "oidc_client_secret", Secrecy: schema.Secret, Doc: "That client's secret."},
			{Name: "oidc_response_mode", OneOf: []string{"query", "form_post"}, Doc: "How the issuer answers in a browser; left out: query."},
			{Name: "oidc_response_types", Type: schema.Set, OneOf: []string{"code", "id_token"}, Doc: "What the issuer answers in a browser; left out: code."},
			{Name: "bound_issuer", Aliases: []string{"issuer"}, Doc: "The iss claim that tokens must have."},
			{Name: "jwt_supported_algs", Type: schema.Set, Aliases: []string{"supported_algs", "algorithms"}, Doc: "Signatures that are accepted; left out: RS256."},
			{Name: "default_role", Lower: true, Doc: "The role of a login that names none."},
			{Name: "provider_config", Type: schema.Any, Normal: withoutAccount, Check: checkProvider, Doc: "What one issuer needs beyond the standard: provider is azure, gsuite, secureauth or ibmisam."},
			{
				Name: accountField, Secrecy: schema.Secret,
				Doc: "Google's service account for provider_config: its JSON key, or the path of one on the server.",
			},
			{Name: "namespace_in_state", Type: schema.Bool, Default: true, Doc: "The namespace is in the state and not in the redirect URL (Vault Enterprise)."},
			{Name: "unsupported_critical_cert_extensions", Type: schema.Set, Doc: "Critical extensions of certificates, by number, that are to be overlooked."},
		},
	},
	Path:    func(o *Object) string { return o.within("config") },
	Prepare: prepareJWTConfig, Write: writeJWTConfig, Access: configAccess,
}

// trimmed: a file ends in a newline, and a setting may not.
func trimmed(v any) any {
	text, _ := v.(string)
	return strings.TrimSpace(text)
}

// withoutAccount is what Vault returns of provider_config.
func withoutAccount(v any) any {
	m, ok := v.(map[string]any)
	if !ok {
		return v
	}
	m = maps.Clone(m)
	delete(m, accountField)
	return m
}

func checkProvider(v any) error {
	if _, ok := v.(map[string]any); !ok {
		return errors.New(`an object is wanted, as { provider = "azure" }`)
	}
	return nil
}

func prepareJWTConfig(o *Object, n *file.Node) file.Diagnostics {
	var given []string
	for _, name := range keySources {
		if o.has(name) {
			given = append(given, name)
		}
	}
	var found file.Diagnostics
	wrong := func(what, out string) { found = append(found, mistake(n.At, what, out)...) }
	switch len(given) {
	case 0:
		wrong("it is not said where the keys come from", "Give one of "+strings.Join(keySources, ", ")+".")
	case 1:
	default:
		wrong("the keys come from "+strings.Join(given, " and "), "Vault takes one source: keep one of them.")
	}
	if o.has("oidc_client_id") != o.has("oidc_client_secret") {
		wrong("oidc_client_id and oidc_client_secret belong together", "Give both, or none.")
	}
	if o.has("oidc_client_id") && !o.has("oidc_discovery_url") {
		wrong("oidc_client_id needs an oidc_discovery_url", "Logins in a browser begin with OpenID discovery.")
	}
	if o.has("jwks_pairs") {
		for _, name := range []string{"jwks_ca_pem", "bound_issuer"} {
			if o.has(name) {
				wrong(name+" cannot be with jwks_pairs", "A pair has its own jwks_ca_pem; the issuer can be checked by bound_claims of the roles.")
			}
		}
	}
	if settings, _ := o.Values["provider_config"].V.(map[string]any); settings[accountField] != nil {
		wrong(accountField+" is a field of its own", "Put it beside provider_config: it is a secret, and Vault does not return it.")
	}
	if o.has(accountField) && !o.has("provider_config") {
		wrong(accountField+" needs a provider_config", `It is for provider_config = { provider = "gsuite" }.`)
	}
	if responses, _ := o.Value("oidc_response_types"); o.Text("oidc_response_mode") != "form_post" && asksFor(responses, "id_token") {
		wrong("the response type id_token needs another response mode", `Write oidc_response_mode = "form_post".`)
	}
	return found
}

// asksFor tells whether a list from the file has an item.
func asksFor(list any, item string) bool {
	f := schema.Field{Type: schema.Set}
	c, _ := f.Canonical(list) // the file was checked against the same type
	items, _ := c.([]string)
	return slices.Contains(items, item)
}

// writeJWTConfig puts the service account where Vault wants it.
func writeJWTConfig(ctx context.Context, s *Session, c *Change) error {
	body, err := s.Body(ctx, c)
	if err != nil {
		return err
	}
	if account, set := body[accountField]; set {
		settings, _ := body["provider_config"].(map[string]any)
		settings = copyOf(settings)
		settings[accountField] = account
		body["provider_config"] = settings
		delete(body, accountField)
	}
	_, err = s.Vault.Write(ctx, c.Object.Kind.Path(c.Object), body)
	return err
}

var jwtRoleKind = &Kind{
	Name: "jwt role", Word: "role", Stage: StageAuthRole,
	Block: &schema.Block{
		Name: "role", Labels: []string{"name"}, Doc: "Which tokens of the issuer let in, and what those who come may do.",
		Fields: append([]*schema.Field{
			{Name: "role_type", OneOf: []string{"jwt", "oidc"}, Keep: true, Doc: "jwt: a login brings a token; oidc: it goes through a browser. Left out: the mount's type."},
			{Name: "user_claim", Required: true, Doc: "The claim that names the person or machine."},
			{Name: "user_claim_json_pointer", Type: schema.Bool, Doc: "user_claim is a JSON pointer, as /user/name."},
			{Name: "bound_audiences", Type: schema.Set, Doc: "Audiences of which the token must have one."},
			{Name: "bound_subject", Doc: "The sub claim that the token must have."},
			{Name: "bound_claims", Type: schema.Any, Doc: "Claims that the token must have: for each a value, or a list of which one is enough."},
			{Name: "bound_claims_type", Default: "string", OneOf: []string{"string", "glob"}, Doc: "glob: * in bound_claims stands for anything."},
			{Name: "claim_mappings", Type: schema.Map, Doc: "Claims that become metadata of the token: its name there, by claim."},
			{Name: "groups_claim", Doc: "The claim that lists the groups, for identity groups."},
			{Name: "clock_skew_leeway", Type: schema.Duration, Doc: "How far the clocks may differ; 0: 60 seconds, -1: not at all."},
			{Name: "expiration_leeway", Type: schema.Duration, Doc: "How long after its end a token counts; 0: 150 seconds, -1: not at all."},
			{Name: "not_before_leeway", Type: schema.Duration, Doc: "How long before its beginning a token counts; 0: 150 seconds, -1: not at all."},
			{Name: "allowed_redirect_uris", Type: schema.Set, Doc: "Where a browser may come back to."},
			{Name: "oidc_scopes", Type: schema.Set, Doc: "Scopes that are asked for beside openid."},
			{Name: "max_age", Type: schema.Duration, Doc: "How long ago the person may have logged in at the issuer; 0: any time."},
			{Name: "verbose_oidc_logging", Type: schema.Bool, Doc: "Tokens and claims are in the server's debug log: not for production."},
		}, tokenFields()...),
	},
	Path:     func(o *Object) string { return o.within("role", o.Key()) },
	ListPath: func(o *Object) string { return o.within("role") },
	Prepare:  prepareJWTRole,
}

// prepareJWTRole settles the type: Vault takes oidc for what is not told, also
// for a role that was jwt, and in a mount of type jwt.
func prepareJWTRole(o *Object, n *file.Node) file.Diagnostics {
	found := slices.Concat(prepareRoleName(o, n), checkTokens(o), warnOfCommas(o))
	if !o.has("role_type") {
		o.Set("role_type", o.Parent.Labels[0])
	}
	if o.Text("role_type") == "oidc" {
		if !o.has("allowed_redirect_uris") {
			found = append(found, mistake(n.At, "a role of type oidc needs allowed_redirect_uris", `Give the addresses to which a browser may come back, or write role_type = "jwt".`)...)
		}
		return found
	}
	bounds := []string{"bound_audiences", "bound_subject", "bound_claims", "token_bound_cidrs"}
	if !slices.ContainsFunc(bounds, o.has) {
		found = append(found, mistake(n.At, "the role would let in everybody whom the issuer knows", "Vault wants one of "+strings.Join(bounds, ", ")+".")...)
	}
	return found
}

// warnOfCommas: other tools make a list of a text with commas here, and Vault
// does not.
func warnOfCommas(o *Object) file.Diagnostics {
	claims, _ := o.Values["bound_claims"].V.(map[string]any)
	var found file.Diagnostics
	for _, name := range sortedKeys(claims) {
		if text, _ := claims[name].(string); strings.Contains(text, ",") {
			found = append(found, file.Diagnostic{
				Severity: file.Warning, At: o.Values["bound_claims"].At, Summary: "bound_claims: the value of " + strconv.Quote(name) + " has a comma in it",
				Detail: "Vault compares it as it is. For several values of which one is enough, write a list.",
			})
		}
	}
	return found
}
