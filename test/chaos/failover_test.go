package chaos

import (
	"context"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/test/devvault"
)

// TestFailover: three nodes; the one that leads steps down, or is killed, in
// turn, while the roles rotate and keys are leased.
func TestFailover(t *testing.T) { //nolint:paralleltest // it wants the machine's time for itself
	w := newWorld(t)
	w.roles = int(number(t, "ROLES", 20))
	times, leases := number(t, "FAILOVERS", 2), number(t, "LEASES", 5)
	c, err := devvault.StartCluster(t.Context(), options(t), 3)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	w.begin(c.Addr, c.Nodes...)
	w.populate("10s")
	chooser := w.chance()
	w.under(func(ctx context.Context) {
		for n := range times {
			w.failOver(ctx, c, chooser, n)
		}
		w.until(func() string { return w.lacks(map[string]int{"revoke-lease": int(leases)}) })
	})
	w.didEverything(map[string]uint64{
		"read": 20 * times, "rotate": times, "revoke-lease": leases, "create": times / 4, "delete": times / 4,
		"step-down": times / 2, "kill-leader": times / 2,
	})
	if rotated := len(w.cloud.Keys()); rotated < 2*w.roles {
		t.Errorf("%d keys were made for %d roles: they did not rotate", rotated, w.roles)
	}
}

// failOver takes the lead from the node that has it.
func (w *world) failOver(ctx context.Context, c *devvault.Cluster, r *rand.Rand, n uint64) {
	w.Helper()
	pause(ctx, r, 2*time.Second)
	leader := -1
	w.until(func() string {
		var err error
		if leader, err = c.Leader(ctx); err != nil {
			return err.Error()
		}
		if leader < 0 {
			return "no node leads"
		}
		return ""
	})
	if n%2 == 0 {
		err := c.StepDown(ctx, leader)
		w.count("step-down", c.Nodes[leader].Addr, err)
		w.serveAgain(ctx)
		return
	}
	if err := c.Kill(leader); err != nil {
		w.Fatal(err)
	}
	w.count("kill-leader", c.Nodes[leader].Addr, nil)
	w.serveAgain(ctx) // by the two that are left
	if err := c.Restart(ctx, leader); err != nil {
		w.Fatal(err)
	}
}

// lacks says which operations succeeded less often than wanted.
func (w *world) lacks(least map[string]int) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	for kind, n := range least {
		if w.done[kind] < n {
			return kind + " did not succeed often enough"
		}
	}
	return ""
}
