package backend

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/vault/sdk/logical"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/backend/provider/providertest"
)

// TestFaultsAnywhere runs every operation that changes something outside, fails
// each of its storage writes, each of its reads and lists, and each of its calls to
// providers and to transit once, before and after it took effect, with the process
// going on or dying there, and then checks what must hold.
func TestFaultsAnywhere(t *testing.T) {
	t.Parallel()
	for _, s := range stories {
		for _, f := range faultKinds {
			t.Run(s.name+"/"+f.name, func(t *testing.T) {
				t.Parallel()
				for n := 1; ; n++ {
					if n > 300 {
						t.Fatal("the operation never ends")
					}
					reached := false
					t.Run(strconv.Itoa(n), func(t *testing.T) {
						synctest.Test(t, func(t *testing.T) { reached = runStory(t, s, f, n) })
					})
					if !reached {
						break
					}
				}
			})
		}
	}
}

// A faultKind makes the n-th action of its sort fail.
type faultKind struct {
	name  string
	on    faultSort
	after bool // the action took effect
	crash bool // the process dies there
	again bool // and Vault sends the requests again, with the same ids
	// late is when a call that changes something takes effect after all: its caller
	// heard nothing.
	late []time.Duration
	lag  bool // lists are behind meanwhile
}

type faultSort int

const (
	onWrite  faultSort = iota // a put or a deletion in storage
	onRead                    // a get or a list
	onCall                    // a call to a provider or to transit
	onChange                  // a call to a provider that changes something
)

var faultKinds = []faultKind{
	{name: "write lost", on: onWrite},
	{name: "write done but failed", on: onWrite, after: true},
	{name: "crash before write", on: onWrite, crash: true},
	{name: "crash after write", on: onWrite, after: true, crash: true},
	{name: "crash after write, sent again", on: onWrite, after: true, crash: true, again: true},
	{name: "read failed", on: onRead},
	{name: "crash at read", on: onRead, crash: true},
	{name: "call lost", on: onCall},
	{name: "call done but cut", on: onCall, after: true},
	{name: "crash before call", on: onCall, crash: true},
	{name: "crash after call", on: onCall, after: true, crash: true},
	{name: "crash after call, sent again", on: onCall, after: true, crash: true, again: true},
	{name: "call done late", on: onChange, late: []time.Duration{45 * time.Second}},
	{name: "call done late, lists behind", on: onChange, late: []time.Duration{45 * time.Second}, lag: true},
	{name: "call done twice", on: onChange, late: []time.Duration{0, 40 * time.Second}},
	{name: "crash, call done late", on: onChange, late: []time.Duration{45 * time.Second}, crash: true},
	{name: "lists behind", on: onChange, late: []time.Duration{0}, lag: true},
}

// A story is one operation and what comes before it.
type story struct {
	name string
	// prepare makes the world that the operation acts on. No faults here.
	prepare func(*world)
	// act is the operation. It may fail; what it leaves must not be wrong.
	act func(*world) error
	// then comes right after the operation, before time has passed; it may fail.
	then func(*world) error
	// final checks what is particular to the story, after recovery.
	final func(*world)
}

var errInjected = errors.New("injected")

// runStory reports whether the planned fault was reached.
func runStory(t *testing.T, s story, f faultKind, n int) (reached bool) {
	w := newWorld(t)
	w.openai()
	w.anthropic()
	w.azure()
	w.brought = w.cloud.OpenAI.AddUserKey(providertest.MainProject, "a person's").ID
	if s.prepare != nil {
		s.prepare(w)
	}
	if f.lag {
		w.pass(time.Minute) // what was there before is on every list
	}
	w.sample()

	first := w.request
	w.doubled = max(0, len(f.late)-1)
	err, reached := w.strike(s.act, f, n)
	if !reached && err != nil {
		t.Fatalf("without a fault: %v", err)
	}
	if reached && f.crash {
		w.crash()
	}
	if reached && f.again {
		w.request = first
		_ = s.act(w)
	}
	w.sample()
	if s.then != nil {
		_ = s.then(w)
		w.sample()
	}
	for range 12 {
		w.pass(5 * time.Minute)
		w.sample()
	}
	w.atRest()
	w.crash() // storage alone says the same
	w.pass(5 * time.Minute)
	w.sample()
	w.atRest()
	if s.final != nil {
		s.final(w)
	}
	w.tearDown()
	return reached
}

