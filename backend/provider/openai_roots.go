package provider

import (
	"context"
	"net/http"
	"net/url"
)

// openAIRoots replaces the admin key. An admin key belongs to the organisation
// and to the person whose key made it, and may do whatever that one may.
type openAIRoots struct {
	openAIAccess
	self Secret
}

func openAIRootPath(rest ...string) []string {
	return append([]string{"organization", "admin_api_keys"}, rest...)
}

func (o openAIRoots) list(ctx context.Context) ([]openAIKey, error) {
	return list[openAIKey](ctx, o.admin, openAIRootPath(), url.Values{"limit": {"100"}}, "after")
}

func (o openAIRoots) Self(ctx context.Context) (KeyID, error) {
	keys, err := o.list(ctx)
	if err != nil {
		return "", err
	}
	var ids []KeyID
	for _, k := range keys {
		if hinted(k.Redacted, o.self) {
			ids = append(ids, k.ID)
		}
	}
	return only(ids, o.self).ID, nil
}

func (o openAIRoots) Mint(ctx context.Context, tag Tag) (Key, error) {
	in := struct {
		Name string `json:"name"`
	}{string(tag)}
	var out struct {
		ID        KeyID  `json:"id"`
		Value     string `json:"value"`
		ExpiresAt int64  `json:"expires_at"`
	}
	if _, err := o.admin.Do(ctx, Call{Method: http.MethodPost, Path: openAIRootPath(), In: in, Out: &out, Want: openAICreated}); err != nil {
		return Key{}, err
	}
	return issued(Key{ID: out.ID, Secret: NewSecret(out.Value), Expires: unix(out.ExpiresAt)})
}

func (o openAIRoots) Find(ctx context.Context, tag Tag) ([]KeyID, error) {
	keys, err := o.list(ctx)
	var ids []KeyID
	for _, k := range keys {
		if k.Name == tag {
			ids = append(ids, k.ID)
		}
	}
	return ids, err
}

func (o openAIRoots) Revoke(ctx context.Context, id KeyID) error {
	return confirmed(o.remove(ctx, openAIRootPath(string(id))), id,
		func() ([]openAIKey, error) { return o.list(ctx) },
		func(k openAIKey) KeyID { return k.ID })
}
