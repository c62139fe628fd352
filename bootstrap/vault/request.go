package vault

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/hashicorp/vault/api"
)

// bodyLimit is the most that an answer may hold.
const bodyLimit = 32 << 20

// A wire is what the clients of one server have in common. The api package
// reads the environment and makes the requests; they are sent here, because
// its own way of sending closes every idle connection after one error and
// cannot say whether a request left.
type wire struct {
	server  *api.Client
	client  *http.Client
	timeout time.Duration
	redact  func(string) string
	observe func(Request)
}

// A call is one thing to be done, in as many requests as it takes.
type call struct {
	operation, method, path string
	query                   url.Values
	body                    map[string]any
	wrap                    time.Duration
	// write: it changes something. once: it is not tried again.
	write, once bool
}

// send does a call. The body is nil if the answer had none.
func (c *Client) send(ctx context.Context, what call) (*body, error) {
	path, err := checkPath(what.path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what.operation, err)
	}
	what.path = path
	if c.token == "" && !c.anonymous {
		return nil, fmt.Errorf("%s %s: %w", what.operation, path, ErrNoToken)
	}
	var text []byte
	if what.body != nil {
		if text, err = json.Marshal(what.body); err != nil {
			return nil, fmt.Errorf("%s %s: %w", what.operation, path, err)
		}
	}
	start := time.Now()
	for attempt := 1; ; attempt++ {
		got, f := c.once(ctx, what, text, attempt)
		if f == nil {
			return got, nil
		}
		wait, again := f.again(what, attempt, time.Since(start))
		if !again || ctx.Err() != nil {
			return nil, f.final(what)
		}
		if err := pause(ctx, wait); err != nil {
			return nil, fmt.Errorf("%w (not tried again: %w)", f.final(what), err)
		}
	}
}

// once makes one request, and the one that a standby server sends it on to.
func (c *Client) once(ctx context.Context, what call, text []byte, attempt int) (_ *body, f *failure) {
	start, status := time.Now(), 0
	defer func() {
		if c.wire.observe != nil {
			c.wire.observe(Request{
				Method: what.method, Path: what.path, Attempt: attempt, Status: status, Took: time.Since(start),
			})
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, c.wire.timeout)
	defer cancel()
	if limiter := c.wire.server.Limiter(); limiter != nil {
		if err := limiter.Wait(ctx); err != nil {
			return nil, &failure{err: fmt.Errorf("%s %s: waiting for VAULT_RATE_LIMIT: %w", what.operation, what.path, err)}
		}
	}
	// Whether anything can have reached the server. net/http asks for another
	// connection only if nothing did.
	var sent atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn: func(string) { sent.Store(false) },
		GotConn: func(httptrace.GotConnInfo) { sent.Store(true) },
	})
	resp, err := c.exchange(ctx, what, text)
	if err != nil {
		return nil, unanswered(what, c.Address(), sent.Load(), err)
	}
	defer func() { _ = resp.Body.Close() }()
	status = resp.StatusCode
	answer, err := io.ReadAll(io.LimitReader(resp.Body, bodyLimit+1))
	switch {
	case err != nil:
		return nil, unanswered(what, c.Address(), true, err)
	case len(answer) > bodyLimit:
		return nil, &failure{err: what.refuse(status, "the answer is larger than 32 MB"), sent: true, hopeless: true}
	case status >= http.StatusMultipleChoices:
		return nil, &failure{
			err: c.wire.problem(what, status, answer), sent: true,
			status: status, after: resp.Header.Get("Retry-After"),
		}
	case len(bytes.TrimSpace(answer)) == 0:
		return nil, nil
	}
	got, err := parse(answer)
	if err != nil {
		// The parser's error could quote the answer.
		return nil, &failure{err: what.refuse(status, "the answer is not one of a Vault server: is VAULT_ADDR right?"), sent: true, hopeless: true}
	}
	for i, w := range got.Warnings {
		got.Warnings[i] = clean(w, c.wire.redact)
	}
	return got, nil
}

// exchange sends a request and follows one redirection, as Vault's command
// line does: that is how a standby server points to the active one.
func (c *Client) exchange(ctx context.Context, what call, text []byte) (*http.Response, error) {
	r := c.wire.server.NewRequest(what.method, "/v1/"+what.path)
	r.URL.RawQuery = what.query.Encode()
	for hop := 0; ; hop++ {
		req, err := http.NewRequestWithContext(ctx, what.method, r.URL.String(), bytes.NewReader(text))
		if err != nil {
			return nil, err
		}
		req.Header = r.Headers.Clone()
		if hop == 0 {
			req.Host = r.Host
		}
		if text != nil {
			req.Header.Set("Content-Type", "application/json")
		}
		if c.token != "" {
			req.Header.Set(api.AuthHeaderName, c.token)
		}
		if what.wrap > 0 {
			req.Header.Set("X-Vault-Wrap-TTL", strconv.FormatInt(int64(math.Ceil(what.wrap.Seconds())), 10))
		}
		resp, err := c.wire.client.Do(req)
		if err != nil || hop > 0 || !redirects(resp.StatusCode) {
			return resp, err
		}
		_ = resp.Body.Close()
		next, err := resp.Location()
		if err != nil {
			return nil, err
		}
		if r.URL.Scheme == "https" && next.Scheme != "https" {
			return nil, errors.New("the server sends us on to an address without TLS, which is refused")
		}
		r.URL = next
	}
}

func redirects(status int) bool {
	switch status {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return true
	}
	return false
}

// refuse is the error of an answer that cannot be used.
func (c call) refuse(status int, why string) *Error {
	return &Error{Operation: c.operation, Path: c.path, Status: status, Messages: []string{why}}
}

// problem is the error of an answer that is no success.
func (w *wire) problem(what call, status int, answer []byte) *Error {
	var said struct {
		Errors []string `json:"errors"`
	}
	if json.Unmarshal(answer, &said) != nil {
		said.Errors = []string{string(answer)}
	}
	e := &Error{Operation: what.operation, Path: what.path, Status: status}
	for _, m := range said.Errors {
		if m = clean(m, w.redact); m != "" {
			e.Messages = append(e.Messages, m)
		}
	}
	return e
}

// pause waits, unless it is told to stop.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}
