package bench

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// bigMount measures what a mount with many roles costs: a start, memory, a rotation.
func (b *bench) bigMount() {
	b.mount("empty")
	b.write("empty/roles/"+name(0), b.role(fields{"type": "static"}))
	lean := b.memory("empty")

	b.say("making %d and %d roles", b.some, b.many)
	b.mount("some")
	b.mount("many")
	for _, mount := range []string{"some", "many"} {
		b.write(mount+"/config", fields{"workers": 32})
	}
	b.populate("some", b.some)
	b.populate("many", b.many)
	fat := max(b.rss(), b.memory("many")) // as they were made, or as they are found at a start
	b.limit(fmt.Sprintf("memory with %d static roles", b.many), "an empty mount",
		figure(fat, " MB"), figure(lean, " MB"), fat-lean, 60, " MB")

	var empty, large []float64
	for round := range b.starts {
		b.say("starting, round %d of %d", round+1, b.starts)
		empty = append(empty, b.start("empty"))
		large = append(large, b.start("many"))
	}
	b.limit(fmt.Sprintf("from the start of a mount to its first read, %d static roles", b.many), "an empty mount",
		figure(median(large), " s"), figure(median(empty), " s"), median(large)-median(empty), 1, " s")

	b.say("rotating %d roles, then %d", b.some, b.many)
	cost := map[string]float64{}
	for mount, n := range map[string]int{"some": b.some, "many": b.many} {
		period := time.Duration(max(2, n/100)) * time.Second
		b.ready(mount, n, period)
		cost[mount] = b.rotateAll(mount, n).Seconds() / float64(n) * 1000
	}
	b.limit(fmt.Sprintf("a rotation, of %d due", b.many), fmt.Sprintf("of %d due", b.some),
		figure(cost["many"], " ms"), figure(cost["some"], " ms"), cost["many"]/cost["some"], 1.3, "")
	b.unmount("empty", "some", "many")
}

// start is the time from when a mount is loaded anew until it has answered a read.
func (b *bench) start(mount string) float64 {
	b.Helper()
	start := time.Now()
	b.write("sys/plugins/reload/backend", fields{"mounts": []string{mount + "/"}})
	if !b.get(mount + "/creds/" + name(0)) {
		b.FailNow()
	}
	return time.Since(start).Seconds()
}

// memory kills the plugin, has one mount started again, waits until every role has
// been looked at, and is what the process then has.
func (b *bench) memory(mount string) float64 {
	b.Helper()
	if n, err := b.server.KillPlugin(); err != nil || n == 0 {
		b.Fatalf("killing the plugin: %d, %v", n, err)
	}
	b.until(mount+" answers again", 10*time.Millisecond, func() bool {
		s, err := b.client.Logical().ReadWithContext(b.Context(), mount+"/creds/"+name(0))
		return err == nil && s != nil
	})
	b.until("every role has been looked at", 20*time.Millisecond, func() bool { return b.metric(mount, "ai_keys_schedule_complete ") == 1 })
	return b.rss()
}

// rss is the resident memory of the engine's processes, in MB.
func (b *bench) rss() float64 {
	b.Helper()
	pids, err := b.server.PluginProcesses()
	if err != nil {
		b.Fatal(err)
	}
	total := 0.0
	for _, pid := range pids {
		status, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
		if err != nil {
			b.Fatal(err)
		}
		_, rest, _ := strings.Cut(string(status), "VmRSS:")
		kb, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
		if err != nil {
			b.Fatal(err)
		}
		total += kb / 1024
	}
	return total
}
