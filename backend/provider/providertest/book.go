package providertest

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// A Key is one key that exists or has existed at a vendor.
type Key struct {
	Provider string `json:"provider"`
	ID       string `json:"id"`
	Name     string `json:"name,omitempty"`
	// Owner is what the key hangs on: a service account, a user, an Azure resource.
	Owner string `json:"owner,omitempty"`
	// Scope is where the key works: a project or a workspace.
	Scope string `json:"scope,omitempty"`
	// Permissions are the key's scopes in OpenAI's sense; none means all.
	Permissions []string `json:"permissions,omitempty"`
	// Admin tells an admin credential from an API key.
	Admin bool `json:"admin,omitempty"`
	// Live says that the vendor accepts the key now.
	Live    bool      `json:"live"`
	Created time.Time `json:"created"`
	Died    time.Time `json:"died,omitzero"`
	Expires time.Time `json:"expires,omitzero"`
	Hint    string    `json:"hint"`
	// Uses counts accepted calls with the key, DeadUses refused ones after its end.
	Uses     int `json:"uses"`
	DeadUses int `json:"dead_uses"`
	// Secret is left out of the control endpoint's answers unless asked for.
	Secret string `json:"secret,omitempty"`
}

// An Owner is a service account.
type Owner struct {
	Provider string    `json:"provider"`
	ID       string    `json:"id"`
	Name     string    `json:"name"`
	Scope    string    `json:"scope"`
	Role     string    `json:"role"`
	Live     bool      `json:"live"`
	Created  time.Time `json:"created"`
	Died     time.Time `json:"died,omitzero"`
}

// A Call is one request as the vendor saw it. It holds no header and no body.
type Call struct {
	Provider string    `json:"provider"`
	Method   string    `json:"method"`
	Path     string    `json:"path"`
	Query    string    `json:"query,omitempty"`
	At       time.Time `json:"at"`
	// Status is what the caller was told; 0: the connection broke.
	Status int `json:"status"`
	// Effect says that the vendor carried the call out, whatever the caller was told.
	Effect bool `json:"effect"`
	// Fault names the fault that the call ran into.
	Fault string `json:"fault,omitempty"`
}

// Counts are the things that a correct engine keeps at zero, apart from Calls.
type Counts struct {
	Calls int `json:"calls"`
	// DeadUses: calls with a key after its end.
	DeadUses int `json:"dead_uses"`
	// UnknownUses: calls with a key that never existed.
	UnknownUses int `json:"unknown_uses"`
	// DuplicateNames: keys or owners made under the name of a live one.
	DuplicateNames int `json:"duplicate_names"`
	// ReusedNames: keys or owners made under the name of one that is gone.
	ReusedNames int `json:"reused_names"`
	// RedirectsFollowed: a client went where a redirect pointed.
	RedirectsFollowed int `json:"redirects_followed"`
	// SecretsInURLs: a URL held a secret.
	SecretsInURLs int `json:"secrets_in_urls"`
}

// maxCalls bounds the memory of a fake that runs for days.
const maxCalls = 20_000

// A record is a Key and what only the vendor knows about it.
type record struct {
	Key
	// ready is when the key starts to work: see Cloud.SetPropagation.
	ready    time.Time
	lastUsed time.Time
	// status is Anthropic's: a key can sleep and wake up again.
	status string
	// userID is OpenAI's: the person who made the key.
	userID string
}

// liveAt says whether the key exists and works at a moment.
func (r *record) liveAt(t time.Time) bool {
	return r.Died.IsZero() && !r.expiredAt(t) && (r.status == "" || r.status == "active")
}

func (r *record) expiredAt(t time.Time) bool {
	return !r.Expires.IsZero() && !t.Before(r.Expires)
}

func (r *record) view(t time.Time) Key {
	k := r.Key
	k.Permissions = slices.Clone(k.Permissions)
	k.Live = r.liveAt(t)
	if k.Died.IsZero() && r.expiredAt(t) {
		k.Died = r.Expires
	}
	return k
}

// vendorsName is what OpenAI calls a key that nobody named. It says nothing of
// who asked, so it does not count as a name used twice.
const vendorsName = "Secret Key"

