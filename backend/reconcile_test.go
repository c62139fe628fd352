package backend

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/vault/sdk/logical"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/backend/provider"
	"github.com/ai-keys/vault-plugin-secrets-ai-keys/backend/provider/providertest"
)

// reconciled is what reconcile says, as "kind: action reason" by id.
func (w *world) reconciled(account string, data map[string]any) (orphans map[string]string, answer map[string]any) {
	w.t.Helper()
	resp, err := w.call(logical.UpdateOperation, "reconcile/"+account, data)
	if err != nil {
		w.t.Fatalf("reconcile/%s: %v", account, err)
	}
	if strings.Contains(fmt.Sprint(resp.Data, resp.Warnings), providertest.DefaultMarker) {
		w.t.Errorf("rule 6: the answer holds a secret: %v", resp.Data)
	}
	orphans = map[string]string{}
	for _, o := range resp.Data["orphans"].([]map[string]any) {
		orphans[o["key_id"].(string)] = strings.TrimSpace(fmt.Sprintf("%s: %s %s", o["kind"], o["action"], o["reason"]))
	}
	resp.Data["warnings"] = resp.Warnings
	return orphans, resp.Data
}

// liveIDs are the keys and service accounts that are live at OpenAI.
func (w *world) liveIDs() []string {
	var ids []string
	for _, k := range w.cloud.Keys() {
		if k.Provider == providertest.ProviderOpenAI && k.Live {
			ids = append(ids, k.ID)
		}
	}
	for _, o := range w.cloud.Owners() {
		if o.Live {
			ids = append(ids, o.ID)
		}
	}
	slices.Sort(ids)
	return ids
}

// use is a consumer's call with a key.
func (w *world) use(key any) {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), http.MethodGet, "https://api.openai.com/v1/models", http.NoBody)
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+key.(string))
	resp, err := w.cloud.Transport().RoundTrip(req)
	if err != nil || resp.StatusCode != http.StatusOK {
		w.t.Fatalf("using a key: %v %v", resp, err)
	}
	_ = resp.Body.Close()
}

// dynamicRole makes a role without another; its keys live for days.
func (w *world) dynamicRole(name string) {
	w.t.Helper()
	fields := maps.Clone(dynamicFields)
	fields["max_ttl"] = "720h"
	w.write("roles/"+name, fields)
}

func TestReconcile(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		w.openai()
		otherRoot(w)
		brought := w.cloud.OpenAI.AddUserKey(providertest.MainProject, "brought").Secret
		person := w.cloud.OpenAI.AddUserKey(providertest.MainProject, "vault-ci-"+mountMark(w.b.uuid)+"-"+strings.Repeat("a", 16)).ID
		w.dynamicRole("ci")
		known, _ := w.lease("ci", nil)
		w.write("roles/app", map[string]any{"account": "oa", "type": "static", "project_id": providertest.MainProject})
		w.write("import/app", map[string]any{"api_key": brought})
		w.pass(5 * time.Minute) // the key that the imported one replaced is gone
		old := w.storage.copy()
		unused, _ := w.lease("ci", nil)
		used, _ := w.lease("ci", nil)
		w.write("roles/lost", map[string]any{"account": "oa", "type": "static", "project_id": providertest.MainProject})
		lost := w.read("creds/lost")
		w.restore(old)
		w.pass(6 * time.Hour)
		w.use(used.Data["api_key"])
		w.pass(6 * time.Hour)
		late, _ := w.lease("ci", nil) // known, and only just made
		before := w.liveIDs()
		id := func(answer map[string]any) string { return answer["key_id"].(string) }
		owner := w.cloud.Owners()[len(w.cloud.Owners())-1].ID

		orphans, answer := w.reconciled("oa", nil) // younger than a day
		want := map[string]string{
			id(unused.Data): "key: reported too_young", id(used.Data): "key: reported too_young",
			id(lost): "key: reported too_young", owner: "owner: reported too_young",
		}
		if diff := cmp.Diff(want, orphans); diff != "" {
			t.Errorf("orphans (-want +got):\n%s", diff)
		}
		// The two admin keys and the person's key; the brought one is known.
		if answer["foreign"] != 3 || answer["checked"] != len(before) || answer["dry_run"] != true || answer["next"] != "" {
			t.Errorf("answer: %v", answer)
		}
		want[id(unused.Data)], want[id(lost)] = "key: reported dry_run", "key: reported dry_run"
		want[id(used.Data)], want[owner] = "key: reported in_use", "owner: reported in_use"
		orphans, _ = w.reconciled("oa", map[string]any{"min_age": "6h"})
		if diff := cmp.Diff(want, orphans); diff != "" {
			t.Errorf("older than six hours (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(before, w.liveIDs()); diff != "" {
			t.Errorf("a dry run changed something (-before +after):\n%s", diff)
		}

		want[id(unused.Data)], want[id(lost)] = "key: withdrawn", "key: withdrawn"
		orphans, _ = w.reconciled("oa", map[string]any{"min_age": "6h", "dry_run": false})
		if diff := cmp.Diff(want, orphans); diff != "" {
			t.Errorf("for real (-want +got):\n%s", diff)
		}
		left := slices.DeleteFunc(before, func(s string) bool { return s == id(unused.Data) || s == id(lost) })
		if diff := cmp.Diff(left, w.liveIDs()); diff != "" {
			t.Errorf("live afterwards (-want +got):\n%s", diff)
		}
		orphans, _ = w.reconciled("oa", map[string]any{"min_age": "6h", "dry_run": false, "include_used": true})
		if diff := cmp.Diff(map[string]string{id(used.Data): "key: withdrawn", owner: "owner: withdrawn"}, orphans); diff != "" {
			t.Errorf("used ones as well (-want +got):\n%s", diff)
		}
		if !w.works(known.Data["api_key"]) || !w.works(late.Data["api_key"]) || !w.works(brought) || !slices.Contains(w.liveIDs(), person) {
			t.Error("a key that is none of the orphans was withdrawn")
		}
		orphans, answer = w.reconciled("oa", map[string]any{"min_age": "6h"})
		if len(orphans) > 0 || len(answer["ghosts"].([]map[string]any)) > 0 {
			t.Errorf("at the end: %v", answer)
		}
		w.oneRoot()
	})
}

