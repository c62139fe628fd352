package provider

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// openAI mints project API keys of a service account, many of them side by
// side, each with its own name, scopes and expiry.
//
// Not documented, and so not verified: how long a name may be, and that
// deleting a service account ends its keys at once. The published OpenAPI file
// lags behind the vendor's own SDK, which the fixture follows.
var openAI = Definition{
	Name:    "openai",
	Title:   "OpenAI",
	Docs:    "https://platform.openai.com/docs/api-reference/project-api-keys",
	BaseURL: "https://api.openai.com/v1",
	Account: []Field{
		{Name: "admin_key", Secret: true, Help: "Admin API key of the organisation (sk-admin-…)."},
		{
			Name: "organization_id", Optional: true, Fixed: true,
			Help: "Organisation to act in, where the admin key could act in several.",
		},
	},
	Role: []Field{
		{
			Name: "project_id", Fixed: true,
			Help: "Project that the keys belong to. The default project takes no service accounts.",
		},
		{
			Name: "service_account_id", Optional: true, Fixed: true,
			Help: "Service account that the keys belong to. Without it the engine makes one for the role, " +
				"as a member of the project, and removes it with the role.",
		},
		{
			Name: "scopes", Type: List, Optional: true,
			Help: "Permissions of a key, such as model.request or api.responses.write. " +
				"Without them a key may do whatever its service account may.",
		},
	},
	MaxName: 100, // not documented; the engine's tags are shorter
	Expiry:  &Expiry{Min: time.Second, Max: 365 * 24 * time.Hour},
	Mint:    func(c *Client, a Account) Minter { return openAIKeys(openOpenAI(c, a)) },
	Owner: &Owner{
		Field: "service_account_id",
		Open:  func(c *Client, a Account) Owners { return openAIOwners(openOpenAI(c, a)) },
	},
	Root: &Root{
		Field: "admin_key",
		Open: func(c *Client, a Account) Rooter {
			return openAIRoots{openOpenAI(c, a), a.Secrets["admin_key"]}
		},
	},
	Inventory: func(c *Client, a Account) Inventory { return openAIInventory(openOpenAI(c, a)) },
}

// openAIAccess is OpenAI with the admin key (admin) and without it (plain).
type openAIAccess struct{ admin, plain *Client }

func openOpenAI(c *Client, a Account) openAIAccess {
	return openAIAccess{plain: c, admin: c.With(func(h http.Header) {
		h.Set("Authorization", "Bearer "+a.Secrets["admin_key"].Reveal())
		if org := a.Fields["organization_id"]; org != "" {
			h.Set("OpenAI-Organization", org)
		}
	})}
}

// openAIPath is the path of something in the scope's project.
func openAIPath(scope Scope, rest ...string) []string {
	return append([]string{"organization", "projects", scope["project_id"]}, rest...)
}

// remove deletes what path names. A reply that does not confirm it is no success.
func (o openAIAccess) remove(ctx context.Context, path []string) error {
	var out struct {
		Deleted bool `json:"deleted"`
	}
	_, err := o.admin.Do(ctx, Call{Method: http.MethodDelete, Path: path, Out: &out})
	if err == nil && !out.Deleted {
		return fmt.Errorf("the reply does not confirm the deletion: %w", ErrUnknown)
	}
	return err
}

// openAICreated are the answers to a create call that took effect. The reference
// shows 200; 201 says the same, and a gateway may say it.
var openAICreated = []int{http.StatusOK, http.StatusCreated}

type openAIKeys openAIAccess

func (o openAIKeys) Check(ctx context.Context) error {
	return o.admin.check(ctx, Call{
		Method: http.MethodGet, Path: []string{"organization", "projects"}, Query: url.Values{"limit": {"1"}},
	})
}

// Verify lists models, which a key may be refused for want of a scope (403),
// and leaves the organisation out: the key knows its own.
func (o openAIKeys) Verify(ctx context.Context, _ Scope, secret Secret) error {
	key := o.plain.With(func(h http.Header) { h.Set("Authorization", "Bearer "+secret.Reveal()) })
	return key.verify(ctx, Call{Method: http.MethodGet, Path: []string{"models"}})
}

func (o openAIKeys) Mint(ctx context.Context, order Order) (Key, error) {
	in := struct {
		Name string `json:"name"`
		// An empty list would not mean none: it means all.
		Scopes  []string `json:"scopes,omitempty"`
		Expires int64    `json:"expires_in_seconds,omitempty"`
	}{Name: string(order.Tag), Scopes: elements(order.Scope["scopes"])}
	if order.Lifetime > 0 {
		in.Expires = int64((order.Lifetime + time.Second - 1) / time.Second)
	}
	var out struct {
		ID        KeyID  `json:"id"`
		Value     string `json:"value"`
		ExpiresAt int64  `json:"expires_at"`
	}
	_, err := o.admin.Do(ctx, Call{
		Method: http.MethodPost,
		Path:   openAIPath(order.Scope, "service_accounts", order.Scope["service_account_id"], "api_keys"),
		In:     in, Out: &out, Want: openAICreated,
	})
	if err != nil {
		return Key{}, err
	}
	return issued(Key{ID: out.ID, Secret: NewSecret(out.Value), Expires: unix(out.ExpiresAt)})
}