// add enters a new key. The caller holds mu.
func (c *Cloud) add(r *record) *record {
	r.Created = time.Now()
	if !r.Admin {
		r.ready = r.Created.Add(c.propagation)
	}
	if r.Name != "" && r.Name != vendorsName {
		name := strings.Join([]string{r.Provider, strconv.FormatBool(r.Admin), r.Scope, r.Name}, "\x00")
		seen := c.byName[name]
		c.countName(len(seen), slices.ContainsFunc(seen, func(o *record) bool { return o.liveAt(r.Created) }))
		c.byName[name] = append(seen, r)
	}
	c.records = append(c.records, r)
	c.bySecret[r.Secret], c.byID[r.ID] = r, r
	return r
}

// addOwner enters a new service account. The caller holds mu.
func (c *Cloud) addOwner(o *Owner) *Owner {
	o.Created, o.Live = time.Now(), true
	name := strings.Join([]string{o.Provider, o.Scope, o.Name}, "\x00")
	seen := c.ownerNames[name]
	c.countName(len(seen), slices.ContainsFunc(seen, func(other *Owner) bool { return other.Live }))
	c.ownerNames[name] = append(seen, o)
	c.owners, c.ownerByID[o.ID] = append(c.owners, o), o
	return o
}

func (c *Cloud) countName(seen int, live bool) {
	switch {
	case live:
		c.counts.DuplicateNames++
	case seen > 0:
		c.counts.ReusedNames++
	}
}

// kill ends a key for good. The caller holds mu.
func (c *Cloud) kill(r *record) {
	if r.Died.IsZero() {
		r.Died = time.Now()
	}
}

// use looks a presented secret up and counts the attempt. It returns nil for
// one that must be refused. The caller holds mu.
func (c *Cloud) use(provider, secret string) *record {
	r, now := c.bySecret[secret], time.Now()
	switch {
	case r == nil || r.Provider != provider:
		if secret != "" {
			c.counts.UnknownUses++
		}
		return nil
	case !r.liveAt(now):
		r.DeadUses++
		c.counts.DeadUses++
		return nil
	case now.Before(r.ready):
		return nil
	}
	r.Uses++
	r.lastUsed = now
	return r
}

// note enters a call. The caller holds mu.
func (c *Cloud) note(call *Call) {
	if len(c.calls) >= maxCalls {
		c.calls = slices.Delete(c.calls, 0, maxCalls/2)
	}
	c.calls = append(c.calls, *call)
	c.callTotal++
}

// Keys returns every key ever made, oldest first, secrets included.
func (c *Cloud) Keys() []Key {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.Azure.settle()
	now := time.Now()
	keys := make([]Key, 0, len(c.records))
	for _, r := range c.records {
		keys = append(keys, r.view(now))
	}
	return keys
}

// Live returns a provider's live API keys, oldest first: what somebody who
// stole everything could still use. Admin credentials are not among them.
func (c *Cloud) Live(provider string) []Key {
	return slices.DeleteFunc(c.Keys(), func(k Key) bool {
		return k.Provider != provider || k.Admin || !k.Live
	})
}

// Key finds the key that a secret belongs to.
func (c *Cloud) Key(secret string) (Key, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.Azure.settle()
	r, ok := c.bySecret[secret]
	if !ok {
		return Key{}, false
	}
	return r.view(time.Now()), true
}

// Owners returns every service account ever made, oldest first.
func (c *Cloud) Owners() []Owner {
	c.mu.Lock()
	defer c.mu.Unlock()
	owners := make([]Owner, 0, len(c.owners))
	for _, o := range c.owners {
		owners = append(owners, *o)
	}
	return owners
}

// Calls returns the calls so far, oldest first. Of very many only the latest
// are kept; [Counts].Calls has their true number.
func (c *Cloud) Calls() []Call {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]Call{}, c.calls...)
}

// Counts returns the running totals.
func (c *Cloud) Counts() Counts {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.counts
	n.Calls = c.callTotal
	return n
}

// Kill ends a key the way a person at the vendor's console would, and reports
// whether there was a live one of that id.
func (c *Cloud) Kill(provider, id string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range c.records {
		if r.Provider == provider && r.ID == id && r.liveAt(time.Now()) {
			c.kill(r)
			return true
		}
	}
	return false
}
