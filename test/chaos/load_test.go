package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/backend/provider/providertest"
)

// The roles of the load.
const (
	// Calm roles rotate by their schedule alone; world says how many they are.
	// Wild ones are rotated, withdrawn and imported on demand.
	wildRoles = 4
	// calmGrace is what the calm roles promise: see the package's documentation.
	calmGrace = time.Second
	leaseTTL  = 5 * time.Second
	// providerTimeout is how long the engine waits for an answer of the provider.
	providerTimeout = 2 * time.Second
)

func calm(i int) string { return fmt.Sprintf("calm-%d", i) }
func wild(i int) string { return fmt.Sprintf("wild-%d", i) }

// static is an ordinary static role.
func (w *world) static(period, grace string) fields {
	return fields{
		"account": "main", "type": "static", "project_id": w.fakes.OpenAI.ProjectID,
		"rotation_period": period, "grace_period": grace,
	}
}

// populate writes the roles, while all is well.
func (w *world) populate(period string) {
	w.Helper()
	for i := range w.roles {
		w.must("roles/"+calm(i), w.static(period, calmGrace.String()))
	}
	for i := range wildRoles {
		w.must("roles/"+wild(i), w.static("24h", "1s"))
	}
	w.must("roles/leased", fields{
		"account": "main", "type": "dynamic", "project_id": w.fakes.OpenAI.ProjectID,
		"ttl": leaseTTL.String(), "max_ttl": "10s",
	})
}

// load starts everything that uses the engine, until the context ends.
func (w *world) load(ctx context.Context, running *sync.WaitGroup) {
	for _, act := range []func(context.Context, *rand.Rand){
		w.readCalm, w.readCalm, w.readWild, w.lease, w.lease, w.disturb, w.disturb, w.bear, w.rotateRoot, w.misbehave,
	} {
		r := w.chance()
		running.Go(func() { act(ctx, r) })
	}
}

func (w *world) readCalm(ctx context.Context, r *rand.Rand) {
	for pause(ctx, r, 20*time.Millisecond) {
		w.sample(ctx, calm(r.IntN(w.roles)), calmGrace)
	}
}

func (w *world) readWild(ctx context.Context, r *rand.Rand) {
	for pause(ctx, r, 40*time.Millisecond) {
		w.sample(ctx, wild(r.IntN(wildRoles)), 0)
	}
}

// sample reads a key and judges it. The key must live for so long from the
// beginning of the request.
func (w *world) sample(ctx context.Context, role string, life time.Duration) (lease string) {
	start := time.Now()
	s, err := w.read(ctx, "creds/"+role)
	end := time.Now()
	if !w.count("read", role, err) {
		return ""
	}
	secret, _ := s.Data["api_key"].(string)
	k, known := w.cloud.Key(secret)
	if !known {
		w.Errorf("%s: a reader got a key that the provider never made", role)
		return s.LeaseID
	}
	if s.LeaseID != "" {
		life = min(life, end.Sub(start))
	}
	if !k.Died.IsZero() && k.Died.Before(start.Add(life)) {
		w.Errorf("%s: a reader asked at %s and got %s at %s, which died at %s", role,
			start.Format(clock), k.ID, end.Format(clock), k.Died.Format(clock))
	}
	return s.LeaseID
}

const clock = "15:04:05.000"

// lease takes leased keys, renews some and revokes most. The others end by themselves.
func (w *world) lease(ctx context.Context, r *rand.Rand) {
	for pause(ctx, r, 200*time.Millisecond) {
		lease := w.sample(ctx, "leased", leaseTTL)
		if lease == "" {
			continue
		}
		if r.IntN(3) == 0 {
			_, err := w.client.Sys().RenewWithContext(ctx, lease, 5)
			w.count("renew", "leased", err)
		}
		if r.IntN(4) != 0 {
			w.count("revoke-lease", "leased", w.client.Sys().RevokeWithContext(ctx, lease))
		}
	}
}

// disturb does to the wild roles what people do on demand.
func (w *world) disturb(ctx context.Context, r *rand.Rand) {
	for pause(ctx, r, 200*time.Millisecond) {
		role := wild(r.IntN(wildRoles))
		switch r.IntN(6) {
		case 0:
			err := w.ask(ctx, "revoke/"+role, nil)
			w.count("revoke", role, err)
		case 1:
			w.bring(ctx, role)
		default:
			err := w.ask(ctx, "rotate-role/"+role, fields{"grace_period": r.IntN(2)})
			w.count("rotate", role, err)
		}
	}
}

// bring imports a key that a person has made.
func (w *world) bring(ctx context.Context, role string) {
	k := w.cloud.OpenAI.AddUserKey(providertest.MainProject, fmt.Sprintf("by hand: %d, for %s", w.brought.Add(1), role))
	w.mu.Lock()
	w.unanswered[k.ID] = true
	w.mu.Unlock()
	err := w.ask(ctx, "import/"+role, fields{"api_key": k.Secret, "key_id": k.ID})
	if w.count("import", role+" "+k.ID, err) {
		w.mu.Lock()
		delete(w.unanswered, k.ID)
		w.mu.Unlock()
	}
}

// bear makes roles and deletes them. No name comes twice.
func (w *world) bear(ctx context.Context, r *rand.Rand) {
	for i := 0; pause(ctx, r, 400*time.Millisecond); i++ {
		role := fmt.Sprintf("brief-%d", i)
		w.mu.Lock()
		w.gone[role] = true
		w.mu.Unlock()
		_, err := w.write(ctx, "roles/"+role, w.static("3s", "1s"))
		if w.count("create", role, err) {
			w.sample(ctx, role, 0)
		}
		if pause(ctx, r, 400*time.Millisecond) {
			w.count("delete", role, w.remove(ctx, "roles/"+role))
		}
	}
}

func (w *world) rotateRoot(ctx context.Context, r *rand.Rand) {
	for pause(ctx, r, 3*time.Second) {
		err := w.ask(ctx, "rotate-root/main", nil)
		w.count("rotate-root", "main", err)
	}
}

// misbehave makes the provider fail, hide what it did, and be slow.
func (w *world) misbehave(ctx context.Context, r *rand.Rand) {
	for pause(ctx, r, 1500*time.Millisecond) {
		f := providertest.Fault{Provider: providertest.ProviderOpenAI, Times: 1, Method: []string{"", "POST", "DELETE"}[r.IntN(3)]}
		switch r.IntN(10) {
		case 0:
			f.Kind, f.Status = providertest.Status, 500
		case 1:
			f.Kind, f.Status, f.After = providertest.Status, 503, true
		case 2:
			f.Kind, f.RetryAfter = providertest.Throttled, "1"
		case 3:
			f.Kind = providertest.CutShort
		case 4:
			f.Kind = providertest.Broken
		case 5:
			f.Kind, f.After = providertest.Broken, true
		case 6:
			f.Kind = providertest.Hang
		case 7:
			f.Kind = providertest.HTML
		case 8:
			f.Kind, f.Latency = providertest.Late, providerTimeout+300*time.Millisecond
		default:
			f.Kind, f.Latency = providertest.Slow, time.Second
		}
		w.note("fault: %s %s, after the effect: %v", f.Method, f.Kind, f.After)
		w.cloud.Fault(f)
	}
}
