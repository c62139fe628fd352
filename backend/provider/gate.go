package provider

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"
)

// Defaults of [Options], and what a 429 without a delay is taken to ask for.
const (
	defaultBreakAfter = 5
	defaultFirstPause = 5 * time.Second
	defaultLastPause  = 2 * time.Minute
	unsaidDelay       = time.Second
)

// A gate stands before the calls to one host of an account, and is shared by all
// who call there. It holds them back in two cases:
//
//   - the provider asked to wait: everybody waits, or is told how long;
//   - calls go unanswered, several in a row: further ones fail at once, so that
//     nobody waits for a provider that is away. When a pause is over one call, and
//     only one, finds out whether it answers again; the pauses grow.
//
// A call is unanswered if no connection was had or no whole reply came, and if the
// reply is a 5xx, a 408 or a page. Everything else is an answer, a refusal too. What
// a key on trial gets for a reply ([Client.verify]) is about that key, and counts for
// neither.
type gate struct {
	limits

	mu        sync.Mutex
	throttled time.Time // nothing goes out before
	failures  int       // unanswered calls in a row
	pause     time.Duration
	held      time.Time // the end of the pause
	probing   bool
}

type limits struct {
	breakAfter            int
	firstPause, lastPause time.Duration
}

// gates are those of an account, by host: a data plane that is away, or slow to
// let a key in, says nothing about the admin API.
type gates struct {
	limits

	mu sync.Mutex
	m  map[string]*gate
}

func newGates(o Options) *gates {
	g := &gates{limits: limits{o.BreakAfter, o.FirstPause, o.LastPause}, m: map[string]*gate{}}
	if g.breakAfter <= 0 {
		g.breakAfter = defaultBreakAfter
	}
	if g.firstPause <= 0 {
		g.firstPause = defaultFirstPause
	}
	if g.lastPause <= 0 {
		g.lastPause = defaultLastPause
	}
	return g
}

func (s *gates) of(host string) *gate {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.m[host]
	if g == nil {
		g = &gate{limits: s.limits}
		s.m[host] = g
	}
	return g
}

// A Hold says why, and for how long, calls to a host are held back now.
type Hold struct {
	Host   string
	Left   time.Duration
	Reason string
}

// Holds tells where calls of this client, and of every copy of it, are held back.
func (c *Client) Holds() []Hold {
	c.gates.mu.Lock()
	hosts := maps.Clone(c.gates.m)
	c.gates.mu.Unlock()
	var holds []Hold
	for host, g := range hosts {
		if h, ok := g.hold(); ok {
			h.Host = host
			holds = append(holds, h)
		}
	}
	return holds
}

func (g *gate) hold() (Hold, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch wait := time.Until(g.throttled); {
	case g.broken():
		return Hold{Left: max(0, time.Until(g.held)), Reason: g.silence()}, true
	case wait > 0:
		return Hold{Left: wait, Reason: "the provider asked to wait"}, true
	default:
		return Hold{}, false
	}
}

func (g *gate) broken() bool { return g.failures >= g.breakAfter }

func (g *gate) silence() string {
	return fmt.Sprintf("the provider did not answer %d times", g.failures)
}

type urgentKey struct{}

// Urgent makes calls under ctx go out whatever the provider's present state: for
// withdrawing a key that leaked. They keep to RequestsPerSecond.
func Urgent(ctx context.Context) context.Context {
	return context.WithValue(ctx, urgentKey{}, true)
}

func urgent(ctx context.Context) bool { return ctx.Value(urgentKey{}) != nil }

// A pass lets one call through a gate. Its holder ends it with [pass.done].
type pass struct {
	gate  *gate
	probe bool
}

// admit waits until a call to the client's host may go out. ctx has a deadline. An
// error means that nothing was sent; it wraps [ErrThrottled] or [ErrUnreachable].
func (c *Client) admit(ctx context.Context, host string) (pass, time.Duration, error) {
	g := c.gates.of(host)
	for {
		if left, err := g.wait(ctx); err != nil {
			return pass{}, left, err
		}
		if c.limit != nil && c.limit.Wait(ctx) != nil {
			return pass{}, 0, fmt.Errorf("%w: held back by requests_per_second", ErrUnreachable)
		}
		p, left, err := g.enter(urgent(ctx))
		if err != nil || p.gate != nil {
			return p, left, err
		}
		// It was closed while this call waited for its turn.
	}
}

