package provider

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
)

func TestBaseURL(t *testing.T) {
	t.Parallel()
	for raw, reason := range map[string]string{
		"https://api.example.com/v1":     "",
		"https://api.example.com":        "",
		"https://api.example.com/v1/":    "",
		"https://[2001:db8::1]:8443/x/y": "",
		"http://127.0.0.1:8080/v1":       "",
		"http://127.9.9.9":               "",
		"http://[::1]:1":                 "",
		"http://localhost:1":             "",
		"":                               "empty",
		"api.example.com/v1":             "host",
		"https://":                       "host",
		"https:api.example.com":          "host",
		"https://a b":                    "host",
		"https://api.example.com:port":   "host",
		"http://api.example.com":         "https://",
		"http://10.0.0.1":                "https://",
		"http://localhost.evil.example":  "https://",
		"ftp://127.0.0.1":                "https://",
		"https://u:CANARY@example.com":   "user",
		"https://u@example.com":          "user",
		"https://example.com?key=CANARY": "query",
		"https://example.com?":           "query",
		"https://example.com#CANARY":     "query",
		"https://example.com#":           "query",
		"https://example.com/a/../b":     "segment",
		"https://example.com/a/%2e%2e":   "segment",
		"https://example.com//a":         "segment",
	} {
		_, err := NewClient(Options{BaseURL: raw})
		if reason == "" {
			if err != nil {
				t.Errorf("base_url %q: %v", raw, err)
			}
			continue
		}
		if err == nil || !strings.HasPrefix(err.Error(), "base_url ") || !strings.Contains(err.Error(), reason) ||
			strings.Contains(err.Error(), "CANARY") {
			t.Errorf("base_url %q: %v, want an error about base_url and %q", raw, err, reason)
		}
	}
}

func TestOptions(t *testing.T) {
	t.Parallel()
	for field, o := range map[string]Options{
		"ca_cert":             {BaseURL: "https://h", CACert: "not PEM"},
		"requests_per_second": {BaseURL: "https://h", RequestsPerSecond: -1},
	} {
		if _, err := NewClient(o); err == nil || !strings.HasPrefix(err.Error(), field+" ") {
			t.Errorf("%s: %v", field, err)
		}
	}
}

// get is a call that only reads.
var get = Call{Method: http.MethodGet, Path: []string{"x"}}

func post(out any) Call {
	return Call{Method: http.MethodPost, Path: []string{"x"}, In: struct{}{}, Out: out}
}

func client(t *testing.T, o Options) *Client {
	t.Helper()
	c, err := NewClient(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func TestCACert(t *testing.T) {
	t.Parallel()
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	srv.EnableHTTP2 = true
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.StartTLS()
	defer srv.Close()
	ca := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw}))
	if _, err := client(t, Options{BaseURL: srv.URL, CACert: ca}).Do(t.Context(), get); err != nil {
		t.Errorf("with the right ca_cert: %v", err)
	}
	_, err := client(t, Options{BaseURL: srv.URL}).Do(t.Context(), get)
	if !errors.Is(err, ErrUnreachable) || !strings.Contains(err.Error(), "ca_cert") {
		t.Errorf("without ca_cert: %v", err)
	}
}

// roundTripper is a network in one function.
type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// connected does what a network does when it has a connection.
func connected(r *http.Request) {
	if trace := httptrace.ContextClientTrace(r.Context()); trace != nil && trace.GotConn != nil {
		trace.GotConn(httptrace.GotConnInfo{})
	}
}

func response(r *http.Request, status int, body string) *http.Response {
	return &http.Response{
		StatusCode: status, Request: r, Header: http.Header{"Content-Type": {"application/json"}},
		Body: io.NopCloser(strings.NewReader(body)),
	}
}

// wire is a client whose network is f.
func wire(t *testing.T, o Options, f roundTripper) *Client {
	t.Helper()
	o.Transport = f
	if o.BaseURL == "" {
		o.BaseURL = "https://api.example.com/v1"
	}
	return client(t, o)
}

