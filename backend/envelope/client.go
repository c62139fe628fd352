package envelope

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// maxReply bounds a reply's body. Vault's largest answer here has about 2 KiB.
const maxReply = 64 << 10

// A client talks to one Vault with one identity: see the package comment for
// why it is not built on Vault's own. Making one makes no call.
type client struct {
	set  Settings
	http *http.Client
	now  func() time.Time
	// changed is called after a login, so that somebody looks after it; or nil.
	changed func()

	// door is held while logging in or renewing: it orders those, and nothing else.
	door chan struct{}

	mu   sync.Mutex // guards what follows; never held across a call
	sess session
	last outcome
}

// An outcome is how transit last behaved.
type outcome struct {
	failing   bool
	err       error // the last one
	failed    time.Time
	succeeded time.Time
}

// newClient validates set. A nil transport means one of its own.
func newClient(set Settings, transport http.RoundTripper, now func() time.Time) (*client, error) {
	if err := set.Validate(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotConfigured, err)
	}
	if transport == nil {
		transport = newTransport(&set)
	}
	return &client{
		set: set,
		http: &http.Client{
			Transport:     transport,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		now:  now,
		door: make(chan struct{}, 1),
	}, nil
}

// newTransport has no Proxy: a nil one also ignores HTTPS_PROXY and its kin.
func newTransport(set *Settings) *http.Transport {
	config := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: set.TLSServerName}
	if set.CACert != "" {
		config.RootCAs = x509.NewCertPool()
		config.RootCAs.AppendCertsFromPEM([]byte(set.CACert)) // Validate saw that it holds one
	}
	return &http.Transport{
		TLSClientConfig:     config,
		ForceAttemptHTTP2:   true,
		MaxIdleConnsPerHost: 4,
		IdleConnTimeout:     90 * time.Second,
	}
}

// A refusal is a reply other than success: its status, and what is known of
// its text. The text itself goes nowhere.
type refusal struct {
	status int
	clue   clue
}

func (r *refusal) Error() string { return fmt.Sprintf("status %d", r.status) }

// A clue is a part of Vault's error texts by which equal statuses are told apart.
type clue string

const (
	clueSealed  clue = "Vault is sealed"
	clueTooOld  clue = "version is disallowed by policy (too old)"
	clueNoKey   clue = "encryption key not found"
	clueNoRoute clue = "no handler for route"
)

// send makes one call, bounded by the settings' timeout. An error is a
// *refusal, or wraps ErrUnreachable. The reply is decoded into out and overwritten.
func (c *client) send(ctx context.Context, method, path, token string, in, out any) error {
	ctx, cancel := context.WithTimeout(ctx, c.set.timeout())
	defer cancel()
	req, err := c.request(ctx, method, path, token, in)
	if err != nil {
		return err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return unreachable(c.set.Address, err)
	}
	defer func() { _ = resp.Body.Close() }() // all that is wanted was read

	body, err := io.ReadAll(io.LimitReader(resp.Body, maxReply+1))
	defer clear(body)
	switch {
	case err != nil:
		return unreachable(c.set.Address, err)
	case len(body) > maxReply:
		return c.notVault("its reply is too long")
	case resp.StatusCode >= 300 && resp.StatusCode < 400:
		return fmt.Errorf("%w: %s redirects, which is not followed; set address to where it leads, or to the active node", ErrUnreachable, c.set.Address)
	case resp.StatusCode == http.StatusOK && out != nil:
		if err := json.Unmarshal(body, out); err != nil {
			return c.notVault("its reply is no JSON of Vault's")
		}
		return nil
	case resp.StatusCode == http.StatusOK, resp.StatusCode == http.StatusNoContent && out == nil:
		return nil
	}
	r := &refusal{status: resp.StatusCode}
	for _, known := range []clue{clueSealed, clueTooOld, clueNoKey, clueNoRoute} {
		if bytes.Contains(body, []byte(known)) {
			r.clue = known
		}
	}
	return r
}

func (c *client) request(ctx context.Context, method, path, token string, in any) (*http.Request, error) {
	u, err := url.Parse(strings.TrimSuffix(c.set.Address, "/") + "/v1/" + path)
	if err != nil || !isPath(path) { // Validate saw every part of it
		return nil, fmt.Errorf("%w: the path %q is not plain", ErrNotConfigured, path)
	}
	var body io.Reader
	if in != nil {
		raw, err := json.Marshal(in)
		if err != nil {
			return nil, fmt.Errorf("encoding a request: %w", err)
		}
		body = bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(ctx, method, u.String(), body)
	if err != nil {
		return nil, fmt.Errorf("building a request: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Vault-Request", "true") // Vault Agent's listener may ask for it
	if token != "" {
		req.Header.Set("X-Vault-Token", token)
	}
	if c.set.Namespace != "" {
		req.Header.Set("X-Vault-Namespace", c.set.Namespace)
	}
	return req, nil
}

func (c *client) notVault(why string) error {
	return fmt.Errorf("%w: what answers at %s is not Vault, or a proxy changed the answer: %s", ErrUnreachable, c.set.Address, why)
}
