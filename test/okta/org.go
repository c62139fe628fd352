package okta

import (
	"cmp"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// Options say what kind of organisation it is.
type Options struct {
	// Host is its domain; empty: acme.okta.com.
	Host string
	// ShowLockOut tells a locked out user so, instead of what everybody hears
	// whose password is wrong. Okta's default is to hide it.
	ShowLockOut bool
}

// Status is a user's place in Okta's life cycle.
type Status string

// The statuses that make a difference to a login.
const (
	Active          Status = "ACTIVE"
	LockedOut       Status = "LOCKED_OUT"
	PasswordExpired Status = "PASSWORD_EXPIRED"
	Suspended       Status = "SUSPENDED"
	Deprovisioned   Status = "DEPROVISIONED"
)

// A User is a person with a password.
type User struct {
	// Login is the name with its domain, such as alice@acme.com. The part
	// before the @ logs in as well, while it is nobody else's.
	Login string
	// Password is the first factor.
	Password string
	// Email is the primary address; empty: the login.
	Email string
	// Groups are made if they do not exist. Everyone is in the group Everyone.
	Groups []string
}

// FactorType is Okta's name for a kind of second factor.
type FactorType string

// The factors that Vault knows how to ask for.
const (
	Push FactorType = "push"
	TOTP FactorType = "token:software:totp"
)

// A Factor is a second factor that a user has enrolled.
type Factor struct {
	// ID is given by [Org.Enroll].
	ID string
	// Type is what it is.
	Type FactorType
	// Provider is OKTA or GOOGLE; empty: OKTA.
	Provider string
	// Secret is what codes are computed from, in base32; empty: a new one. A
	// push has none.
	Secret string
}

// Answer is what a user does with a push.
type Answer int

// The answers. Approve is what a user does who was told nothing else.
const (
	Approve Answer = iota
	Ignore
	Reject
)

// A Transaction is a verification of a second factor.
type Transaction struct {
	// Login is whose.
	Login string
	// Type is the factor's.
	Type FactorType
	// During says in which API: "authn" for a login at Okta, "factors" for a
	// verification by itself.
	During string
	// Result is Okta's factorResult: WAITING, SUCCESS, REJECTED or TIMEOUT. A
	// code that is wrong or was used is REJECTED.
	Result string
}

// everyone is the group that each organisation has, with all users in it.
const everyone = "Everyone"

// An Org is an organisation. It is safe for concurrent use.
type Org struct {
	options Options
	router  *http.ServeMux

	mu           sync.Mutex
	apiToken     string // empty: revoked
	requireMFA   bool
	users        []*user
	groups       []*group
	transactions []*transaction
	logins       map[string]*login // by state token
	calls        map[string]int    // by endpoint
}

type user struct {
	User
	id      string
	status  Status
	groups  []*group
	factors []*factor
	answer  Answer
	made    time.Time
}

type group struct{ id, name, kind string }

type factor struct {
	Factor
	used int64 // the time step of the last code that was accepted
}

// New makes an organisation without users.
func New(o Options) *Org {
	o.Host = cmp.Or(o.Host, "acme.okta.com")
	org := &Org{
		options:  o,
		apiToken: newAPIToken(),
		groups:   []*group{{id: newID("00g"), name: everyone, kind: "BUILT_IN"}},
		logins:   map[string]*login{},
		calls:    map[string]int{},
	}
	org.router = org.routes()
	return org
}

// newID makes an identifier of Okta's length; the prefix says of what.
func newID(prefix string) string { return prefix + rand.Text()[:20-len(prefix)] }

func newAPIToken() string { return "00" + rand.Text() + rand.Text()[:14] }

// APIToken is the administrator's token; empty after it was revoked.
func (o *Org) APIToken() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.apiToken
}

// RevokeAPIToken makes the token worthless.
func (o *Org) RevokeAPIToken() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.apiToken = ""
}

// RenewAPIToken replaces the token, and returns the new one.
func (o *Org) RenewAPIToken() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.apiToken = newAPIToken()
	return o.apiToken
}

