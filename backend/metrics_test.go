package backend

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/backend/provider/providertest"
)

// metrics reads the mount's metrics: values by name and labels. Of a histogram it
// is the number of observations.
func (w *world) metrics() map[string]float64 {
	w.t.Helper()
	data := w.read("metrics")
	body, _ := data[logical.HTTPRawBody].([]byte)
	if data[logical.HTTPStatusCode] != 200 || !strings.HasPrefix(fmt.Sprint(data[logical.HTTPContentType]), "text/plain; version=0.0.4") {
		w.t.Errorf("metrics: %v, %v", data[logical.HTTPStatusCode], data[logical.HTTPContentType])
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(body))
	if err != nil {
		w.t.Fatalf("%v in\n%s", err, body)
	}
	values := map[string]float64{}
	for name, family := range families {
		for _, m := range family.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetName()+"="+l.GetValue())
			}
			key := strings.TrimPrefix(name, "ai_keys_") + "{" + strings.Join(labels, ",") + "}"
			switch {
			case m.GetCounter() != nil:
				values[key] = m.GetCounter().GetValue()
			case m.GetGauge() != nil:
				values[key] = m.GetGauge().GetValue()
			default:
				values[key] = float64(m.GetHistogram().GetSampleCount())
			}
		}
	}
	return values
}

// expect compares some of the metrics; want has the name without labels before
// each group of them.
func (w *world) expect(when string, want map[string]float64) {
	w.t.Helper()
	got := w.metrics()
	maps.DeleteFunc(got, func(name string, v float64) bool { _, asked := want[name]; return !asked && (v == 0 || !counted(name)) })
	if diff := cmp.Diff(want, got); diff != "" {
		w.t.Errorf("%s (-want +got):\n%s", when, diff)
	}
}

// counted names those of which every value is compared.
func counted(name string) bool {
	name, _, _ = strings.Cut(name, "{")
	return slices.Contains([]string{"mints_total", "withdrawals_total", "rotations_total", "failures_total", "reads_total", "ledger_lines", "roles", "overdue_roles", "failing_roles", "withdrawn_roles"}, name)
}

func TestMetricsTellTheStory(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		w.pass(time.Second)
		w.expect("an empty mount", map[string]float64{"schedule_complete{}": 1, "workers{}": 32})
		w.openai()
		w.write("roles/app", staticFields)
		w.write("roles/ci", dynamicFields)
		w.lease("ci", nil)
		_, lease := w.lease("ci", nil)
		for range 10 {
			w.read("creds/app")
		}
		if err := w.endLease(lease); err != nil {
			t.Fatal(err)
		}
		const oa = "{account=oa,provider=openai}"
		w.expect("a first key, two leases, one of them over", map[string]float64{
			"mints_total" + oa: 3, "withdrawals_total" + oa: 1,
			"reads_total{type=static}": 10, "reads_total{type=dynamic}": 2,
			"cache_hits_total{cache=key_entries}": 10, "cache_misses_total{cache=key_entries}": 0,
			"cache_hits_total{cache=data_keys}":                                      10,
			"ledger_lines{account=oa,provider=openai,state=live}":                    3, // the lease, two service accounts
			"roles{account=oa,provider=openai,type=static}":                          1,
			"roles{account=oa,provider=openai,type=dynamic}":                         1,
			"provider_call_duration_seconds{operation=mint,provider=openai}":         3,
			"provider_call_duration_seconds{operation=create_owner,provider=openai}": 4, // each with a key that goes at once
			"overdue_roles" + oa: 0, "oldest_overdue_seconds" + oa: 0, "provider_held_back_seconds" + oa: 0,
		})

		w.write("rotate-role/app", nil)
		w.pass(11 * time.Minute) // the grace
		w.write("revoke/app", nil)
		w.expect("rotated and withdrawn", map[string]float64{
			"mints_total" + oa: 4, "withdrawals_total" + oa: 3, "rotations_total{account=oa,kind=role,provider=openai}": 1,
			"reads_total{type=static}": 10, "reads_total{type=dynamic}": 2, "withdrawn_roles" + oa: 1,
			"ledger_lines{account=oa,provider=openai,state=live}": 3,
			"roles{account=oa,provider=openai,type=static}":       1,
			"roles{account=oa,provider=openai,type=dynamic}":      1,
		})
		w.write("rotate-root/oa", nil)
		w.write("rotate-role/app", nil)
		w.crash()
		w.pass(time.Minute)
		w.read("creds/app")
		w.read("creds/app")
		w.expect("a new process begins to count anew", map[string]float64{
			"reads_total{type=static}": 2, "cache_hits_total{cache=key_entries}": 2, "cache_misses_total{cache=data_keys}": 0,
			"ledger_lines{account=oa,provider=openai,state=live}": 3,
			"roles{account=oa,provider=openai,type=static}":       1,
			"roles{account=oa,provider=openai,type=dynamic}":      1,
			"schedule_complete{}":                                 1,
		})
	})
}

