package provider

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"time"
)

// anthropic has no call that creates a key: a person makes one in the console
// and brings it. The Admin API lists keys and switches them off.
//
// Not documented, and so not verified: how much of a key partial_key_hint
// shows (the examples show the beginning and four characters of the end), and
// whether an archived key refuses an update.
var anthropic = Definition{
	Name:    "anthropic",
	Title:   "Anthropic",
	Docs:    "https://platform.claude.com/docs/en/api/admin/api_keys",
	BaseURL: "https://api.anthropic.com",
	Account: []Field{
		{Name: "admin_key", Secret: true, Help: "Admin API key of the organisation (sk-ant-admin…)."},
	},
	Role: []Field{
		{
			Name: "workspace_id", Optional: true, Fixed: true,
			Help: "Workspace to look for an imported key in; without it, the whole organisation.",
		},
	},
	Import:    func(c *Client, a Account) Keys { return openAnthropic(c, a) },
	Inventory: func(c *Client, a Account) Inventory { return anthropicInventory(openAnthropic(c, a)) },
}

func openAnthropic(c *Client, a Account) anthropicKeys {
	return anthropicKeys{plain: c, admin: c.With(anthropicAuth(a.Secrets["admin_key"]))}
}

func anthropicAuth(key Secret) func(http.Header) {
	return func(h http.Header) {
		h.Set("X-Api-Key", key.Reveal())
		h.Set("Anthropic-Version", "2023-06-01")
	}
}

type anthropicKeys struct{ admin, plain *Client }

// The states of a key. Only an active one works; only inactive can be undone.
const (
	anthropicActive   = "active"
	anthropicInactive = "inactive"
	anthropicArchived = "archived"
	anthropicExpired  = "expired"
)

type anthropicKey struct {
	ID      KeyID     `json:"id"`
	Name    string    `json:"name"`
	Hint    string    `json:"partial_key_hint"`
	Status  string    `json:"status"`
	Created time.Time `json:"created_at"`
}

func anthropicPath(rest ...string) []string {
	return append([]string{"v1", "organizations"}, rest...)
}

func (k anthropicKeys) Check(ctx context.Context) error {
	return k.admin.check(ctx, Call{Method: http.MethodGet, Path: anthropicPath("me")})
}

func (k anthropicKeys) Verify(ctx context.Context, _ Scope, secret Secret) error {
	return k.plain.With(anthropicAuth(secret)).verify(ctx, Call{
		Method: http.MethodGet, Path: []string{"v1", "models"}, Query: url.Values{"limit": {"1"}},
	})
}

// keys lists the keys of a workspace, or those of the whole organisation.
func (k anthropicKeys) keys(ctx context.Context, workspace string) ([]anthropicKey, error) {
	query := url.Values{"limit": {"100"}}
	if workspace != "" {
		query.Set("workspace_id", workspace)
	}
	return list[anthropicKey](ctx, k.admin, anthropicPath("api_keys"), query, "after_id")
}

// Identify says of archived and expired keys that they do not fit: they cannot
// be the one that was brought, but may look like it.
func (k anthropicKeys) Identify(ctx context.Context, scope Scope, secret Secret) (Match, error) {
	keys, err := k.keys(ctx, scope["workspace_id"])
	if err != nil {
		return Match{}, err
	}
	return match(keys, secret, func(key anthropicKey) (KeyID, Fit) {
		if key.Status != anthropicActive && key.Status != anthropicInactive {
			return key.ID, FitsNot
		}
		return key.ID, fit(key.Hint, secret)
	}), nil
}

// Revoke switches a key off rather than archiving it: the key stops working
// just the same, and a person who pulled the switch by mistake can undo it in
// the console. A key that is not found must be missing from the list of the
// whole organisation as well: it may have been brought from any workspace.
func (k anthropicKeys) Revoke(ctx context.Context, _ Scope, id KeyID) error {
	return confirmed(k.switchOff(ctx, id), id,
		func() ([]anthropicKey, error) { return k.keys(ctx, "") },
		func(key anthropicKey) KeyID { return key.ID })
}

// switchOff looks first, because an archived or expired key may refuse the
// update, and that refusal would look like a key that cannot be stopped.
func (k anthropicKeys) switchOff(ctx context.Context, id KeyID) error {
	var key anthropicKey
	call := Call{Method: http.MethodGet, Path: anthropicPath("api_keys", string(id)), Out: &key}
	_, err := k.admin.Do(ctx, call)
	switch {
	case err != nil:
		return err
	case key.ID != id:
		return fmt.Errorf("the reply holds another key: %w", ErrUnknown)
	case key.Status == anthropicInactive, key.Status == anthropicArchived, key.Status == anthropicExpired:
		return nil
	}
	key = anthropicKey{}
	call.Method = http.MethodPost
	call.In = struct {
		Status string `json:"status"`
	}{anthropicInactive}
	_, err = k.admin.Do(ctx, call)
	if err == nil && key.Status != anthropicInactive {
		return fmt.Errorf("the reply does not confirm the status: %w", ErrUnknown)
	}
	return err
}

type anthropicInventory anthropicKeys

// List is one list of the whole organisation; it shows no use.
func (k anthropicInventory) List(ctx context.Context, _ []Scope, _ bool) ([]Found, error) {
	keys, err := anthropicKeys(k).keys(ctx, "")
	if err != nil {
		return nil, err
	}
	all := make([]Found, 0, len(keys))
	for _, key := range keys {
		if key.ID == "" {
			return nil, fmt.Errorf("a list holds something without an id: %w", ErrUnknown)
		}
		all = append(all, Found{
			Kind: FoundKey, ID: string(key.ID), Name: key.Name, Created: key.Created, Ended: key.Status != anthropicActive,
		})
	}
	return all, nil
}
