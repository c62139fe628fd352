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
// each of its storage writes and each of its provider calls once, before and
// after it took effect, with the process going on or dying there, and then
// checks what must hold.
func TestFaultsAnywhere(t *testing.T) {
	t.Parallel()
	for _, s := range stories {
		for _, f := range faultKinds {
			t.Run(s.name+"/"+f.name, func(t *testing.T) {
				t.Parallel()
				for n := 1; ; n++ {
					if n > 60 {
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
	name     string
	provider bool // else storage
	after    bool // the action took effect
	crash    bool // the process dies there
}

var faultKinds = []faultKind{
	{"write lost", false, false, false},
	{"write done but failed", false, true, false},
	{"crash before write", false, false, true},
	{"crash after write", false, true, true},
	{"call lost", true, false, false},
	{"call done but cut", true, true, false},
	{"crash before call", true, false, true},
	{"crash after call", true, true, true},
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
	w.sample()

	var calls atomic.Int64
	w.cloud.Before(w.guard)
	if f.provider {
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
			w.cloud.After(hook)
		} else {
			w.cloud.Before(hook)
		}
	} else {
		w.storage.down = f.crash
		w.storage.plan(n, f.after)
	}
	err := s.act(w)
	reached = calls.Load() >= int64(n) || w.storage.reached()
	w.cloud.Before(w.guard)
	w.cloud.After(nil)
	w.storage.plan(0, false)
	w.storage.spare()
	if !reached && err != nil {
		t.Fatalf("without a fault: %v", err)
	}
	if reached && f.crash {
		w.crash()
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
	if s.final != nil {
		s.final(w)
	}
	w.tearDown()
	return reached
}

// guard looks at every call as the vendor gets it: a key that is withdrawn must
// not be the one that storage says is current, whatever happens next.
func (w *world) guard(r *http.Request) error {
	_, id, ok := strings.Cut(r.URL.Path, "/api_keys/")
	if !ok || r.Method == http.MethodGet {
		return nil
	}
	ctx := context.Background()
	names, err := w.storage.List(ctx, keyPrefix)
	for _, name := range names {
		role, roleErr := load[roleEntry](ctx, w.storage, rolePrefix+name)
		e, keyErr := load[keyEntry](ctx, w.storage, keyPrefix+name)
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
	if c.DuplicateNames+c.ReusedNames > 0 {
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
		if k.Provider == providertest.ProviderOpenAI && k.Admin && k.Live && k.ID != mine && k.ID != w.otherRoot && (w.byHand == "" || k.Name != "initial") {
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
		if path != configPath && path != erasPath && !strings.HasPrefix(path, dataKeyPrefix) {
			w.t.Errorf("storage still holds %s", path)
		}
	}
}

// otherRoot adds an admin credential that is none of the engine's.
func otherRoot(w *world) { w.otherRoot = w.cloud.OpenAI.AddAdminKey("a person's").ID }

func (w *world) try(op logical.Operation, path string, data map[string]any) error {
	_, err := w.call(op, path, data)
	return err
}

// The fields of the roles in the stories.
var (
	staticFields  = map[string]any{"account": "oa", "type": "static", "project_id": providertest.MainProject, "rotation_period": "24h", "grace_period": "10m"}
	dynamicFields = map[string]any{"account": "oa", "type": "dynamic", "project_id": providertest.MainProject, "ttl": "2h", "max_ttl": "12h"}
	azureFields   = map[string]any{"account": "az", "resource_group": providertest.AzureGroup, "resource_name": providertest.AzureResourceName, "grace_period": "10m"}
	claudeFields  = map[string]any{"account": "an", "grace_period": "10m"}
)

func writing(path string, data map[string]any) func(*world) {
	return func(w *world) { w.write(path, data) }
}

func tryWrite(path string, data map[string]any) func(*world) error {
	return func(w *world) error { return w.try(logical.UpdateOperation, path, data) }
}

func leased(w *world) {
	w.write("roles/ci", dynamicFields)
	_, w.held = w.lease("ci", nil)
}

func overlapping(fields map[string]any, role string) func(*world) {
	return func(w *world) {
		w.write("roles/"+role, fields)
		w.write("rotate-role/"+role, nil)
	}
}

func importing(w *world) {
	w.write("roles/claude", claudeFields)
	w.write("import/claude", map[string]any{"api_key": w.cloud.Anthropic.AddKey("one", "", 0).Secret})
	w.next = w.cloud.Anthropic.AddKey("two", "", 0)
}

func deleteAccount(w *world) error {
	w.leaving = true
	return w.try(logical.DeleteOperation, "accounts/oa", nil)
}

// What reconcile is asked in the stories.
var (
	sweeping    = map[string]any{"dry_run": false, "min_age": "1h"}
	sweepingAll = map[string]any{"dry_run": false, "min_age": "1h", "include_used": true}
)

// forgotten has storage go back to before a lease.
func forgotten(w *world) {
	leased(w)
	old := w.storage.copy()
	resp, _ := w.lease("ci", nil)
	w.orphaned, _ = resp.Data["key_id"].(string)
	w.restore(old)
	w.pass(2 * time.Hour)
}

// forgottenRole has storage go back to before a role, service account and all.
func forgottenRole(w *world) {
	leased(w)
	old := w.storage.copy()
	w.write("roles/app", staticFields)
	w.restore(old)
	w.pass(2 * time.Hour)
}

var stories = []story{
	{name: "static create", act: tryWrite("roles/app", staticFields)},
	{name: "static create twice", act: tryWrite("roles/app", staticFields), then: tryWrite("roles/app", staticFields)},
	{name: "static rotate twice", prepare: writing("roles/app", staticFields), act: tryWrite("rotate-role/app", nil), then: tryWrite("rotate-role/app", map[string]any{"grace_period": 0})},
	{name: "static revoke then rotate", prepare: overlapping(staticFields, "app"), act: tryWrite("revoke/app", nil), then: tryWrite("rotate-role/app", nil)},
	{name: "static revoke then delete", prepare: overlapping(staticFields, "app"), act: tryWrite("revoke/app", nil), then: func(w *world) error { return w.try(logical.DeleteOperation, "roles/app", nil) }},
	{name: "static revoke then dynamic", prepare: overlapping(staticFields, "app"), act: tryWrite("revoke/app", nil), then: tryWrite("roles/app", map[string]any{"type": "dynamic"})},
	{name: "import revoke then the same", prepare: importing, act: tryWrite("revoke/claude", nil), then: func(w *world) error {
		return w.try(logical.UpdateOperation, "import/claude", map[string]any{"api_key": w.cloud.Live("anthropic")[0].Secret})
	}},
	{name: "static rotate then revoke", prepare: writing("roles/app", staticFields), act: tryWrite("rotate-role/app", nil), then: tryWrite("revoke/app", nil)},
	{name: "static delete then create", prepare: overlapping(staticFields, "app"), act: func(w *world) error { return w.try(logical.DeleteOperation, "roles/app", nil) }, then: tryWrite("roles/app", staticFields)},
	{name: "static to dynamic and back", prepare: writing("roles/app", staticFields), act: tryWrite("roles/app", map[string]any{"type": "dynamic"}), then: tryWrite("roles/app", map[string]any{"type": "static"})},
	{name: "two-slot revoke then rotate", prepare: overlapping(azureFields, "gpt"), act: tryWrite("revoke/gpt", nil), then: tryWrite("rotate-role/gpt", nil)},
	{name: "two-slot delete then create", prepare: overlapping(azureFields, "gpt"), act: func(w *world) error { return w.try(logical.DeleteOperation, "roles/gpt", nil) }, then: tryWrite("roles/gpt2", azureFields)},
	{name: "two-slot create twice", act: tryWrite("roles/gpt", azureFields), then: tryWrite("rotate-role/gpt", nil)},
	{name: "static rotate", prepare: writing("roles/app", staticFields), act: tryWrite("rotate-role/app", nil)},
	{name: "static rotate at once", prepare: writing("roles/app", staticFields), act: tryWrite("rotate-role/app", map[string]any{"grace_period": 0})},
	{name: "static rotate in overlap", prepare: overlapping(staticFields, "app"), act: tryWrite("rotate-role/app", nil)},
	{name: "static rotate on schedule", prepare: writing("roles/app", staticFields), act: func(w *world) error { w.pass(24*time.Hour + 20*time.Minute); return nil }},
	{name: "static revoke", prepare: overlapping(staticFields, "app"), act: tryWrite("revoke/app", nil), final: func(w *world) {
		w.write("revoke/app", nil) // again, should the first have failed
		if n := len(w.live("openai")); n != 1 {
			w.t.Errorf("%d keys live after revoke, want the person's only", n)
		}
		w.write("rotate-role/app", nil)
		w.sample()
	}},
	{name: "static delete", prepare: overlapping(staticFields, "app"), act: func(w *world) error { return w.try(logical.DeleteOperation, "roles/app", nil) }},
	{name: "static import", prepare: func(w *world) {
		w.write("roles/app", staticFields)
		w.next = w.cloud.OpenAI.AddUserKey(providertest.MainProject, "brought")
	}, act: func(w *world) error {
		return w.try(logical.UpdateOperation, "import/app", map[string]any{"api_key": w.next.Secret})
	}, final: func(w *world) { w.cloud.Kill("openai", w.next.ID) }},
	{name: "static to dynamic", prepare: overlapping(staticFields, "app"), act: tryWrite("roles/app", map[string]any{"type": "dynamic"})},
	{name: "dynamic first read", prepare: writing("roles/ci", dynamicFields), act: func(w *world) error { return w.try(logical.ReadOperation, "creds/ci", nil) }},
	{name: "dynamic read", prepare: leased, act: func(w *world) error { return w.try(logical.ReadOperation, "creds/ci", nil) }},
	{name: "dynamic revoke lease", prepare: leased, act: func(w *world) error { return w.endLease(w.held) }, final: func(w *world) {
		if err := w.endLease(w.held); err != nil { // as Vault does until it succeeds
			w.t.Error(err)
		}
		if n := len(w.live("openai")); n != 1 {
			w.t.Errorf("%d keys live after the lease, want the person's only", n)
		}
	}},
	{name: "dynamic revoke role", prepare: leased, act: tryWrite("revoke/ci", nil)},
	{name: "dynamic revoke two leases", prepare: func(w *world) { leased(w); w.lease("ci", nil) }, act: tryWrite("revoke/ci", nil), final: func(w *world) {
		w.write("revoke/ci", nil) // again, should the first have failed
		if n := len(w.live("openai")); n != 1 {
			w.t.Errorf("%d keys live after revoke, want the person's only", n)
		}
	}},
	{name: "account revoke", prepare: func(w *world) { leased(w); w.write("roles/app", staticFields) }, act: tryWrite("revoke-account/oa", nil)},
	{name: "dynamic delete", prepare: leased, act: func(w *world) error { return w.try(logical.DeleteOperation, "roles/ci", nil) }},
	{name: "dynamic to static", prepare: leased, act: tryWrite("roles/ci", map[string]any{"type": "static"})},
	{name: "two-slot create", act: tryWrite("roles/gpt", azureFields)},
	{name: "two-slot rotate", prepare: writing("roles/gpt", azureFields), act: tryWrite("rotate-role/gpt", nil)},
	{name: "two-slot rotate in overlap", prepare: overlapping(azureFields, "gpt"), act: tryWrite("rotate-role/gpt", nil)},
	{name: "two-slot revoke", prepare: overlapping(azureFields, "gpt"), act: tryWrite("revoke/gpt", nil)},
	{name: "two-slot delete", prepare: overlapping(azureFields, "gpt"), act: func(w *world) error { return w.try(logical.DeleteOperation, "roles/gpt", nil) }},
	{name: "import", prepare: importing, act: func(w *world) error {
		return w.try(logical.UpdateOperation, "import/claude", map[string]any{"api_key": w.next.Secret})
	}},
	{name: "import revoke", prepare: importing, act: tryWrite("revoke/claude", nil)},
	{name: "root rotate", prepare: otherRoot, act: tryWrite("rotate-root/oa", nil)},
	{name: "root rotate twice", prepare: otherRoot, act: tryWrite("rotate-root/oa", nil), then: tryWrite("rotate-root/oa", nil)},
	{name: "root rotate again", prepare: func(w *world) { otherRoot(w); w.write("rotate-root/oa", nil) }, act: tryWrite("rotate-root/oa", nil)},
	{name: "root rotate on schedule", prepare: func(w *world) {
		otherRoot(w)
		w.write("accounts/oa", map[string]any{"rotation_period": "24h"})
	}, act: func(w *world) error { w.pass(24*time.Hour + time.Minute); return nil }},
	{name: "root rotate with keys", prepare: func(w *world) { leased(w); w.write("roles/app", staticFields) }, act: tryWrite("rotate-root/oa", nil), then: tryWrite("rotate-role/app", nil)},
	{name: "root rotate then change", prepare: otherRoot, act: tryWrite("rotate-root/oa", nil), then: tryWrite("accounts/oa", map[string]any{"requests_per_second": 50})},
	{name: "root replaced by hand", prepare: otherRoot, act: tryWrite("rotate-root/oa", nil), then: func(w *world) error {
		k := w.cloud.OpenAI.AddAdminKey("by hand")
		err := w.try(logical.UpdateOperation, "accounts/oa", map[string]any{"admin_key": k.Secret})
		w.byHand = k.ID
		return err
	}},
	{name: "account delete", prepare: func(w *world) { otherRoot(w); w.write("rotate-root/oa", nil) }, act: deleteAccount, then: deleteAccount},
	{name: "reconcile", prepare: forgotten, act: tryWrite("reconcile/oa", sweeping), then: tryWrite("reconcile/oa", sweeping), final: func(w *world) {
		for _, k := range w.cloud.Keys() {
			if k.ID == w.orphaned && k.Live {
				w.t.Errorf("the orphan %s (%s) is still live", k.ID, k.Name)
			}
		}
	}},
	{name: "reconcile with an owner", prepare: forgottenRole, act: tryWrite("reconcile/oa", sweepingAll), then: tryWrite("reconcile/oa", sweepingAll)},
	{name: "account change", prepare: writing("roles/app", staticFields), act: tryWrite("accounts/oa", map[string]any{"requests_per_second": 50})},
}
