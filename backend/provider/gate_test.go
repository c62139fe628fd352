package provider

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// A vendor is a network whose behaviour a test changes.
type vendor struct {
	sent  atomic.Int64
	reply atomic.Value
}

type act = func(*http.Request) (*http.Response, error)

func (v *vendor) does(a act) { v.reply.Store(a) }

func (v *vendor) carry(r *http.Request) (*http.Response, error) {
	v.sent.Add(1)
	connected(r)
	return v.reply.Load().(act)(r)
}

func (v *vendor) says(status int, header ...string) {
	v.does(func(r *http.Request) (*http.Response, error) {
		resp := response(r, status, "{}")
		for i := 0; i+1 < len(header); i += 2 {
			resp.Header.Set(header[i], header[i+1])
		}
		return resp, nil
	})
}

func (v *vendor) hangs() {
	v.does(func(r *http.Request) (*http.Response, error) {
		<-r.Context().Done()
		return nil, r.Context().Err()
	})
}

// refused makes a call that must fail without anything being sent.
func (v *vendor) refused(t *testing.T, c *Client, want error, left time.Duration, text string) {
	t.Helper()
	before, start := v.sent.Load(), time.Now()
	_, err := c.Do(t.Context(), get)
	if !errors.Is(err, want) || RetryAfter(err) != left || !strings.Contains(err.Error(), text) {
		t.Errorf("err = %v (wait %s), want %v (wait %s) with %q", err, RetryAfter(err), want, left, text)
	}
	if v.sent.Load() != before || time.Since(start) > 0 {
		t.Errorf("%d sent, after %s: want an answer at once", v.sent.Load()-before, time.Since(start))
	}
}

func (v *vendor) do(t *testing.T, ctx context.Context, c *Client, want error) {
	t.Helper()
	before := v.sent.Load()
	if _, err := c.Do(ctx, get); !errors.Is(err, want) {
		t.Errorf("err = %v, want %v", err, want)
	}
	if v.sent.Load() != before+1 {
		t.Errorf("%d calls sent, want 1", v.sent.Load()-before)
	}
}

func inBubble(t *testing.T, o Options, f func(*testing.T, *vendor, *Client)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		v := &vendor{}
		f(t, v, wire(t, o, v.carry))
	})
}

func TestDelayHoldsForEverybody(t *testing.T) {
	t.Parallel()
	inBubble(t, Options{}, func(t *testing.T, v *vendor, c *Client) {
		v.says(429, "Retry-After", "10")
		v.do(t, t.Context(), c, ErrThrottled)
		v.says(200)
		start := time.Now()
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				if _, err := c.With(func(http.Header) {}).Do(t.Context(), get); err != nil {
					t.Error(err)
				}
				if waited := time.Since(start); waited < 10*time.Second || waited > 11*time.Second {
					t.Errorf("went out after %s, want 10s and a little", waited)
				}
			})
		}
		wg.Wait()
		if v.sent.Load() != 21 {
			t.Errorf("%d calls, want 21", v.sent.Load())
		}
	})
}

func TestDelayLongerThanTheCaller(t *testing.T) {
	t.Parallel()
	inBubble(t, Options{}, func(t *testing.T, v *vendor, c *Client) {
		v.says(429, "Retry-After", "20")
		v.do(t, t.Context(), c, ErrThrottled)
		v.refused(t, c, ErrThrottled, 20*time.Second, "nothing was sent")
		time.Sleep(8 * time.Second) // 12 s left: within half of the 30 s of a call
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		if _, err := c.Do(ctx, get); !errors.Is(err, ErrThrottled) || RetryAfter(err) != 12*time.Second {
			t.Errorf("a caller with 20 s: %v, %s", err, RetryAfter(err))
		}
		ctx, cancel = context.WithCancel(t.Context())
		time.AfterFunc(5*time.Second, cancel)
		if _, err := c.Do(ctx, get); !errors.Is(err, ErrThrottled) || RetryAfter(err) != 7*time.Second {
			t.Errorf("a caller that went away: %v, %s", err, RetryAfter(err))
		}
		if holds := c.Holds(); len(holds) != 1 || holds[0].Left != 7*time.Second || holds[0].Host != "api.example.com" {
			t.Errorf("Holds = %+v", holds)
		}
		v.says(200)
		v.do(t, Urgent(t.Context()), c, nil)
		v.do(t, t.Context(), c, nil)
		if holds := c.Holds(); len(holds) != 0 {
			t.Errorf("Holds at the end = %+v", holds)
		}
	})
}

