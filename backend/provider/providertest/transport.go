package providertest

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"strconv"
	"strings"
)

// Transport is an in-process network: a round tripper that reaches handlers by
// host name, with or without port. It behaves as a network does:
//
//   - an unknown host fails to dial, before [httptrace.ClientTrace].GotConn;
//   - GotConn is called before a handler runs, with an empty GotConnInfo, so a
//     caller can tell whether its request was sent;
//   - when the caller's context ends the round trip ends, whatever the handler
//     does; the handler's own context ends too;
//   - a handler that panics with [http.ErrAbortHandler] is a connection that
//     broke: before the reply, or within its body if some of it was sent.
//
// Handlers run in a goroutine each, as under a server. Any other panic of a
// handler comes out of RoundTrip.
func Transport(handlers map[string]http.Handler) http.RoundTripper {
	n := network{}
	for host, h := range handlers {
		n[strings.ToLower(host)] = h
	}
	return n
}

type network map[string]http.Handler

// RoundTrip implements [http.RoundTripper].
func (n network) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		defer r.Body.Close() //nolint:errcheck // read to its end or not wanted
	}
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	host := strings.ToLower(r.URL.Host)
	h, ok := n[host]
	if !ok {
		h, ok = n[strings.ToLower(r.URL.Hostname())]
	}
	trace := httptrace.ContextClientTrace(r.Context())
	if trace != nil && trace.GetConn != nil {
		trace.GetConn(host)
	}
	if !ok {
		unknown := &net.DNSError{Err: "no such host", Name: r.URL.Hostname(), IsNotFound: true}
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: unknown}
	}
	if trace != nil && trace.GotConn != nil {
		trace.GotConn(httptrace.GotConnInfo{})
	}
	in, err := arrive(r)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	done := make(chan *answer, 1)
	go func() {
		a := &answer{header: http.Header{}}
		a.run(h, in.WithContext(ctx))
		done <- a
	}()
	select {
	case a := <-done:
		return a.response(r)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// arrive makes what the server sees of what the client sent.
func arrive(r *http.Request) (*http.Request, error) {
	var body []byte
	if r.Body != nil {
		var err error
		if body, err = io.ReadAll(r.Body); err != nil {
			return nil, err
		}
	}
	in := r.Clone(context.WithoutCancel(r.Context()))
	in.Body = io.NopCloser(bytes.NewReader(body))
	in.ContentLength = int64(len(body))
	in.RequestURI = r.URL.RequestURI()
	in.RemoteAddr = "127.0.0.1:0"
	if in.Host == "" {
		in.Host = r.URL.Host
	}
	if r.URL.Scheme == "https" {
		in.TLS = &tls.ConnectionState{Version: tls.VersionTLS13, HandshakeComplete: true}
	}
	return in, nil
}

// answer is the [http.ResponseWriter] of one round trip.
type answer struct {
	header http.Header
	sent   http.Header // what the header was when it went out
	status int
	body   bytes.Buffer
	broken bool
	crash  any
}

func (a *answer) run(h http.Handler, r *http.Request) {
	defer func() {
		switch v := recover(); v {
		case nil:
			a.WriteHeader(http.StatusOK)
		case http.ErrAbortHandler:
			a.broken = true
		default:
			a.crash = v
		}
	}()
	h.ServeHTTP(a, r)
}

// Header implements [http.ResponseWriter].
func (a *answer) Header() http.Header { return a.header }

// WriteHeader implements [http.ResponseWriter].
func (a *answer) WriteHeader(status int) {
	if a.status == 0 {
		a.status, a.sent = status, a.header.Clone()
	}
}

// Write implements [http.ResponseWriter].
func (a *answer) Write(p []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	return a.body.Write(p)
}

// Flush implements [http.Flusher]. Everything is on its way already.
func (a *answer) Flush() { a.WriteHeader(http.StatusOK) }

func (a *answer) response(r *http.Request) (*http.Response, error) {
	if a.crash != nil {
		panic(a.crash)
	}
	if a.status == 0 {
		return nil, io.ErrUnexpectedEOF
	}
	resp := &http.Response{
		Status:     strconv.Itoa(a.status) + " " + http.StatusText(a.status),
		StatusCode: a.status,
		Proto:      "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header:        a.sent,
		ContentLength: -1,
		Request:       r,
	}
	if n, err := strconv.ParseInt(a.sent.Get("Content-Length"), 10, 64); err == nil {
		resp.ContentLength = n
	}
	if r.URL.Scheme == "https" {
		resp.TLS = &tls.ConnectionState{Version: tls.VersionTLS13, HandshakeComplete: true}
	}
	body := io.Reader(&a.body)
	if a.broken {
		body = io.MultiReader(body, brokenReader{})
	}
	resp.Body = io.NopCloser(body)
	return resp, nil
}

// brokenReader is where a body ends too early.
type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }
