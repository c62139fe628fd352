package vault

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/hashicorp/vault/api"
	"github.com/hashicorp/vault/api/cliconfig"
)

// Options change how a client behaves. The zero value is fine.
type Options struct {
	// Namespace overrides VAULT_NAMESPACE.
	Namespace string
	// Timeout is for one request. Zero: VAULT_CLIENT_TIMEOUT, or one minute.
	Timeout time.Duration
	// UserAgent is what the server's audit log may show.
	UserAgent string
	// Redact masks secrets in what the server says.
	Redact func(string) string
	// Observe is told of every request after its answer, concurrently.
	Observe func(Request)
}

// A Request is what [Options.Observe] learns: no token and no body.
type Request struct {
	Method, Path string
	// Attempt counts from 1.
	Attempt int
	// Status is 0 when no answer came.
	Status int
	Took   time.Duration
}

// A Client talks to one server with one token. It is safe for concurrent use.
type Client struct {
	wire  *wire
	token string
	// anonymous: to send no token is what the caller wants.
	anonymous bool
}

// idleConnections lets parallel reads use their connections again; the default
// is one more than there are processors.
const idleConnections = 64

// Connect makes a client. No request is made yet, and that there is no token
// is an error only when one is needed.
func Connect(o Options) (*Client, error) {
	config := api.DefaultConfig()
	if config.Error != nil {
		return nil, fmt.Errorf("reading Vault's settings from the environment (VAULT_CACERT, VAULT_CLIENT_CERT and the like): %w", config.Error)
	}
	config.MaxRetries = 0
	if err := checkAddress(config); err != nil {
		return nil, err
	}
	transport, ok := config.HttpClient.Transport.(*http.Transport)
	if !ok {
		return nil, fmt.Errorf("an HTTP transport of type %T cannot be set up", config.HttpClient.Transport)
	}
	transport.MaxIdleConns = 2 * idleConnections
	transport.MaxIdleConnsPerHost = idleConnections
	server, err := api.NewClient(config)
	if err != nil {
		return nil, fmt.Errorf("setting up a client for %s: %w", shown(config.Address), err)
	}
	if o.Namespace != "" {
		server.SetNamespace(o.Namespace)
	}
	if o.UserAgent != "" {
		server.AddHeader("User-Agent", o.UserAgent)
	}
	if o.Timeout == 0 {
		o.Timeout = config.Timeout
	}
	token, err := findToken(server)
	if err != nil {
		return nil, err
	}
	return &Client{
		wire: &wire{
			server: server, client: config.HttpClient, timeout: o.Timeout,
			redact: o.Redact, observe: o.Observe,
		},
		token: token,
		// An agent adds a token of its own.
		anonymous: token == "" && config.AgentAddress != "",
	}, nil
}

// checkAddress refuses what would end in a puzzling error at the first request.
func checkAddress(config *api.Config) error {
	name, address := api.EnvVaultAddress, config.Address
	if config.AgentAddress != "" {
		name, address = api.EnvVaultAgentAddr, config.AgentAddress
	}
	u, err := url.Parse(address)
	if err != nil {
		// The parser's error repeats the address, and with it a password.
		return fmt.Errorf("%s is not an address; it looks like https://vault.example.com:8200", name)
	}
	switch {
	case u.Scheme == "unix" && u.Path != "":
		return nil
	case u.Scheme != "https" && u.Scheme != "http", u.Host == "":
		return fmt.Errorf("%s is %q, which is not an address; it looks like https://vault.example.com:8200", name, u.Redacted())
	case u.RawQuery != "" || u.Fragment != "":
		return fmt.Errorf("%s is %q; it cannot have a query or a fragment", name, u.Redacted())
	case strings.HasSuffix(strings.TrimRight(u.Path, "/"), "/v1"):
		return fmt.Errorf("%s is %q; leave the /v1 out", name, u.Redacted())
	}
	return nil
}

// findToken returns VAULT_TOKEN, or what `vault login` has kept.
func findToken(server *api.Client) (string, error) {
	token := server.Token()
	if token == "" {
		helper, err := cliconfig.DefaultTokenHelper()
		if err != nil {
			return "", fmt.Errorf("finding Vault's token helper (set VAULT_TOKEN to do without): %w", err)
		}
		if token, err = helper.Get(); err != nil {
			return "", fmt.Errorf("asking Vault's token helper (set VAULT_TOKEN to do without): %w", err)
		}
	}
	token = strings.TrimSpace(token)
	if !printable(token) {
		return "", errors.New("the Vault token holds characters that no token has: set VAULT_TOKEN again")
	}
	return token, nil
}

// Address is where the server is.
func (c *Client) Address() string { return shown(c.wire.server.Address()) }

// shown is an address without its password.
func shown(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return "the address"
	}
	return u.Redacted()
}

// HasToken tells whether there is a token to send.
func (c *Client) HasToken() bool { return c.token != "" }

// WithToken is the same client as somebody else.
func (c *Client) WithToken(token string) *Client {
	return &Client{wire: c.wire, token: token}
}

