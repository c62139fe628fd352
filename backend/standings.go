package backend

import (
	"sync"
	"time"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/backend/provider"
)

// standings is what memory keeps of every account and static role, whether its
// entry is cached or not: enough to say what is overdue without a call to storage.
// It follows the tables: whatever is stored, or read anew, passes through here.
// After a start it is complete when the background has been through all roles.
type standings struct {
	mu       sync.Mutex
	accounts map[string]*accountStanding
	roles    map[string]*roleStanding
	// changed is told what a write by this process has changed.
	changed func(change)
}

type accountStanding struct {
	provider string
	disabled bool
	due      time.Time // when the admin credential should have been replaced; zero: never
	version  int
	attempts int
}

type roleStanding struct {
	account  string // "": the role itself is not known yet, or gone
	kind     string
	disabled bool
	rotation rotationSettings

	phase    phase // "": the key is not known yet
	current  bool
	last     time.Time
	version  int
	attempts int
	failing  bool

	due time.Time // when the key should have been replaced; zero: never
}

// A change is something that happened to a credential, as storage now tells it.
type change struct {
	what                    changeKind
	provider, account, role string // role is empty for an admin credential
	keyID                   string
	version, attempts       int
	reason                  string
}

type changeKind int

const (
	keyRotated changeKind = iota
	rotationFailed
	rootRotated
	rootRotationFailed
)

func newStandings() *standings {
	return &standings{accounts: map[string]*accountStanding{}, roles: map[string]*roleStanding{}, changed: func(change) {}}
}

func (x *standings) watchAccount(name string, a *accountEntry, wrote bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if a == nil {
		delete(x.accounts, name)
		return
	}
	s, known := x.accounts[name]
	if !known {
		s = &accountStanding{provider: a.Provider}
		x.accounts[name] = s
	}
	s.disabled, s.due = a.Disabled, time.Time{}
	if a.Root == nil {
		s.version, s.attempts = 0, 0
		return
	}
	if !a.Disabled {
		s.due = a.first(a.Root.LastRotation)
	}
	c := change{provider: s.provider, account: name, version: a.Root.Version, attempts: a.Root.Attempts, reason: a.Root.LastError, keyID: a.Root.Current.id()}
	if wrote && known && c.version > s.version {
		c.what = rootRotated
		x.changed(c)
	}
	if wrote && known && c.attempts > s.attempts {
		c.what = rootRotationFailed
		x.changed(c)
	}
	s.version, s.attempts = c.version, c.attempts
}

func (x *standings) watchRole(name string, r *roleEntry, _ bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	s := x.role(name)
	if r == nil || r.Deleting {
		s.account = ""
		if s.version == 0 {
			delete(x.roles, name)
		}
		return
	}
	s.account, s.kind, s.disabled, s.rotation = r.Account, r.Type, r.Disabled, r.rotationSettings
	s.schedule()
}

func (x *standings) watchKey(name string, e *keyEntry, wrote bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	s := x.role(name)
	if e == nil {
		if s.account == "" {
			delete(x.roles, name)
			return
		}
		e = &keyEntry{Phase: phaseEmpty}
	}
	c := change{account: s.account, role: name, version: e.Version, attempts: e.Attempts, reason: e.LastError, keyID: e.Current.id()}
	if a := x.accounts[s.account]; a != nil {
		c.provider = a.provider
	}
	if wrote && e.Version > s.version && e.Version > 1 {
		c.what = keyRotated
		x.changed(c)
	}
	if wrote && e.Attempts > s.attempts {
		c.what = rotationFailed
		x.changed(c)
	}
	s.phase, s.current, s.last = e.Phase, e.Current != nil, e.LastRotation
	s.version, s.attempts, s.failing = e.Version, e.Attempts, e.LastError != ""
	s.schedule()
}

func (x *standings) role(name string) *roleStanding {
	s := x.roles[name]
	if s == nil {
		s = &roleStanding{}
		x.roles[name] = s
	}
	return s
}

func (s *roleStanding) schedule() {
	s.due = time.Time{}
	if s.current {
		s.due = s.rotation.first(s.last)
	}
}

func (v *keyVersion) id() string {
	if v == nil {
		return ""
	}
	return string(v.ID)
}

// accountOf is the account of a role; "" if that is not known.
func (x *standings) accountOf(role string) string {
	x.mu.Lock()
	defer x.mu.Unlock()
	if s := x.roles[role]; s != nil {
		return s.account
	}
	return ""
}

// providerOf is the provider of an account; "" if it is not stored.
func (x *standings) providerOf(account string) string {
	x.mu.Lock()
	defer x.mu.Unlock()
	if s := x.accounts[account]; s != nil {
		return s.provider
	}
	return ""
}

// A tally counts the roles of one account.
type tally struct {
	provider                    string
	static, dynamic             int
	overdue, failing, withdrawn int
	oldest                      time.Duration // how long the one that waits longest is overdue
	root                        time.Duration // how long the admin credential is overdue
}

// count tallies every account. What it calls overdue is what status does.
func (x *standings) count(now time.Time) map[string]*tally {
	x.mu.Lock()
	defer x.mu.Unlock()
	tallies := make(map[string]*tally, len(x.accounts))
	for name, a := range x.accounts {
		t := &tally{provider: a.provider}
		if !a.due.IsZero() && now.After(a.due.Add(overdueSlack)) {
			t.root = now.Sub(a.due)
		}
		tallies[name] = t
	}
	for _, s := range x.roles {
		t := tallies[s.account]
		if t == nil {
			continue // gone, or its account is
		}
		t.add(s, s.disabled || x.accounts[s.account].disabled, now)
	}
	return tallies
}

// add counts a role. What is disabled stands still on purpose, and is not overdue.
func (t *tally) add(s *roleStanding, disabled bool, now time.Time) {
	if s.kind != typeStatic {
		t.dynamic++
		return
	}
	t.static++
	if s.failing {
		t.failing++
	}
	if s.phase == phaseWithdrawn {
		t.withdrawn++
	}
	slack := overdueSlack
	if def, ok := provider.Lookup(t.provider); ok && def.Life() == provider.LifeImport {
		slack = 0 // nobody is about to do it
	}
	switch {
	case disabled:
	case !s.due.IsZero() && now.After(s.due.Add(slack)):
		t.overdue++
		t.oldest = max(t.oldest, now.Sub(s.due))
	case s.phase == phaseEmpty:
		t.overdue++
	}
}
