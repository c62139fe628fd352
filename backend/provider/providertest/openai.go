package providertest

import (
	"cmp"
	"net/http"
	"slices"
	"strings"
	"time"
)

// OpenAIOptions is the organisation that the fake OpenAI serves.
type OpenAIOptions struct {
	// AdminKey is the admin credential that exists from the start.
	AdminKey string
	// Organization is the id that an OpenAI-Organization header must have.
	Organization string
	// Projects exist from the start: id to name. [DefaultProject] always does.
	Projects map[string]string
	// MaxLifetime, if set, is the organisation's policy: keys must expire, at
	// the latest after that long.
	MaxLifetime time.Duration
}

// The projects there are when [OpenAIOptions].Projects is empty.
const (
	// DefaultProject refuses service accounts, as every organisation's default project does.
	DefaultProject = "proj_default"
	// MainProject is an ordinary one.
	MainProject = "proj_main"
)

func (o *OpenAIOptions) defaults(marker string) {
	o.AdminKey = cmp.Or(o.AdminKey, "sk-admin-"+marker+"-openai")
	o.Organization = cmp.Or(o.Organization, "org-fake")
	if len(o.Projects) == 0 {
		o.Projects = map[string]string{MainProject: "Main"}
	}
}

// OpenAI is a fake of OpenAI's administration API and of the part of its data
// plane that shows whether a key works. Its base URL ends in /v1.
//
// Sources: the source of github.com/openai/openai-go/v3 v3.96.0, generated from
// OpenAI's specification, files adminorganizationproject.go,
// …projectserviceaccount.go, …projectserviceaccountapikey.go,
// …projectapikey.go and …adminapikey.go for paths, fields, ranges and rules
// (what a limit defaults to, that empty scopes mean all, that an expired key
// cannot be updated, that an account made alone holds no role); the API
// reference at https://platform.openai.com/docs/api-reference/administration
// for the shape of redacted values; the error guide at
// https://platform.openai.com/docs/guides/error-codes for the error object.
//
// Not in any of them, so assumed here: the wording and the codes of errors
// other than a wrong key's; that expired keys stay in the list until somebody
// deletes them; that scopes are checked by name alone.
type OpenAI struct {
	c        *Cloud
	projects []*project
}

type project struct {
	ID, Name string
	Created  time.Time
	Archived time.Time
}

func (o *OpenAI) name() string { return ProviderOpenAI }

// ServeHTTP serves the API below /v1, and the control endpoint.
func (o *OpenAI) ServeHTTP(w http.ResponseWriter, r *http.Request) { o.c.serve(o, w, r) }

func (o *OpenAI) reset() {
	options := o.c.options.OpenAI
	o.projects = []*project{{ID: DefaultProject, Name: "Default project", Created: time.Now()}}
	for id, name := range options.Projects {
		o.projects = append(o.projects, &project{ID: id, Name: name, Created: time.Now()})
	}
	slices.SortFunc(o.projects, func(a, b *project) int { return strings.Compare(a.ID, b.ID) })
	o.c.add(&record{Key: Key{
		Provider: ProviderOpenAI, ID: "key_initial", Name: "initial", Admin: true, Owner: "user_000000",
		Secret: options.AdminKey, Hint: hint(options.AdminKey, 8, 3),
	}})
}

// AddAdminKey adds an admin key that a person made.
func (o *OpenAI) AddAdminKey(name string) Key {
	o.c.mu.Lock()
	defer o.c.mu.Unlock()
	return o.addKey(&record{Key: Key{Admin: true, Name: name, Owner: "user_000000"}}, "sk-admin-").view(time.Now())
}

// AddLookAlike adds an admin key that a person made, and that the vendor's list
// shows just as it shows another one.
func (o *OpenAI) AddLookAlike(name, like string) Key {
	o.c.mu.Lock()
	defer o.c.mu.Unlock()
	k := o.addKey(&record{Key: Key{Admin: true, Name: name, Owner: "user_000000"}}, "sk-admin-")
	k.Hint = o.c.bySecret[like].Hint
	return k.view(time.Now())
}

// AddUserKey makes a key that belongs to a person, as the dashboard does. The
// engine must leave it alone.
func (o *OpenAI) AddUserKey(projectID, name string) Key {
	o.c.mu.Lock()
	defer o.c.mu.Unlock()
	return o.addKey(&record{
		Key:    Key{Scope: projectID, Name: name, Owner: "person@example.com"},
		userID: o.c.id("user-"),
	}, "sk-proj-").view(time.Now())
}

// AddServiceAccount adds a member of a project, as the dashboard does.
func (o *OpenAI) AddServiceAccount(projectID, name string) Owner {
	o.c.mu.Lock()
	defer o.c.mu.Unlock()
	return *o.c.addOwner(&Owner{Provider: ProviderOpenAI, ID: o.c.id("svc_acct_"), Name: name, Scope: projectID, Role: roleMember})
}

// RemoveServiceAccount ends a service account and its keys, as the dashboard does.
func (o *OpenAI) RemoveServiceAccount(id string) {
	o.c.mu.Lock()
	defer o.c.mu.Unlock()
	if a := o.c.ownerByID[id]; a != nil {
		o.deleteAccount(a)
	}
}

// ArchiveProject does what the dashboard's button does: keys and service
// accounts of the project end.
func (o *OpenAI) ArchiveProject(id string) {
	o.c.mu.Lock()
	defer o.c.mu.Unlock()
	p := o.project(id)
	if p == nil {
		return
	}
	p.Archived = time.Now()
	for _, r := range o.keys(id) {
		o.c.kill(r)
	}
	for _, a := range o.accounts(id) {
		a.Live, a.Died = false, time.Now()
	}
}

