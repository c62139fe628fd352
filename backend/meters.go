package backend

import (
	"context"
	"errors"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/backend/envelope"
	"github.com/ai-keys/vault-plugin-secrets-ai-keys/backend/provider"
)

// meters counts what a mount does, in a registry of its own: several mounts may
// share a process. Labels are names of providers, accounts, states and classes,
// and never a role's, whose number has no bound.
type meters struct {
	registry *prometheus.Registry

	// A read counts itself with one atomic addition; the hits of the caches are
	// the reads that were no misses.
	staticReads, keyMisses, dataKeyMisses atomic.Int64
	dynamicReads                          atomic.Int64

	mints, withdrawals *prometheus.CounterVec // provider, account
	rotations          *prometheus.CounterVec // provider, account, kind
	failures           *prometheus.CounterVec // provider, account, class
	latency            map[string]callMeter   // by provider
}

// byAccount are the labels of most metrics.
var byAccount = []string{"provider", "account"}

func newMeters() *meters {
	vec := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "ai_keys_" + name, Help: help}, append(byAccount[:2:2], labels...))
	}
	m := &meters{
		registry:    prometheus.NewRegistry(),
		mints:       vec("mints_total", "Keys that the provider made or regenerated."),
		withdrawals: vec("withdrawals_total", "Keys that the provider confirmed to be gone."),
		rotations:   vec("rotations_total", "Credentials that were replaced: role keys (imported ones included), root credentials.", "kind"),
		failures:    vec("failures_total", "Failures by class: rejected, throttled, unreachable, unknown, dead (a new key that never worked), storage, transit.", "class"),
		latency:     map[string]callMeter{},
	}
	m.registry.MustRegister(m.mints, m.withdrawals, m.rotations, m.failures)
	latency := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "ai_keys_provider_call_duration_seconds", Help: "How long calls to providers take, without what held them back.",
		Buckets: []float64{.025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
	}, []string{"provider", "operation"})
	m.registry.MustRegister(latency)
	for _, def := range provider.All {
		m.latency[def.Name] = callMeter{latency, def.Name}
	}
	reads := func(n *atomic.Int64, kind string) {
		m.counter("reads_total", "Keys handed out.", prometheus.Labels{"type": kind}, n.Load)
	}
	reads(&m.staticReads, typeStatic)
	reads(&m.dynamicReads, typeDynamic)
	cache := func(misses *atomic.Int64, name string) {
		label := prometheus.Labels{"cache": name}
		m.counter("cache_misses_total", "Static reads that had to ask storage (key_entries) or unwrap (data_keys).", label, misses.Load)
		m.counter("cache_hits_total", "Static reads served from memory.", label, func() int64 { return max(0, m.staticReads.Load()-misses.Load()) })
	}
	cache(&m.keyMisses, "key_entries")
	cache(&m.dataKeyMisses, "data_keys")
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "ai_keys_build_info", Help: "Always 1.",
		ConstLabels: prometheus.Labels{"version": Version, "go_version": runtime.Version()},
	})
	build.Set(1)
	m.registry.MustRegister(build)
	return m
}

// observe has what is stored, and what is asked for, reflected in memory.
func (b *Backend) observe() {
	b.accounts.watch = func(name string, a *accountEntry, wrote bool) {
		b.standings.watchAccount(name, a, wrote)
		if a == nil && wrote {
			b.meters.forget(name)
		}
	}
	b.roles.watch, b.staticKeys.watch = b.standings.watchRole, b.standings.watchKey
	b.standings.changed = b.note
	b.meters.registry.MustRegister(gauges{b})
}

// counter registers a counter that lives elsewhere.
func (m *meters) counter(name, help string, labels prometheus.Labels, read func() int64) {
	m.registry.MustRegister(prometheus.NewCounterFunc(
		prometheus.CounterOpts{Name: "ai_keys_" + name, Help: help, ConstLabels: labels},
		func() float64 { return float64(read()) }))
}

// forget drops what was counted for an account that is gone.
func (m *meters) forget(account string) {
	label := prometheus.Labels{"account": account}
	for _, v := range []*prometheus.CounterVec{m.mints, m.withdrawals, m.rotations, m.failures} {
		v.DeletePartialMatch(label)
	}
}

// A callMeter measures the calls to one provider.
type callMeter struct {
	latency  *prometheus.HistogramVec
	provider string
}

// Took implements [provider.Meter].
func (m callMeter) Took(operation string, d time.Duration) {
	if operation == "" {
		operation = "other"
	}
	m.latency.WithLabelValues(m.provider, operation).Observe(d.Seconds())
}

