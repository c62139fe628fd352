package provider

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
)

// signIn returns a client that carries a token of the account's application.
// Nothing at the provider has changed when it fails, so no error of it is
// [ErrUnknown]; and none holds what azidentity says, which quotes replies.
func (k azureKeys) signIn(ctx context.Context) (*Client, error) {
	ctx, cancel := context.WithTimeout(ctx, k.c.timeout)
	defer cancel()
	fields := k.account.Fields
	host := fields["authority_host"]
	if host == "" {
		host = azureAuthority
	}
	if u, err := parseBase(host); err != nil || u.Scheme != "https" {
		return nil, fmt.Errorf("authority_host must be an https URL without user, query or fragment: %w", ErrRejected)
	}
	way := &courier{client: k.c, last: reply{method: http.MethodPost, path: "/" + fields["tenant_id"] + "/oauth2/v2.0/token"}}
	credential, err := azidentity.NewClientSecretCredential(
		fields["tenant_id"], fields["client_id"], k.account.Secrets["client_secret"].Reveal(),
		&azidentity.ClientSecretCredentialOptions{
			ClientOptions: azcore.ClientOptions{
				Cloud:     cloud.Configuration{ActiveDirectoryAuthorityHost: host},
				Retry:     policy.RetryOptions{MaxRetries: -1},
				Telemetry: policy.TelemetryOptions{Disabled: true},
				Transport: way,
			},
			// It would ask Microsoft's public cloud about every authority.
			DisableInstanceDiscovery: true,
		})
	if err != nil {
		return nil, fmt.Errorf("tenant_id, client_id and client_secret make no credential: %w", ErrRejected)
	}
	scope := k.c.base.Scheme + "://" + k.c.base.Host + "/.default"
	token, err := credential.GetToken(ctx, policy.TokenRequestOptions{Scopes: []string{scope}})
	if err != nil {
		return nil, way.failed()
	}
	return k.c.With(func(h http.Header) { h.Set("Authorization", "Bearer "+token.Token) }), nil
}

// A courier carries azidentity's requests over the connections and under the
// rules of a [Client], and remembers how the last one ended.
type courier struct {
	client *Client
	last   reply
	err    error
	held   error // why it was not sent
	left   time.Duration
}

// Do implements the transport of azcore.
func (w *courier) Do(req *http.Request) (*http.Response, error) {
	// The authority itself says where tokens are had, and azidentity follows
	// AZURE_REGIONAL_AUTHORITY_NAME; the secret goes nowhere without TLS.
	if req.URL.Scheme != "https" {
		w.err = errors.New("not https")
		return nil, w.err
	}
	w.last = reply{method: req.Method, path: req.URL.EscapedPath()}
	req.Header.Set("User-Agent", userAgent)
	pass, left, err := w.client.admit(req.Context(), req.URL.Host)
	if err != nil {
		w.held, w.left = err, left
		return nil, err
	}
	defer w.client.took(WithOperation(req.Context(), "sign_in"), time.Now())
	resp, err := w.client.http.Do(req) //nolint:gosec // the operator names the authority, see signIn
	if w.err = err; err != nil {
		pass.done(unanswered.heard(req.Context(), false, 0))
		return nil, err
	}
	w.last.status, w.last.header = resp.StatusCode, resp.Header
	pass.done(w.last.outcome())
	pass.gate.delay(w.last)
	resp.Body = struct {
		io.Reader
		io.Closer
	}{io.LimitReader(resp.Body, maxBody), resp.Body}
	return resp, nil
}

// failed is the error of a sign-in. A wrong id or secret is a 400 or 401 there.
func (w *courier) failed() error {
	switch r := w.last; {
	case w.held != nil:
		e := r.failed(w.held)
		e.RetryAfter = w.left
		return e
	case w.err != nil:
		return r.failed(because(ErrUnreachable, w.err))
	case r.status == http.StatusTooManyRequests:
		return r.failed(ErrThrottled)
	case r.status >= 400 && r.status < 500 && r.status != http.StatusRequestTimeout && !r.html():
		return r.failed(fmt.Errorf("%w: sign-in to Entra refused", ErrRejected))
	default:
		return r.failed(fmt.Errorf("%w: sign-in to Entra failed", ErrUnreachable))
	}
}