// A key is on record before it is made, so one that appears while the list is
// read is no orphan; and one that is made after it was read is no ghost.
func TestReconcileBesideMinting(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		w.openai()
		w.write("config", map[string]any{"settle_after": 0})
		w.dynamicRole("ci")
		w.write("roles/app", staticFields)
		_, ending := w.lease("ci", nil)
		account, err := w.b.accounts.get(w.t.Context(), w.storage, "oa")
		if err != nil {
			t.Fatal(err)
		}
		for _, slow := range []string{"/api_keys", "/service_accounts", "/admin_api_keys"} { // before each list, and after those before it
			w.cloud.Fault(providertest.Fault{Kind: providertest.Slow, Method: http.MethodGet, Path: slow, Latency: 10 * time.Second, Times: 1})
			done := make(chan *census, 1)
			go func() {
				c, err := w.b.takeCensus(w.t.Context(), w.storage, account, orphanRules{everywhere: true, limit: 100})
				if err != nil {
					t.Error(err)
				}
				done <- c
			}()
			w.pass(time.Second)
			w.lease("ci", nil)
			w.write("rotate-role/app", map[string]any{"grace_period": 0})
			w.write("roles/new-"+slow[1:4], staticFields)
			if err := w.endLease(ending); err != nil {
				t.Error(err)
			}
			_, ending = w.lease("ci", nil)
			c := <-done
			if c == nil {
				t.FailNow()
			}
			for _, o := range c.orphans {
				t.Errorf("%s: %s %s is called an orphan", slow, o.Kind, o.tag)
			}
			for _, g := range c.ghosts {
				t.Errorf("%s: %s %s is called a ghost", slow, g.kind, g.tag)
			}
		}
	})
}

// A key that moves from its role to the ledger while the records are gathered is seen.
func TestRecordsSeeAMovingKey(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		w.openai()
		overlapping(staticFields, "app")(w)
		elder := w.read("status/app")["previous_key_id"].(string)
		w.cloud.Fault(providertest.Fault{Kind: providertest.Status, Status: 500, Method: http.MethodDelete}) // it stays on the ledger
		moved := false
		w.storage.beforeList(func(prefix string) {
			if prefix == rolePrefix && !moved { // the ledger has been looked at, the roles have not
				moved = true
				w.write("rotate-role/app", nil)
			}
		})
		r, err := w.b.records(w.t.Context(), w.storage)
		if err != nil || !moved {
			t.Fatalf("records: %v", err)
		}
		if !r.ids[elder] {
			t.Errorf("%s is off the records", elder)
		}
		w.cloud.ClearFaults()
	})
}

