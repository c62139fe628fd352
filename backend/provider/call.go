package provider

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	maxBody       = 1 << 20
	maxRetryAfter = time.Hour
)

// A Call is one request to a provider and what counts as its success.
type Call struct {
	Method string
	// Path is joined to the client's base. A segment that could leave it (an
	// empty one, a dot segment, one with a slash in it) is refused.
	Path  []string
	Query url.Values
	// In is sent as JSON; nil sends no body.
	In any
	// Out takes the JSON reply; nil ignores it. A 202 or 204 leaves it alone.
	Out any
	// Want lists the statuses that mean success; none means 200. Any other 2xx
	// means that the API was misread, so the outcome is unknown.
	Want []int
}

// A Reply is what is left of a successful call once its body is decoded.
type Reply struct {
	Status int
	Header http.Header
}

// Do makes a call, once, and says in its error what is known of the effect:
//
//   - [ErrUnreachable]: no connection was had, or the time was up before the
//     rate limit let it go, or it was held back because earlier calls went
//     unanswered: nothing was sent;
//   - [ErrRejected]: 4xx, or a request that cannot be built;
//   - [ErrThrottled]: 429, or held back because of an earlier one;
//   - [ErrUnknown]: everything else, among them 408, 3xx, 5xx, an unexpected
//     2xx, a cut reply, one that is too long or not JSON, and anything in HTML,
//     which is a proxy's word and not the provider's.
//
// net/http itself sends a request again in three cases: it is a GET; nothing of
// it was written to a connection that had gone stale; or an HTTP/2 server reset
// its stream with GOAWAY, REFUSED_STREAM or PROTOCOL_ERROR. The last of these is
// no proof that a POST had no effect, and both it and the second need a way to
// read the body again: Do takes that way from every call but a GET. A call
// without a body is out of its reach, so calls that create or replace something
// have to have one. (It would also send a POST again that has an
// Idempotency-Key header: none has.)
func (c *Client) Do(ctx context.Context, call Call) (Reply, error) {
	r, err := c.send(ctx, call, false)
	if err != nil {
		return Reply{}, err
	}
	want := call.Want
	if len(want) == 0 {
		want = []int{http.StatusOK}
	}
	if !slices.Contains(want, r.status) || r.html() {
		return Reply{}, r.failed(r.kind())
	}
	if call.Out != nil && r.status != http.StatusAccepted && r.status != http.StatusNoContent {
		if !r.whole || json.Unmarshal(r.body, call.Out) != nil {
			return Reply{}, r.failed(ErrUnknown)
		}
	}
	return Reply{r.status, r.header}, nil
}

// check makes a call that proves an admin credential: the body of [Keys.Check].
func (c *Client) check(ctx context.Context, call Call) error {
	r, err := c.send(ctx, call, false)
	switch {
	case err != nil:
		return err
	case r.status/100 == 2 && !r.html():
		return nil
	case r.status == http.StatusNotFound && !r.html():
		return r.failed(ErrUnproven)
	default:
		return r.failed(r.kind())
	}
}

// verify makes a call with a key that any live key may make: the body of
// [Keys.Verify]. A key that may not do this, or not now, is alive.
func (c *Client) verify(ctx context.Context, call Call) error {
	r, err := c.send(ctx, call, true)
	switch {
	case err != nil:
		return err
	case r.html():
		return r.failed(ErrUnknown)
	case r.status/100 == 2, r.status == http.StatusForbidden, r.status == http.StatusTooManyRequests:
		return nil
	case r.status == http.StatusUnauthorized:
		return r.failed(ErrDead)
	default:
		return r.failed(ErrUnknown)
	}
}

// NotFound says that a 404 came in the provider's own shape. It is no proof that
// the thing is gone: see [confirmed].
func NotFound(err error) bool {
	var ce *CallError
	return errors.As(err, &ce) && ce.Status == http.StatusNotFound && errors.Is(ce, ErrRejected)
}

// late is the error of a call that followed one which took effect: whatever it
// says of itself, something has changed.
func late(err error) error {
	var ce *CallError
	if !errors.As(err, &ce) {
		return fmt.Errorf("after a call that took effect: %w", ErrUnknown)
	}
	d := *ce
	d.Kind = ErrUnknown
	return &d
}

// send makes a call and reads the reply, whatever its status. Its error is a
// [CallError] without a status. trial says that the call is signed with a key that
// is on trial, so that the reply is about that key and not about the account.
func (c *Client) send(ctx context.Context, call Call, trial bool) (reply, error) {
	caller := ctx
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	var sent atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) { sent.Store(true) },
	})
	req, err := c.request(ctx, call)
	if err != nil {
		return reply{}, &CallError{Method: call.Method, Path: strings.Join(call.Path, "/"), Kind: err}
	}
	r := reply{method: call.Method, path: req.URL.EscapedPath()}
	pass, left, err := c.admit(ctx, c.base.Host)
	if err != nil {
		held := r.failed(err)
		held.RetryAfter = left
		return reply{}, held
	}
	said := unanswered
	defer c.took(ctx, time.Now())
	defer func() { pass.done(said.heard(caller, trial, r.status)) }()
	resp, err := c.http.Do(req)
	if err != nil {
		kind := ErrUnreachable
		if sent.Load() {
			kind = ErrUnknown
		}
		return reply{}, r.failed(because(kind, err))
	}
	defer func() { _ = resp.Body.Close() }()
	r.status, r.header = resp.StatusCode, resp.Header
	// One byte more than allowed tells a long body from a full one. A body read
	// to its end leaves the connection fit for the next call.
	r.body, err = io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	r.whole = err == nil && len(r.body) <= maxBody
	if err == nil {
		said = r.outcome()
	}
	if !trial {
		pass.gate.delay(r)
	}
	return r, nil
}