// strike runs an operation with the n-th action of a sort failing.
func (w *world) strike(act func(*world) error, f faultKind, n int) (err error, reached bool) { //nolint:revive // the error is what the test is about
	var calls atomic.Int64
	w.hook(w.guard, nil)
	switch f.on {
	case onCall:
		hook := func(r *http.Request) error {
			_ = w.guard(r)
			if call := calls.Add(1); call < int64(n) || call > int64(n) && !f.crash {
				return nil
			}
			if f.crash && !w.storage.die() {
				return nil // a call of a process that is gone already
			}
			return errInjected
		}
		if f.after {
			w.hook(w.guard, hook)
		} else {
			w.hook(hook, nil)
		}
	case onChange:
		dies := func() bool { return false }
		if f.crash {
			dies = w.storage.die
		}
		w.net.plan(n, dies, f.late...)
		if f.lag {
			w.net.behind(30*time.Second, 3*time.Minute)
		}
	case onRead:
		w.storage.stays(f.crash)
		w.storage.planRead(n)
	case onWrite:
		w.storage.stays(f.crash)
		w.storage.plan(n, f.after)
	}
	err = act(w)
	reached = calls.Load() >= int64(n) || w.storage.reached() || w.net.reached()
	w.hook(w.guard, nil)
	w.net.plan(0, nil)
	w.storage.plan(0, false)
	w.storage.spare()
	return err, reached
}

// hook has functions called before and after each call to a provider or to transit.
func (w *world) hook(before, after func(*http.Request) error) {
	w.cloud.Before(before)
	w.cloud.After(after)
	w.transit.hook(before, after)
}

// guard looks at every call as the vendor gets it: a key that is withdrawn must
// not be the one that storage says is current, whatever happens next.
func (w *world) guard(r *http.Request) error {
	_, id, ok := strings.Cut(r.URL.Path, "/api_keys/")
	if !ok || r.Method == http.MethodGet {
		return nil
	}
	ctx := context.Background()
	stored := &w.storage.InmemStorage // which does not fail
	names, err := stored.List(ctx, keyPrefix)
	for _, name := range names {
		role, roleErr := load[roleEntry](ctx, stored, rolePrefix+name)
		e, keyErr := load[keyEntry](ctx, stored, keyPrefix+name)
		err = errors.Join(err, roleErr, keyErr)
		if role == nil || e == nil || role.Deleting || role.Type != typeStatic || e.Phase == phaseWithdrawn {
			continue
		}
		if e.Current != nil && string(e.Current.ID) == id {
			w.t.Errorf("rule 1: %s is withdrawn while storage says that it is current", id)
		}
	}
	if err != nil {
		w.t.Error(err)
	}
	return nil
}

// sample checks rules that hold at every moment: what is served works.
func (w *world) sample() {
	w.t.Helper()
	synctest.Wait() // or a key with grace 0 could die between the read and the look
	w.root()
	roles, err := w.b.roles.list(w.t.Context(), w.storage)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, name := range roles {
		role, err := w.b.role(w.t.Context(), w.storage, name)
		if err != nil || role.Type != typeStatic {
			continue
		}
		resp, err := w.call(logical.ReadOperation, "creds/"+name, nil)
		if err != nil {
			if statusOf(err) != statusConflict {
				w.t.Errorf("creds/%s: %v", name, err)
			}
			continue
		}
		if !w.works(resp.Data["api_key"]) {
			w.t.Errorf("rule 1: creds/%s serves %v, which is dead at the provider", name, resp.Data["key_id"])
		}
	}
}

