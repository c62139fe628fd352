package provider

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

const (
	azureVersion   = "2025-06-01"
	azureAuthority = "https://login.microsoftonline.com"
	azurePolls     = 30              // at most, for one long-running operation
	azurePause     = 2 * time.Second // between polls, unless the reply asks for another
)

// azureOpenAI regenerates the two keys of an Azure OpenAI resource in turn, by
// the management plane (ARM), signed in to Entra with a client secret.
//
// Not documented in the vendor's Go SDK, and so not verified: the 202 reply of
// regenerateKey, and the data plane's list of models as a proof of a key.
var azureOpenAI = Definition{
	Name:    "azure-openai",
	Title:   "Azure OpenAI",
	Docs:    "https://learn.microsoft.com/rest/api/aiservices/accountmanagement/accounts/regenerate-key",
	BaseURL: "https://management.azure.com",
	Account: []Field{
		{Name: "tenant_id", Help: "Entra tenant of the application."},
		{Name: "client_id", Help: "Application (client) id."},
		{Name: "client_secret", Secret: true, Help: "Client secret of the application."},
		{
			Name: "subscription_id", Fixed: true,
			Help: "Subscription that holds the resources. The application needs " +
				"Microsoft.CognitiveServices/accounts/read on it, and listKeys/action and " +
				"regenerateKey/action on each resource.",
		},
		{
			Name: "authority_host", Optional: true, Steers: true, Default: azureAuthority,
			Help: "Where to sign in, for a sovereign cloud.",
		},
	},
	Role: []Field{
		{Name: "resource_group", Fixed: true, Help: "Resource group of the Azure OpenAI resource."},
		{Name: "resource_name", Fixed: true, Help: "Name of the Azure OpenAI resource."},
	},
	TwoSlot: func(c *Client, a Account) TwoSlotter { return azureKeys{c, a} },
	Slots:   [2]KeyID{"Key1", "Key2"},
	Resource: func(a Account, s Scope) string {
		return azureResource{"/" + strings.Join(azureKeys{account: a}.path(s), "/")}.id()
	},
}

type azureKeys struct {
	c       *Client
	account Account
}

// azureValues is what ARM answers to listKeys and regenerateKey.
type azureValues struct {
	Key1 string `json:"key1"`
	Key2 string `json:"key2"`
}

func (v azureValues) slot(slot KeyID) Secret {
	if slot == azureOpenAI.Slots[0] {
		return NewSecret(v.Key1)
	}
	return NewSecret(v.Key2)
}

func (k azureKeys) path(scope Scope, rest ...string) []string {
	return append([]string{
		"subscriptions", k.account.Fields["subscription_id"], "resourceGroups", scope["resource_group"],
		"providers", "Microsoft.CognitiveServices", "accounts", scope["resource_name"],
	}, rest...)
}

// azureResource is an item of the list of a subscription's resources.
type azureResource struct {
	ID string `json:"id"`
}

// id is what resources are told apart by: ARM ignores the case of ids.
func (r azureResource) id() string { return strings.ToLower(r.ID) }

// all is the path of the list of every Cognitive Services resource in the
// subscription.
func (k azureKeys) all() []string {
	return []string{
		"subscriptions", k.account.Fields["subscription_id"],
		"providers", "Microsoft.CognitiveServices", "accounts",
	}
}

func azureCall(method string, path []string, in, out any) Call {
	return Call{Method: method, Path: path, Query: url.Values{"api-version": {azureVersion}}, In: in, Out: out}
}

func (k azureKeys) Check(ctx context.Context) error {
	arm, err := k.signIn(ctx)
	if err != nil {
		return err
	}
	return arm.check(ctx, azureCall(http.MethodGet, k.all(), nil, nil))
}

func (k azureKeys) Verify(ctx context.Context, scope Scope, secret Secret) error {
	arm, err := k.signIn(ctx)
	if err != nil {
		return err
	}
	plane, err := k.plane(ctx, arm, scope)
	if err != nil {
		return err
	}
	key := plane.With(func(h http.Header) { h.Set("Api-Key", secret.Reveal()) })
	return key.verify(ctx, Call{Method: http.MethodGet, Path: []string{"models"}})
}

// Identify says which slot holds a key.
func (k azureKeys) Identify(ctx context.Context, scope Scope, secret Secret) (Match, error) {
	arm, err := k.signIn(ctx)
	if err != nil {
		return Match{}, err
	}
	plane, err := k.plane(ctx, arm, scope)
	if err != nil {
		return Match{}, err
	}
	values, err := k.values(ctx, arm, scope)
	if err != nil {
		return Match{}, err
	}
	m := match(azureOpenAI.Slots[:], secret, func(slot KeyID) (KeyID, Fit) {
		if values.slot(slot).Equal(secret) {
			return slot, Fits
		}
		return slot, FitsNot
	})
	if m.Key.ID != "" {
		m.Key.Base = plane.base.String()
	}
	return m, nil
}

// Revoke regenerates a slot and throws the new value away: a slot is never
// empty. A resource that is gone from its subscription took its keys along.
func (k azureKeys) Revoke(ctx context.Context, scope Scope, slot KeyID) error {
	arm, err := k.signIn(ctx)
	if err != nil {
		return err
	}
	_, err = k.regenerate(ctx, arm, scope, slot)
	return confirmed(err, azureOpenAI.Resource(k.account, scope), func() ([]azureResource, error) {
		return linked[azureResource](ctx, arm, k.all(), url.Values{"api-version": {azureVersion}})
	}, azureResource.id)
}