// RequireMFA is the sign-on policy: whether a password alone is enough at
// POST /api/v1/authn. It has no bearing on verifications by themselves.
func (o *Org) RequireMFA(require bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.requireMFA = require
}

// AddUser adds an active user and returns the user's id.
func (o *Org) AddUser(u User) (string, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if u.Login == "" || u.Password == "" {
		return "", errors.New("adding a user: login and password are required")
	}
	for _, other := range o.users {
		if strings.EqualFold(other.Login, u.Login) {
			return "", fmt.Errorf("adding user %q: there is one already", u.Login)
		}
	}
	u.Email = cmp.Or(u.Email, u.Login)
	added := &user{User: u, id: newID("00u"), status: Active, made: time.Now()}
	for _, name := range append([]string{everyone}, u.Groups...) {
		added.join(o.group(name))
	}
	o.users = append(o.users, added)
	return added.id, nil
}

// group finds a group, or makes it. The caller holds the lock.
func (o *Org) group(name string) *group {
	for _, g := range o.groups {
		if g.name == name {
			return g
		}
	}
	g := &group{id: newID("00g"), name: name, kind: "OKTA_GROUP"}
	o.groups = append(o.groups, g)
	return g
}

func (u *user) join(g *group) {
	if !slices.Contains(u.groups, g) {
		u.groups = append(u.groups, g)
	}
}

// Join adds a user to a group, which is made if it does not exist.
func (o *Org) Join(login, name string) error {
	return o.change(login, func(u *user) { u.join(o.group(name)) })
}

// Leave takes a user out of a group.
func (o *Org) Leave(login, name string) error {
	return o.change(login, func(u *user) {
		u.groups = slices.DeleteFunc(u.groups, func(g *group) bool { return g.name == name })
	})
}

// Enroll gives a user a second factor, and returns it with its id and secret.
func (o *Org) Enroll(login string, f Factor) (Factor, error) {
	f.Provider = cmp.Or(f.Provider, "OKTA")
	switch f.Type {
	case Push:
		f.ID, f.Secret = newID("opf"), ""
	case TOTP:
		f.ID, f.Secret = newID("ost"), cmp.Or(f.Secret, rand.Text())
		if _, err := Code(f.Secret, time.Now()); err != nil {
			return Factor{}, err
		}
	default:
		return Factor{}, fmt.Errorf("enrolling %q: factors are %q and %q", f.Type, Push, TOTP)
	}
	return f, o.change(login, func(u *user) { u.factors = append(u.factors, &factor{Factor: f}) })
}

// SetStatus locks a user out, for example, or makes the user active again.
func (o *Org) SetStatus(login string, s Status) error {
	return o.change(login, func(u *user) { u.status = s })
}

// SetPassword changes a user's password.
func (o *Org) SetPassword(login, password string) error {
	return o.change(login, func(u *user) { u.Password = password })
}

// AnswerPushes says what a user does with pushes from now on, and with those
// that wait.
func (o *Org) AnswerPushes(login string, a Answer) error {
	return o.change(login, func(u *user) { u.answer = a })
}

func (o *Org) change(login string, f func(*user)) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	u := o.find(login)
	if u == nil {
		return fmt.Errorf("there is no user %q", login)
	}
	f(u)
	return nil
}

// find looks a user up by login, or by the part of it before the @ if that is
// nobody else's. The caller holds the lock.
func (o *Org) find(name string) *user {
	var short []*user
	for _, u := range o.users {
		if strings.EqualFold(u.Login, name) {
			return u
		}
		if before, _, _ := strings.Cut(u.Login, "@"); strings.EqualFold(before, name) {
			short = append(short, u)
		}
	}
	if len(short) != 1 {
		return nil
	}
	return short[0]
}

// Transactions are all verifications that were ever begun, in their order.
func (o *Org) Transactions() []Transaction {
	o.mu.Lock()
	defer o.mu.Unlock()
	list := make([]Transaction, 0, len(o.transactions))
	for _, t := range o.transactions {
		list = append(list, t.Transaction)
	}
	return list
}

// Calls counts the requests by endpoint, such as "POST /api/v1/authn". The
// empty name counts requests to none.
func (o *Org) Calls() map[string]int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return maps.Clone(o.calls)
}
