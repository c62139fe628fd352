package providertest

import (
	"errors"
	"net/http"
	"slices"
	"time"
)

func (o *OpenAI) projectKeys(r *http.Request, p *project, rest []string, body []byte) reply {
	switch {
	case len(rest) == 0 && r.Method == http.MethodGet:
		return o.listKeys(r, p)
	case len(rest) != 1:
		return o.noSuchURL(r)
	}
	k := o.key(p.ID, rest[0])
	if k == nil {
		return o.fail(http.StatusNotFound, "not_found", "API key not found.")
	}
	switch r.Method {
	case http.MethodGet:
		return jsonReply(http.StatusOK, o.keyView(k))
	case http.MethodPost:
		return o.updateKey(r, k, body)
	case http.MethodDelete:
		o.c.kill(k)
		return jsonReply(http.StatusOK, object{"id": k.ID, "object": "organization.project.api_key.deleted", "deleted": true})
	default:
		return o.noSuchURL(r)
	}
}

// listKeys leaves out keys whose owner has no access to the project, unless
// the caller asks for them: a reconciliation that forgets to ask misses them.
func (o *OpenAI) listKeys(r *http.Request, p *project) reply {
	q := r.URL.Query()
	if err := checkQuery(q, "after", "limit", "owner_project_access"); err != nil {
		return o.badRequest(err)
	}
	access := q.Get("owner_project_access")
	if q.Has("owner_project_access") && !slices.Contains([]string{"active", "inactive", "any"}, access) {
		return o.badRequest(errors.New("invalid 'owner_project_access': must be active, inactive or any"))
	}
	keys := slices.DeleteFunc(o.keys(p.ID), func(k *record) bool {
		return access != "any" && o.hasAccess(k) != (access != "inactive")
	})
	return listReply(o, q, keys, func(k *record) string { return k.ID }, o.keyView)
}

func (o *OpenAI) keyView(k *record) object {
	access := "inactive"
	if o.hasAccess(k) {
		access = "active"
	}
	return object{
		"id": k.ID, "object": "organization.project.api_key", "name": k.Name, "redacted_value": k.Hint,
		"created_at": k.Created.Unix(), "last_used_at": unix(k.lastUsed), "expires_at": unix(k.Expires),
		"owner": o.ownerView(k), "owner_project_access": access,
	}
}

func (o *OpenAI) ownerView(k *record) object {
	if k.userID != "" {
		return object{"type": "user", "user": object{
			"id": k.userID, "name": "A Person", "email": k.Owner, "role": roleMember, "created_at": k.Created.Unix(),
		}}
	}
	account := object{"id": k.Owner, "name": "", "role": roleNone, "created_at": k.Created.Unix()}
	if a := o.account(k.Scope, k.Owner); a != nil {
		account = object{"id": a.ID, "name": a.Name, "role": a.Role, "created_at": a.Created.Unix()}
	}
	return object{"type": "service_account", "service_account": account}
}

func (o *OpenAI) updateKey(r *http.Request, k *record, body []byte) reply {
	var scopes arg[[]string]
	var seconds arg[int64]
	err := readObject(r, body, map[string]any{"scopes": &scopes, "expires_in_seconds": &seconds})
	switch {
	case err != nil:
		return o.badRequest(err)
	case scopes.null || seconds.null:
		return o.badRequest(errors.New("neither scopes nor expires_in_seconds may be null"))
	case !scopes.set && !seconds.set:
		return o.badRequest(errors.New("one of scopes and expires_in_seconds is required"))
	case k.expiredAt(time.Now()):
		return o.badRequest(errors.New("an expired key cannot be updated"))
	}
	if seconds.set {
		d, err := o.lifetime(seconds)
		if err != nil {
			return o.badRequest(err)
		}
		k.Expires = expiry(d)
	}
	k.Permissions = scopes.or(k.Permissions)
	return jsonReply(http.StatusOK, o.keyView(k))
}

func (o *OpenAI) adminKeys(r *http.Request, rest []string, body []byte) reply {
	switch {
	case len(rest) == 0 && r.Method == http.MethodPost:
		return o.createAdminKey(r, body)
	case len(rest) == 0 && r.Method == http.MethodGet:
		return o.listAdminKeys(r)
	case len(rest) != 1:
		return o.noSuchURL(r)
	}
	i := slices.IndexFunc(o.liveAdminKeys(), func(k *record) bool { return k.ID == rest[0] })
	if i < 0 {
		return o.fail(http.StatusNotFound, "not_found", "Admin API key not found.")
	}
	k := o.liveAdminKeys()[i]
	switch r.Method {
	case http.MethodGet:
		return jsonReply(http.StatusOK, adminKeyView(k))
	case http.MethodDelete:
		o.c.kill(k)
		return jsonReply(http.StatusOK, object{"id": k.ID, "object": "organization.admin_api_key.deleted", "deleted": true})
	default:
		return o.noSuchURL(r)
	}
}

