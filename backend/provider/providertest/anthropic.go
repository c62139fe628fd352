package providertest

import (
	"cmp"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// AnthropicOptions is the organisation that the fake Anthropic serves.
type AnthropicOptions struct {
	// AdminKey is the admin credential; there is one, for good.
	AdminKey string
}

// DefaultWorkspace is where keys are made that name no workspace.
const DefaultWorkspace = "wrkspc_default"

func (o *AnthropicOptions) defaults(marker string) {
	o.AdminKey = cmp.Or(o.AdminKey, "sk-ant-admin01-"+marker+"-anthropic")
}

// Anthropic is a fake of Anthropic's administration API and of the part of its
// data plane that shows whether a key works. Its base URL is the bare host.
//
// Sources: the source of github.com/anthropics/anthropic-sdk-go v1.84.0,
// generated from Anthropic's specification, files organization.go,
// organizationapikey.go, model.go and message.go;
// https://platform.claude.com/docs/en/api/admin/api_keys/list for cursors;
// https://platform.claude.com/docs/en/api/errors for the error object. The
// field workspace_id, which the stable types no longer have, is in
// betaorganizationapikey.go, marked as deprecated: it is null for the default
// workspace.
//
// Not in any of them, so assumed here: the order of lists (oldest first); that
// archived and expired keys take no further status; that a wrong key is told
// from a wrong kind of key by nothing.
type Anthropic struct{ c *Cloud }

// The states of a key. expired is never stored: it follows from the time.
const (
	statusActive   = "active"
	statusInactive = "inactive"
	statusArchived = "archived"
	statusExpired  = "expired"
)

func (a *Anthropic) name() string { return ProviderAnthropic }

// ServeHTTP serves the API below /v1, and the control endpoint.
func (a *Anthropic) ServeHTTP(w http.ResponseWriter, r *http.Request) { a.c.serve(a, w, r) }

func (a *Anthropic) reset() {
	secret := a.c.options.Anthropic.AdminKey
	a.c.add(&record{status: statusActive, Key: Key{
		Provider: ProviderAnthropic, ID: "apikey_admin", Name: "admin", Admin: true, Secret: secret, Hint: hint(secret, 16, 4),
	}})
}

// AddKey makes a key as a person does in the console: no API can. An empty
// workspace is the default one, a lifetime of 0 has no end.
func (a *Anthropic) AddKey(name, workspace string, lifetime time.Duration) Key {
	a.c.mu.Lock()
	defer a.c.mu.Unlock()
	secret := a.c.secret("sk-ant-api03-")
	return a.c.add(&record{status: statusActive, Key: Key{
		Provider: ProviderAnthropic, ID: a.c.id("apikey_"), Name: name, Owner: "user_person",
		Scope: cmp.Or(workspace, DefaultWorkspace), Expires: expiry(lifetime), Secret: secret, Hint: hint(secret, 16, 4),
	}}).view(time.Now())
}

// Status returns what the console shows of a key; empty for one that is unknown.
func (a *Anthropic) Status(id string) string {
	a.c.mu.Lock()
	defer a.c.mu.Unlock()
	if r := a.key(id); r != nil {
		return r.state(time.Now())
	}
	return ""
}

func (r *record) state(now time.Time) string {
	switch {
	case !r.Died.IsZero():
		return statusArchived
	case r.expiredAt(now):
		return statusExpired
	default:
		return r.status
	}
}

// keys are all API keys, archived ones too.
func (a *Anthropic) keys() []*record {
	var keys []*record
	for _, r := range a.c.records {
		if r.Provider == ProviderAnthropic && !r.Admin {
			keys = append(keys, r)
		}
	}
	return keys
}

func (a *Anthropic) key(id string) *record {
	for _, r := range a.keys() {
		if r.ID == id {
			return r
		}
	}
	return nil
}

func (a *Anthropic) handle(r *http.Request, body []byte) reply {
	if r.Header.Get("anthropic-version") != "2023-06-01" {
		return a.fail(http.StatusBadRequest, "anthropic-version: header is required")
	}
	path, ok := strings.CutPrefix(r.URL.Path, "/v1/")
	if !ok {
		return a.fail(http.StatusNotFound, "Not found")
	}
	who := a.c.use(ProviderAnthropic, r.Header.Get("x-api-key"))
	rest, admin := strings.CutPrefix(path, "organizations/")
	if who == nil || who.Admin != admin {
		return a.fail(http.StatusUnauthorized, "invalid x-api-key")
	}
	switch id, one := strings.CutPrefix(rest, "api_keys/"); {
	case !admin:
		return a.dataPlane(r, body)
	case r.Method == http.MethodGet && rest == "me":
		return jsonReply(http.StatusOK, object{
			"id": "00000000-0000-4000-8000-000000000001", "name": "Fake Organization", "type": "organization",
		})
	case r.Method == http.MethodGet && rest == "api_keys":
		return a.list(r.URL.Query())
	case one && a.key(id) == nil:
		return a.fail(http.StatusNotFound, "API key not found")
	case one && r.Method == http.MethodGet:
		return jsonReply(http.StatusOK, a.view(a.key(id)))
	case one && r.Method == http.MethodPost:
		return a.update(r, a.key(id), body)
	default:
		return a.fail(http.StatusNotFound, "Not found")
	}
}

func (a *Anthropic) list(q url.Values) reply {
	err := checkQuery(q, "status", "workspace_id", "created_by_user_id", "limit", "after_id", "before_id")
	states := []string{"", statusActive, statusInactive, statusArchived, statusExpired}
	switch {
	case err != nil:
		return a.badRequest(err)
	case !slices.Contains(states, q.Get("status")):
		return a.fail(http.StatusBadRequest, "status: must be active, inactive, archived or expired")
	case q.Has("after_id") && q.Has("before_id"):
		return a.fail(http.StatusBadRequest, "after_id and before_id cannot be used together")
	}
	now := time.Now()
	keys := slices.DeleteFunc(a.keys(), func(k *record) bool {
		return q.Has("status") && k.state(now) != q.Get("status") ||
			q.Has("workspace_id") && k.Scope != q.Get("workspace_id") ||
			q.Has("created_by_user_id") && k.Owner != q.Get("created_by_user_id")
	})
	return pageReply(a, q, keys, func(k *record) string { return k.ID }, a.view)
}

// pageReply is one page of any list of Anthropic's. Going back, the page is
// the one right before the cursor, still oldest first.
func pageReply[T any](a *Anthropic, q url.Values, list []T, id func(T) string, view func(T) object) reply {
	size, err := limit(q, 20, 1000)
	if err != nil {
		return a.badRequest(err)
	}
	back := q.Has("before_id")
	if back {
		list = slices.Clone(list)
		slices.Reverse(list)
	}
	cut, more, ok := page(list, id, cmp.Or(q.Get("after_id"), q.Get("before_id")), size)
	if !ok {
		return a.fail(http.StatusBadRequest, "no object with the id of the cursor")
	}
	cut = slices.Clone(cut)
	if back {
		slices.Reverse(cut)
	}
	data := make([]object, 0, len(cut))
	for _, v := range cut {
		data = append(data, view(v))
	}
	out := object{"data": data, "has_more": more, "first_id": nil, "last_id": nil}
	if len(cut) > 0 {
		out["first_id"], out["last_id"] = id(cut[0]), id(cut[len(cut)-1])
	}
	return jsonReply(http.StatusOK, out)
}

func (a *Anthropic) view(k *record) object {
	var expires, workspace any
	if !k.Expires.IsZero() {
		expires = k.Expires.UTC().Format(time.RFC3339)
	}
	if k.Scope != DefaultWorkspace {
		workspace = k.Scope
	}
	return object{
		"id": k.ID, "type": "api_key", "name": k.Name, "status": k.state(time.Now()), "partial_key_hint": k.Hint,
		"created_at": k.Created.UTC().Format(time.RFC3339), "expires_at": expires,
		"created_by": object{"id": k.Owner, "type": "user"}, "principal": nil,
		"scope": object{"type": "workspace", "workspace_id": k.Scope}, "workspace_id": workspace,
	}
}

func (a *Anthropic) update(r *http.Request, k *record, body []byte) reply {
	var name, status arg[string]
	err := readObject(r, body, map[string]any{"name": &name, "status": &status})
	state := k.state(time.Now())
	switch {
	case err != nil:
		return a.badRequest(err)
	case name.null || name.set && name.value == "":
		return a.fail(http.StatusBadRequest, "name: must not be empty")
	case status.null || status.set && !slices.Contains([]string{statusActive, statusInactive, statusArchived}, status.value):
		return a.fail(http.StatusBadRequest, "status: must be active, inactive or archived")
	case state == statusArchived || state == statusExpired:
		return a.fail(http.StatusBadRequest, "the key is "+state+" and cannot be changed")
	}
	k.Name, k.status = name.or(k.Name), status.or(k.status)
	if k.status == statusArchived {
		a.c.kill(k)
	}
	return jsonReply(http.StatusOK, a.view(k))
}

func (a *Anthropic) dataPlane(r *http.Request, body []byte) reply {
	switch r.Method + " " + r.URL.Path {
	case "GET /v1/models":
		if err := checkQuery(r.URL.Query(), "limit", "after_id", "before_id", "lifecycle"); err != nil {
			return a.badRequest(err)
		}
		return pageReply(a, r.URL.Query(), []string{"claude-fake"}, func(s string) string { return s }, claude)
	case "POST /v1/messages":
		model, err := readModel(body)
		if err != nil {
			return a.badRequest(err)
		}
		var in struct {
			MaxTokens int `json:"max_tokens"`
		}
		if err := json.Unmarshal(body, &in); err != nil || in.MaxTokens < 1 {
			return a.badRequest(errors.New("max_tokens: must be a number above 0"))
		}
		return jsonReply(http.StatusOK, message(a.c.id("msg_"), model))
	default:
		return a.fail(http.StatusNotFound, "Not found")
	}
}

func (a *Anthropic) badRequest(err error) reply { return a.fail(http.StatusBadRequest, err.Error()) }

func (a *Anthropic) refusal(status int) reply { return a.fail(status, http.StatusText(status)) }

func (a *Anthropic) fail(status int, message string) reply {
	kind := "invalid_request_error"
	switch {
	case status == http.StatusUnauthorized:
		kind = "authentication_error"
	case status == http.StatusForbidden:
		kind = "permission_error"
	case status == http.StatusNotFound:
		kind = "not_found_error"
	case status == http.StatusTooManyRequests:
		kind = "rate_limit_error"
	case status == 529:
		kind = "overloaded_error"
	case status >= http.StatusInternalServerError:
		kind = "api_error"
	}
	return jsonReply(status, object{
		"type": "error", "error": object{"type": kind, "message": message}, "request_id": "req_fake",
	})
}