// wait returns when the delay that the provider asked for is over. Who could not
// be answered in time after that is told at once: at least half of a call's time
// is for the call itself.
func (g *gate) wait(ctx context.Context) (left time.Duration, err error) {
	for !urgent(ctx) {
		g.mu.Lock()
		left, err = g.closed()
		delay := time.Until(g.throttled)
		g.mu.Unlock()
		if err != nil || delay <= 0 {
			return left, err
		}
		deadline, _ := ctx.Deadline()
		if delay > time.Until(deadline)/2 {
			return delay, throttled()
		}
		// They come back one after the other, over a tenth of the delay.
		delay += time.Duration(rand.Float64() / 10 * float64(delay)) //nolint:gosec // spreads load; nothing secret depends on it
		select {
		case <-time.After(delay):
		case <-ctx.Done():
			return max(0, time.Until(g.opens())), throttled()
		}
	}
	return 0, nil
}

func throttled() error {
	return fmt.Errorf("%w: held back, since it asked to wait; nothing was sent", ErrThrottled)
}

func (g *gate) opens() time.Time {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.throttled
}

// closed is the error of a call during a pause. The caller holds mu.
func (g *gate) closed() (left time.Duration, err error) {
	if !g.broken() {
		return 0, nil
	}
	left = time.Until(g.held)
	switch {
	case left > 0:
		return left, fmt.Errorf("%w: held back, since %s; next try in %s", ErrUnreachable, g.silence(), left.Round(time.Second))
	case g.probing:
		return g.firstPause, fmt.Errorf("%w: held back, since %s; it is being tried now", ErrUnreachable, g.silence())
	default:
		return 0, nil
	}
}

// enter gives a pass, or an error, or neither if the provider asked to wait meanwhile.
func (g *gate) enter(urgent bool) (pass, time.Duration, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if urgent {
		return pass{gate: g}, 0, nil
	}
	if left, err := g.closed(); err != nil {
		return pass{}, left, err
	}
	if time.Until(g.throttled) > 0 {
		return pass{}, 0, nil
	}
	g.probing = g.broken()
	return pass{g, g.probing}, 0, nil
}

// An outcome is what a call says about whether its host answers.
type outcome int

const (
	cut        outcome = iota // the caller went away: nothing is known
	answered                  // by the provider, whatever it said
	unanswered                // by the provider
)

func (p pass) done(o outcome) {
	g := p.gate
	g.mu.Lock()
	defer g.mu.Unlock()
	if p.probe {
		g.probing = false
	}
	switch {
	case o == answered:
		g.failures, g.pause, g.held = 0, 0, time.Time{}
	case o == cut, g.broken() && !p.probe: // it began before the pause, or could not wait for its end
	default:
		if g.failures++; g.broken() {
			g.pause = min(max(2*g.pause, g.firstPause), g.lastPause)
			g.held = time.Now().Add(g.pause)
		}
	}
}

// delay closes the gate for as long as a reply asks.
func (g *gate) delay(r reply) {
	if r.status != http.StatusTooManyRequests {
		return
	}
	wait := cmp.Or(retryAfter(r.header), unsaidDelay)
	g.mu.Lock()
	defer g.mu.Unlock()
	if until := time.Now().Add(wait); until.After(g.throttled) {
		g.throttled = until
	}
}

// outcome tells an answer of the provider from silence, and from something on the way.
func (r reply) outcome() outcome {
	switch {
	case r.status == http.StatusTooManyRequests:
		return answered
	case r.status >= 500, r.status == http.StatusRequestTimeout, r.html():
		return unanswered
	default:
		return answered
	}
}

// heard is what an outcome says about the host: nothing, if the caller went away
// itself, or if the reply is about a key on trial.
func (o outcome) heard(caller context.Context, trial bool, status int) outcome {
	if o == unanswered && (errors.Is(caller.Err(), context.Canceled) || trial && status > 0) {
		return cut
	}
	return o
}
