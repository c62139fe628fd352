package okta

import (
	"net/http"
	"regexp"
	"slices"
	"strings"
)

// brief is a user as an authentication shows it.
func (u *user) brief() object {
	name, _, _ := strings.Cut(u.Login, "@")
	return object{
		"id": u.id, "passwordChanged": stamp(u.made),
		"profile": object{
			"login": u.Login, "firstName": name, "lastName": name,
			"locale": "en_US", "timeZone": "America/Los_Angeles",
		},
	}
}

// full is a user as the Users API shows it.
func (u *user) full() object {
	name, _, _ := strings.Cut(u.Login, "@")
	return object{
		"id": u.id, "status": u.status, "created": stamp(u.made), "lastUpdated": stamp(u.made),
		"profile": object{"login": u.Login, "email": u.Email, "firstName": name, "lastName": name},
	}
}

func (u *user) factor(id string) *factor {
	i := slices.IndexFunc(u.factors, func(f *factor) bool { return f.ID == id })
	if i < 0 {
		return nil
	}
	return u.factors[i]
}

// shown is a factor without its secret.
func (f *factor) shown(u *user) object {
	profile := object{"credentialId": u.Login}
	if f.Type == Push {
		profile = object{"credentialId": u.Login, "deviceType": "SmartPhone_IPhone", "name": "Gibson", "platform": "IOS", "version": "17.0"}
	}
	return object{"id": f.ID, "factorType": f.Type, "provider": f.Provider, "vendorName": f.Provider, "profile": profile}
}

// comparison is the one form of filter that is understood. Values are in double
// quotes, in which a backslash stands before a quote and before itself.
var comparison = regexp.MustCompile(`^\s*(id|status|profile\.login|profile\.email) (?i:eq) "((?:[^"\\]|\\.)*)"\s*$`)

// listUsers is GET /api/v1/users. Okta compares values without regard to case,
// and leaves deactivated users out where nobody asks for them.
func (o *Org) listUsers(r *http.Request) reply {
	for name := range r.URL.Query() {
		if name != "filter" && name != "limit" {
			return badSearch.reply()
		}
	}
	matches := func(u *user) bool { return u.status != Deprovisioned }
	if filter := r.URL.Query().Get("filter"); filter != "" {
		parts := comparison.FindStringSubmatch(filter)
		if parts == nil {
			return badSearch.reply()
		}
		value := strings.NewReplacer(`\\`, `\`, `\"`, `"`).Replace(parts[2])
		matches = func(u *user) bool {
			has := map[string]string{
				"id": u.id, "status": string(u.status), "profile.login": u.Login, "profile.email": u.Email,
			}
			return strings.EqualFold(has[parts[1]], value)
		}
	}
	found := []object{}
	for _, u := range o.users {
		if matches(u) {
			found = append(found, u.full())
		}
	}
	return ok(found)
}

// withUser finds the user of a path, by id or by login.
func (o *Org) withUser(answer func(*user, *http.Request) reply) func(*http.Request) reply {
	return func(r *http.Request) reply {
		name := r.PathValue("user")
		if i := slices.IndexFunc(o.users, func(u *user) bool { return u.id == name }); i >= 0 {
			return answer(o.users[i], r)
		}
		if u := o.find(name); u != nil {
			return answer(u, r)
		}
		return notFound("User", name).reply()
	}
}

// showUser is GET /api/v1/users/{user}.
func showUser(u *user, _ *http.Request) reply { return ok(u.full()) }

// listGroups is GET /api/v1/users/{user}/groups.
func (o *Org) listGroups(u *user, _ *http.Request) reply {
	list := []object{}
	for _, g := range u.groups {
		list = append(list, object{
			"id": g.id, "type": g.kind, "objectClass": []string{"okta:user_group"},
			"profile": object{"name": g.name, "description": nil},
			"_links":  object{"users": o.link("/api/v1/groups/"+g.id+"/users", http.MethodGet)},
		})
	}
	return ok(list)
}

// listFactors is GET /api/v1/users/{user}/factors.
func (o *Org) listFactors(u *user, _ *http.Request) reply {
	list := []object{}
	for _, f := range u.factors {
		shown, path := f.shown(u), "/api/v1/users/"+u.id+"/factors/"+f.ID
		shown["status"], shown["created"], shown["lastUpdated"] = "ACTIVE", stamp(u.made), stamp(u.made)
		shown["_links"] = object{
			"self":   o.link(path, http.MethodGet),
			"verify": o.link(path+"/verify", http.MethodPost),
			"user":   o.link("/api/v1/users/"+u.id, http.MethodGet),
		}
		list = append(list, shown)
	}
	return ok(list)
}

// verifyFactor is POST /api/v1/users/{user}/factors/{factor}/verify: it compares
// a code, or sends a push, which the poll link follows.
func (o *Org) verifyFactor(u *user, r *http.Request) reply {
	var asked struct{ PassCode string }
	if !read(r, &asked) {
		return malformed.reply()
	}
	f := u.factor(r.PathValue("factor"))
	switch {
	case f == nil:
		return notFound("UserFactor", r.PathValue("factor")).reply()
	case f.Type == TOTP:
		if refused, good := o.check(u, f, "factors", asked.PassCode); !good {
			return refused
		}
		return ok(object{"factorResult": "SUCCESS"})
	}
	t := o.begin(u, f, "factors")
	shown := o.waiting(t)
	shown["expiresAt"] = stamp(t.expires)
	return reply{http.StatusCreated, shown}
}

// showTransaction is GET …/factors/{factor}/transactions/{transaction}.
func (o *Org) showTransaction(u *user, r *http.Request) reply {
	id := r.PathValue("transaction")
	i := slices.IndexFunc(o.transactions, func(t *transaction) bool {
		return t.id == id && t.user == u && t.factor.ID == r.PathValue("factor")
	})
	if i < 0 {
		return notFound("FactorTransaction", id).reply()
	}
	t := o.transactions[i]
	switch t.settle() {
	case "WAITING":
		return ok(o.waiting(t))
	case "SUCCESS":
		return ok(object{"factorResult": t.Result})
	}
	path := "/api/v1/users/" + u.id + "/factors/" + t.factor.ID
	return ok(object{
		"factorResult": t.Result, "profile": t.factor.shown(u)["profile"],
		"_links": object{"verify": o.link(path+"/verify", http.MethodPost), "factor": o.link(path, http.MethodGet)},
	})
}

// waiting is a push that nobody has answered yet.
func (o *Org) waiting(t *transaction) object {
	path := "/api/v1/users/" + t.user.id + "/factors/" + t.factor.ID + "/transactions/" + t.id
	return object{
		"factorResult": t.Result, "profile": t.factor.shown(t.user)["profile"],
		"_links": object{"poll": o.link(path, http.MethodGet), "cancel": o.link(path, http.MethodDelete)},
	}
}