func TestPath(t *testing.T) {
	t.Parallel()
	var got string
	c := wire(t, Options{}, func(r *http.Request) (*http.Response, error) {
		got = r.URL.String()
		return response(r, 200, "{}"), nil
	})
	call := Call{Method: http.MethodGet, Path: []string{"keys", "a b?c#d%2F..;é"}, Query: url.Values{"q": {"a&b"}}}
	if _, err := c.Do(t.Context(), call); err != nil {
		t.Fatal(err)
	}
	if want := "https://api.example.com/v1/keys/a%20b%3Fc%23d%252F..%3B%C3%A9?q=a%26b"; got != want {
		t.Errorf("URL = %s, want %s", got, want)
	}
	for _, bad := range []string{"", ".", "..", "a/b", "../x", `..\x`, "a\nb", "a\x00"} {
		got = ""
		_, err := c.Do(t.Context(), Call{Method: http.MethodDelete, Path: []string{"keys", bad}})
		if !errors.Is(err, ErrRejected) || got != "" {
			t.Errorf("segment %q: %v, sent %q", bad, err, got)
		}
	}
}

func TestUnsendable(t *testing.T) {
	t.Parallel()
	c := wire(t, Options{}, func(*http.Request) (*http.Response, error) {
		t.Error("sent")
		return nil, io.EOF
	})
	bad := c.With(func(h http.Header) { h.Set("X-Api-Key", "CANARY\n") })
	for name, err := range map[string]error{
		"line break": second(bad.Do(t.Context(), get)),
		"body":       second(c.Do(t.Context(), Call{Method: http.MethodPost, Path: []string{"x"}, In: NewSecret("CANARY")})),
		"method":     second(c.Do(t.Context(), Call{Method: "A B", Path: []string{"x"}})),
	} {
		if !errors.Is(err, ErrRejected) || strings.Contains(err.Error(), "CANARY") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func second[T any](_ T, err error) error { return err }

func TestRateLimit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		sent := 0
		c := wire(t, Options{RequestsPerSecond: 0.5}, func(r *http.Request) (*http.Response, error) {
			sent++
			return response(r, 200, "{}"), nil
		})
		start := time.Now()
		other, err := c.At("https://data.example.com")
		if err != nil {
			t.Fatal(err)
		}
		for i, c := range []*Client{c, other, c.With(func(http.Header) {})} {
			if _, err := c.Do(t.Context(), get); err != nil {
				t.Fatal(err)
			}
			if got, want := time.Since(start), time.Duration(i)*2*time.Second; got != want {
				t.Errorf("call %d after %v, want %v", i, got, want)
			}
		}
		sent = 0
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		if _, err := c.Do(ctx, post(nil)); !errors.Is(err, ErrUnreachable) || sent != 0 {
			t.Errorf("cancelled while waiting: %v, %d sent", err, sent)
		}
	})
}

func TestTimeout(t *testing.T) {
	t.Parallel()
	for sent, want := range map[bool]error{false: ErrUnreachable, true: ErrUnknown} {
		synctest.Test(t, func(t *testing.T) {
			c := wire(t, Options{}, func(r *http.Request) (*http.Response, error) {
				if sent {
					connected(r)
				}
				<-r.Context().Done()
				return nil, r.Context().Err()
			})
			start := time.Now()
			_, err := c.Do(t.Context(), post(nil))
			if !errors.Is(err, want) || !strings.Contains(err.Error(), "timed out") || time.Since(start) != defaultTimeout {
				t.Errorf("sent %v: %v after %v, want %v after %v", sent, err, time.Since(start), want, defaultTimeout)
			}
		})
	}
}