// Two mounts with one id and one past: a clone, or a snapshot that was restored
// beside its original. Neither takes what the other serves for an orphan.
func TestReconcileTwins(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		w.openai()
		static := map[string]any{"account": "oa", "type": "static", "project_id": providertest.MainProject}
		w.write("roles/both", static)
		w.pass(3 * time.Minute)
		twin := &world{t: w.t, cloud: w.cloud, net: w.net, transit: w.transit, storage: w.storage.copy(), log: w.log, request: 1000}
		twin.start()
		defer twin.stop()
		early := []map[string]any{}
		for name, mount := range map[string]*world{"first": w, "second": twin} {
			mount.write("roles/"+name, static)
			mount.pass(time.Minute)
			early = append(early, mount.read("creds/"+name))
		}
		w.pass(20 * time.Minute)
		for _, k := range early {
			w.use(k["api_key"])
		}
		w.write("roles/late", static) // nobody uses it
		twin.write("roles/later", static)
		w.crash()
		w.write("roles/last", static)
		twin.crash()
		twin.write("roles/end", static)
		w.pass(48 * time.Hour)

		before := w.liveIDs()
		for name, mount := range map[string]*world{"original": w, "twin": twin} {
			orphans, answer := mount.reconciled("oa", map[string]any{"dry_run": false, "min_age": "1h"})
			if len(orphans) != 6 { // three keys and three service accounts
				t.Errorf("the %s sees %v", name, orphans)
			}
			elsewhere := 0
			for id, o := range orphans {
				if strings.HasSuffix(o, "made_elsewhere") {
					elsewhere++
				} else if !strings.HasSuffix(o, "in_use") {
					t.Errorf("the %s: %s is %q", name, id, o)
				}
			}
			// The original's first one was made while the copy's past may have lasted.
			if want := map[string]int{"original": 6, "twin": 4}[name]; elsewhere != want {
				t.Errorf("the %s: %d made elsewhere, want %d: %v", name, elsewhere, want, orphans)
			}
			if len(answer["ghosts"].([]map[string]any)) > 0 {
				t.Errorf("the %s: ghosts %v", name, answer["ghosts"])
			}
		}
		if diff := cmp.Diff(before, w.liveIDs()); diff != "" {
			t.Errorf("live (-before +after):\n%s", diff)
		}
		w.sample()
		twin.sample()

		// The original is gone for good: the twin may clean up after it.
		mine := map[string]bool{}
		for _, k := range []string{"both", "second", "later", "end"} {
			mine[twin.read("creds/" + k)["key_id"].(string)] = true
		}
		w.stop()
		twin.reconciled("oa", map[string]any{"dry_run": false, "min_age": "1h", "include_copies": true, "include_used": true})
		for _, k := range twin.live("openai") {
			if !mine[k.ID] {
				t.Errorf("%s (%s) is still live", k.ID, k.Name)
			}
		}
		if n := len(twin.live("openai")); n != len(mine) {
			t.Errorf("%d keys live, want %d", n, len(mine))
		}
		twin.sample()
	})
}

func TestReconcilePaging(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		w.openai()
		w.dynamicRole("ci")
		w.lease("ci", nil)
		old := w.storage.copy()
		const many = 120 // more than one page of the provider's
		for range many {
			w.lease("ci", nil)
		}
		w.restore(old)
		w.pass(2 * time.Hour)
		orphans, answer := w.reconciled("oa", map[string]any{"min_age": "1h"})
		if len(orphans) != many || answer["next"] != "" || answer["checked"] != many+3 { // a key, a service account and an admin key
			t.Errorf("%d orphans, %v checked, next %q", len(orphans), answer["checked"], answer["next"])
		}
		seen, after := map[string]string{}, ""
		for page := 1; ; page++ {
			orphans, answer := w.reconciled("oa", map[string]any{"min_age": "1h", "limit": 50, "after": after, "dry_run": false})
			if want := []int{50, 50, 20}[page-1]; len(orphans) != want || len(w.live("openai")) != 1+many-len(orphans)-len(seen) {
				t.Errorf("page %d: %d orphans, %d keys live", page, len(orphans), len(w.live("openai")))
			}
			maps.Copy(seen, orphans)
			if after = answer["next"].(string); after == "" {
				break
			}
		}
		if len(seen) != many || len(w.live("openai")) != 1 {
			t.Errorf("%d seen, %d keys live", len(seen), len(w.live("openai")))
		}
	})
}

