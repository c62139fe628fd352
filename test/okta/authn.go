package okta

import (
	"crypto/rand"
	"crypto/subtle"
	"net/http"
	"strings"
	"time"
)

// patience is how long a state token lives, and how long a push waits.
const patience = 5 * time.Minute

// A login is an authentication that waits for a second factor.
type login struct {
	token   string
	user    *user
	expires time.Time
	push    *transaction // the last one; nil: none was sent
}

// A transaction is a verification, with what belongs to it.
type transaction struct {
	Transaction
	id      string
	user    *user
	factor  *factor
	expires time.Time
}

// begin starts a verification, and remembers it.
func (o *Org) begin(u *user, f *factor, during string) *transaction {
	t := &transaction{
		Transaction: Transaction{Login: u.Login, Type: f.Type, During: during, Result: "WAITING"},
		id:          "v2mst." + rand.Text(), user: u, factor: f, expires: time.Now().Add(patience),
	}
	o.transactions = append(o.transactions, t)
	return t
}

// settle lets the user answer a push that waits, if there is still time.
func (t *transaction) settle() string {
	switch {
	case t.Result != "WAITING":
	case !time.Now().Before(t.expires):
		t.Result = "TIMEOUT"
	case t.user.answer == Approve:
		t.Result = "SUCCESS"
	case t.user.answer == Reject:
		t.Result = "REJECTED"
	}
	return t.Result
}

// check compares a one-time code, as a transaction that ends at once.
func (o *Org) check(u *user, f *factor, during, code string) (reply, bool) {
	t := o.begin(u, f, during)
	t.Result = "REJECTED"
	switch f.accept(code, time.Now()) {
	case right:
		t.Result = "SUCCESS"
		return reply{}, true
	case replayed:
		return badPasscode.reply("Each code can only be used once. Please wait for a new code and try again."), false
	case wrong:
	}
	return badPasscode.reply("Your passcode doesn't match our records. Please try again."), false
}

// tokenIn is the API token of a request; present says whether there is any.
func tokenIn(r *http.Request) (token string, present bool) {
	token, present = strings.CutPrefix(r.Header.Get("Authorization"), "SSWS")
	token = strings.TrimSpace(token)
	return token, present && token != ""
}

func (o *Org) isToken(token string) bool {
	return o.apiToken != "" && subtle.ConstantTimeCompare([]byte(token), []byte(o.apiToken)) == 1
}

// trusted lets administrators in.
func (o *Org) trusted(answer func(*http.Request) reply) func(*http.Request) reply {
	return func(r *http.Request) reply {
		switch token, present := tokenIn(r); {
		case !present:
			return noSession.reply()
		case !o.isToken(token):
			return badToken.reply()
		}
		return answer(r)
	}
}

// authenticate is POST /api/v1/authn: primary authentication. Anybody may ask,
// but who shows a token must show a good one.
func (o *Org) authenticate(r *http.Request) reply {
	if token, present := tokenIn(r); present && !o.isToken(token) {
		return badToken.reply()
	}
	var asked struct{ Username, Password string }
	if !read(r, &asked) {
		return malformed.reply()
	}
	u := o.find(asked.Username)
	switch {
	case u == nil:
		return unauthenticated.reply()
	case u.status == LockedOut && o.options.ShowLockOut:
		unlock := o.link("/api/v1/authn/recovery/unlock", http.MethodPost)
		unlock["name"] = "unlock"
		return ok(object{"status": "LOCKED_OUT", "_links": object{"next": unlock}})
	case u.status != Active && u.status != PasswordExpired,
		subtle.ConstantTimeCompare([]byte(asked.Password), []byte(u.Password)) == 0:
		return unauthenticated.reply()
	}
	l := &login{token: "00" + rand.Text(), user: u, expires: time.Now().Add(patience)}
	if !o.requireMFA {
		return o.finish(l)
	}
	o.logins[l.token] = l
	state := l.state("MFA_REQUIRED")
	if len(u.factors) == 0 {
		state = l.state("MFA_ENROLL")
	}
	factors := []object{}
	for _, f := range u.factors {
		shown := f.shown(u)
		verify := o.link("/api/v1/authn/factors/"+f.ID+"/verify", http.MethodPost)
		shown["_links"] = object{"verify": verify}
		factors = append(factors, shown)
	}
	state["_embedded"] = object{"user": u.brief(), "factors": factors}
	state["_links"] = object{"cancel": o.link("/api/v1/authn/cancel", http.MethodPost)}
	return ok(state)
}

// verifyLogin is POST /api/v1/authn/factors/{factor}/verify. For a push, the
// first request sends it and the next ones poll.
func (o *Org) verifyLogin(r *http.Request) reply {
	var asked struct{ StateToken, PassCode string }
	if !read(r, &asked) {
		return malformed.reply()
	}
	l := o.logins[asked.StateToken]
	if l == nil || !time.Now().Before(l.expires) {
		delete(o.logins, asked.StateToken)
		return badToken.reply()
	}
	f := l.user.factor(r.PathValue("factor"))
	switch {
	case f == nil:
		return notFound("AuthFactor", r.PathValue("factor")).reply()
	case f.Type == TOTP && asked.PassCode == "":
		return ok(o.challenge(l, f, ""))
	case f.Type == TOTP:
		if refused, good := o.check(l.user, f, "authn", asked.PassCode); !good {
			return refused
		}
		return o.finish(l)
	}
	switch {
	case l.push == nil || l.push.factor != f || l.push.Result != "WAITING": // again, after a refusal
		l.push = o.begin(l.user, f, "authn")
		return ok(o.challenge(l, f, l.push.Result))
	case l.push.settle() == "SUCCESS":
		return o.finish(l)
	}
	return ok(o.challenge(l, f, l.push.Result))
}

// challenge is the state in which a factor is being verified.
func (o *Org) challenge(l *login, f *factor, result string) object {
	state, path := l.state("MFA_CHALLENGE"), "/api/v1/authn/factors/"+f.ID+"/verify"
	next := o.link(path, http.MethodPost)
	next["name"] = "verify"
	if result != "" {
		state["factorResult"] = result
	}
	links := object{
		"next": next, "cancel": o.link("/api/v1/authn/cancel", http.MethodPost),
		"prev": o.link("/api/v1/authn/previous", http.MethodPost),
	}
	if f.Type == Push {
		resend := o.link(path+"/resend", http.MethodPost)
		resend["name"] = "push"
		links["resend"] = []object{resend}
	}
	if result == "WAITING" {
		next["name"] = "poll"
	}
	state["_links"] = links
	state["_embedded"] = object{"user": l.user.brief(), "factor": f.shown(l.user)}
	return state
}

// finish ends a login. An expired password is told only to who has the second
// factor as well.
func (o *Org) finish(l *login) reply {
	embedded := object{"user": l.user.brief()}
	if l.user.status == PasswordExpired {
		state := l.state("PASSWORD_EXPIRED")
		state["_embedded"] = embedded
		return ok(state)
	}
	delete(o.logins, l.token)
	return ok(object{
		"expiresAt": stamp(time.Now().Add(patience)), "status": "SUCCESS",
		"sessionToken": "20111" + rand.Text(), "_embedded": embedded,
	})
}

func (l *login) state(status string) object {
	return object{"stateToken": l.token, "expiresAt": stamp(l.expires), "status": status}
}
