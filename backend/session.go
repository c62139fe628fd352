package backend

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/vault/sdk/helper/template"
	"github.com/hashicorp/vault/sdk/logical"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/backend/provider"
)

// A session is an account opened for one operation: its secrets are in memory
// until the operation ends.
type session struct {
	def    provider.Definition
	client *provider.Client
	secret provider.Account
	keys   provider.Keys
	count  *counter
}

func (x *session) minter() provider.Minter {
	return meteredMinter{x.keys, x.count, x.def.Mint(x.client, x.secret)}
}

func (x *session) slots() provider.TwoSlotter {
	return meteredSlots{x.keys, x.count, x.def.TwoSlot(x.client, x.secret)}
}

func (x *session) roots() provider.Rooter {
	return meteredRoots{x.count, x.def.Root.Open(x.client, x.secret)}
}

func (x *session) owners() provider.Owners {
	return meteredOwners{x.count, x.def.Owner.Open(x.client, x.secret)}
}

func (x *session) stock() provider.Inventory {
	return meteredStock{x.count, x.def.Inventory(x.client, x.secret)}
}

// resourceOf names what two slots belong to; "" where there are no slots.
func resourceOf(def provider.Definition, a *accountEntry, scope provider.Scope) string {
	if def.Resource == nil {
		return ""
	}
	return def.Resource(provider.Account{Fields: a.Fields}, scope)
}

// makesOwner reports whether the engine makes what the role's keys hang on.
func (x *session) makesOwner(r *roleEntry) bool {
	return x.def.Owner != nil && r.Scope[x.def.Owner.Field] == ""
}

func baseURL(d provider.Definition, a *accountEntry) string {
	if a.BaseURL != "" {
		return a.BaseURL
	}
	return d.BaseURL
}

// clients keeps one HTTP client an account, with its connections, its rate limit
// and what holds calls back, as long as the account's settings stay the same.
type clients struct {
	mu        sync.Mutex
	m         map[string]pooled
	transport http.RoundTripper // nil: the network
}

type pooled struct {
	options provider.Options
	client  *provider.Client
}

func (c *clients) get(name string, o provider.Options) (*provider.Client, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	old, ok := c.m[name]
	if ok && old.options == o {
		return old.client, nil
	}
	fresh, err := c.connect(o)
	if err != nil {
		return nil, err
	}
	if ok {
		old.client.Close()
	}
	if c.m == nil {
		c.m = map[string]pooled{}
	}
	c.m[name] = pooled{o, fresh}
	return fresh, nil
}

// connect makes a client that is not kept: for settings that are only tried.
func (c *clients) connect(o provider.Options) (*provider.Client, error) {
	o.Transport = c.transport
	client, err := provider.NewClient(o)
	if err != nil {
		return nil, problemf(statusInvalid, "%w", err)
	}
	return client, nil
}

// holds tells where calls of an account are held back.
func (c *clients) holds(name string) []provider.Hold {
	c.mu.Lock()
	p, ok := c.m[name]
	c.mu.Unlock()
	if !ok {
		return nil
	}
	return p.client.Holds()
}

func (c *clients) drop(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if old, ok := c.m[name]; ok {
		old.client.Close()
		delete(c.m, name)
	}
}

func (c *clients) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for name, p := range c.m {
		p.client.Close()
		delete(c.m, name)
	}
}

// session opens a stored account, for the operation whose context ctx is. It is
// counted before the stored credential is looked at once more: a rotation stores
// the new one before it looks at who is counted, so nobody is left with the old.
func (b *Backend) session(ctx context.Context, s logical.Storage, a *accountEntry) (*session, error) {
	b.sessions.enter(ctx, a.Name)
	switch fresh, err := b.accounts.get(ctx, s, a.Name); {
	case err != nil:
		return nil, err
	case fresh != nil && fresh.Provider == a.Provider:
		a = fresh
	}
	secrets, err := b.accountSecrets(ctx, s, a)
	if err != nil {
		return nil, fmt.Errorf("opening account %q: %w", a.Name, err)
	}
	return b.newSession(ctx, s, a, secrets, func(o provider.Options) (*provider.Client, error) { return b.clients.get(a.Name, o) })
}

