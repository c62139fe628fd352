package providertest

import (
	"net/http"
	"slices"
	"strings"
	"time"
)

// A Kind is a way for a call to go wrong.
type Kind string

// The kinds of faults.
const (
	// Slow only waits for [Fault].Latency.
	Slow Kind = "slow"
	// Status answers with [Fault].Status in the vendor's own error shape.
	Status Kind = "status"
	// Throttled answers 429 with [Fault].RetryAfter.
	Throttled Kind = "throttled"
	// HTML answers with a page, as proxies and captive portals do; [Fault].Status, or 200.
	HTML Kind = "html"
	// Redirect answers 307 to a place that counts who comes.
	Redirect Kind = "redirect"
	// OtherSuccess carries the call out and answers [Fault].Status, or 203.
	OtherSuccess Kind = "other-success"
	// EmptyKey carries the call out and answers with every secret blanked.
	EmptyKey Kind = "empty-key"
	// Huge answers 200 with two megabytes of JSON around the true reply.
	Huge Kind = "huge"
	// CutShort carries the call out and sends half of the reply.
	CutShort Kind = "cut-short"
	// Broken closes the connection without a reply.
	Broken Kind = "broken"
	// Hang answers nothing until the caller has gone.
	Hang Kind = "hang"
	// Late waits for [Fault].Latency and then carries the call out, even if its caller
	// has gone meanwhile.
	Late Kind = "late"
)

// kinds is all of them, for those who ask by name.
var kinds = []Kind{Slow, Status, Throttled, HTML, Redirect, OtherSuccess, EmptyKey, Huge, CutShort, Broken, Hang, Late}

// A Fault makes calls go wrong. Of several that match a call, the oldest acts.
type Fault struct {
	Kind Kind `json:"kind"`
	// Provider, Method and Path say which calls; empty: all. Path is a part of
	// the URL's path.
	Provider string `json:"provider,omitempty"`
	Method   string `json:"method,omitempty"`
	Path     string `json:"path,omitempty"`
	// Skip lets that many matching calls pass first.
	Skip int `json:"skip,omitempty"`
	// Times is how many calls it hits; 0: all until [Cloud.ClearFaults].
	Times int `json:"times,omitempty"`
	// After carries the call out first: the fault hides a success.
	After bool `json:"after,omitempty"`
	// Latency is waited for before the fault. A caller that goes meanwhile
	// keeps the call from having an effect, unless After is set.
	Latency time.Duration `json:"-"`
	Status  int           `json:"status,omitempty"`
	// RetryAfter is the header's value: seconds or an HTTP date.
	RetryAfter string `json:"retry_after,omitempty"`
}

// Fault puts a fault in force.
func (c *Cloud) Fault(f Fault) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.faults = append(c.faults, &f)
}

// ClearFaults drops all faults. Hooks stay.
func (c *Cloud) ClearFaults() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.faults = nil
}

// Faults returns the faults in force, with what is left of Skip and Times.
func (c *Cloud) Faults() []Fault {
	c.mu.Lock()
	defer c.mu.Unlock()
	faults := make([]Fault, 0, len(c.faults))
	for _, f := range c.faults {
		faults = append(faults, *f)
	}
	return faults
}

// Before sets a hook that runs ahead of every call. If it returns an error, the
// connection breaks and the call has no effect. Nil removes it. The hook may
// look at the Cloud, and may block.
func (c *Cloud) Before(hook func(*http.Request) error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.before = hook
}

// After sets a hook that runs when a call has been carried out and before the
// caller is told. If it returns an error, the connection breaks.
func (c *Cloud) After(hook func(*http.Request) error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.after = hook
}

func (f *Fault) matches(provider string, r *http.Request) bool {
	return (f.Provider == "" || f.Provider == provider) &&
		(f.Method == "" || f.Method == r.Method) &&
		strings.Contains(r.URL.Path, f.Path)
}

// take finds the fault that hits a call and uses it up. The caller holds mu.
func (c *Cloud) take(provider string, r *http.Request) Fault {
	for i, f := range c.faults {
		switch {
		case !f.matches(provider, r):
			continue
		case f.Skip > 0:
			f.Skip--
			continue
		case f.Times == 1:
			c.faults = slices.Delete(c.faults, i, i+1)
		case f.Times > 1:
			f.Times--
		}
		return *f
	}
	return Fault{}
}

// lets says that the call is carried out in spite of the fault.
func (f Fault) lets() bool {
	return f.After || slices.Contains([]Kind{"", Slow, OtherSuccess, EmptyKey, CutShort, Late}, f.Kind)
}