func TestMetricsOfTrouble(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		w.openai()
		w.anthropic()
		w.write("roles/app", staticFields)
		w.write("roles/ci", dynamicFields)
		w.write("roles/claude", map[string]any{"account": "an", "type": "static", "rotation_period": "24h"})
		fail := func(f providertest.Fault, status int) {
			t.Helper()
			f.Times, f.Method, f.Path = 1, "POST", "/api_keys"
			w.cloud.Fault(f)
			w.refused(status, logical.ReadOperation, "creds/ci", nil)
		}
		w.lease("ci", nil)
		fail(providertest.Fault{Kind: providertest.Status, Status: 403}, statusInvalid)
		fail(providertest.Fault{Kind: providertest.Broken}, statusUnavailable)
		fail(providertest.Fault{Kind: providertest.Throttled, RetryAfter: "30"}, statusUnavailable)
		const oa, an = "{account=oa,provider=openai}", "{account=an,provider=anthropic}"
		failures := func(class string) string { return "failures_total{account=oa,class=" + class + ",provider=openai}" }
		if m := w.metrics(); m["provider_held_back_seconds"+oa] != 30 || m["ledger_lines{account=oa,provider=openai,state=unresolved}"] != 2 {
			t.Errorf("while held back: %v", m)
		}
		w.refused(statusUnavailable, logical.ReadOperation, "creds/ci", nil)
		m := w.metrics()
		for class, want := range map[string]float64{"rejected": 1, "unknown": 1, "throttled": 2, "unreachable": 0} {
			if got := m[failures(class)]; got < want || want == 0 && got > 0 {
				t.Errorf("%s: %v, want at least %v", class, got, want)
			}
		}
		if m["overdue_roles"+an] != 1 || m["overdue_roles"+oa] != 0 {
			t.Errorf("a role that waits for its first import is overdue: %v", m)
		}

		// Rotations that fail make a role overdue, and later ones on its success not.
		w.cloud.Fault(providertest.Fault{Kind: providertest.Status, Status: 500, Provider: "openai"})
		w.pass(26 * time.Hour)
		m = w.metrics()
		if oldest := m["oldest_overdue_seconds"+oa]; m["overdue_roles"+oa] != 1 || oldest != (2*time.Hour).Seconds() || m["failing_roles"+oa] != 1 {
			t.Errorf("overdue %v for %v s, failing %v; want 1 for 7200 s, 1", m["overdue_roles"+oa], oldest, m["failing_roles"+oa])
		}
		if m[failures("unreachable")] == 0 { // while calls were held back
			t.Error("no failure is counted as unreachable")
		}
		if st := w.read("status"); len(st["overdue"].([]string)) != int(m["overdue_roles"+oa]+m["overdue_roles"+an]) {
			t.Errorf("status says otherwise: %v", st["overdue"])
		}
		w.cloud.ClearFaults()
		w.pass(time.Hour)
		m = w.metrics()
		if m["overdue_roles"+oa] != 0 || m["oldest_overdue_seconds"+oa] != 0 || m["failing_roles"+oa] != 0 || m["rotations_total{account=oa,kind=role,provider=openai}"] != 1 {
			t.Errorf("after it: %v", m)
		}

		// A new key that never works.
		w.cloud.SetPropagation(time.Hour)
		w.refused(statusUnavailable, logical.UpdateOperation, "rotate-role/app", nil)
		if m := w.metrics(); m[failures("dead")] != 1 {
			t.Errorf("dead: %v, want 1", m[failures("dead")])
		}
		w.cloud.SetPropagation(0)

		w.storage.plan(1, false)
		w.refused(0, logical.UpdateOperation, "rotate-role/app", nil)
		w.storage.plan(0, false)
		if m := w.metrics(); m["failures_total{account=,class=storage,provider=}"] != 1 {
			t.Errorf("storage: %v", m)
		}
	})
}

// Metrics are served without storage, hold no secret and no role, and forget an
// account that is gone.
func TestMetricsAreDiscreet(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		w.openai()
		w.write("roles/app", staticFields)
		w.write("roles/ci", dynamicFields)
		_, lease := w.lease("ci", nil)
		w.write("rotate-role/app", map[string]any{"grace_period": 0})
		w.pass(time.Minute) // nothing is under way
		reads := w.storage.reads.Load()
		body, _ := w.read("metrics")[logical.HTTPRawBody].([]byte)
		if n := w.storage.reads.Load() - reads; n > 0 {
			t.Errorf("%d storage reads for metrics", n)
		}
		for _, secret := range []string{providertest.DefaultMarker, "vault-app", "vault-ci", "key_0", `"app"`, `"ci"`} {
			if bytes.Contains(body, []byte(secret)) {
				t.Errorf("metrics hold %q:\n%s", secret, body)
			}
		}
		if err := w.endLease(lease); err != nil {
			t.Fatal(err)
		}
		w.must(logical.DeleteOperation, "roles/app", nil)
		w.must(logical.DeleteOperation, "roles/ci", nil)
		w.pass(time.Minute)
		w.must(logical.DeleteOperation, "accounts/oa", nil)
		for name := range w.metrics() {
			if strings.Contains(name, "account=oa") {
				t.Errorf("%s is still told", name)
			}
		}
		if n := len(w.b.standings.roles); n > 0 {
			t.Errorf("%d roles are still known", n)
		}
	})
}