// A delay that comes while calls wait for their turn under the rate limit holds
// for them too.
func TestDelayAndRateLimit(t *testing.T) {
	t.Parallel()
	inBubble(t, Options{RequestsPerSecond: 1}, func(t *testing.T, v *vendor, c *Client) {
		v.says(200)
		v.do(t, t.Context(), c, nil) // the second's worth
		v.says(429, "Retry-After", "5")
		start := time.Now()
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() { _, _ = c.Do(t.Context(), get) })
		}
		synctest.Wait()
		time.Sleep(1500 * time.Millisecond) // one of the two went out at 1 s
		v.says(200)
		wg.Wait()
		if waited := time.Since(start); waited < 6*time.Second || waited > 8*time.Second {
			t.Errorf("both done after %s, want the delay from 1 s on, and a turn after it", waited)
		}
		if v.sent.Load() != 3 {
			t.Errorf("%d calls, want 3", v.sent.Load())
		}
	})
}

func TestBreaker(t *testing.T) {
	t.Parallel()
	inBubble(t, Options{}, func(t *testing.T, v *vendor, c *Client) {
		v.says(503)
		for range defaultBreakAfter {
			v.do(t, t.Context(), c, ErrUnknown)
		}
		v.refused(t, c, ErrUnreachable, 5*time.Second, "did not answer 5 times; next try in 5s")
		if holds := c.Holds(); len(holds) != 1 || holds[0].Left != 5*time.Second || !strings.Contains(holds[0].Reason, "5 times") {
			t.Errorf("Holds = %+v", holds)
		}
		for _, seconds := range []int{5, 10, 20, 40, 80, 120, 120} {
			pause := time.Duration(seconds) * time.Second
			time.Sleep(pause - time.Nanosecond)
			if _, err := c.Do(t.Context(), get); RetryAfter(err) != time.Nanosecond {
				t.Fatalf("a moment before the end of the pause of %s: %v", pause, err)
			}
			time.Sleep(time.Nanosecond)
			v.do(t, t.Context(), c, ErrUnknown)
		}
		v.says(200)
		time.Sleep(2 * time.Minute)
		v.do(t, t.Context(), c, nil)
		v.do(t, t.Context(), c, nil)
		v.says(500) // the count begins anew, and so do the pauses
		for range defaultBreakAfter {
			v.do(t, t.Context(), c, ErrUnknown)
		}
		v.refused(t, c, ErrUnreachable, 5*time.Second, "next try in 5s")
	})
}

func TestOneProbeAtATime(t *testing.T) {
	t.Parallel()
	inBubble(t, Options{BreakAfter: 3, FirstPause: time.Minute, LastPause: time.Hour}, func(t *testing.T, v *vendor, c *Client) {
		v.hangs()
		var wg sync.WaitGroup
		for range 10 { // they began together, so none was held back: that is one pause
			wg.Go(func() { _, _ = c.Do(t.Context(), get) })
		}
		wg.Wait()
		v.refused(t, c, ErrUnreachable, time.Minute, "held back")
		time.Sleep(time.Minute)
		wg.Go(func() { _, _ = c.Do(t.Context(), get) })
		synctest.Wait()
		v.refused(t, c, ErrUnreachable, time.Minute, "being tried now")
		wg.Wait()
		v.refused(t, c, ErrUnreachable, 2*time.Minute, "next try in 2m0s")

		// A probe whose caller goes away has found out nothing: the next one may.
		time.Sleep(2 * time.Minute)
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		v.do(t, ctx, c, ErrUnknown)
		v.says(200)
		v.do(t, t.Context(), c, nil)
	})
}

func TestUrgentCallsDoNotWait(t *testing.T) {
	t.Parallel()
	inBubble(t, Options{}, func(t *testing.T, v *vendor, c *Client) {
		v.says(500)
		for range defaultBreakAfter {
			v.do(t, t.Context(), c, ErrUnknown)
		}
		v.do(t, Urgent(t.Context()), c, ErrUnknown)
		v.refused(t, c, ErrUnreachable, 5*time.Second, "next try in 5s") // no longer for it
		v.says(200)
		v.do(t, Urgent(t.Context()), c, nil)
		v.do(t, t.Context(), c, nil) // it has shown that the provider answers
	})
}