func TestReasons(t *testing.T) {
	t.Parallel()
	for want, cause := range map[string]error{
		"does not resolve":     &net.DNSError{Err: "CANARY", Name: "CANARY", IsNotFound: true},
		"timed out":            &net.DNSError{Err: "CANARY", IsTimeout: true},
		"cancelled":            context.Canceled,
		"provider unreachable": errors.New("CANARY"),
	} {
		c := wire(t, Options{}, func(*http.Request) (*http.Response, error) { return nil, cause })
		call := get
		call.Query = url.Values{"q": {"CANARY"}}
		_, err := c.Do(t.Context(), call)
		if s := fmt.Sprintf("%v %+v %#v", err, err, err); !errors.Is(err, ErrUnreachable) || !strings.Contains(err.Error(), want) ||
			strings.Contains(s, "CANARY") {
			t.Errorf("%v: %s", cause, s)
		}
	}
}

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for v, want := range map[string]time.Duration{
			"": 0, "0": 0, "7": 7 * time.Second, "3601": time.Hour, "99999999999999": 0, "-1": 0, "soon": 0,
			time.Now().Add(90 * time.Second).UTC().Format(http.TimeFormat): 90 * time.Second,
			time.Now().Add(48 * time.Hour).UTC().Format(http.TimeFormat):   time.Hour,
			time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat):       0,
		} {
			for _, status := range []int{429, 503} {
				c := wire(t, Options{}, func(r *http.Request) (*http.Response, error) {
					resp := response(r, status, "{}")
					resp.Header.Set("Retry-After", v)
					return resp, nil
				})
				_, err := c.Do(t.Context(), post(nil))
				if got := RetryAfter(fmt.Errorf("minting: %w", err)); got != want {
					t.Errorf("Retry-After %q with %d: %v, want %v", v, status, got, want)
				}
			}
		}
	})
	if got := RetryAfter(ErrThrottled); got != 0 {
		t.Errorf("RetryAfter of a plain error = %v", got)
	}
}

// TestNotTheProvidersWord: what looks like a reply but may not be the whole of
// it, or not the provider's.
func TestNotTheProvidersWord(t *testing.T) {
	t.Parallel()
	const whole = `{"deleted":true}`
	for name, tc := range map[string]struct {
		contentType string
		body        io.Reader
	}{
		"cut after a full value": {"application/json", io.MultiReader(strings.NewReader(whole), iotest.ErrReader(io.ErrUnexpectedEOF))},
		"too long":               {"application/json", strings.NewReader(whole + strings.Repeat(" ", maxBody))},
		"two values":             {"application/json", strings.NewReader(whole + whole)},
		"HTML":                   {"Text/HTML; charset=utf-8", strings.NewReader(whole)},
	} {
		for _, status := range []int{200, 404} {
			c := wire(t, Options{}, func(r *http.Request) (*http.Response, error) {
				resp := response(r, status, "")
				resp.Header.Set("Content-Type", tc.contentType)
				resp.Body = io.NopCloser(tc.body)
				return resp, nil
			})
			var out struct{ Deleted bool }
			if _, err := c.Do(t.Context(), post(&out)); !errors.Is(err, ErrUnknown) || NotFound(err) {
				t.Errorf("%s with %d: %v", name, status, err)
			}
		}
	}
}

// TestAtSignsNothing: a data plane must not see the admin credential.
func TestAtSignsNothing(t *testing.T) {
	t.Parallel()
	var got http.Header
	c := wire(t, Options{}, func(r *http.Request) (*http.Response, error) {
		got = r.Header
		return response(r, 200, "{}"), nil
	}).With(func(h http.Header) { h.Set("Authorization", "CANARY") })
	other, err := c.At("https://data.example.com")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.Do(t.Context(), get); err != nil {
		t.Fatal(err)
	}
	if got.Get("Authorization") != "" {
		t.Error("the other host got the credential")
	}
	if _, err := c.Do(t.Context(), get); err != nil || got.Get("Authorization") != "CANARY" {
		t.Errorf("the first host got %q, %v", got.Get("Authorization"), err)
	}
	if _, err := c.At("http://data.example.com"); err == nil {
		t.Error("At took plain http")
	}
}

// TestConnectionsAreReused: replies of every kind leave the connection usable.
func TestConnectionsAreReused(t *testing.T) {
	t.Parallel()
	var dialled atomic.Int32
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/no" {
			w.WriteHeader(http.StatusForbidden)
		}
		io.WriteString(w, strings.Repeat("x", 100<<10))
	}))
	srv.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			dialled.Add(1)
		}
	}
	srv.Start()
	defer srv.Close()
	c := client(t, Options{BaseURL: srv.URL})
	for _, path := range []string{"no", "yes", "no", "yes"} {
		_, err := c.Do(t.Context(), Call{Method: http.MethodPost, Path: []string{path}})
		if (err != nil) != (path == "no") {
			t.Errorf("%s: %v", path, err)
		}
	}
	if n := dialled.Load(); n != 1 {
		t.Errorf("%d connections, want 1", n)
	}
}

