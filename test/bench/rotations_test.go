package bench

import (
	"bufio"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/test/servers"
)

func name(i int) string { return fmt.Sprintf("team-%05d", i) }

// populate writes static roles that rotate on demand only.
func (b *bench) populate(mount string, n int) {
	b.Helper()
	b.sideBySide(n, func(i int) error { return b.try(mount+"/roles/"+name(i), b.role(fields{"type": "static"})) })
}

// ready has the roles rotate by themselves, as soon as the account is enabled: a
// role whose period is over already is due. It returns when all of them are.
func (b *bench) ready(mount string, n int, period time.Duration) {
	b.Helper()
	b.write(mount+"/accounts/main", fields{"disabled": true})
	last := b.read(mount + "/status/" + name(n-1))["last_vault_rotation"]
	at, err := time.Parse(time.RFC3339, fmt.Sprint(last))
	if err != nil {
		b.Fatal(err)
	}
	settings := fields{"rotation_period": period.String(), "grace_period": int(period.Seconds()) / 2}
	b.sideBySide(n, func(i int) error { return b.try(mount+"/roles/"+name(i), settings) })
	b.until("the last role is due", 50*time.Millisecond, func() bool { return time.Since(at) > period+time.Second })
}

// rotateAll lets everything that is due rotate, and says how long that took.
func (b *bench) rotateAll(mount string, n int) time.Duration {
	b.Helper()
	before, start := b.rotations(mount), time.Now()
	b.write(mount+"/accounts/main", fields{"disabled": false})
	b.until("all roles have rotated", 20*time.Millisecond, func() bool { return b.rotations(mount) >= before+n })
	took := time.Since(start)
	b.write(mount+"/accounts/main", fields{"disabled": true})
	return took
}

// rotations is how often keys of roles were replaced, by the engine's own count.
func (b *bench) rotations(mount string) int {
	return int(b.metric(mount, `ai_keys_rotations_total{account="main",kind="role",provider="openai"} `))
}

// metric is the value of a line of the engine's metrics; 0: there is none.
func (b *bench) metric(mount, line string) float64 {
	b.Helper()
	resp, err := b.ask(mount + "/metrics")
	if err != nil {
		b.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		if text, ok := strings.CutPrefix(lines.Text(), line); ok {
			v, err := strconv.ParseFloat(text, 64)
			if err != nil {
				b.Fatal(err)
			}
			return v
		}
	}
	return 0
}

// dueAtOnce compares many workers with one, at a provider that takes its time.
func (b *bench) dueAtOnce() {
	const latency, period = 100 * time.Millisecond, 10 * time.Second
	b.say("making %d roles that will be due at once", b.due)
	b.mount("due")
	b.mount("single")
	b.write("due/config", fields{"workers": 64})
	b.write("single/config", fields{"workers": 1})
	b.populate("due", b.due)
	b.populate("single", b.single)
	b.ready("due", b.due, period)
	b.ready("single", b.single, period)
	b.fakes.Cloud.SetLatency(latency)
	defer b.fakes.Cloud.SetLatency(0)
	b.say("rotating %d roles one after another", b.single)
	one := b.rotateAll("single", b.single).Seconds() / float64(b.single)
	b.say("rotating %d roles with 64 workers", b.due)
	all := b.rotateAll("due", b.due).Seconds() / float64(b.due)
	what := fmt.Sprintf("%d rotations due at once, provider takes %s, 64 workers", b.due, latency)
	b.ratio(what, "one after another", "/s", 1/all, 1/one, one/all, 40)
	b.unmount("due", "single")
}

// allTheTime compares roles that rotate without end with the database engine's.
func (b *bench) allTheTime() {
	b.say("making %d roles that rotate every second", b.busy)
	b.mount("busy")
	b.write("busy/config", fields{"workers": 64})
	b.populate("busy", b.busy)
	b.ready("busy", b.busy, time.Second)
	db := servers.PostgreSQL(b.T)
	b.enable("database", &api.MountInput{Type: "database"})
	b.write("database/config/app", fields{
		"plugin_name": db.Plugin, "connection_url": db.URL, "username": db.User, "password": db.Password,
		"allowed_roles": "*", "max_open_connections": 16,
	})
	for i := range b.busy {
		db.Exec(b.T, `CREATE ROLE "`+name(i)+`" LOGIN`)
	}
	var ours, theirs []float64
	for round := range 3 {
		b.say("watching them, round %d of 3", round+1)
		ours = append(ours, b.watchOurs())
		theirs = append(theirs, b.watchTheirs())
		if b.size != full {
			break
		}
	}
	b.ratio(fmt.Sprintf("%d static roles rotating all the time", b.busy), "the database engine's, on PostgreSQL", "/s", median(ours), median(theirs), ratios(ours, theirs), 3)
	b.unmount("busy", "database")
}

func (b *bench) watchOurs() float64 {
	b.write("busy/accounts/main", fields{"disabled": false})
	before, start := b.rotations("busy"), time.Now()
	wait(b.window)
	done, took := b.rotations("busy")-before, time.Since(start)
	b.write("busy/accounts/main", fields{"disabled": true})
	return float64(done) / took.Seconds()
}

// watchTheirs counts by what the roles say of their last rotation: they have no
// shorter period than five seconds, so none is missed.
func (b *bench) watchTheirs() float64 {
	for i := range b.busy {
		b.write("database/static-roles/"+name(i), fields{"db_name": "app", "username": name(i), "rotation_period": "5s"})
	}
	defer func() {
		for i := range b.busy {
			if _, err := b.client.Logical().DeleteWithContext(b.Context(), "database/static-roles/"+name(i)); err != nil {
				b.Fatal(err)
			}
		}
	}()
	last := make([]string, b.busy)
	look := func() (changed int) {
		for i := range b.busy {
			now := fmt.Sprint(b.read("database/static-creds/" + name(i))["last_vault_rotation"])
			if last[i] != now {
				changed++
			}
			last[i] = now
		}
		return changed
	}
	look()
	b.until("the database engine has begun", 500*time.Millisecond, func() bool { return look() > 0 })
	rotated, start := 0, time.Now()
	for time.Since(start) < b.window {
		wait(2 * time.Second)
		rotated += look()
	}
	return float64(rotated) / time.Since(start).Seconds()
}

// wait lets a measurement go on: what is measured here is what happens in a time.
func wait(d time.Duration) { <-time.After(d) }
