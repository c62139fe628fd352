package provider

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"math"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"golang.org/x/time/rate"
)

const (
	userAgent      = "vault-plugin-secrets-ai-keys"
	defaultTimeout = 30 * time.Second
	maxIdlePerHost = 64
	maxHeader      = 64 << 10
)

// Options say where a provider is and how to reach it.
type Options struct {
	// BaseURL is the root of every call. It is https; plain http is accepted
	// on loopback only.
	BaseURL string
	// CACert holds PEM certificates. They replace the system's roots: an
	// operator who names an authority means that one.
	CACert string
	// RequestsPerSecond bounds the calls of this client and of every copy of
	// it; 0 means no bound. Up to a second's worth may go out at once.
	RequestsPerSecond float64
	// Timeout bounds one call, its wait for the rate limit and for a delay that
	// the provider asked for included; 0 means 30 s.
	Timeout time.Duration
	// BreakAfter is how many calls in a row to one host may go unanswered before
	// further ones are held back; 0 means 5. They are held back for FirstPause (0
	// means 5 s), and twice as long each time that the next one goes unanswered
	// too, up to LastPause (0 means 2 min).
	BreakAfter            int
	FirstPause, LastPause time.Duration
	// Meter is told how long calls take; nil: nobody is.
	Meter Meter
	// Transport carries the requests, for tests; nil means an own
	// [http.Transport]. It has to call GotConn of [net/http/httptrace] before a
	// request can take effect, since that is what tells [ErrUnreachable] from
	// [ErrUnknown]. CACert is checked, but has no effect on it.
	Transport http.RoundTripper
}

// A Meter is told of every call that was sent: for which operation (see
// [WithOperation]), and how long it took to its end.
type Meter interface {
	Took(operation string, d time.Duration)
}

type operationKey struct{}

// WithOperation names what the calls under ctx are for, for the [Meter].
func WithOperation(ctx context.Context, name string) context.Context {
	return context.WithValue(ctx, operationKey{}, name)
}

// A Client makes JSON calls to one provider. All providers share it, so that
// what keeps a call safe is written once, here and in [Client.Do]:
//
//   - it follows no redirect: net/http drops Authorization on the way to
//     another host, but not x-api-key;
//   - it retries nothing, and keeps net/http from doing so: see [Client.Do];
//   - its errors hold no body, no header and no query;
//   - it reads a bounded reply, within a bounded time;
//   - it leaves a provider alone that asked for it, or that does not answer: see
//     [Urgent] for the exception.
//
// A Client is safe for concurrent use, and keeps connections until Close.
type Client struct {
	http    *http.Client
	base    *url.URL
	auth    func(http.Header)
	limit   *rate.Limiter
	gates   *gates
	meter   Meter
	timeout time.Duration
}

// NewClient checks the options; it makes no call. Its errors name the field of
// an account that has to change.
func NewClient(o Options) (*Client, error) {
	base, err := parseBase(o.BaseURL)
	if err != nil {
		return nil, err
	}
	roots, err := parseRoots(o.CACert)
	if err != nil {
		return nil, err
	}
	if r := o.RequestsPerSecond; r < 0 || math.IsNaN(r) || math.IsInf(r, 0) {
		return nil, errors.New("requests_per_second is not a rate: give a positive number, or 0 for no limit")
	}
	c := &Client{base: base, gates: newGates(o), meter: o.Meter, timeout: o.Timeout}
	if c.timeout <= 0 {
		c.timeout = defaultTimeout
	}
	if o.RequestsPerSecond > 0 {
		burst := int(min(math.Ceil(o.RequestsPerSecond), math.MaxInt32))
		c.limit = rate.NewLimiter(rate.Limit(o.RequestsPerSecond), burst)
	}
	transport := o.Transport
	if transport == nil {
		transport = newTransport(roots)
	}
	c.http = &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return c, nil
}

// Close drops idle connections. Calls under way, and later ones, still work.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// With returns a copy that signs its requests with auth. The two share
// connections, the rate limit, and what holds calls back.
func (c *Client) With(auth func(http.Header)) *Client {
	d := *c
	d.auth = auth
	return &d
}

// At returns a copy for another base, such as a data plane. It signs nothing:
// what was meant for one host is not for the next.
func (c *Client) At(base string) (*Client, error) {
	u, err := parseBase(base)
	if err != nil {
		return nil, err
	}
	d := *c
	d.base, d.auth = u, nil
	return &d, nil
}

func newTransport(roots *x509.CertPool) *http.Transport {
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		TLSHandshakeTimeout:    10 * time.Second,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots},
		ForceAttemptHTTP2:      true,
		MaxIdleConns:           2 * maxIdlePerHost,
		MaxIdleConnsPerHost:    maxIdlePerHost,
		IdleConnTimeout:        time.Minute,
		MaxResponseHeaderBytes: maxHeader,
	}
}

// parseBase accepts what every call can be joined to. Its errors do not repeat
// the value: it may hold a password.
func parseBase(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	switch {
	case raw == "":
		return nil, errors.New("base_url is empty: give the root of the provider's API, as in https://api.example.com/v1")
	case err != nil, u.Opaque != "", u.Hostname() == "":
		return nil, errors.New("base_url is not a URL with a host: write it as https://api.example.com/v1")
	case u.Scheme != "https" && (u.Scheme != "http" || !loopback(u.Hostname())):
		return nil, errors.New("base_url must start with https:// (plain http is for loopback only): " +
			"it carries the admin credential")
	case u.User != nil:
		return nil, errors.New("base_url holds a user or password: give credentials in the account's own fields")
	case u.RawQuery != "", u.ForceQuery, u.Fragment != "", strings.HasSuffix(raw, "#"):
		return nil, errors.New("base_url holds a query or a fragment: give scheme, host and path only")
	}
	u.Path, u.RawPath = strings.TrimRight(u.Path, "/"), strings.TrimRight(u.RawPath, "/")
	if u.Path != "" && slices.ContainsFunc(strings.Split(u.Path, "/")[1:], unsafeSegment) {
		return nil, errors.New("base_url holds an empty segment, . or .. in its path: write the path out")
	}
	return u, nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func parseRoots(pem string) (*x509.CertPool, error) {
	if pem == "" {
		return nil, nil //nolint:nilnil // nil roots mean the system's.
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM([]byte(pem)) {
		return nil, errors.New("ca_cert holds no certificate: give PEM text, from BEGIN CERTIFICATE to END CERTIFICATE")
	}
	return pool, nil
}

// untrusted tells a certificate that was refused from other ways to fail.
func untrusted(err error) bool {
	var refused *tls.CertificateVerificationError
	return errors.As(err, &refused)
}