// TestNoSecondPOST: a used connection that breaks after the request is the case
// in which net/http sends idempotent requests again.
func TestNoSecondPOST(t *testing.T) {
	t.Parallel()
	var posts atomic.Int32
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			return
		}
		posts.Add(1)
		io.Copy(io.Discard, r.Body)
		panic(http.ErrAbortHandler)
	}))
	defer srv.Close()
	c := client(t, Options{BaseURL: srv.URL})
	for _, call := range []Call{post(nil), {Method: http.MethodDelete, Path: []string{"x"}}} {
		posts.Store(0)
		if _, err := c.Do(t.Context(), get); err != nil { // now there is a used connection
			t.Fatal(err)
		}
		if _, err := c.Do(t.Context(), call); !errors.Is(err, ErrUnknown) {
			t.Errorf("%s: %v", call.Method, err)
		}
		if n := posts.Load(); n != 1 {
			t.Errorf("%s sent %d times", call.Method, n)
		}
	}
}

// TestNoSecondPOSTOverHTTP2: a stream reset with PROTOCOL_ERROR makes net/http
// send a request again, although it may have had an effect.
func TestNoSecondPOSTOverHTTP2(t *testing.T) {
	t.Parallel()
	var posts atomic.Int32
	srv := httptest.NewUnstartedServer(http.NotFoundHandler())
	srv.TLS = &tls.Config{NextProtos: []string{"h2"}, MinVersion: tls.VersionTLS12}
	srv.Config.TLSNextProto = map[string]func(*http.Server, *tls.Conn, http.Handler){
		"h2": func(_ *http.Server, conn *tls.Conn, _ http.Handler) { resetStreams(conn, &posts) },
	}
	srv.StartTLS()
	defer srv.Close()
	ca := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw}))
	_, err := client(t, Options{BaseURL: srv.URL, CACert: ca}).Do(t.Context(), post(nil))
	if !errors.Is(err, ErrUnknown) || posts.Load() != 1 {
		t.Errorf("%v, sent %d times", err, posts.Load())
	}
}

// resetStreams is an HTTP/2 server that takes every request in and resets it.
func resetStreams(conn net.Conn, posts *atomic.Int32) {
	defer conn.Close()
	if _, err := io.ReadFull(conn, make([]byte, len(http2.ClientPreface))); err != nil {
		return
	}
	framer := http2.NewFramer(conn, conn)
	if framer.WriteSettings() != nil {
		return
	}
	for {
		frame, err := framer.ReadFrame()
		if err != nil {
			return
		}
		if _, ok := frame.(*http2.HeadersFrame); ok {
			posts.Add(1)
		}
		if data, ok := frame.(*http2.DataFrame); ok && data.StreamEnded() {
			if framer.WriteRSTStream(data.StreamID, http2.ErrCodeProtocol) != nil {
				return
			}
		}
	}
}

func TestSecretNeverPrints(t *testing.T) {
	t.Parallel()
	s := NewSecret("CANARY")
	type inside struct {
		s Secret
		a Account
	}
	a := Account{Secrets: map[string]Secret{"admin_key": s}}
	for _, v := range []any{s, &s, a, []Secret{s}, Key{ID: "k", Secret: s}, inside{s, a}, &inside{s, a}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t"} {
			if out := fmt.Sprintf(verb, v); strings.Contains(out, "CANARY") || strings.Contains(strings.ToLower(out), "43414e415259") {
				t.Errorf("%s of %T prints %s", verb, v, out)
			}
		}
	}
	if out, err := json.Marshal(Key{Secret: s}); err == nil {
		t.Errorf("a secret was marshalled: %s", out)
	}
	if !s.Equal(NewSecret("CANARY")) || s.Equal(NewSecret("other")) || !(Secret{}).Equal(NewSecret("")) {
		t.Error("Equal is wrong")
	}
}