// Half a list is no list.
// A gateway before the provider may have no list of places. The known ones are
// looked into, and the answer says so.
func TestReconcileWithoutAListOfPlaces(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		w.openai()
		leased(w)
		old := w.storage.copy()
		w.lease("ci", nil)
		w.restore(old)
		w.pass(2 * time.Hour)
		w.cloud.Fault(providertest.Fault{Kind: providertest.Status, Status: 404, Method: http.MethodGet, Path: "/organization/projects", Times: 1})
		resp, err := w.call(logical.UpdateOperation, "reconcile/oa", sweeping)
		if err != nil {
			t.Fatal(err)
		}
		if len(resp.Warnings) != 1 || !strings.Contains(resp.Warnings[0], "everywhere=false") {
			t.Errorf("warnings: %v", resp.Warnings)
		}
		if n := len(w.live("openai")); n != 1 {
			t.Errorf("%d keys live, want the one on record", n)
		}
	})
}

func TestReconcileNeedsTheWholeList(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		forgottenAt := func() {
			w.openai()
			leased(w)
			old := w.storage.copy()
			w.lease("ci", nil)
			w.restore(old)
			w.pass(2 * time.Hour)
		}
		forgottenAt()
		before := w.liveIDs()
		lists := 0
		w.cloud.Before(func(*http.Request) error { lists++; return nil })
		w.reconciled("oa", map[string]any{"min_age": "1h"})
		w.cloud.Before(nil)
		for n := range lists {
			w.cloud.Fault(providertest.Fault{Kind: providertest.Status, Status: 500, Method: http.MethodGet, Skip: n, Times: 1})
			if got := w.refused(statusUnavailable, logical.UpdateOperation, "reconcile/oa", sweeping); !strings.Contains(got, "nothing changed") {
				t.Errorf("call %d: %s", n+1, got)
			}
			w.cloud.ClearFaults()
			if diff := cmp.Diff(before, w.liveIDs()); diff != "" {
				t.Errorf("call %d (-before +after):\n%s", n+1, diff)
			}
		}
		if lists < 4 {
			t.Errorf("%d lists were read", lists)
		}
		// One that cannot be withdrawn yet is on the ledger, which goes on.
		w.cloud.Fault(providertest.Fault{Kind: providertest.Status, Status: 500, Method: http.MethodDelete, Times: 2}) // at once, and by the queue
		orphans, _ := w.reconciled("oa", sweeping)
		for id, o := range orphans {
			if !strings.HasPrefix(o, "key: withdrawing ") || !strings.Contains(o, "500") || len(w.live("openai")) != 2 {
				t.Errorf("%s: %q", id, o)
			}
		}
		w.pass(time.Minute)
		if n := len(w.live("openai")); len(orphans) != 1 || n != 1 {
			t.Errorf("orphans %v; %d keys live a minute later", orphans, n)
		}
	})
}

func TestReconcileInput(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		w.openai()
		for want, data := range map[string]map[string]any{
			"at least 1h0m0s":                           {"min_age": "59m"},
			"limit: at least 1":                         {"limit": 0},
			`unknown field "dryrun": did you mean`:      {"dryrun": false},
			`dry_run: expected true or false`:           {"dry_run": "perhaps"},
			`min_age: expected a duration such as 3600`: {"min_age": "long"},
		} {
			if got := w.refused(statusInvalid, logical.UpdateOperation, "reconcile/oa", data); !strings.Contains(got, want) {
				t.Errorf("%v: %q does not say %q", data, got, want)
			}
		}
		w.refused(statusMissing, logical.UpdateOperation, "reconcile/nobody", nil)
		w.write("config", map[string]any{"settle_after": "24h"})
		if got := w.refused(statusInvalid, logical.UpdateOperation, "reconcile/oa", map[string]any{"min_age": "24h"}); !strings.Contains(got, "at least 24h0m30s") {
			t.Errorf("with settle_after=24h: %s", got)
		}
		w.reconciled("oa", nil) // the default grows with it
		w.write("accounts/oa", map[string]any{"disabled": true})
		w.reconciled("oa", nil) // withdrawing goes on
	})
}