// openAIKey is an item of the list of a project's keys, or of the admin keys. It
// shows no values.
type openAIKey struct {
	ID         KeyID  `json:"id"`
	Name       Tag    `json:"name"`
	Redacted   string `json:"redacted_value"`
	CreatedAt  int64  `json:"created_at"`
	LastUsedAt int64  `json:"last_used_at"` // null: never
	ExpiresAt  int64  `json:"expires_at"`   // null: never
	Owner      struct {
		ServiceAccount struct {
			ID string `json:"id"`
		} `json:"service_account"`
	} `json:"owner"`
}

// keys lists every key of the project. Without owner_project_access=any the
// list leaves out keys whose owner lost its access, and those still count.
func (o openAIKeys) keys(ctx context.Context, scope Scope) ([]openAIKey, error) {
	query := url.Values{"limit": {"100"}, "owner_project_access": {"any"}}
	return list[openAIKey](ctx, o.admin, openAIPath(scope, "api_keys"), query, "after")
}

func (o openAIKeys) Find(ctx context.Context, scope Scope, tag Tag) ([]KeyID, error) {
	keys, err := o.keys(ctx, scope)
	var ids []KeyID
	for _, k := range keys {
		if k.Name == tag {
			ids = append(ids, k.ID)
		}
	}
	return ids, err
}

func (o openAIKeys) Identify(ctx context.Context, scope Scope, secret Secret) (Match, error) {
	keys, err := o.keys(ctx, scope)
	if err != nil {
		return Match{}, err
	}
	return match(keys, secret, func(k openAIKey) (KeyID, Fit) { return k.ID, fit(k.Redacted, secret) }), nil
}

func (o openAIKeys) Revoke(ctx context.Context, scope Scope, id KeyID) error {
	err := openAIAccess(o).remove(ctx, openAIPath(scope, "api_keys", string(id)))
	return confirmed(err, id,
		func() ([]openAIKey, error) { return o.keys(ctx, scope) },
		func(k openAIKey) KeyID { return k.ID })
}

type openAIOwners openAIAccess

// Create makes a service account the plain way: it is a member of its project
// and comes with a key, which nobody asked for by name and which goes at once.
// (create_service_account_only would make none, but such an account has no role,
// its keys no permission, and giving it one is a second call all the same.) If
// a later step fails, the caller finds the account by its name and removes it,
// and its keys with it.
func (o openAIOwners) Create(ctx context.Context, scope Scope, tag Tag) (string, error) {
	in := struct {
		Name string `json:"name"`
	}{string(tag)}
	var out struct {
		ID  string `json:"id"`
		Key *struct {
			ID KeyID `json:"id"`
		} `json:"api_key"`
	}
	path := openAIPath(scope, "service_accounts")
	if _, err := o.admin.Do(ctx, Call{Method: http.MethodPost, Path: path, In: in, Out: &out, Want: openAICreated}); err != nil {
		return "", err
	}
	if out.ID == "" {
		return "", fmt.Errorf("the reply holds no service account: %w", ErrUnknown)
	}
	if out.Key != nil {
		if err := openAIKeys(o).Revoke(ctx, scope, out.Key.ID); err != nil {
			return "", late(err)
		}
	}
	return out.ID, nil
}

type openAIServiceAccount struct {
	ID        string `json:"id"`
	Name      Tag    `json:"name"`
	CreatedAt int64  `json:"created_at"`
}

// accounts lists every service account of the project.
func (o openAIOwners) accounts(ctx context.Context, scope Scope) ([]openAIServiceAccount, error) {
	path := openAIPath(scope, "service_accounts")
	return list[openAIServiceAccount](ctx, o.admin, path, url.Values{"limit": {"100"}}, "after")
}

func (o openAIOwners) Find(ctx context.Context, scope Scope, tag Tag) ([]string, error) {
	accounts, err := o.accounts(ctx, scope)
	var ids []string
	for _, a := range accounts {
		if a.Name == tag {
			ids = append(ids, a.ID)
		}
	}
	return ids, err
}

func (o openAIOwners) Delete(ctx context.Context, scope Scope, id string) error {
	err := openAIAccess(o).remove(ctx, openAIPath(scope, "service_accounts", id))
	return confirmed(err, id,
		func() ([]openAIServiceAccount, error) { return o.accounts(ctx, scope) },
		func(a openAIServiceAccount) string { return a.ID })
}

// unix is a moment in seconds; zero for none.
func unix(seconds int64) time.Time {
	if seconds <= 0 {
		return time.Time{}
	}
	return time.Unix(seconds, 0).UTC()
}

// elements splits a [List] field.
func elements(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' })
}
