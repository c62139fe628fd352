package vault

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// An attempt at everything that the server or the connection can do to a read
// and to a write.
func TestWhatIsTriedAgain(t *testing.T) {
	environment(t, "http://vault.test")
	for _, tc := range []struct {
		name    string
		respond http.HandlerFunc
		// How many requests a read and a write make, and whether the outcome of
		// the write is known.
		reads, writes int
		known         bool
	}{
		{"400", refusal(400, "no"), 1, 1, true},
		{"403", refusal(403, "permission denied"), 1, 1, true},
		{"405", refusal(405, "unsupported operation"), 1, 1, true},
		{"412", refusal(412, "required index"), 1, 1, true},
		{"472", refusal(472), 1, 1, true},
		{"473", refusal(473), 1, 1, true},
		{"500", refusal(500, "internal"), 4, 1, false},
		{"500 without an active server", refusal(500, "local node not active but active cluster node not found"), 4, 1, true},
		{"501", refusal(501, "not initialized"), 1, 1, true},
		{"502", refusal(502), 4, 1, false},
		{"503 of a proxy", refusal(503), 4, 1, false},
		{"503 overloaded", refusal(503, "the server is overloaded"), 4, 1, true},
		{"503 sealed", refusal(503, "Vault is sealed"), 1, 1, true},
		{"504", refusal(504), 4, 1, false},
		{"cut before the answer", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, 4, 1, false},
		{"cut in the answer", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			answer(w, 200, `{"data":`)
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}, 4, 1, false},
		{"no answer", hang, 1, 1, false},
		{"another's answer", func(w http.ResponseWriter, _ *http.Request) { answer(w, 200, "<html>") }, 1, 1, false},
		{"429", refusal(429, "slow down"), 4, 4, true},
		{"429 with a time", after("1"), 11, 11, true},
		{"429 with a long time", after("3600"), 11, 11, true},
		{"key-value upgrade", refusal(400, "Upgrading from non-versioned to versioned data. This backend"), 41, 41, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				requests := 0
				c := inMemory(t, Options{Timeout: time.Minute, Observe: func(Request) { requests++ }}, tc.respond)
				start := time.Now()
				if _, err := c.Read(t.Context(), "x"); err == nil || errors.Is(err, ErrUnknownOutcome) {
					t.Errorf("the read: %v", err)
				}
				if requests != tc.reads {
					t.Errorf("%d reads, want %d", requests, tc.reads)
				}
				requests = 0
				_, err := c.Write(t.Context(), "x", map[string]any{})
				if err == nil || errors.Is(err, ErrUnknownOutcome) == tc.known {
					t.Errorf("the write: %v", err)
				}
				if requests != tc.writes {
					t.Errorf("%d writes, want %d", requests, tc.writes)
				}
				if took := time.Since(start); took > 2*(limitedRetries*limitedWait+time.Minute) {
					t.Errorf("it took %v", took)
				}
			})
		})
	}
}

func refusal(status int, messages ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { refuse(w, status, messages...) }
}

// hang never answers. The server notices that the client has gone only when
// all of the request has been read.
func hang(_ http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	<-r.Context().Done()
}

func after(seconds string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", seconds)
		refuse(w, 429, "slow down")
	}
}

func TestTryingAgainHelps(t *testing.T) {
	environment(t, "http://vault.test")
	for _, tc := range []struct {
		name     string
		respond  http.HandlerFunc
		failures int
		least    time.Duration
		most     time.Duration
	}{
		{"5xx", refusal(502), 3, 1400 * time.Millisecond, 2100 * time.Millisecond},
		{"rate limit", after("2"), 2, 4 * time.Second, 5 * time.Second},
		{"key-value upgrade", refusal(400, "Upgrading from non-versioned to versioned data."), 8, 2 * time.Second, 2 * time.Second},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				left := tc.failures
				c := inMemory(t, Options{}, func(w http.ResponseWriter, r *http.Request) {
					if left--; left >= 0 {
						tc.respond(w, r)
						return
					}
					answer(w, 200, `{"data":{"a":"b"}}`)
				})
				start := time.Now()
				if data, err := c.Read(t.Context(), "x"); err != nil || data["a"] != "b" {
					t.Errorf("%v, %v", data, err)
				}
				if took := time.Since(start); took < tc.least || took > tc.most {
					t.Errorf("it took %v", took)
				}
			})
		})
	}
}

// A write that was put off is not done, whoever stops waiting.
func TestGivingUpWhileWaiting(t *testing.T) {
	environment(t, "http://vault.test")
	synctest.Test(t, func(t *testing.T) {
		requests := 0
		c := inMemory(t, Options{}, func(w http.ResponseWriter, r *http.Request) {
			requests++
			after("4")(w, r)
		})
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		_, err := c.Write(ctx, "x", nil)
		if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, ErrUnknownOutcome) || StatusOf(err) != 429 {
			t.Errorf("%v", err)
		}
		if requests != 2 {
			t.Errorf("%d requests", requests)
		}
	})
}

func TestCancelling(t *testing.T) {
	environment(t, "http://vault.test")
	synctest.Test(t, func(t *testing.T) {
		c := inMemory(t, Options{}, hang)
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		if _, err := c.Write(ctx, "x", nil); !errors.Is(err, context.Canceled) || !errors.Is(err, ErrUnknownOutcome) {
			t.Errorf("a write under way: %v", err)
		}
		if _, err := c.Write(ctx, "x", nil); !errors.Is(err, context.Canceled) || errors.Is(err, ErrUnknownOutcome) {
			t.Errorf("a write that did not begin: %v", err)
		}
	})
}

// A server that has restarted leaves a connection of no use, which shows only
// when it is written to; then the next one is refused, and nothing was sent.
func TestAStaleConnectionIsNoUnknownOutcome(t *testing.T) {
	environment(t, "http://vault.test")
	synctest.Test(t, func(t *testing.T) {
		c := inMemory(t, Options{}, refusal(http.StatusNotFound))
		transport := c.wire.client.Transport.(*http.Transport)
		dial, stale := transport.DialContext, new(atomic.Bool)
		transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
			if stale.Load() {
				return nil, syscall.ECONNREFUSED
			}
			conn, err := dial(ctx, network, address)
			return staleConn{conn, stale}, err
		}
		if _, err := c.Read(t.Context(), "x"); err != nil {
			t.Fatal(err)
		}
		stale.Store(true)
		_, err := c.Write(t.Context(), "x", map[string]any{})
		if !errors.Is(err, ErrUnreachable) || errors.Is(err, ErrUnknownOutcome) {
			t.Errorf("%v", err)
		}
	})
}

type staleConn struct {
	net.Conn
	stale *atomic.Bool
}

func (c staleConn) Write(p []byte) (int, error) {
	if c.stale.Load() {
		return 0, syscall.EPIPE
	}
	return c.Conn.Write(p)
}

func TestHealthIsAskedOnce(t *testing.T) {
	environment(t, "http://vault.test")
	synctest.Test(t, func(t *testing.T) {
		requests := 0
		c := inMemory(t, Options{}, func(w http.ResponseWriter, _ *http.Request) {
			requests++
			refuse(w, 500, "attempt "+strconv.Itoa(requests))
		})
		if _, err := c.Health(t.Context()); StatusOf(err) != 500 || requests != 1 {
			t.Errorf("%d requests, %v", requests, err)
		}
	})
}