func TestReconcileGhosts(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		w.openai()
		w.anthropic()
		w.azure()
		w.dynamicRole("ci")
		resp, _ := w.lease("ci", nil)
		leased := resp.Data
		w.write("roles/app", staticFields)
		w.write("rotate-role/app", map[string]any{"grace_period": "12h"})
		app := w.read("status/app")
		w.write("roles/claude", claudeFields)
		asleep := w.cloud.Anthropic.AddKey("one", "", 0)
		w.write("import/claude", map[string]any{"api_key": asleep.Secret})
		w.write("roles/gpt", azureFields)
		for _, id := range []any{leased["key_id"], app["key_id"], app["previous_key_id"]} {
			w.cloud.Kill(providertest.ProviderOpenAI, id.(string))
		}
		w.cloud.Kill(providertest.ProviderAnthropic, asleep.ID)
		if _, answer := w.reconciled("oa", nil); len(answer["ghosts"].([]map[string]any)) > 0 {
			t.Errorf("what was only just made may not be listed yet: %v", answer["ghosts"])
		}
		w.pass(10 * time.Minute)

		_, answer := w.reconciled("oa", map[string]any{"dry_run": false})
		got := map[string]string{}
		for _, g := range answer["ghosts"].([]map[string]any) {
			got[g["key_id"].(string)] = fmt.Sprintf("%s %s %s", g["kind"], g["role"], g["state"])
		}
		want := map[string]string{
			leased["key_id"].(string):       "key ci live",
			app["key_id"].(string):          "key app current",
			app["previous_key_id"].(string): "key app previous",
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("ghosts (-want +got):\n%s", diff)
		}
		if warnings := answer["warnings"].([]string); len(warnings) != 1 || !strings.Contains(warnings[0], "rotate-role/app") {
			t.Errorf("warnings: %v", warnings)
		}
		if w.b.ledger.filter(func(l *line) bool { return l.ID == leased["key_id"] }) == nil {
			t.Error("reconcile dropped a lease's line: that is the lease's to end")
		}
		// In pages, ghosts count like orphans.
		_, answer = w.reconciled("oa", map[string]any{"limit": 2})
		if n := len(answer["ghosts"].([]map[string]any)); n != 2 || answer["next"] == "" {
			t.Errorf("the first page: %v", answer)
		}
		_, answer = w.reconciled("oa", map[string]any{"limit": 2, "after": answer["next"]})
		if n := len(answer["ghosts"].([]map[string]any)); n != 1 || answer["next"] != "" {
			t.Errorf("the second page: %v", answer)
		}

		_, answer = w.reconciled("an", nil)
		if ghosts := answer["ghosts"].([]map[string]any); len(ghosts) != 1 || ghosts[0]["key_id"] != asleep.ID || ghosts[0]["state"] != "current" {
			t.Errorf("a key that is switched off: %v", ghosts)
		}
		_, answer = w.reconciled("az", map[string]any{"dry_run": false})
		if warnings := answer["warnings"].([]string); len(warnings) != 1 || !strings.Contains(warnings[0], "nothing to compare") {
			t.Errorf("two slots: %v", warnings)
		}
	})
}

// What a role or an account itself needs is told.
func TestReconcileGhostsThatStopARole(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		w.openai()
		w.write("roles/app", staticFields)
		w.write("rotate-root/oa", nil)
		w.pass(time.Hour)
		root := w.root()
		w.cloud.Fault(providertest.Fault{Kind: providertest.Slow, Method: http.MethodGet, Path: "admin_api_keys", Latency: time.Second})
		list := w.later(logical.UpdateOperation, "reconcile/oa", nil)
		x := w.session("oa") // which loses its rights while the list is read
		if err := x.owners().Delete(w.t.Context(), provider.Scope{"project_id": providertest.MainProject}, w.cloud.Owners()[0].ID); err != nil {
			t.Fatal(err)
		}
		if o := <-list; o.err != nil {
			t.Fatal(o.err)
		}
		_, answer := w.reconciled("oa", nil)
		warnings := strings.Join(answer["warnings"].([]string), "\n")
		for _, want := range []string{"service account svc_acct_000001 of role \"app\" is gone", "rotate-role/app"} {
			if !strings.Contains(warnings, want) {
				t.Errorf("warnings do not say %q: %s", want, warnings)
			}
		}
		g := ghost{inventoryID{provider.FoundRoot, root}, service{}}
		if !strings.Contains(g.warning(), root) {
			t.Errorf("an admin credential that is not listed: %q", g.warning())
		}
	})
}

