package bench

import (
	"io"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/vault/api"
)

// clients is how many ask at the same time.
const clients = 8

// reads compares the reads of creds/<role> with those of other engines.
func (b *bench) reads() {
	b.say("building the plugins to compare with")
	b.plugin("constant-plugin", "../cmd/constant-plugin")
	b.plugin("kv-plugin", "github.com/hashicorp/vault-plugin-secrets-kv/cmd/vault-plugin-secrets-kv")
	b.mount("reads")
	b.enable("constant", &api.MountInput{Type: "constant-plugin"})
	// Vault lets it be version 1 only, and stores a lease for each of its answers.
	b.enable("external", &api.MountInput{Type: "kv-plugin"})
	b.enable("builtin", &api.MountInput{Type: "kv", Options: map[string]string{"version": "2"}})
	b.write("reads/roles/static", b.role(fields{"type": "static", "rotation_period": "24h"}))
	b.write("reads/roles/leased", b.role(fields{"type": "dynamic", "ttl": "30m", "max_ttl": "1h"}))
	secret := fields{"api_key": "sk-svcacct-0123456789012345678901234567890123456789", "key_id": "key_0123456789"}
	b.write("external/app", secret)
	b.until("kv takes a write", 50*time.Millisecond, func() bool {
		return b.try("builtin/data/app", fields{"data": secret}) == nil // it is upgraded in the background
	})

	static := b.alternate(map[string]string{
		"ours": "reads/creds/static", "constant": "constant/static",
		"external": "external/app", "builtin": "builtin/data/app",
	})
	for _, against := range []struct {
		name, title string
		least       float64
	}{
		{"constant", "a plugin that answers a constant", 0.85},
		{"external", "kv version 1, as an external plugin", 1.5},
		{"builtin", "kv version 2, built in", 0},
	} {
		b.ratio("static read", against.title, "/s", median(static["ours"]), median(static[against.name]), ratios(static["ours"], static[against.name]), against.least)
	}
	leased := b.alternate(map[string]string{"ours": "reads/creds/leased", "constant": "constant/leased"})
	b.ratio("dynamic read", "a constant on a lease", "/s", median(leased["ours"]), median(leased["constant"]), ratios(leased["ours"], leased["constant"]), 0.42)
	b.unmount("reads", "constant", "builtin") // kv does not take its leases back
}

// ratios is the median of what one has of the other, round by round.
func ratios(ours, theirs []float64) float64 {
	var all []float64
	for i := range ours {
		all = append(all, ours[i]/theirs[i])
	}
	return median(all)
}

// alternate reads each path for a slice of time, in another order each round, and
// returns their rates. The first round is for warming up.
func (b *bench) alternate(paths map[string]string) map[string][]float64 {
	rates := map[string][]float64{}
	var names []string
	for name := range paths {
		names = append(names, name)
	}
	for round := range b.rounds + 1 {
		b.say("reading, round %d of %d", round, b.rounds)
		rand.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
		for _, name := range names {
			rate := b.rate(paths[name])
			if round > 0 {
				rates[name] = append(rates[name], rate)
			}
			b.forget(paths[name])
		}
	}
	return rates
}

// rate is how many reads of a path are answered in a second.
func (b *bench) rate(path string) float64 {
	var (
		n  atomic.Int64
		wg sync.WaitGroup
	)
	start := time.Now()
	for range clients {
		wg.Go(func() {
			for time.Since(start) < b.slice {
				if !b.get(path) {
					return
				}
				n.Add(1)
			}
		})
	}
	wg.Wait()
	if b.Failed() {
		b.FailNow()
	}
	return float64(n.Load()) / time.Since(start).Seconds()
}

// ask sends a read with as little of a client as there can be: it is on the same machine.
func (b *bench) ask(path string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(b.Context(), http.MethodGet, b.server.Addr+"/v1/"+path, http.NoBody)
	if err != nil {
		return nil, err
	}
	req.Header.Set("X-Vault-Token", b.server.RootToken)
	return b.http.Do(req)
}

// get reports whether a read was answered.
func (b *bench) get(path string) bool {
	resp, err := b.ask(path)
	if err != nil {
		b.Error(err)
		return false
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		b.Errorf("reading %s: %d %s %v", path, resp.StatusCode, text, err)
		return false
	}
	return true
}

// forget ends the leases of a path, so that their number does not grow.
func (b *bench) forget(path string) {
	if path == "reads/creds/leased" || path == "constant/leased" {
		b.write("sys/leases/revoke-prefix/"+path, fields{"sync": true})
	}
}
