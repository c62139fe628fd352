package provider

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"time"
)

type openAIInventory openAIAccess

// List walks the projects one after another: a project's keys, then its service
// accounts; the organisation's admin keys come last.
func (o openAIInventory) List(ctx context.Context, known []Scope, everywhere bool) ([]Found, error) {
	projects, err := o.projects(ctx, known, everywhere)
	if err != nil {
		return nil, err
	}
	var all []Found
	for _, id := range projects {
		found, err := o.project(ctx, Scope{"project_id": id})
		if err != nil {
			return nil, fmt.Errorf("in project %s: %w", id, err)
		}
		all = append(all, found...)
	}
	roots, err := openAIRoots{openAIAccess: openAIAccess(o)}.list(ctx)
	if err != nil {
		return nil, err
	}
	for _, k := range roots {
		all = append(all, k.found(FoundRoot, nil))
	}
	for _, f := range all {
		if f.ID == "" {
			return nil, fmt.Errorf("a list holds something without an id: %w", ErrUnknown)
		}
	}
	return all, nil
}

// projects are the ids of the projects to look into. What lay in an archived one
// has ended with it, so those are left out even if a role names them. One that a
// role names and that the organisation does not list is looked into all the
// same: an error is better than keys that look gone.
func (o openAIInventory) projects(ctx context.Context, known []Scope, everywhere bool) ([]string, error) {
	type project struct {
		ID       string `json:"id"`
		Archived int64  `json:"archived_at"`
	}
	var ids []string
	archived := map[string]bool{}
	if everywhere {
		query := url.Values{"limit": {"100"}, "include_archived": {"true"}}
		listed, err := list[project](ctx, o.admin, []string{"organization", "projects"}, query, "after")
		if err != nil {
			return nil, err
		}
		for _, p := range listed {
			if p.Archived > 0 {
				archived[p.ID] = true
			} else {
				ids = append(ids, p.ID)
			}
		}
	}
	for _, scope := range known {
		if id := scope["project_id"]; id != "" && !archived[id] {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids), nil
}

func (o openAIInventory) project(ctx context.Context, scope Scope) ([]Found, error) {
	keys, err := openAIKeys(o).keys(ctx, scope)
	if err != nil {
		return nil, err
	}
	accounts, err := openAIOwners(o).accounts(ctx, scope)
	if err != nil {
		return nil, err
	}
	found := make([]Found, 0, len(keys)+len(accounts))
	for _, k := range keys {
		found = append(found, k.found(FoundKey, scope))
	}
	for _, a := range accounts {
		found = append(found, Found{
			Kind: FoundOwner, ID: a.ID, Name: string(a.Name), Scope: scope, Created: unix(a.CreatedAt),
		})
	}
	return found, nil
}

func (k openAIKey) found(kind FoundKind, scope Scope) Found {
	expires := unix(k.ExpiresAt)
	return Found{
		Kind: kind, ID: string(k.ID), Name: string(k.Name), Owner: k.Owner.ServiceAccount.ID, Scope: scope,
		Created: unix(k.CreatedAt), LastUsed: unix(k.LastUsedAt),
		Ended: !expires.IsZero() && !time.Now().Before(expires),
	}
}