// session is an open account, for what a person might do with it.
func (w *world) session(account string) *session {
	w.t.Helper()
	a, err := w.b.accounts.get(w.t.Context(), w.storage, account)
	if err != nil {
		w.t.Fatal(err)
	}
	x, err := w.b.newSession(w.t.Context(), w.storage, a, w.secrets(a), w.b.clients.connect)
	if err != nil {
		w.t.Fatal(err)
	}
	return x
}

func (w *world) secrets(a *accountEntry) map[string]string {
	w.t.Helper()
	secrets, err := w.b.accountSecrets(w.t.Context(), w.storage, a)
	if err != nil {
		w.t.Fatal(err)
	}
	return secrets
}

// A service account takes its keys along, so it stays as long as one of them does.
func TestReconcileOwners(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		w.openai()
		leased(w)
		old := w.storage.copy()
		w.write("roles/lost", staticFields)
		owner := w.cloud.Owners()[1].ID
		scope := provider.Scope{"project_id": providertest.MainProject, "service_account_id": owner}
		foreign, err := w.session("oa").minter().Mint(w.t.Context(), provider.Order{Tag: "by-hand", Scope: scope})
		if err != nil {
			t.Fatal(err)
		}
		w.restore(old)
		w.pass(2 * time.Hour)
		orphans, _ := w.reconciled("oa", sweepingAll)
		if len(orphans) != 2 || orphans[owner] != "owner: reported holds_keys" {
			t.Errorf("orphans: %v", orphans)
		}
		if !w.works(foreign.Secret.Reveal()) {
			t.Error("rule 7: a key that is none of ours went with its service account")
		}
		w.cloud.Kill(providertest.ProviderOpenAI, string(foreign.ID))
		w.cloud.Fault(providertest.Fault{Kind: providertest.Broken, Method: http.MethodDelete, Times: 2}) // at once, and by the queue
		orphans, _ = w.reconciled("oa", sweepingAll)
		if !strings.HasPrefix(orphans[owner], "owner: withdrawing") {
			t.Errorf("orphans: %v", orphans)
		}
		w.pass(time.Minute)
		for _, o := range w.cloud.Owners() {
			if o.ID == owner && o.Live {
				t.Error("the service account is still there")
			}
		}
	})
	// Its keys are orphans as well, and cannot be withdrawn yet.
	inWorld(t, func(w *world) {
		w.openai()
		forgottenRole(w)
		w.cloud.Fault(providertest.Fault{Kind: providertest.Status, Status: 500, Method: http.MethodDelete, Path: "api_keys"})
		orphans, _ := w.reconciled("oa", sweepingAll)
		if owner := w.cloud.Owners()[1]; !owner.Live || orphans[owner.ID] != "owner: reported holds_keys" {
			t.Errorf("orphans: %v", orphans)
		}
		w.cloud.ClearFaults()
	})
}

// A page of the answer is all that is withdrawn at once, service accounts and
// what hangs on them included.
func TestReconcileOwnersInPages(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		w.openai()
		forgottenRole(w)
		one := maps.Clone(sweepingAll)
		one["limit"] = 1
		orphans, answer := w.reconciled("oa", one)
		owner := w.cloud.Owners()[1]
		if said, first := orphans[owner.ID]; first && (said != "owner: reported holds_keys" || len(w.live("openai")) != 2) {
			t.Errorf("the service account's page: %v, %d keys live", orphans, len(w.live("openai")))
		} else if !first && (len(orphans) != 1 || len(w.live("openai")) != 1 || !owner.Live) {
			t.Errorf("the key's page: %v, %d keys live", orphans, len(w.live("openai")))
		}
		one["after"] = answer["next"]
		if _, answer = w.reconciled("oa", one); answer["next"] != "" || len(w.live("openai")) != 1 {
			t.Errorf("the second page: %v", answer)
		}
		w.reconciled("oa", sweepingAll)
		if owner := w.cloud.Owners()[1]; owner.Live {
			t.Error("the service account is still there")
		}
	})
}