func TestHinted(t *testing.T) {
	t.Parallel()
	const key = "sk-proj-abcdefghijkl"
	for hint, want := range map[string]bool{
		"sk-proj-abc...jkl": true, "sk-...jkl": true, "...jkl": true, "sk-proj-********ijkl": true,
		"sk-proj…ijkl": true, "sk-...def...jkl": true,
		"sk-...jk": false, "sk-proj-...": false, "...": false, "": false, key: false, "sk-proj-abc": false,
		"sk-live-...jkl": false, "sk-proj-...jkm": false, "sk-proj-abcdefghi...ghijkl": false,
	} {
		if got := hinted(hint, NewSecret(key)); got != want {
			t.Errorf("hinted(%q) = %v, want %v", hint, got, want)
		}
	}
}

func TestListEnds(t *testing.T) {
	t.Parallel()
	for name, page := range map[string]func(n int) string{
		"loop":      func(n int) string { return fmt.Sprintf(`{"data":["a"],"has_more":true,"last_id":"%d"}`, n%3) },
		"no end":    func(n int) string { return fmt.Sprintf(`{"data":["a"],"has_more":true,"last_id":"%d"}`, n) },
		"no cursor": func(int) string { return `{"data":["a"],"has_more":true}` },
		"no list":   func(int) string { return `{"data":null,"has_more":false}` },
	} {
		n := 0
		c := wire(t, Options{}, func(r *http.Request) (*http.Response, error) {
			n++
			return response(r, 200, page(n)), nil
		})
		got, err := list[string](t.Context(), c, []string{"x"}, url.Values{"limit": {"1"}}, "after")
		if !errors.Is(err, ErrUnknown) || got != nil || n > maxPages {
			t.Errorf("%s: %q, %v after %d pages", name, got, err, n)
		}
	}
}

func TestLinkedEnds(t *testing.T) {
	t.Parallel()
	const here = "https://api.example.com/v1/x?n="
	for name, page := range map[string]func(n int) string{
		"no end":     func(n int) string { return fmt.Sprintf(`{"value":["a"],"nextLink":"%s%d"}`, here, n) },
		"no list":    func(int) string { return `{"nextLink":null}` },
		"other host": func(int) string { return `{"value":["a"],"nextLink":"https://evil.example.com/v1/x"}` },
		"other port": func(int) string { return `{"value":["a"],"nextLink":"https://api.example.com:8443/v1/x"}` },
		"plain":      func(int) string { return `{"value":["a"],"nextLink":"http://api.example.com/v1/x"}` },
		"no address": func(int) string { return `{"value":["a"],"nextLink":"2"}` },
	} {
		n := 0
		c := wire(t, Options{}, func(r *http.Request) (*http.Response, error) {
			if want := fmt.Sprint(here, n); r.URL.String() != want {
				t.Errorf("%s: asked %s, want %s", name, r.URL, want)
			}
			n++
			return response(r, 200, page(n)), nil
		})
		got, err := linked[string](t.Context(), c, []string{"x"}, url.Values{"n": {"0"}})
		if !errors.Is(err, ErrUnknown) || got != nil || n > maxPages {
			t.Errorf("%s: %q, %v after %d pages", name, got, err, n)
		}
	}
}

// TestConfirmedByIDs: a list whose items were misread would make anything look gone.
func TestConfirmedByIDs(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		ids  []string
		gone bool
	}{
		{nil, true},
		{[]string{"a", "b"}, true},
		{[]string{"a", "id"}, false},
		{[]string{"a", ""}, false},
	} {
		notFound := &CallError{Status: http.StatusNotFound, Kind: ErrRejected}
		err := confirmed(notFound, "id",
			func() ([]string, error) { return tc.ids, nil }, func(id string) string { return id })
		if tc.gone != (err == nil) || err != nil && (!errors.Is(err, ErrUnknown) || errors.Is(err, ErrRejected)) {
			t.Errorf("%q: %v", tc.ids, err)
		}
	}
}

