package providertest

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// tokenLifetime is what Entra gives applications by default, about an hour.
const tokenLifetime = 3599 * time.Second

// discovery answers what client libraries ask first: where the rest is.
func (z *Azure) discovery(r *http.Request, tenant string) reply {
	if out, ok := z.tenant(tenant); !ok {
		return out
	}
	base := "https://" + r.Host + "/" + tenant
	return jsonReply(http.StatusOK, object{
		"issuer":                                base + "/v2.0",
		"authorization_endpoint":                base + "/oauth2/v2.0/authorize",
		"token_endpoint":                        base + "/oauth2/v2.0/token",
		"jwks_uri":                              base + "/discovery/v2.0/keys",
		"token_endpoint_auth_methods_supported": []string{"client_secret_post"},
		"response_types_supported":              []string{"code", "id_token"},
		"subject_types_supported":               []string{"pairwise"},
		"id_token_signing_alg_values_supported": []string{"RS256"},
	})
}

func (z *Azure) tenant(tenant string) (reply, bool) {
	if !strings.EqualFold(tenant, z.c.options.Azure.TenantID) {
		return z.entraError(http.StatusBadRequest, "invalid_request", "AADSTS90002", "Tenant not found."), false
	}
	return reply{}, true
}

// token gives an application a token for the audience that its scope names.
func (z *Azure) token(r *http.Request, tenant string, body []byte) reply {
	if out, ok := z.tenant(tenant); !ok {
		return out
	}
	form, err := url.ParseQuery(string(body))
	if err != nil || r.Method != http.MethodPost || !strings.HasPrefix(r.Header.Get("Content-Type"), "application/x-www-form-urlencoded") {
		return z.entraError(http.StatusBadRequest, "invalid_request", "AADSTS900144", "The request body must be a form.")
	}
	// Libraries add scopes of OpenID Connect to the one that matters.
	audience := ""
	for scope := range strings.FieldsSeq(form.Get("scope")) {
		if a, ok := strings.CutSuffix(scope, "/.default"); ok {
			audience = strings.TrimSuffix(a, "/")
		}
	}
	o := z.c.options.Azure
	switch {
	case form.Get("grant_type") != "client_credentials":
		return z.entraError(http.StatusBadRequest, "unsupported_grant_type", "AADSTS70003", "The grant type is not supported.")
	case !strings.EqualFold(form.Get("client_id"), o.ClientID):
		return z.entraError(http.StatusBadRequest, "unauthorized_client", "AADSTS700016", "The application was not found in the directory.")
	case form.Get("client_secret") != o.ClientSecret:
		return z.entraError(http.StatusUnauthorized, "invalid_client", "AADSTS7000215", "Invalid client secret provided.")
	case audience == "":
		return z.entraError(http.StatusBadRequest, "invalid_scope", "AADSTS1002012", "The scope must end in /.default.")
	}
	token := z.c.secret("eyJ0eXAiOiJKV1Qi.")
	z.tokens[token] = azureToken{audience: audience, expires: time.Now().Add(tokenLifetime)}
	seconds := int(tokenLifetime / time.Second)
	return jsonReply(http.StatusOK, object{
		"token_type": "Bearer", "expires_in": seconds, "ext_expires_in": seconds, "access_token": token,
	})
}

func (z *Azure) entraError(status int, kind, code, text string) reply {
	return jsonReply(status, object{
		"error": kind, "error_description": code + ": " + text, "error_codes": []json.Number{json.Number(strings.TrimPrefix(code, "AADSTS"))},
		"timestamp": time.Now().UTC().Format("2006-01-02 15:04:05Z"), "trace_id": "trace", "correlation_id": "correlation",
	})
}

// authorize checks a token for the management API: it must be meant for it,
// under the name it was reached by or its official one.
func (z *Azure) authorize(r *http.Request) (reply, bool) {
	bearer, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	t, ok := z.tokens[bearer]
	var reason string
	switch {
	case !ok:
		reason = "The access token is invalid."
	case !time.Now().Before(t.expires):
		reason = "The access token expiry is in the past."
	case t.audience != "https://"+r.Host && t.audience != "https://management.azure.com":
		reason = "The access token has been obtained for the wrong audience."
	default:
		return reply{}, true
	}
	out := z.fail(http.StatusUnauthorized, "InvalidAuthenticationToken", reason)
	out.header.Set("WWW-Authenticate", `Bearer error="invalid_token"`)
	return out, false
}