// told is an event sender that a test reads; slow, it is away.
type told struct {
	events atomic.Pointer[[]string]
	away   atomic.Bool
}

func (n *told) SendEvent(ctx context.Context, kind logical.EventType, e *logical.EventData) error {
	if n.away.Load() {
		<-ctx.Done()
		return ctx.Err()
	}
	parts := []string{string(kind)}
	for _, name := range slices.Sorted(maps.Keys(e.GetMetadata().GetFields())) {
		parts = append(parts, name+"="+e.GetMetadata().GetFields()[name].GetStringValue())
	}
	text := strings.Join(parts, " ")
	var all []string
	if old := n.events.Load(); old != nil {
		all = *old
	}
	all = append(slices.Clone(all), text)
	n.events.Store(&all)
	return nil
}

func (n *told) take() []string {
	if all := n.events.Swap(nil); all != nil {
		return *all
	}
	return nil
}

func TestEvents(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		n := &told{}
		w.events = n
		w.restart(0)
		w.openai()
		want := func(when string, events ...string) {
			t.Helper()
			w.pass(newsPause)
			got := n.take()
			if len(got) != len(events) {
				t.Fatalf("%s: %d events, want %d:\n%s", when, len(got), len(events), strings.Join(got, "\n"))
			}
			for i, e := range events {
				if !strings.HasPrefix(got[i], "ai-keys/"+e) || !strings.Contains(got[i], " account=oa") || strings.Contains(got[i], providertest.DefaultMarker) {
					t.Errorf("%s: event %d is %s, want %s", when, i, got[i], e)
				}
			}
		}
		want("an account")
		w.write("roles/app", staticFields)
		want("a first key", "key-minted account=oa key_id=key_")
		w.write("rotate-role/app", map[string]any{"grace_period": 0})
		want("a rotation", "key-minted", "key-rotated account=oa data_path=creds/app key_id=key_", "key-withdrawn")
		w.cloud.Fault(providertest.Fault{Kind: providertest.Status, Status: 403, Times: 1, Method: "POST", Path: "/api_keys"})
		w.refused(statusInvalid, logical.UpdateOperation, "rotate-role/app", nil)
		want("a refusal", "rotation-failed account=oa attempts=1 data_path=creds/app error=minting")
		w.write("rotate-root/oa", nil)
		want("a new admin credential", "root-rotated account=oa key_id=")
		w.write("revoke/app", nil)
		want("the leak switch", "key-withdrawn", "role-revoked account=oa left=0 role=app withdrawn=1")

		// Many keys at once are one event.
		w.write("roles/ci", dynamicFields)
		w.pass(newsPause)
		n.take()
		var ids []string
		for range 5 {
			ids = append(ids, fmt.Sprint(w.read("creds/ci")["key_id"]))
		}
		w.pass(2 * newsPause)
		got := n.take()
		if len(got) > 2 { // the first need not wait for the others
			t.Errorf("five keys at once are %d events", len(got))
		}
		for _, id := range ids {
			if !strings.Contains(strings.Join(got, " "), id) {
				t.Errorf("no event tells of %s: %v", id, got)
			}
		}

		// Nobody waits for a Vault that does not take them.
		n.away.Store(true)
		start := time.Now()
		for range 2000 {
			w.b.tell(eventMinted)
		}
		w.write("rotate-role/app", nil)
		if took := time.Since(start); took > 0 {
			t.Errorf("a rotation took %s while events were not taken", took)
		}
	})
}

// What an operator has disabled stands still on purpose: nobody is woken for it.
func TestDisabledIsNotOverdue(t *testing.T) {
	t.Parallel()
	for name, disable := range map[string]string{"role": "roles/app", "account": "accounts/oa"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inWorld(t, func(w *world) {
				w.openai()
				w.write("roles/app", staticFields)
				w.write(disable, map[string]any{"disabled": true})
				w.pass(30 * 24 * time.Hour)
				const oa = "{account=oa,provider=openai}"
				m := w.metrics()
				st := w.read("status")
				if st["healthy"] != true || m["overdue_roles"+oa] != 0 || m["oldest_overdue_seconds"+oa] != 0 {
					t.Errorf("status %v; overdue %v, for %v s", st, m["overdue_roles"+oa], m["oldest_overdue_seconds"+oa])
				}
				w.write(disable, map[string]any{"disabled": false})
				w.pass(time.Minute)
				if got := w.read("status/app"); got["version"] != 2 {
					t.Errorf("enabled again, it did not rotate: %v", got)
				}
			})
		})
	}
}
