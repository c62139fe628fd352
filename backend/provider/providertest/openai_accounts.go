package providertest

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"time"
)

// maxExpiresIn is a year in seconds: no OpenAI key can be asked to live longer.
const maxExpiresIn = 31_536_000

// The roles of a service account in its project.
const (
	roleNone   = "none"
	roleMember = "member"
	roleOwner  = "owner"
)

func (p *project) view() object {
	status := "active"
	if !p.Archived.IsZero() {
		status = "archived"
	}
	return object{
		"id": p.ID, "object": "organization.project", "name": p.Name,
		"created_at": p.Created.Unix(), "archived_at": unix(p.Archived), "status": status,
	}
}

func (o *OpenAI) listProjects(r *http.Request) reply {
	q := r.URL.Query()
	if r.Method != http.MethodGet {
		return o.noSuchURL(r)
	}
	if err := checkQuery(q, "after", "limit", "include_archived"); err != nil {
		return o.badRequest(err)
	}
	var projects []*project
	for _, p := range o.projects {
		if p.Archived.IsZero() || q.Get("include_archived") == "true" {
			projects = append(projects, p)
		}
	}
	return listReply(o, q, projects, func(p *project) string { return p.ID }, (*project).view)
}

// listReply is one page of any list of OpenAI's.
func listReply[T any](o *OpenAI, q url.Values, list []T, id func(T) string, view func(T) object) reply {
	size, err := limit(q, 20, 100)
	if err != nil {
		return o.badRequest(err)
	}
	cut, more, ok := page(list, id, q.Get("after"), size)
	if !ok {
		return o.badRequest(errors.New("no object with the id in after"))
	}
	out := object{"object": "list", "has_more": more, "first_id": nil, "last_id": nil}
	data := make([]object, 0, len(cut))
	for _, v := range cut {
		data = append(data, view(v))
	}
	if len(cut) > 0 {
		out["first_id"], out["last_id"] = id(cut[0]), id(cut[len(cut)-1])
	}
	out["data"] = data
	return jsonReply(http.StatusOK, out)
}

func (o *OpenAI) serviceAccounts(r *http.Request, p *project, rest []string, body []byte) reply {
	switch {
	case len(rest) == 0 && r.Method == http.MethodPost:
		return o.createAccount(r, p, body)
	case len(rest) == 0 && r.Method == http.MethodGet:
		if err := checkQuery(r.URL.Query(), "after", "limit"); err != nil {
			return o.badRequest(err)
		}
		return listReply(o, r.URL.Query(), o.accounts(p.ID), func(a *Owner) string { return a.ID }, (*Owner).view)
	case len(rest) == 0:
		return o.noSuchURL(r)
	}
	a := o.account(p.ID, rest[0])
	if a == nil {
		return o.fail(http.StatusNotFound, "not_found", "Service account not found.")
	}
	switch {
	case len(rest) == 2 && rest[1] == "api_keys" && r.Method == http.MethodPost:
		return o.createAccountKey(r, a, body)
	case len(rest) > 1:
		return o.noSuchURL(r)
	case r.Method == http.MethodGet:
		return jsonReply(http.StatusOK, a.view())
	case r.Method == http.MethodPost:
		return o.updateAccount(r, a, body)
	case r.Method == http.MethodDelete:
		return o.deleteAccount(a)
	default:
		return o.noSuchURL(r)
	}
}

func (a *Owner) view() object {
	return object{
		"id": a.ID, "object": "organization.project.service_account",
		"name": a.Name, "role": a.Role, "created_at": a.Created.Unix(),
	}
}