func (c *Client) took(ctx context.Context, since time.Time) {
	if c.meter != nil {
		name, _ := ctx.Value(operationKey{}).(string)
		c.meter.Took(name, time.Since(since))
	}
}

// request builds what [Client.send] sends. Its errors wrap [ErrRejected].
func (c *Client) request(ctx context.Context, call Call) (*http.Request, error) {
	u, err := join(c.base, call.Path)
	if err != nil {
		return nil, err
	}
	u.RawQuery = call.Query.Encode()
	var body io.Reader
	if call.In != nil {
		raw, err := json.Marshal(call.In)
		if err != nil {
			return nil, fmt.Errorf("%w: it cannot be written as JSON", ErrRejected)
		}
		body = bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(ctx, call.Method, u.String(), body)
	if err != nil {
		return nil, fmt.Errorf("%w: it is not an HTTP request", ErrRejected)
	}
	if call.Method != http.MethodGet {
		req.GetBody = nil // no second copy, no second sending: see Do
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", userAgent)
	if call.In != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.auth != nil {
		c.auth(req.Header)
	}
	for _, values := range req.Header {
		if slices.ContainsFunc(values, hasControl) {
			return nil, fmt.Errorf("%w: a credential holds a line break or another control character", ErrRejected)
		}
	}
	return req, nil
}

func join(base *url.URL, path []string) (*url.URL, error) {
	if slices.ContainsFunc(path, unsafeSegment) {
		return nil, fmt.Errorf("%w: a name in the path is empty, or would climb out of it", ErrRejected)
	}
	u := *base
	u.RawPath = base.EscapedPath()
	for _, s := range path {
		u.Path += "/" + s
		u.RawPath += "/" + url.PathEscape(s)
	}
	return &u, nil
}

// unsafeSegment refuses slashes too, although they would be escaped: enough
// servers undo that before they resolve dots.
func unsafeSegment(s string) bool {
	return s == "" || s == "." || s == ".." || strings.ContainsAny(s, `/\`) || hasControl(s)
}

func hasControl(s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f })
}

// because adds a reason of ours to kind. The error's own text stays out: it
// holds the address with its query.
func because(kind, err error) error {
	var timeout net.Error
	var name *net.DNSError
	switch {
	case errors.Is(err, context.Canceled):
		return fmt.Errorf("%w: cancelled", kind)
	case errors.As(err, &timeout) && timeout.Timeout():
		return fmt.Errorf("%w: timed out", kind)
	case errors.As(err, &name):
		return fmt.Errorf("%w: its name does not resolve", kind)
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("%w: connection refused", kind)
	case untrusted(err):
		return fmt.Errorf("%w: its certificate is not trusted; if it is right, give its authority as ca_cert", kind)
	default:
		return kind
	}
}

// A reply is an HTTP response, read.
type reply struct {
	method, path string
	status       int
	header       http.Header
	body         []byte
	whole        bool // body is all there was
}

// kind is what a reply that is not a success says about the effect.
func (r reply) kind() error {
	switch {
	case r.status == http.StatusTooManyRequests:
		return ErrThrottled
	case r.html(), r.status == http.StatusRequestTimeout:
		return ErrUnknown
	case r.status == http.StatusNotFound && !r.object():
		return ErrUnknown
	case r.status >= 400 && r.status < 500:
		return ErrRejected
	default:
		return ErrUnknown
	}
}

// html is how proxies, gateways and login pages speak; no key API does.
func (r reply) html() bool {
	t, _, _ := mime.ParseMediaType(r.header.Get("Content-Type"))
	return t == "text/html" || t == "application/xhtml+xml"
}

// object tells the provider's own 404 from that of something on the way: every
// provider here says it in a JSON object.
func (r reply) object() bool {
	return r.whole && !r.html() && bytes.HasPrefix(bytes.TrimSpace(r.body), []byte("{")) && json.Valid(r.body)
}

func (r reply) failed(kind error) *CallError {
	e := &CallError{Method: r.method, Path: r.path, Status: r.status, Kind: kind}
	if r.header != nil {
		e.RetryAfter = retryAfter(r.header)
	}
	return e
}

// retryAfter reads seconds or a date. It is bounded: a mistake at the provider
// shall not put a key off for a week.
func retryAfter(h http.Header) time.Duration {
	v := h.Get("Retry-After")
	if s, err := strconv.ParseUint(v, 10, 31); err == nil {
		return min(time.Duration(s)*time.Second, maxRetryAfter)
	}
	if at, err := http.ParseTime(v); err == nil {
		return max(0, min(time.Until(at), maxRetryAfter))
	}
	return 0
}