// newSession makes a session of an account that need not be stored yet.
// connect is where its client comes from.
func (b *Backend) newSession(ctx context.Context, s logical.Storage, a *accountEntry, secrets map[string]string, connect func(provider.Options) (*provider.Client, error)) (*session, error) {
	def, ok := provider.Lookup(a.Provider)
	if !ok {
		return nil, problemf(statusConflict, "account %q is for provider %q, which this build does not have", a.Name, a.Provider)
	}
	cfg, err := b.settings(ctx, s)
	if err != nil {
		return nil, err
	}
	client, err := connect(provider.Options{
		BaseURL:           baseURL(def, a),
		CACert:            a.CACert,
		RequestsPerSecond: a.RequestsPerSecond,
		Timeout:           cfg.ProviderTimeout,
		Meter:             b.meters.latency[def.Name],
	})
	if err != nil {
		return nil, err
	}
	account := provider.Account{Fields: maps.Clone(a.Fields), Secrets: make(map[string]provider.Secret, len(secrets))}
	if account.Fields == nil {
		account.Fields = map[string]string{}
	}
	for name, v := range secrets {
		account.Secrets[name] = provider.NewSecret(v)
	}
	count := b.counterOf(a)
	return &session{def: def, client: client, secret: account, keys: meteredKeys{count, def.Open(client, account)}, count: count}, nil
}

// accountSecrets opens the provider's secret fields of a stored account.
func (b *Backend) accountSecrets(ctx context.Context, s logical.Storage, a *accountEntry) (map[string]string, error) {
	if a.Sealed == "" {
		return nil, nil
	}
	if _, err := b.settings(ctx, s); err != nil {
		return nil, err
	}
	raw, err := b.keyring.Open(ctx, s, a.storagePath(), a.Sealed)
	if err != nil {
		return nil, err
	}
	defer clear(raw)
	var secrets map[string]string
	if err := json.Unmarshal(raw, &secrets); err != nil {
		return nil, fmt.Errorf("the sealed part of account %q is damaged", a.Name)
	}
	return secrets, nil
}

// longestTag bounds a tag where the provider sets no limit of its own.
const longestTag = 100

// nameInput is what a key_name_template can use.
type nameInput struct {
	RoleName, Account, Provider, DisplayName string
}

var notInTag = regexp.MustCompile(`[^A-Za-z0-9_.-]+`)

// newTag makes the name that a key will bear at the provider:
// <name>-<mount>-<random>. The name is the role's key_name_template, by default
// "vault-<role>"; the mount part says who made it, the random part which one it
// is, beginning with the mark of its era.
func (b *Backend) newTag(ctx context.Context, s logical.Storage, r *roleEntry, def provider.Definition, displayName string) (provider.Tag, error) {
	name := "vault-" + r.Name
	if r.KeyNameTemplate != "" {
		var err error
		name, err = expandName(r.KeyNameTemplate, nameInput{r.Name, r.Account, def.Name, displayName})
		if err != nil {
			return "", err
		}
	}
	era, err := b.era(ctx, s)
	if err != nil {
		return "", fmt.Errorf("naming a key: %w", err)
	}
	unique := "-" + mountMark(b.uuid) + "-" + era + randomMark(uniqueLength-eraMarkLength)
	limit := def.MaxName
	if limit == 0 || limit > longestTag {
		limit = longestTag
	}
	if room := limit - len(unique); len(name) > room {
		name = name[:max(0, room)]
	}
	return provider.Tag(strings.Trim(name, "-.") + unique), nil
}

func expandName(text string, in nameInput) (string, error) {
	t, err := template.NewTemplate(template.Template(text))
	if err != nil {
		return "", invalidf("key_name_template: %v", err)
	}
	name, err := t.Generate(in)
	if err != nil {
		return "", invalidf("key_name_template: %v; it can use .RoleName, .Account, .Provider and .DisplayName", err)
	}
	return notInTag.ReplaceAllString(name, "-"), nil
}

// mountMark is eight characters that all names made by this mount share.
func mountMark(uuid string) string {
	sum := sha256.Sum256([]byte(uuid))
	return hex.EncodeToString(sum[:4])
}

// leaseMargin is how much longer than its longest lease a key may live at the
// provider: time for Vault's own revocation to come first.
const leaseMargin = 5 * time.Minute