func (o *OpenAI) createAccount(r *http.Request, p *project, body []byte) reply {
	var name arg[string]
	var alone arg[bool]
	var seconds arg[int64]
	err := readObject(r, body, map[string]any{"name": &name, "create_service_account_only": &alone, "expires_in_seconds": &seconds})
	only := alone.value
	switch {
	case err != nil:
		return o.badRequest(err)
	case name.value == "":
		return o.badRequest(errors.New("missing required parameter: 'name'"))
	case only && seconds.set:
		return o.badRequest(errors.New("expires_in_seconds cannot be used with create_service_account_only"))
	case p.ID == DefaultProject:
		return o.badRequest(errors.New("service accounts cannot be created in the default project"))
	case !p.Archived.IsZero():
		return o.badRequest(errors.New("the project is archived"))
	}
	var lifetime time.Duration
	if !only {
		if lifetime, err = o.lifetime(seconds); err != nil {
			return o.badRequest(err)
		}
	}
	a := o.c.addOwner(&Owner{Provider: ProviderOpenAI, ID: o.c.id("svc_acct_"), Name: name.value, Scope: p.ID, Role: roleNone})
	out := a.view()
	out["api_key"] = nil
	if !only {
		a.Role, out["role"] = roleMember, roleMember
		out["api_key"] = o.addKey(&record{Key: Key{
			Name: vendorsName, Owner: a.ID, Scope: p.ID, Expires: expiry(lifetime),
		}}, "sk-svcacct-").created()
	}
	return jsonReply(http.StatusOK, out)
}

func (o *OpenAI) updateAccount(r *http.Request, a *Owner, body []byte) reply {
	var name, role arg[string]
	err := readObject(r, body, map[string]any{"name": &name, "role": &role})
	switch {
	case err != nil:
		return o.badRequest(err)
	case name.set && name.value == "":
		return o.badRequest(errors.New("invalid 'name': an empty string"))
	case role.set && role.value != roleMember && role.value != roleOwner:
		return o.badRequest(errors.New("invalid 'role': must be member or owner"))
	}
	a.Name, a.Role = name.or(a.Name), role.or(a.Role)
	return jsonReply(http.StatusOK, a.view())
}

// deleteAccount ends an account and, with it, its keys.
func (o *OpenAI) deleteAccount(a *Owner) reply {
	for _, k := range o.keys(a.Scope) {
		if k.Owner == a.ID {
			o.c.kill(k)
		}
	}
	a.Live, a.Died = false, time.Now()
	return jsonReply(http.StatusOK, object{"id": a.ID, "object": "organization.project.service_account.deleted", "deleted": true})
}

func (o *OpenAI) createAccountKey(r *http.Request, a *Owner, body []byte) reply {
	var name arg[string]
	var scopes arg[[]string]
	var seconds arg[int64]
	if err := readObject(r, body, map[string]any{"name": &name, "scopes": &scopes, "expires_in_seconds": &seconds}); err != nil {
		return o.badRequest(err)
	}
	lifetime, err := o.lifetime(seconds)
	if err != nil {
		return o.badRequest(err)
	}
	if name.null || scopes.null {
		return o.badRequest(errors.New("name and scopes must not be null"))
	}
	if slices.Contains(scopes.value, "") {
		return o.badRequest(errors.New("invalid 'scopes': an empty string"))
	}
	return jsonReply(http.StatusOK, o.addKey(&record{Key: Key{
		Name: name.or(vendorsName), Owner: a.ID, Scope: a.Scope,
		Permissions: scopes.value, Expires: expiry(lifetime),
	}}, "sk-svcacct-").created())
}

// created is the one answer that shows a service account's key.
func (r *record) created() object {
	return object{
		"id": r.ID, "object": "organization.project.service_account.api_key", "name": r.Name,
		"value": r.Secret, "created_at": r.Created.Unix(), "expires_at": unix(r.Expires),
	}
}

// lifetime reads expires_in_seconds under the organisation's policy.
func (o *OpenAI) lifetime(seconds arg[int64]) (time.Duration, error) {
	policy := o.c.options.OpenAI.MaxLifetime
	if !seconds.set {
		if policy > 0 {
			return 0, errors.New("expires_in_seconds is required by the organization's key policy")
		}
		return 0, nil
	}
	if seconds.value < 1 || seconds.value > maxExpiresIn {
		return 0, errors.New("invalid 'expires_in_seconds': must be from 1 to 31536000")
	}
	d := time.Duration(seconds.value) * time.Second
	if policy > 0 && d > policy {
		return 0, errors.New("expires_in_seconds exceeds the organization's key policy")
	}
	return d, nil
}

// expiry is when a key of that lifetime ends; never for none.
func expiry(lifetime time.Duration) time.Time {
	if lifetime == 0 {
		return time.Time{}
	}
	return time.Now().Add(lifetime)
}
