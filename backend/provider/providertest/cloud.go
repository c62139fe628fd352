package providertest

import (
	"crypto/rand"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"
)

// The providers' names, as the engine spells them.
const (
	ProviderOpenAI    = "openai"
	ProviderAnthropic = "anthropic"
	ProviderAzure     = "azure-openai"
)

// DefaultMarker is the part that all secrets have in common when
// [Options].Marker is empty.
const DefaultMarker = "CANARY"

// Options says what a [Cloud] starts with. The zero value is complete.
type Options struct {
	// Marker stands inside every secret.
	Marker string

	OpenAI    OpenAIOptions
	Anthropic AnthropicOptions
	Azure     AzureOptions
}

// A Cloud is all fake vendors on one book of keys, calls and faults.
type Cloud struct {
	OpenAI    *OpenAI
	Anthropic *Anthropic
	Azure     *Azure

	options Options

	mu sync.Mutex
	// everything below is guarded by mu
	serial      int
	records     []*record
	bySecret    map[string]*record
	byName      map[string][]*record
	byID        map[string]*record
	owners      []*Owner
	ownerByID   map[string]*Owner
	ownerNames  map[string][]*Owner
	calls       []Call
	callTotal   int
	counts      Counts
	faults      []*Fault
	latency     time.Duration
	propagation time.Duration
	before      func(*http.Request) error
	after       func(*http.Request) error
}

// New makes a Cloud. It starts nothing.
func New(o Options) *Cloud {
	if o.Marker == "" {
		o.Marker = DefaultMarker
	}
	o.OpenAI.defaults(o.Marker)
	o.Anthropic.defaults(o.Marker)
	o.Azure.defaults(o.Marker)
	c := &Cloud{options: o}
	c.OpenAI = &OpenAI{c: c}
	c.Anthropic = &Anthropic{c: c}
	c.Azure = &Azure{c: c}
	c.Reset()
	return c
}

// Options returns what the Cloud runs with, defaults filled in: this is where
// a test takes the admin credentials from.
func (c *Cloud) Options() Options { return c.options }

// Reset puts the Cloud back to how [New] left it: keys, calls, counts, faults,
// hooks and settings. Secrets made before are unknown afterwards, other than
// the admin credentials, which come from [Options].
func (c *Cloud) Reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.serial, c.records, c.owners = 0, nil, nil
	c.bySecret, c.byName, c.byID = map[string]*record{}, map[string][]*record{}, map[string]*record{}
	c.ownerByID, c.ownerNames = map[string]*Owner{}, map[string][]*Owner{}
	c.calls, c.callTotal, c.counts = nil, 0, Counts{}
	c.faults, c.latency, c.propagation = nil, 0, 0
	c.before, c.after = nil, nil
	c.OpenAI.reset()
	c.Anthropic.reset()
	c.Azure.reset()
}

// Transport reaches the Cloud in process, under the vendors' own host names.
func (c *Cloud) Transport() http.RoundTripper {
	hosts := map[string]http.Handler{
		"api.openai.com":            c.OpenAI,
		"api.anthropic.com":         c.Anthropic,
		"management.azure.com":      c.Azure,
		"login.microsoftonline.com": c.Azure,
	}
	for _, r := range c.options.Azure.Resources {
		hosts[strings.ToLower(r.Name)+".openai.azure.com"] = c.Azure
	}
	return Transport(hosts)
}

// ServeHTTP serves every vendor from one address, told apart by path: OpenAI
// below /openai/v1, Anthropic below /anthropic, and Azure, which has fixed
// paths of its own, everywhere else. Below /_fake/ is the control endpoint,
// which each vendor's own handler serves too:
//
//	GET    /_fake/           the live keys, for people
//	GET    /_fake/keys       every key ever made, as JSON; ?live=true, ?secrets=true
//	POST   /_fake/keys       a person makes a key: {"provider", "name", "project_id" or "workspace_id", "expires_in_seconds"}
//	DELETE /_fake/keys/<id>  a person ends a key; ?provider= where ids are not unique
//	GET    /_fake/calls      the calls so far
//	GET    /_fake/faults     the faults in force; POST adds one (see [Fault]), DELETE drops all
//	POST   /_fake/settings   {"latency", "propagation", "azure_async"}: durations such as "250ms"
//	POST   /_fake/reset      as new
//
// It answers callers on this machine only, since it shows secrets when asked.
func (c *Cloud) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case strings.HasPrefix(r.URL.Path, "/openai/v1/") && r.Header.Get("api-key") == "":
		http.StripPrefix("/openai", c.OpenAI).ServeHTTP(w, r)
	case strings.HasPrefix(r.URL.Path, "/anthropic/"):
		http.StripPrefix("/anthropic", c.Anthropic).ServeHTTP(w, r)
	default:
		c.Azure.ServeHTTP(w, r)
	}
}

// SetLatency makes every call take d longer, before its effect.
func (c *Cloud) SetLatency(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.latency = d
}

// Age makes everything there is look older: made and used that much earlier.
func (c *Cloud) Age(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range c.records {
		r.Created = r.Created.Add(-d)
		if !r.lastUsed.IsZero() {
			r.lastUsed = r.lastUsed.Add(-d)
		}
	}
	for _, o := range c.owners {
		o.Created = o.Created.Add(-d)
	}
}

// SetPropagation makes keys issued from now on be refused for their first d,
// as happens at vendors that cache what they know about keys.
func (c *Cloud) SetPropagation(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.propagation = d
}

// id makes the next id. The caller holds mu.
func (c *Cloud) id(prefix string) string {
	c.serial++
	return fmt.Sprintf("%s%06d", prefix, c.serial)
}

// secret makes a secret: prefix, chance, marker, chance. Chance stands at both
// ends so that the hints vendors show of a key tell keys apart.
func (c *Cloud) secret(prefix string) string {
	return prefix + rand.Text() + c.options.Marker + rand.Text()
}

// hint is the redacted form of a secret: its first and last characters.
func hint(secret string, first, last int) string {
	if len(secret) <= first+last {
		return "..."
	}
	return secret[:first] + "..." + secret[len(secret)-last:]
}