// An admin credential that nobody knows, since its account was given up.
func TestReconcileRoots(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		w.openai()
		w.write("rotate-root/oa", nil)
		lost := w.root()
		w.cloud.Fault(providertest.Fault{Kind: providertest.Status, Status: 403, Method: http.MethodDelete})
		w.must(logical.DeleteOperation, "accounts/oa", map[string]any{"force": true})
		w.cloud.ClearFaults()
		byHand := w.cloud.OpenAI.AddAdminKey("by hand")
		w.write("accounts/oa", map[string]any{"provider": "openai", "admin_key": byHand.Secret})
		w.write("accounts/other", map[string]any{"provider": "openai", "admin_key": byHand.Secret})
		w.pass(2 * time.Hour)
		w.write("rotate-root/other", nil) // known to the mount, if not to this account
		w.write("accounts/oa", map[string]any{"admin_key": w.cloud.OpenAI.AddAdminKey("by hand, too").Secret})
		w.pass(2 * time.Hour)
		orphans, _ := w.reconciled("oa", sweeping)
		if diff := cmp.Diff(map[string]string{lost: "root: withdrawn"}, orphans); diff != "" {
			t.Errorf("orphans (-want +got):\n%s", diff)
		}
		if live := w.admins(); len(live) != 2 || live[lost].ID != "" {
			t.Errorf("live: %v", live)
		}
	})
}

// What becomes known between the look and the withdrawal stays.
func TestReconcileLooksAgain(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		w.openai()
		forgotten(w)
		account, err := w.b.accounts.get(w.t.Context(), w.storage, "oa")
		if err != nil {
			t.Fatal(err)
		}
		c, err := w.b.takeCensus(w.t.Context(), w.storage, account, orphanRules{minAge: time.Hour, everywhere: true, limit: 10})
		if err != nil || len(c.orphans) != 1 || c.orphans[0].reason != "" {
			t.Fatalf("%v %v", c, err)
		}
		secret := ""
		for _, k := range w.cloud.Keys() {
			if k.ID == w.orphaned {
				secret = k.Secret
			}
		}
		w.write("roles/app", staticFields)
		w.write("import/app", map[string]any{"api_key": secret, "key_id": w.orphaned})
		if err := w.b.withdrawOrphans(w.t.Context(), w.storage, "oa", c.orphans); err != nil {
			t.Fatal(err)
		}
		if c.orphans[0].reason != reasonKnownNow || !w.works(secret) {
			t.Errorf("%+v", c.orphans[0])
		}
		// And at the very last moment.
		l := &line{Account: "oa", Tag: c.orphans[0].tag, Kind: lineKey, Orphan: true, ID: w.orphaned, Scope: c.orphans[0].Scope}
		if err := w.b.withdrawLater(w.t.Context(), w.storage, l); err != nil {
			t.Fatal(err)
		}
		w.pass(time.Minute)
		if !w.works(secret) || w.b.ledger.get(l.Tag) != nil {
			t.Error("a key that a role serves was withdrawn as an orphan")
		}
		w.sample()
	})
}

// What storage cannot tell is not unknown: it is nothing to go by.
func TestReconcileWithDamagedEntries(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		w.openai()
		leased(w)
		damage := func(path string) (mend func()) {
			entry, err := w.storage.Get(w.t.Context(), path)
			if err != nil || entry == nil {
				t.Fatalf("%s: %v %v", path, entry, err)
			}
			if err := w.storage.Put(w.t.Context(), &logical.StorageEntry{Key: path, Value: []byte("{")}); err != nil {
				t.Fatal(err)
			}
			w.crash()
			return func() {
				if err := w.storage.Put(w.t.Context(), entry); err != nil {
					t.Fatal(err)
				}
				w.crash()
			}
		}
		w.write("roles/app", staticFields)
		w.pass(2 * time.Hour)
		before := w.liveIDs()
		for _, path := range []string{rolePrefix + "app", keyPrefix + "app", erasPath} {
			mend := damage(path)
			if resp, err := w.call(logical.UpdateOperation, "reconcile/oa", sweepingAll); err == nil {
				t.Errorf("with a damaged %s: %v", path, resp.Data)
			}
			mend()
		}
		for _, l := range w.b.ledger.filter(func(*line) bool { return true }) {
			mend := damage(l.path())
			if orphans, _ := w.reconciled("oa", sweepingAll); len(orphans) > 0 {
				t.Errorf("with a damaged line of a %s: %v", l.Kind, orphans)
			}
			mend()
		}
		if diff := cmp.Diff(before, w.liveIDs()); diff != "" {
			t.Errorf("live (-before +after):\n%s", diff)
		}
	})
}