// What is no silence of the provider does not hold anybody back.
func TestWhatDoesNotBreak(t *testing.T) {
	t.Parallel()
	tests := map[string]func(*testing.T, *vendor, *Client){
		"refusals": func(t *testing.T, v *vendor, c *Client) {
			v.says(403)
			v.do(t, t.Context(), c, ErrRejected)
		},
		"replies that make no sense": func(t *testing.T, v *vendor, c *Client) {
			v.says(201)
			v.do(t, t.Context(), c, ErrUnknown)
		},
		"callers that go away": func(t *testing.T, v *vendor, c *Client) {
			v.hangs()
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(time.Second, cancel)
			v.do(t, ctx, c, ErrUnknown)
		},
		"keys on trial": func(t *testing.T, v *vendor, c *Client) {
			v.says(500)
			if err := c.verify(t.Context(), get); !errors.Is(err, ErrUnknown) {
				t.Errorf("err = %v", err)
			}
		},
		"keys on trial whose quota is used up": func(t *testing.T, v *vendor, c *Client) {
			v.says(429, "Retry-After", "60")
			if err := c.verify(t.Context(), get); err != nil {
				t.Errorf("err = %v", err)
			}
		},
		"another host": func(t *testing.T, v *vendor, c *Client) {
			other, err := c.At("https://data.example.com")
			if err != nil {
				t.Fatal(err)
			}
			v.says(500)
			if _, err := other.Do(t.Context(), get); err == nil {
				t.Error("no error")
			}
		},
	}
	for name, once := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, Options{}, func(t *testing.T, v *vendor, c *Client) {
				for range 2 * defaultBreakAfter {
					once(t, v, c)
				}
				v.says(200)
				v.do(t, t.Context(), c, nil)
			})
		})
	}
}

func TestWhatBreaks(t *testing.T) {
	t.Parallel()
	tests := map[string]func(*vendor){
		"a proxy's page":   func(v *vendor) { v.says(200, "Content-Type", "text/html") },
		"its time ran out": func(v *vendor) { v.says(408) },
		"a cut reply":      func(v *vendor) { v.cuts() },
		"no reply":         func(v *vendor) { v.hangs() },
		"nothing to talk to": func(v *vendor) {
			v.does(func(*http.Request) (*http.Response, error) { return nil, errors.New("no route") })
		},
	}
	for name, set := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, Options{}, func(t *testing.T, v *vendor, c *Client) {
				set(v)
				for range defaultBreakAfter {
					if _, err := c.Do(t.Context(), post(&struct{}{})); !errors.Is(err, ErrUnknown) {
						t.Errorf("err = %v", err)
					}
				}
				v.refused(t, c, ErrUnreachable, 5*time.Second, "next try")
			})
		})
	}
	t.Run("no reply to a key on trial", func(t *testing.T) {
		t.Parallel()
		inBubble(t, Options{}, func(t *testing.T, v *vendor, c *Client) {
			v.hangs()
			for range defaultBreakAfter {
				if err := c.verify(t.Context(), get); !errors.Is(err, ErrUnknown) {
					t.Errorf("err = %v", err)
				}
			}
			v.refused(t, c, ErrUnreachable, 5*time.Second, "next try")
		})
	})
}

// A provider that goes silent while calls wait for their turn under the rate limit
// is left alone by them too.
func TestBreakerAndRateLimit(t *testing.T) {
	t.Parallel()
	inBubble(t, Options{RequestsPerSecond: 1, BreakAfter: 1}, func(t *testing.T, v *vendor, c *Client) {
		v.does(func(r *http.Request) (*http.Response, error) {
			time.Sleep(time.Second / 2)
			return response(r, 500, "{}"), nil
		})
		errs := make(chan error, 3)
		for range cap(errs) {
			go func() { _, err := c.Do(t.Context(), get); errs <- err }()
		}
		for _, want := range []error{ErrUnknown, ErrUnreachable, ErrUnreachable} {
			if err := <-errs; !errors.Is(err, want) {
				t.Errorf("err = %v, want %v", err, want)
			}
		}
		if v.sent.Load() != 1 {
			t.Errorf("%d calls, want 1", v.sent.Load())
		}
	})
}

// cuts sends half of a reply.
func (v *vendor) cuts() {
	v.does(func(r *http.Request) (*http.Response, error) {
		resp := response(r, 200, "")
		resp.Body = halfBody{}
		return resp, nil
	})
}

type halfBody struct{}

func (halfBody) Read([]byte) (int, error) { return 0, errors.New("cut") }
func (halfBody) Close() error             { return nil }

type meter map[string]time.Duration

func (m meter) Took(operation string, d time.Duration) { m[operation] += d }

func TestMeter(t *testing.T) {
	t.Parallel()
	m := meter{}
	inBubble(t, Options{Meter: m}, func(t *testing.T, v *vendor, c *Client) {
		v.says(429, "Retry-After", "3")
		v.do(t, t.Context(), c, ErrThrottled)
		v.does(func(r *http.Request) (*http.Response, error) {
			time.Sleep(2 * time.Second)
			return response(r, 200, "{}"), nil
		})
		v.do(t, WithOperation(t.Context(), "mint"), c, nil) // the wait before it is not the provider's
		if m["mint"] != 2*time.Second || len(m) != 2 {
			t.Errorf("measured %v", m)
		}
	})
}