func (o *OpenAI) liveAdminKeys() []*record {
	var keys []*record
	for _, r := range o.c.records {
		if r.Provider == ProviderOpenAI && r.Admin && r.Died.IsZero() {
			keys = append(keys, r)
		}
	}
	return keys
}

func (o *OpenAI) listAdminKeys(r *http.Request) reply {
	q := r.URL.Query()
	if err := checkQuery(q, "after", "limit", "order"); err != nil {
		return o.badRequest(err)
	}
	keys := o.liveAdminKeys()
	switch q.Get("order") {
	case "", "asc":
	case "desc":
		slices.Reverse(keys)
	default:
		return o.badRequest(errors.New("invalid 'order': must be asc or desc"))
	}
	return listReply(o, q, keys, func(k *record) string { return k.ID }, adminKeyView)
}

func (o *OpenAI) createAdminKey(r *http.Request, body []byte) reply {
	var name arg[string]
	var seconds arg[int64]
	err := readObject(r, body, map[string]any{"name": &name, "expires_in_seconds": &seconds})
	if err == nil && name.value == "" {
		err = errors.New("missing required parameter: 'name'")
	}
	if err != nil {
		return o.badRequest(err)
	}
	lifetime, err := o.lifetime(seconds)
	if err != nil {
		return o.badRequest(err)
	}
	k := o.addKey(&record{Key: Key{Admin: true, Name: name.value, Owner: "user_000000", Expires: expiry(lifetime)}}, "sk-admin-")
	out := adminKeyView(k)
	out["value"] = k.Secret
	return jsonReply(http.StatusOK, out)
}

func adminKeyView(k *record) object {
	return object{
		"id": k.ID, "object": "organization.admin_api_key", "name": k.Name, "redacted_value": k.Hint,
		"created_at": k.Created.Unix(), "last_used_at": unix(k.lastUsed), "expires_at": unix(k.Expires),
		"owner": object{
			"type": "user", "object": "organization.user", "id": k.Owner, "name": "An Owner",
			"role": roleOwner, "created_at": k.Created.Unix(),
		},
	}
}

// dataPlane answers as far as is needed to see whether a key works. A key can
// work and yet be refused: its scopes, or its owner's role, may not allow it.
func (o *OpenAI) dataPlane(r *http.Request, who *record, body []byte) reply {
	switch r.Method + " " + r.URL.Path {
	case "GET /v1/models":
		if who.Admin || !o.hasAccess(who) || !allows(who.Permissions, "api.all.read", "api.model.read") {
			return o.denied("api.model.read")
		}
		return jsonReply(http.StatusOK, openAIModels(who.Created))
	case "POST /v1/chat/completions":
		if who.Admin || !o.hasAccess(who) || !allows(who.Permissions, "api.model.request", "model.request") {
			return o.denied("model.request")
		}
		model, err := readModel(body)
		if err != nil {
			return o.badRequest(err)
		}
		return jsonReply(http.StatusOK, completion(o.c.id("chatcmpl-"), model))
	default:
		return o.noSuchURL(r)
	}
}

func allows(permissions []string, one ...string) bool {
	return len(permissions) == 0 || slices.ContainsFunc(permissions, func(p string) bool { return slices.Contains(one, p) })
}

func openAIModels(created time.Time) object {
	model := object{"id": "gpt-fake", "object": "model", "created": created.Unix(), "owned_by": "system"}
	return object{"object": "list", "data": []object{model}}
}

// completion is the same for OpenAI and Azure OpenAI.
func completion(id, model string) object {
	return object{
		"id": id, "object": "chat.completion", "created": time.Now().Unix(), "model": model,
		"choices": []object{{
			"index": 0, "finish_reason": "stop", "logprobs": nil,
			"message": object{"role": "assistant", "content": cannedAnswer, "refusal": nil},
		}},
		"usage": object{"prompt_tokens": 1, "completion_tokens": 8, "total_tokens": 9},
	}
}

const cannedAnswer = "This key works. Yours, a fake provider."