// failed counts an error that the engine itself met: of storage or of transit.
// Those of providers are counted where the calls are made.
func (m *meters) failed(err error, providerName, account string) {
	switch {
	case errors.Is(err, errFault) && !errors.Is(err, context.Canceled):
		m.failures.WithLabelValues(providerName, account, "storage").Inc()
	case errors.Is(err, envelope.ErrUnreachable), errors.Is(err, envelope.ErrToken),
		errors.Is(err, envelope.ErrPolicy), errors.Is(err, envelope.ErrKey):
		m.failures.WithLabelValues(providerName, account, "transit").Inc()
	}
}

// classOf names a provider's failure; "" is none.
func classOf(err error) string {
	switch {
	case errors.Is(err, provider.ErrRejected):
		return "rejected"
	case errors.Is(err, provider.ErrThrottled):
		return "throttled"
	case errors.Is(err, provider.ErrUnreachable):
		return "unreachable"
	case errors.Is(err, provider.ErrUnknown):
		return "unknown"
	default:
		return ""
	}
}

// gauges are read when they are asked for, from memory alone.
type gauges struct{ b *Backend }

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("ai_keys_"+name, help, labels, nil)
}

var (
	rolesDesc     = desc("roles", "Roles by type.", "provider", "account", "type")
	overdueDesc   = desc("overdue_roles", "Static roles whose rotation or import is overdue, or which have no key.", byAccount...)
	oldestDesc    = desc("oldest_overdue_seconds", "How long the rotation that waits longest is overdue; 0: none is.", byAccount...)
	rootDesc      = desc("root_overdue_seconds", "How long the rotation of the admin credential is overdue; 0: it is not.", byAccount...)
	failingDesc   = desc("failing_roles", "Static roles whose last attempt failed.", byAccount...)
	withdrawnDesc = desc("withdrawn_roles", "Static roles that serve nothing since revoke.", byAccount...)
	heldDesc      = desc("provider_held_back_seconds", "For how long calls to the provider are held back, because it asked to wait or does not answer; 0: they are not.", byAccount...)
	ledgerDesc    = desc("ledger_lines", "Lines of the ledger: keys, service accounts and admin credentials.", "provider", "account", "state")
	queueDesc     = desc("queue_items", "Rotations and withdrawals: scheduled (for later), late (due and waiting), running.", "state")
	workersDesc   = desc("workers", "Rotations and withdrawals that may run at once.")
	unwrapsDesc   = desc("transit_unwraps_total", "Data keys that transit unwrapped.")
	completeDesc  = desc("schedule_complete", "1 when every role has been looked at since the start; the figures of roles are too low before.")
)

// Describe implements [prometheus.Collector].
func (gauges) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{rolesDesc, overdueDesc, oldestDesc, rootDesc, failingDesc, withdrawnDesc, heldDesc, ledgerDesc, queueDesc, workersDesc, unwrapsDesc, completeDesc} {
		out <- d
	}
}

// Collect implements [prometheus.Collector].
func (g gauges) Collect(out chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	b := g.b
	for account, t := range b.standings.count(time.Now()) {
		gauge(rolesDesc, float64(t.static), t.provider, account, typeStatic)
		gauge(rolesDesc, float64(t.dynamic), t.provider, account, typeDynamic)
		gauge(overdueDesc, float64(t.overdue), t.provider, account)
		gauge(oldestDesc, t.oldest.Seconds(), t.provider, account)
		gauge(rootDesc, t.root.Seconds(), t.provider, account)
		gauge(failingDesc, float64(t.failing), t.provider, account)
		gauge(withdrawnDesc, float64(t.withdrawn), t.provider, account)
		gauge(heldDesc, longest(b.clients.holds(account)).Left.Seconds(), t.provider, account)
	}
	for k, n := range b.ledger.count() {
		gauge(ledgerDesc, float64(n), b.standings.providerOf(k.account), k.account, string(k.state))
	}
	q := b.queue.backlog()
	gauge(queueDesc, float64(q.waiting-q.late), "scheduled")
	gauge(queueDesc, float64(q.late), "late")
	gauge(queueDesc, float64(q.running), "running")
	gauge(workersDesc, float64(b.workers()))
	complete := 0.0
	if b.surveyed.Load() {
		complete = 1
	}
	gauge(completeDesc, complete)
	out <- prometheus.MustNewConstMetric(unwrapsDesc, prometheus.CounterValue, float64(b.keyring.Status().Unwraps))
}

// longest is the hold that ends last; without any it is empty.
func longest(holds []provider.Hold) provider.Hold {
	var last provider.Hold
	for _, h := range holds {
		if last.Reason == "" || h.Left > last.Left {
			last = h
		}
	}
	return last
}
