package backend

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync"
	"time"
)

// A lateNet is the way to the vendors as it is on a bad day: a call takes effect
// long after its caller has given up, or a second time, and lists lag behind.
type lateNet struct {
	http.RoundTripper

	mu    sync.Mutex
	bad   int // which of the calls that change something; 0: none
	calls int
	late  []time.Duration // when the bad one takes effect; its caller hears nothing
	lag   time.Duration   // how long what was made is missing from lists
	until time.Time       // and when that ends
	dies  func() bool     // called when the bad one is sent
}

// plan has the bad-th changing call go wrong. dies is called when it is sent.
func (n *lateNet) plan(bad int, dies func() bool, late ...time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.calls, n.bad, n.dies, n.late = 0, bad, dies, late
}

func (n *lateNet) reached() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.bad > 0 && n.calls >= n.bad
}

// behind has lists lag for a while.
func (n *lateNet) behind(lag, lasting time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lag, n.until = lag, time.Now().Add(lasting)
}

func (n *lateNet) RoundTrip(r *http.Request) (*http.Response, error) {
	n.mu.Lock()
	lag := n.lag
	if time.Now().After(n.until) {
		lag = 0
	}
	changes := r.Method != http.MethodGet && !strings.Contains(r.URL.Path, "/oauth2/")
	hit := false
	if changes {
		n.calls++
		hit = n.calls == n.bad
	}
	late, dies := n.late, n.dies
	n.mu.Unlock()
	switch {
	case hit:
		n.send(r, late)
		dies()
		return nil, io.ErrUnexpectedEOF
	case lag > 0 && r.Method == http.MethodGet:
		return n.stale(r, lag)
	default:
		return n.RoundTripper.RoundTrip(r)
	}
}

// send has a call take effect, once for each time.
func (n *lateNet) send(r *http.Request, late []time.Duration) {
	var body []byte
	if r.Body != nil {
		body, _ = io.ReadAll(r.Body)
		_ = r.Body.Close()
	}
	if trace := httptrace.ContextClientTrace(r.Context()); trace != nil && trace.GotConn != nil {
		trace.GotConn(httptrace.GotConnInfo{}) // it was sent
	}
	for _, d := range late {
		again := r.Clone(context.WithoutCancel(r.Context()))
		again.Body = io.NopCloser(bytes.NewReader(body))
		time.AfterFunc(d, func() {
			if resp, err := n.RoundTripper.RoundTrip(again); err == nil {
				_ = resp.Body.Close()
			}
		})
	}
}

// stale leaves out of a list what was made a short time ago.
func (n *lateNet) stale(r *http.Request, lag time.Duration) (*http.Response, error) {
	resp, err := n.RoundTripper.RoundTrip(r)
	if err != nil || resp.StatusCode != http.StatusOK {
		return resp, err
	}
	raw, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if err != nil {
		return nil, err
	}
	page := map[string]json.RawMessage{}
	var things []json.RawMessage
	if json.Unmarshal(raw, &page) == nil && json.Unmarshal(page["data"], &things) == nil {
		kept := []json.RawMessage{}
		for _, thing := range things {
			var made struct {
				At int64 `json:"created_at"`
			}
			if json.Unmarshal(thing, &made) != nil || made.At == 0 || time.Since(time.Unix(made.At, 0)) > lag {
				kept = append(kept, thing)
			}
		}
		if page["data"], err = json.Marshal(kept); err != nil {
			return nil, err
		}
		if raw, err = json.Marshal(page); err != nil {
			return nil, err
		}
	}
	resp.Body, resp.ContentLength = io.NopCloser(bytes.NewReader(raw)), int64(len(raw))
	resp.Header.Del("Content-Length")
	return resp, nil
}