// TestAwait: the address of an operation comes with a reply, and the credential
// must not follow it elsewhere.
func TestAwait(t *testing.T) {
	t.Parallel()
	const here = "https://api.example.com/v1/op?api-version=1"
	for name, tc := range map[string]struct {
		at       string
		statuses []string
		took     time.Duration
		polls    int
		ok       bool
	}{
		"succeeds":     {at: here, statuses: []string{"Running", "InProgress", "Succeeded"}, took: 3 * azurePause, polls: 3, ok: true},
		"fails":        {at: here, statuses: []string{"Failed"}, took: azurePause, polls: 1},
		"cancelled":    {at: here, statuses: []string{"Canceled"}, took: azurePause, polls: 1},
		"no status":    {at: here, statuses: []string{""}, took: azurePause, polls: 1},
		"never ends":   {at: here, statuses: slices.Repeat([]string{"Running"}, azurePolls), took: azurePolls * azurePause, polls: azurePolls},
		"other host":   {at: "https://evil.example.com/v1/op"},
		"other port":   {at: "https://api.example.com:8443/v1/op"},
		"plain":        {at: "http://api.example.com/v1/op"},
		"other path":   {at: "https://api.example.com/v2/op"},
		"climbs":       {at: "https://api.example.com/v1/../op"},
		"no address":   {at: ""},
		"not a URL":    {at: ":"},
		"user in host": {at: "https://api.example.com@evil.example.com/v1/op"},
	} {
		synctest.Test(t, func(t *testing.T) {
			polls := 0
			c := wire(t, Options{}, func(r *http.Request) (*http.Response, error) {
				if r.URL.String() != here {
					t.Errorf("%s: asked %s", name, r.URL)
				}
				polls++
				return response(r, 200, `{"status":"`+tc.statuses[polls-1]+`"}`), nil
			})
			start := time.Now()
			err := c.await(t.Context(), http.Header{"Azure-Asyncoperation": {tc.at}})
			if tc.ok != (err == nil) || !tc.ok && !errors.Is(err, ErrUnknown) {
				t.Errorf("%s: %v", name, err)
			}
			if polls != tc.polls || time.Since(start) != tc.took {
				t.Errorf("%s: %d polls in %v, want %d in %v", name, polls, time.Since(start), tc.polls, tc.took)
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		c := wire(t, Options{}, func(*http.Request) (*http.Response, error) { return nil, io.EOF })
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := c.await(ctx, http.Header{"Azure-Asyncoperation": {here}}); !errors.Is(err, ErrUnknown) {
			t.Errorf("cancelled: %v", err)
		}
	})
}

// TestSignInDefault: without authority_host, the public cloud's.
func TestSignInDefault(t *testing.T) {
	t.Parallel()
	asked := ""
	c := wire(t, Options{}, func(r *http.Request) (*http.Response, error) {
		asked = r.URL.Host
		return response(r, 500, ""), nil
	})
	account := Account{
		Fields:  map[string]string{"tenant_id": "t", "client_id": "c"},
		Secrets: map[string]Secret{"client_secret": NewSecret("CANARY")},
	}
	err := azureOpenAI.Open(c, account).Check(t.Context())
	if !errors.Is(err, ErrUnreachable) || asked != "login.microsoftonline.com" {
		t.Errorf("%v from %q", err, asked)
	}
}

// What shows too little of a key is no proof that it is another one.
func TestFit(t *testing.T) {
	t.Parallel()
	const key = "sk-proj-abcdefghijklmnop"
	for hint, want := range map[string]Fit{
		"sk-proj-ab...mnop": Fits,
		"sk-proj-ab...mnoq": FitsNot,
		"sk-admin-...mnop":  FitsNot,
		"sk-...op":          FitsPerhaps,
		"sk-proj-***":       FitsPerhaps,
		"****":              FitsPerhaps,
		"":                  FitsPerhaps,
		"mnop":              FitsPerhaps,
		"nonsense":          FitsNot,
	} {
		if got := fit(hint, NewSecret(key)); got != want {
			t.Errorf("fit(%q) = %v, want %v", hint, got, want)
		}
	}
}