// atRest checks the rules of the design after recovery.
func (w *world) atRest() {
	w.t.Helper()
	known := map[string]bool{w.brought: true, w.next.ID: true}
	static := 0
	for _, name := range w.names("roles/") {
		role := w.read("roles/" + name)
		if role["type"] != typeStatic {
			continue
		}
		st := w.read("status/" + name)
		switch st["phase"] {
		case string(phaseStable):
			static++
			known[fmt.Sprint(st["key_id"])] = true
		case string(phaseWithdrawn):
		case string(phaseEmpty):
			if st["provider"] != "anthropic" {
				w.t.Errorf("role %s has no key at rest: %v", name, st)
			}
		default:
			w.t.Errorf("role %s is not at rest: %v", name, st)
		}
		if st["last_error"] != "" && role["rotation_period"] != nil { // who rotates by hand was told
			w.t.Errorf("role %s still complains: %v", name, st["last_error"])
		}
	}
	for _, l := range w.b.ledger.filter(func(*line) bool { return true }) {
		if l.State != stateLive {
			w.t.Errorf("rule 5: %s %s is still %s", l.Kind, l.Tag, l.State)
		}
		known[l.ID] = true
	}
	for _, k := range w.live("openai") {
		if !known[k.ID] {
			w.t.Errorf("rule 2: key %s (%s) is live and nobody knows it", k.ID, k.Name)
		}
	}
	for _, o := range w.cloud.Owners() {
		if o.Live && !known[o.ID] {
			w.t.Errorf("rule 2: service account %s (%s) is live and nobody knows it", o.ID, o.Name)
		}
	}
	c := w.cloud.Counts()
	if c.DuplicateNames+c.ReusedNames > w.doubled {
		w.t.Errorf("rule 4: a create call was repeated: %+v", c)
	}
	if c.RedirectsFollowed+c.SecretsInURLs > 0 {
		w.t.Errorf("rule 6: %+v", c)
	}
	w.oneRoot()
	if strings.Contains(w.log.String(), providertest.DefaultMarker) {
		w.t.Error("rule 6: the log holds a secret")
	}
}

// root checks that the stored admin credential works, and returns its id at the
// provider.
func (w *world) root() string {
	w.t.Helper()
	ctx := w.t.Context()
	a, err := load[accountEntry](ctx, w.storage, accountPrefix+"oa")
	if err != nil || a == nil {
		return ""
	}
	a.Name = "oa"
	secrets, err := w.b.accountSecrets(ctx, w.storage, a)
	if err != nil {
		w.t.Fatal(err)
	}
	k, ok := w.cloud.Key(secrets["admin_key"])
	if !w.leaving && (!ok || !k.Live) {
		w.t.Errorf("rule 1: the stored admin credential %s is dead at the provider", k.ID)
	}
	return k.ID
}

// oneRoot checks that at rest no other admin credential of ours is alive.
func (w *world) oneRoot() {
	w.t.Helper()
	mine := w.root()
	for _, k := range w.cloud.Keys() {
		if k.Provider == providertest.ProviderOpenAI && k.Admin && k.Live && k.ID != mine && k.ID != w.otherRoot && k.ID != w.next.ID && (w.byHand == "" || k.Name != "initial") {
			w.t.Errorf("rule 2: admin credential %s (%s) is live, and %s is the one in use", k.ID, k.Name, mine)
		}
	}
	if w.otherRoot != "" && !slices.ContainsFunc(w.cloud.Keys(), func(k providertest.Key) bool { return k.ID == w.otherRoot && k.Live }) {
		w.t.Error("rule 7: an admin credential that is none of ours was withdrawn")
	}
}

func (w *world) names(path string) []string {
	w.t.Helper()
	resp, err := w.call(logical.ListOperation, path, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	names, _ := resp.Data["keys"].([]string)
	return names
}

// tearDown deletes everything and checks that nothing is left alive.
func (w *world) tearDown() {
	w.t.Helper()
	for _, name := range w.names("roles/") {
		w.must(logical.DeleteOperation, "roles/"+name, nil)
	}
	w.pass(time.Minute)
	for _, k := range w.live("openai") {
		if k.ID != w.brought {
			w.t.Errorf("key %s (%s) outlives its role", k.ID, k.Name)
		}
	}
	for _, k := range w.cloud.Keys() {
		if k.ID == w.brought && !k.Live {
			w.t.Error("rule 7: a person's key was withdrawn")
		}
	}
	for _, o := range w.cloud.Owners() {
		if o.Live {
			w.t.Errorf("service account %s outlives its role", o.Name)
		}
	}
	for _, a := range w.names("accounts/") {
		w.must(logical.DeleteOperation, "accounts/"+a, nil)
	}
	w.pass(agendaEvery) // and nothing is due any more
	left, err := logical.CollectKeys(w.t.Context(), w.storage)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, path := range left {
		if path != configPath && path != erasPath && path != transitPath && !strings.HasPrefix(path, dataKeyPrefix) {
			w.t.Errorf("storage still holds %s", path)
		}
	}
}