func (k azureKeys) Read(ctx context.Context, scope Scope, slot KeyID) (Key, error) {
	return k.issue(ctx, scope, slot, func(arm *Client) (azureValues, error) { return k.values(ctx, arm, scope) })
}

func (k azureKeys) Regenerate(ctx context.Context, scope Scope, slot KeyID) (Key, error) {
	return k.issue(ctx, scope, slot, func(arm *Client) (azureValues, error) { return k.regenerate(ctx, arm, scope, slot) })
}

// issue puts a key together. The endpoint is read before the values are made:
// a failure after that would waste a key.
func (k azureKeys) issue(
	ctx context.Context, scope Scope, slot KeyID, values func(*Client) (azureValues, error),
) (Key, error) {
	if !slices.Contains(azureOpenAI.Slots[:], slot) {
		return Key{}, fmt.Errorf("there is no slot %q: %w", slot, ErrRejected)
	}
	arm, err := k.signIn(ctx)
	if err != nil {
		return Key{}, err
	}
	plane, err := k.plane(ctx, arm, scope)
	if err != nil {
		return Key{}, err
	}
	v, err := values(arm)
	if err != nil {
		return Key{}, err
	}
	return issued(Key{ID: slot, Secret: v.slot(slot), Base: plane.base.String()})
}

// plane is the resource's data plane, where a key is used. It signs nothing.
func (k azureKeys) plane(ctx context.Context, arm *Client, scope Scope) (*Client, error) {
	var out struct {
		Properties struct {
			Endpoint string `json:"endpoint"`
		} `json:"properties"`
	}
	if _, err := arm.Do(ctx, azureCall(http.MethodGet, k.path(scope), nil, &out)); err != nil {
		return nil, err
	}
	plane, err := k.c.At(strings.TrimRight(out.Properties.Endpoint, "/") + "/openai/v1")
	if err != nil {
		return nil, fmt.Errorf("the resource has no endpoint to use a key at: %w", ErrUnknown)
	}
	return plane, nil
}

func (k azureKeys) values(ctx context.Context, arm *Client, scope Scope) (azureValues, error) {
	var out azureValues
	_, err := arm.Do(ctx, azureCall(http.MethodPost, k.path(scope, "listKeys"), nil, &out))
	if err == nil && (out.Key1 == "" || out.Key2 == "") {
		return azureValues{}, fmt.Errorf("the reply holds no keys: %w", ErrUnknown)
	}
	return out, err
}

func (k azureKeys) regenerate(ctx context.Context, arm *Client, scope Scope, slot KeyID) (azureValues, error) {
	if !slices.Contains(azureOpenAI.Slots[:], slot) {
		return azureValues{}, fmt.Errorf("there is no slot %q: %w", slot, ErrRejected)
	}
	in := struct {
		Slot KeyID `json:"keyName"`
	}{slot}
	var out azureValues
	call := azureCall(http.MethodPost, k.path(scope, "regenerateKey"), in, &out)
	call.Want = []int{http.StatusOK, http.StatusAccepted}
	r, err := arm.Do(ctx, call)
	if err != nil {
		return azureValues{}, err
	}
	if r.Status == http.StatusAccepted {
		if err := arm.await(ctx, r.Header); err != nil {
			return azureValues{}, err
		}
		if out, err = k.values(ctx, arm, scope); err != nil {
			return azureValues{}, late(err)
		}
	}
	if out.slot(slot).Reveal() == "" {
		return azureValues{}, fmt.Errorf("the reply holds no key: %w", ErrUnknown)
	}
	return out, nil
}

// await polls the long-running operation that an ARM reply started. It has
// started, so every error here is [ErrUnknown].
func (c *Client) await(ctx context.Context, started http.Header) error {
	path, query, ok := c.inside(started.Get("Azure-Asyncoperation"))
	if !ok {
		return fmt.Errorf("the reply names no operation at this host: %w", ErrUnknown)
	}
	for range azurePolls {
		pause := azurePause
		if started.Get("Retry-After") != "" {
			pause = retryAfter(started)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for an operation: %w", ErrUnknown)
		case <-time.After(pause):
		}
		var out struct {
			Status string `json:"status"`
		}
		r, err := c.Do(ctx, Call{Method: http.MethodGet, Path: path, Query: query, Out: &out})
		if err != nil {
			return late(err)
		}
		switch out.Status {
		case "Succeeded":
			return nil
		case "Failed", "Canceled", "":
			return fmt.Errorf("the operation did not succeed: %w", ErrUnknown)
		}
		started = r.Header
	}
	return fmt.Errorf("the operation did not end: %w", ErrUnknown)
}

// inside takes apart an address that a reply gave, if it lies under the base:
// the credential goes nowhere else.
func (c *Client) inside(raw string) (path []string, query url.Values, ok bool) {
	u, err := url.Parse(raw)
	if err != nil || u.Scheme != c.base.Scheme || !strings.EqualFold(u.Host, c.base.Host) {
		return nil, nil, false
	}
	rest, ok := strings.CutPrefix(u.Path, c.base.Path+"/")
	path = strings.Split(rest, "/")
	return path, u.Query(), ok && !slices.ContainsFunc(path, unsafeSegment)
}
