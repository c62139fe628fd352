package providertest

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// A vendor is what the three fakes have in common.
type vendor interface {
	name() string
	// handle carries a call out. The caller holds the Cloud's lock.
	handle(r *http.Request, body []byte) reply
	// refusal is an error in the vendor's shape.
	refusal(status int) reply
}

type reply struct {
	status int
	header http.Header
	body   []byte
}

func jsonReply(status int, v any) reply {
	body, err := json.Marshal(v)
	if err != nil { // our own types: a mistake in this package
		panic("providertest: marshalling a reply: " + err.Error())
	}
	return reply{status: status, header: http.Header{"Content-Type": {"application/json"}}, body: body}
}

// object is a JSON object in a reply.
type object = map[string]any

const (
	controlPrefix = "/_fake/"
	// maxBody bounds what a fake reads of a request.
	maxBody = 1 << 20
	// hugeBody is more than any client should read of a key API.
	hugeBody = 2 << 20
)

// serve is the one way in: it carries a call out and lets faults and hooks
// come between the vendor and its caller.
func (c *Cloud) serve(v vendor, w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, controlPrefix) {
		c.control(w, r)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		v.refusal(http.StatusRequestEntityTooLarge).send(w)
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))

	c.mu.Lock()
	fault, latency := c.take(v.name(), r), c.latency
	before, after := c.before, c.after
	c.mu.Unlock()
	call := c.newCall(v.name(), r, fault)

	if !fault.After {
		latency += fault.Latency
	}
	waiting := r.Context()
	if fault.Kind == Late {
		waiting = context.WithoutCancel(waiting)
	}
	if before != nil && before(r) != nil || !wait(waiting, latency) {
		c.breakOff(call)
	}
	var out reply
	if fault.lets() {
		out = c.carryOut(v, r, body)
		call.Effect = true
		if after != nil && after(r) != nil || fault.After && !wait(r.Context(), fault.Latency) {
			c.breakOff(call)
		}
	}
	if fault.Kind == Hang {
		<-r.Context().Done()
	}
	if fault.Kind == Hang || fault.Kind == Broken {
		c.breakOff(call)
	}
	out = fault.distort(v, r, out, c.secrets(fault))
	call.Status = out.status
	c.mu.Lock()
	c.note(call)
	c.mu.Unlock()
	if fault.Kind == CutShort {
		out.sendHalf(w)
	}
	out.send(w)
}

func (c *Cloud) carryOut(v vendor, r *http.Request, body []byte) reply {
	c.mu.Lock()
	defer c.mu.Unlock()
	return v.handle(r, body)
}

func (c *Cloud) newCall(provider string, r *http.Request, f Fault) *Call {
	call := &Call{
		Provider: provider, Method: r.Method, Path: r.URL.Path, Query: r.URL.RawQuery,
		At: time.Now(), Fault: string(f.Kind),
	}
	if strings.Contains(call.Path+call.Query, c.options.Marker) {
		call.Path, call.Query = "[a secret]", ""
		c.mu.Lock()
		c.counts.SecretsInURLs++
		c.mu.Unlock()
	}
	return call
}

// breakOff ends a call without a reply. net/http and [Transport] both take the
// panic as a closed connection.
func (c *Cloud) breakOff(call *Call) {
	c.mu.Lock()
	c.note(call)
	c.mu.Unlock()
	panic(http.ErrAbortHandler)
}

// wait reports whether the caller was still there when d was over.
func wait(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return true
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// secrets lists what a fault blanks.
func (c *Cloud) secrets(f Fault) []string {
	if f.Kind != EmptyKey {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	secrets := make([]string, 0, len(c.bySecret))
	for s := range c.bySecret {
		secrets = append(secrets, s)
	}
	return secrets
}

// distort turns what the vendor said into what the caller is told.
func (f Fault) distort(v vendor, r *http.Request, out reply, secrets []string) reply {
	switch f.Kind {
	case "", Slow, CutShort, Broken, Hang, Late:
		return out
	case Status:
		out = v.refusal(cmp.Or(f.Status, http.StatusServiceUnavailable))
	case Throttled:
		out = v.refusal(http.StatusTooManyRequests)
		out.header.Set("Retry-After", cmp.Or(f.RetryAfter, "1"))
		return out
	case HTML:
		page := "<!doctype html><title>Sign in</title><h1>Sign in to the network</h1>"
		out = reply{cmp.Or(f.Status, http.StatusOK), http.Header{"Content-Type": {"text/html; charset=utf-8"}}, []byte(page)}
	case Redirect:
		to := *r.URL
		to.Path, to.RawPath, to.RawQuery = controlPrefix+"followed", "", ""
		out = reply{http.StatusTemporaryRedirect, http.Header{"Location": {to.RequestURI()}}, nil}
	case OtherSuccess:
		out.status = cmp.Or(f.Status, http.StatusNonAuthoritativeInfo)
	case EmptyKey:
		for _, s := range secrets {
			out.body = bytes.ReplaceAll(out.body, []byte(s), nil)
		}
	case Huge:
		out = huge(out)
	}
	if f.RetryAfter != "" {
		out.header.Set("Retry-After", f.RetryAfter)
	}
	return out
}

// huge puts a filling into a JSON object, or makes one of it alone.
func huge(out reply) reply {
	rest := bytes.TrimPrefix(out.body, []byte("{"))
	if len(rest) == len(out.body) || len(rest) < 2 {
		rest = []byte(`"end":true}`)
	}
	body := append([]byte(`{"filling":"`), bytes.Repeat([]byte("x"), hugeBody)...)
	body = append(body, `",`...)
	return reply{http.StatusOK, http.Header{"Content-Type": {"application/json"}}, append(body, rest...)}
}

func (out reply) head(w http.ResponseWriter) {
	maps.Copy(w.Header(), out.header)
	w.Header().Set("Content-Length", strconv.Itoa(len(out.body)))
	w.WriteHeader(out.status)
}

func (out reply) send(w http.ResponseWriter) {
	out.head(w)
	_, _ = w.Write(out.body) // if the caller has gone there is nobody to tell
}

// sendHalf promises the whole reply, sends half and breaks off.
func (out reply) sendHalf(w http.ResponseWriter) {
	out.head(w)
	_, _ = w.Write(out.body[:len(out.body)/2])
	_ = http.NewResponseController(w).Flush()
	panic(http.ErrAbortHandler)
}