func (o *OpenAI) addKey(r *record, prefix string) *record {
	r.Provider, r.ID = ProviderOpenAI, o.c.id("key_")
	r.Secret = o.c.secret(prefix)
	r.Hint = hint(r.Secret, len(prefix)+4, 4)
	return o.c.add(r)
}

func (o *OpenAI) project(id string) *project {
	for _, p := range o.projects {
		if p.ID == id {
			return p
		}
	}
	return nil
}

// keys are the project's keys that were not deleted; expired ones are among them.
func (o *OpenAI) keys(projectID string) []*record {
	var keys []*record
	for _, r := range o.c.records {
		if r.inProject(projectID) {
			keys = append(keys, r)
		}
	}
	return keys
}

func (o *OpenAI) key(projectID, id string) *record {
	if r := o.c.byID[id]; r != nil && r.inProject(projectID) {
		return r
	}
	return nil
}

func (r *record) inProject(id string) bool {
	return r.Provider == ProviderOpenAI && !r.Admin && r.Scope == id && r.Died.IsZero()
}

// accounts are the project's service accounts that were not deleted.
func (o *OpenAI) accounts(projectID string) []*Owner {
	var accounts []*Owner
	for _, a := range o.c.owners {
		if a.Provider == ProviderOpenAI && a.Scope == projectID && a.Live {
			accounts = append(accounts, a)
		}
	}
	return accounts
}

func (o *OpenAI) account(projectID, id string) *Owner {
	if a := o.c.ownerByID[id]; a != nil && a.Provider == ProviderOpenAI && a.Scope == projectID && a.Live {
		return a
	}
	return nil
}

// hasAccess says whether a key's owner may do anything in the project: a
// service account without a role may not.
func (o *OpenAI) hasAccess(r *record) bool {
	if r.userID != "" {
		return true
	}
	a := o.account(r.Scope, r.Owner)
	return a != nil && a.Role != roleNone
}

func (o *OpenAI) handle(r *http.Request, body []byte) reply {
	path, ok := strings.CutPrefix(r.URL.Path, "/v1/")
	if !ok {
		return o.noSuchURL(r)
	}
	secret, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		return o.fail(http.StatusUnauthorized, "", "You didn't provide an API key.")
	}
	who := o.c.use(ProviderOpenAI, secret)
	if who == nil {
		// The vendor's own answer shows some of the key.
		return o.fail(http.StatusUnauthorized, "invalid_api_key",
			"Incorrect API key provided: "+hint(secret, 7, 4)+". You can find your API key at https://platform.openai.com/account/api-keys.")
	}
	if org := r.Header.Get("OpenAI-Organization"); org != "" && org != o.c.options.OpenAI.Organization {
		return o.fail(http.StatusUnauthorized, "mismatched_organization", "OpenAI-Organization header should match organization for API key")
	}
	parts := strings.Split(path, "/")
	if parts[0] != "organization" {
		return o.dataPlane(r, who, body)
	}
	if !who.Admin {
		return o.denied("api.management.read")
	}
	return o.adminPlane(r, parts[1:], body)
}

func (o *OpenAI) adminPlane(r *http.Request, parts []string, body []byte) reply {
	switch {
	case parts[0] == "admin_api_keys":
		return o.adminKeys(r, parts[1:], body)
	case parts[0] != "projects" || len(parts) > 6:
		return o.noSuchURL(r)
	case len(parts) == 1:
		return o.listProjects(r)
	}
	p := o.project(parts[1])
	if p == nil {
		return o.fail(http.StatusNotFound, "not_found", "Project with ID '"+parts[1]+"' not found.")
	}
	rest := parts[2:]
	switch {
	case len(rest) == 0 && r.Method == http.MethodGet:
		return jsonReply(http.StatusOK, p.view())
	case len(rest) == 0:
		return o.noSuchURL(r)
	case rest[0] == "service_accounts":
		return o.serviceAccounts(r, p, rest[1:], body)
	case rest[0] == "api_keys":
		return o.projectKeys(r, p, rest[1:], body)
	default:
		return o.noSuchURL(r)
	}
}

func (o *OpenAI) refusal(status int) reply {
	return o.fail(status, "", http.StatusText(status))
}

func (o *OpenAI) fail(status int, code, message string) reply {
	kind := "invalid_request_error"
	switch {
	case status == http.StatusTooManyRequests:
		kind, code = "requests", cmp.Or(code, "rate_limit_exceeded")
	case status >= http.StatusInternalServerError:
		kind = "server_error"
	}
	return jsonReply(status, object{"error": object{
		"message": message, "type": kind, "param": nil, "code": nullable(code),
	}})
}

func (o *OpenAI) badRequest(err error) reply { return o.fail(http.StatusBadRequest, "", err.Error()) }

func (o *OpenAI) denied(scope string) reply {
	return o.fail(http.StatusForbidden, "",
		"You have insufficient permissions for this operation. Missing scopes: "+scope+".")
}

func (o *OpenAI) noSuchURL(r *http.Request) reply {
	return o.fail(http.StatusNotFound, "unknown_url", "Invalid URL ("+r.Method+" "+r.URL.Path+")")
}

// nullable is a string, or JSON null for none.
func nullable(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// unix is a moment in seconds, or JSON null for none.
func unix(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.Unix()
}
