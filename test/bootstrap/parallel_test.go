package bootstrap_test

import (
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// oneOfEach is a file with what must not be done twice: a rotation, a
// secret-id, an entry.
func oneOfEach(connection string) string {
	return connection + `
mount "kv-v2" "kv" {
  data "entry" { values = { a = "1" } }
}
auth "approle" "machines" {
  role "ci" {
    role_id = "ci"
    issue_secret_id "x" { to = "ci.wrapped" }
  }
}
`
}

// doneOnce checks that nothing was.
func (h *harness) doneOnce() {
	h.t.Helper()
	h.plan("a.hcl")
	h.takes("ci.wrapped", "ci")
	if n := len(h.secretIDs("ci")); n != 1 {
		h.t.Errorf("the role has %d secret-ids", n)
	}
	if got := h.version("kv/metadata/entry"); got != "1" {
		h.t.Errorf("the entry has version %s", got)
	}
}

// Two applies look at the lock at the same moment. Both end well, and what
// must be done once is done once.
func TestTwoAppliesAtTheSameMoment(t *testing.T) {
	t.Parallel()
	d := dialects[0]
	db, h := d.start(t), start(t)
	db.Exec(t, d.robot)
	h.secret("DB_PASSWORD", db.Password)
	h.write("a.hcl", oneOfEach(d.connection(db, "rotate_root = true", d.roles())))
	var (
		both      sync.WaitGroup
		rotations atomic.Int32
		looked    sync.Map
	)
	both.Add(2)
	programs := make([]*running, 2)
	for i := range programs {
		programs[i] = h.through(func(r *http.Request, forward func()) {
			if r.URL.Path == "/v1/ai-keys-bootstrap/record/data/lock" {
				if _, again := looked.LoadOrStore(i, true); !again {
					both.Done()
					both.Wait()
				}
			}
			if strings.HasPrefix(r.URL.Path, "/v1/db/rotate-root/") {
				rotations.Add(1)
			}
			forward()
		}).begin("apply", "-f", "a.hcl", "--auto-approve")
	}
	waited := programs[0].end().exits(0).stderr + programs[1].end().exits(0).stderr
	if !strings.Contains(waited, "another apply is under way") && !strings.Contains(waited, "the server has changed meanwhile") {
		t.Errorf("neither has noticed the other:\n%s", waited)
	}
	if n := rotations.Load(); n != 1 {
		t.Errorf("%d rotations", n)
	}
	h.rotated(db, db.Password)
	h.doneOnce()
}

const beat = "ai-keys-bootstrap/record/data/lock"

// A lock that is taken between the two looks at it, for its holder and for its
// version, is not taken for free.
func TestTheLockIsTakenBetweenTwoLooks(t *testing.T) {
	t.Parallel()
	h := start(t)
	h.write("vault.hcl", threePolicies)
	var (
		looks, takes           sync.Once
		looking, taken, waited = make(chan struct{}), make(chan struct{}), make(chan struct{})
	)
	late := h.through(func(r *http.Request, forward func()) {
		if r.URL.Path == "/v1/ai-keys-bootstrap/record/metadata/lock" {
			looks.Do(func() {
				close(looking)
				<-taken
			})
		}
		forward()
	}).begin("apply", "-f", "vault.hcl", "--auto-approve")
	<-looking
	first := h.through(func(r *http.Request, forward func()) {
		if isWrite(r, "sys/policies/acl/a") {
			<-waited
		}
		forward()
		if isWrite(r, beat) {
			takes.Do(func() { close(taken) })
		}
	}).begin("apply", "-f", "vault.hcl", "--auto-approve")
	late.err.await(t, "another apply is under way")
	close(waited)
	first.end().exits(0).says("Done: 3 created")
	late.end().exits(0).says("the server has changed meanwhile", "Nothing to do: 3 objects").silent("[1/")
	h.plan("vault.hcl")
}

// A process that was killed with the lock in its hand keeps nobody of the same
// machine waiting.
func TestTheLockOfTheDead(t *testing.T) {
	t.Parallel()
	h := start(t)
	h.write("vault.hcl", threePolicies)
	r := h.reaper()
	r.kills = func(write string) (bool, bool) { return strings.Contains(write, "/policies/acl/b"), false }
	if died, _ := r.run("apply", "-f", "vault.hcl", "--auto-approve"); died == "" {
		t.Fatal("it was not killed")
	}
	if held, _ := h.has(beat)["data"].(map[string]any); held == nil || held["free"] == true {
		t.Fatalf("the lock is %v", held)
	}
	h.run("apply", "-f", "vault.hcl", "--auto-approve").exits(0).silent("waiting")
	h.plan("vault.hcl")
}

// A holder on another machine is waited for as long as it beats, and not much
// longer.
func TestTheLockOfAnotherMachine(t *testing.T) {
	t.Parallel()
	h := start(t)
	h.write("vault.hcl", threePolicies)
	h.run("apply", "-f", "vault.hcl", "--auto-approve", "--target", "policy a").exits(0) // makes the mount
	forged := func(free bool) {
		h.vault(beat, map[string]any{"data": map[string]any{
			"id": "x", "host": "elsewhere", "boot": "y", "pid": 4242, "since": "2026-01-02T03:04:05Z", "free": free,
		}})
	}
	forged(false)
	p := h.begin("apply", "-f", "vault.hcl", "--auto-approve", "--target", "policy b")
	p.err.await(t, "another apply is under way (process 4242 on elsewhere, since 03:04:05)")
	forged(true)
	freed := time.Now()
	p.end().exits(0)
	if took := time.Since(freed); took > 10*time.Second {
		t.Errorf("it took %s to see that the lock was free", took)
	}

	forged(false)
	p = h.begin("apply", "-f", "vault.hcl", "--auto-approve")
	p.err.await(t, "another apply is under way")
	began := time.Now()
	p.end().exits(0)
	if took := time.Since(began); took < 13*time.Second || took > 40*time.Second {
		t.Errorf("it waited for %s", took)
	}
	h.plan("vault.hcl")
}

// A process that stood still for so long that another has taken over does not
// go on writing beside it.
func TestTheLockIsLost(t *testing.T) {
	t.Parallel()
	h := start(t)
	h.write("vault.hcl", threePolicies)
	var (
		stopped = make(chan struct{})
		resumed = make(chan struct{})
		refused = make(chan struct{})
		once    sync.Once
	)
	slow := h.through(func(r *http.Request, forward func()) {
		switch {
		case isWrite(r, "sys/policies/acl/a"):
			close(stopped)
			<-refused
		case isWrite(r, beat):
			select {
			case <-resumed: // by now it is another's
				defer once.Do(func() { close(refused) })
			default:
			}
		}
		forward()
	})
	p := slow.begin("apply", "-f", "vault.hcl", "--auto-approve")
	<-stopped
	if err := p.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	h.run("apply", "-f", "vault.hcl", "--auto-approve").exits(0).says("another apply is under way")
	close(resumed)
	if err := p.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	p.end().exits(3).says("the lock was lost", "Stopped at policy a").silent("[2/")
	h.plan("vault.hcl")
}