// WithoutToken is the same client as nobody: for what needs no token.
func (c *Client) WithoutToken() *Client {
	return &Client{wire: c.wire, anonymous: true}
}

// Format shows the address alone, whatever the verb.
func (c *Client) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, "(client of "+c.Address()+")")
}

// Read returns the data at a path; nil when there is nothing.
func (c *Client) Read(ctx context.Context, path string) (map[string]any, error) {
	return c.ReadWith(ctx, path, nil)
}

// ReadWith is Read with a query.
func (c *Client) ReadWith(ctx context.Context, path string, query map[string][]string) (map[string]any, error) {
	body, err := c.send(ctx, call{operation: "reading", method: http.MethodGet, path: path, query: query})
	if err != nil || body == nil {
		return nil, absence(err)
	}
	return body.data(), nil
}

// Obtain reads what the server makes for whoever reads it: a credential, mostly
// on a lease. Each request makes another, so it is tried again as little as a
// write. A wrapped answer is taken out.
func (c *Client) Obtain(ctx context.Context, path string, query map[string][]string) (*Answer, error) {
	got, err := c.send(ctx, call{operation: "reading", method: http.MethodGet, path: path, query: query, write: true})
	if err == nil && got != nil && got.WrapInfo != nil {
		got, err = c.WithToken(got.WrapInfo.Token).send(ctx, call{
			operation: "unwrapping", method: http.MethodPost, path: "sys/wrapping/unwrap", write: true,
		})
	}
	if err != nil {
		return nil, err
	}
	return got.answer(), nil
}

// List returns the names at a path; nil when there are none.
func (c *Client) List(ctx context.Context, path string) ([]string, error) {
	keys, _, err := c.ListInfo(ctx, path)
	return keys, err
}

// ListInfo is List with what some lists tell of each name.
func (c *Client) ListInfo(ctx context.Context, path string) ([]string, map[string]any, error) {
	// LIST itself does not get through every proxy.
	query := url.Values{"list": {"true"}}
	body, err := c.send(ctx, call{operation: "listing", method: http.MethodGet, path: path, query: query})
	if err != nil || body == nil {
		return nil, nil, absence(err)
	}
	items, _ := body.data()["keys"].([]any)
	var keys []string
	for _, item := range items {
		if name, ok := item.(string); ok {
			keys = append(keys, name)
		}
	}
	info, _ := body.data()["key_info"].(map[string]any)
	return keys, info, nil
}

// Write posts a body, which may be nil. The answer is never nil without an
// error.
func (c *Client) Write(ctx context.Context, path string, body map[string]any) (*Answer, error) {
	got, err := c.send(ctx, call{operation: "writing", method: http.MethodPost, path: path, body: body, write: true})
	if err != nil {
		return nil, err
	}
	return got.answer(), nil
}

// Delete deletes what is at a path. That there is nothing is no error.
func (c *Client) Delete(ctx context.Context, path string) error {
	return c.DeleteWith(ctx, path, nil)
}

// DeleteWith is Delete with a query.
func (c *Client) DeleteWith(ctx context.Context, path string, query map[string][]string) error {
	_, err := c.send(ctx, call{operation: "deleting", method: http.MethodDelete, path: path, query: query, write: true})
	return absence(err)
}

// Wrap is Write with the answer kept by the server, for whoever comes first
// with the token.
func (c *Client) Wrap(ctx context.Context, path string, body map[string]any, ttl time.Duration) (*Wrapped, error) {
	if ttl <= 0 {
		return nil, fmt.Errorf("wrapping the answer of %s: it needs a time to live", path)
	}
	got, err := c.send(ctx, call{operation: "writing", method: http.MethodPost, path: path, body: body, write: true, wrap: ttl})
	if err != nil {
		return nil, err
	}
	if got == nil || got.WrapInfo == nil || got.WrapInfo.Token == "" {
		return nil, &Error{Operation: "wrapping", Path: path, Status: http.StatusOK, Messages: []string{"the answer came back without a wrapping"}}
	}
	return got.wrapped(), nil
}

// Unwrap takes a wrapped answer out. It works once.
func (c *Client) Unwrap(ctx context.Context, token string) (map[string]any, error) {
	got, err := c.WithToken(token).send(ctx, call{operation: "unwrapping", method: http.MethodPost, path: "sys/wrapping/unwrap", write: true})
	if err != nil {
		return nil, err
	}
	return got.data(), nil
}

// Health asks how the server is. It needs no token, and any state the server
// answers with is no error.
func (c *Client) Health(ctx context.Context) (Health, error) {
	query := make(url.Values)
	for _, state := range []string{
		"uninit", "sealed", "standby", "drsecondary", "performancestandby", "removed", "haunhealthy",
	} {
		query.Set(state+"code", "299")
	}
	body, err := c.WithoutToken().send(ctx, call{
		operation: "reading", method: http.MethodGet, path: "sys/health", query: query, once: true,
	})
	if err != nil {
		return Health{}, err
	}
	return body.health()
}