func TestMarkedNames(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		mark, random := mountMark(w.b.uuid), "abcdef234567wxyz"
		for name, want := range map[string]bool{
			"vault-app-" + mark + "-" + random:            true,
			"-" + mark + "-" + random:                     true,
			"a.b_c-" + mark + "-" + random:                true,
			"vault-app-" + mark + "-" + random + "-x":     false,
			"vault-app-" + mark + "-" + random[1:]:        false,
			"vault-app-" + mark + "-" + random + "a":      false,
			"vault-app-" + mark + "-ABCDEF234567WXYZ":     false,
			"vault-app-" + mark + "-abcdef234567wxy1":     false,
			"vault-app-" + mark[1:] + "-" + random:        false,
			"vault-app-0" + mark + "-" + random:           false,
			"vault-app-00000000-" + random:                false,
			"vault app-" + mark + "-" + random:            false,
			"vault-app-" + mark + "-" + random + "\n":     false,
			"vault-app-" + mark + random:                  false,
			mark + "-" + random:                           false,
			"vault-app-" + mark + "-" + random[:8] + "-1": false,
		} {
			tag, era, ok := w.b.marked(name)
			if ok != want || ok && (string(tag) != name || era != random[:eraMarkLength]) {
				t.Errorf("%q: %q %q %v, want %v", name, tag, era, ok, want)
			}
		}
		w.openai()
		leased(w)
		for _, k := range w.live("openai") {
			if _, era, ok := w.b.marked(k.Name); !ok || era != w.b.eras.mark {
				t.Errorf("%q is not a name of this mount", k.Name)
			}
		}
	})
}

func TestEras(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		ctx := w.t.Context()
		era := func() string {
			t.Helper()
			mark, err := w.b.era(ctx, w.storage)
			if err != nil {
				t.Fatal(err)
			}
			return mark
		}
		writes := 0
		w.storage.beforePut(func(path string) {
			if path == erasPath {
				writes++
			}
		})
		first := era()
		w.pass(eraLength - eraMargin - time.Second)
		if again := era(); again != first || writes != 1 {
			t.Errorf("within an era: %s after %s, %d writes", again, first, writes)
		}
		w.pass(2 * time.Second)
		// It must be stored before it is used.
		w.storage.plan(1, false)
		if mark, err := w.b.era(ctx, w.storage); err == nil {
			t.Errorf("storage is away, and the era is %s", mark)
		}
		w.storage.plan(0, false)
		made := time.Now().UTC()
		if again := era(); again != first || writes != 3 {
			t.Errorf("a later era: %s after %s, %d writes", again, first, writes)
		}
		w.crash()
		second := era()
		book, err := w.b.eraBook(ctx, w.storage)
		if err != nil {
			t.Fatal(err)
		}
		if first == second || !book.covers(first, made) || !book.covers(first, made.Add(eraLength)) || book.covers(first, made.Add(eraLength+time.Second)) || book.covers("nobody", made) {
			t.Errorf("eras %s and %s: %v", first, second, book)
		}
		for i := range mostEras + 10 {
			book.Until[fmt.Sprint("old", i)] = made.Add(-time.Duration(i+1) * time.Hour)
		}
		if err := save(ctx, w.storage, erasPath, book); err != nil {
			t.Fatal(err)
		}
		w.crash()
		third := era()
		book, err = w.b.eraBook(ctx, w.storage)
		if err != nil || len(book.Until) != mostEras || !book.covers(third, made) || !book.covers(second, made) || book.covers("old1009", time.Time{}) {
			t.Errorf("%d eras are kept: %v", len(book.Until), err)
		}
		if err := w.storage.Put(ctx, &logical.StorageEntry{Key: erasPath, Value: []byte("{")}); err != nil {
			t.Fatal(err)
		}
		w.crash()
		fourth := era() // keys are made all the same
		if book, err = w.b.eraBook(ctx, w.storage); err != nil || len(book.Until) != 1 || !book.covers(fourth, time.Now()) {
			t.Errorf("after a damaged entry: %v %v", book, err)
		}
	})
}
