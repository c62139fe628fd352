package bootstrap_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/hashicorp/vault/api"
)

const threePolicies = `
policy "a" {
  path "x" { capabilities = ["read"] }
}
policy "b" {
  path "x" { capabilities = ["read"] }
}
policy "c" {
  path "x" { capabilities = ["read"] }
}
`

// isWrite tells whether a request changes something at a path.
func isWrite(r *http.Request, path string) bool {
	return (r.Method == http.MethodPut || r.Method == http.MethodPost) && r.URL.Path == "/v1/"+path
}

func TestAnInterruptedApplyFinishesWhatItIsAt(t *testing.T) {
	t.Parallel()
	h := start(t)
	h.write("vault.hcl", threePolicies)
	var program atomic.Pointer[running]
	ready := make(chan struct{})
	slow := h.through(func(r *http.Request, forward func()) {
		if isWrite(r, "sys/policies/acl/b") {
			<-ready
			p := program.Load()
			if err := p.cmd.Process.Signal(syscall.SIGINT); err != nil {
				t.Error(err)
			}
			p.err.await(t, "interrupted: the object under way is finished first")
		}
		forward()
	})
	p := slow.begin("apply", "-f", "vault.hcl", "--auto-approve")
	program.Store(p)
	close(ready)
	p.end().exits(3).says("[2/3] policy b … created", "Interrupted.", "Done before that: 2 created.", "Not begun (1):\n  + policy c", "Run the same command again")
	h.plan("vault.hcl", creates("policy c"))
	h.apply("vault.hcl")
}

func TestASecondInterruptEndsAtOnce(t *testing.T) {
	t.Parallel()
	h := start(t)
	h.write("vault.hcl", threePolicies)
	var program atomic.Pointer[running]
	ready := make(chan struct{})
	stuck := h.through(func(r *http.Request, forward func()) {
		if !isWrite(r, "sys/policies/acl/b") {
			forward()
			return
		}
		<-ready
		p := program.Load()
		for range 2 {
			if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Error(err)
			}
			p.err.await(t, "interrupted: the object under way is finished first")
		}
		<-r.Context().Done() // the program has gone
	})
	p := stuck.begin("apply", "-f", "vault.hcl", "--auto-approve", "--json")
	program.Store(p)
	close(ready)
	r := p.end().exits(3).report()
	if len(r.Done) != 1 || r.Failed == nil || r.Failed.Object != "policy b" || len(r.Left) != 1 || r.Error == nil || r.Error.Kind != "stopped" || r.Next == "" {
		t.Errorf("the result is %+v", r)
	}
	h.apply("vault.hcl")
}

func TestAnInterruptBeforeTheFirstWrite(t *testing.T) {
	t.Parallel()
	h := start(t)
	h.write("vault.hcl", threePolicies)
	var program atomic.Pointer[running]
	ready := make(chan struct{})
	stuck := h.through(func(r *http.Request, forward func()) {
		if r.URL.Path == "/v1/sys/policies/acl/b" {
			<-ready
			if err := program.Load().cmd.Process.Signal(syscall.SIGINT); err != nil {
				t.Error(err)
			}
			<-r.Context().Done()
			return
		}
		forward()
	})
	p := stuck.begin("plan", "-f", "vault.hcl", "--json")
	program.Store(p)
	close(ready)
	if r := p.end().exits(1).report(); r.Error == nil || r.Error.Kind != "interrupted" {
		t.Errorf("the error is %+v", r.Error)
	}
}

func TestAFailureSaysWhatWasDoneAndWhatWasNot(t *testing.T) {
	t.Parallel()
	h := start(t)
	h.write("vault.hcl", threePolicies)
	var failed atomic.Bool
	broken := h.through(func(r *http.Request, forward func()) {
		if isWrite(r, "sys/policies/acl/b") && failed.CompareAndSwap(false, true) {
			r.URL.Path = "/v1/sys/policies/acl/root" // which nobody may write
		}
		forward()
	})
	broken.run("apply", "-f", "vault.hcl", "--auto-approve").exits(3).says(
		"[1/3] policy a … created", "[2/3] policy b … FAILED", "Stopped at policy b (vault.hcl:5):", "Done before that: 1 created.", "Not begun (1):\n  + policy c", "Mend the cause and run the same command again",
	)
	h.plan("vault.hcl", creates("policy b"), creates("policy c"))
	h.apply("vault.hcl")
}

func TestTwoAppliesAtOnceDoNotFight(t *testing.T) {
	t.Parallel()
	h := start(t)
	h.write("vault.hcl", threePolicies)
	var program atomic.Pointer[running]
	slow := h.through(func(r *http.Request, forward func()) {
		if isWrite(r, "sys/policies/acl/a") {
			second := h.begin("apply", "-f", "vault.hcl", "--auto-approve")
			second.err.await(t, "another apply is under way")
			program.Store(second)
		}
		forward()
	})
	slow.run("apply", "-f", "vault.hcl", "--auto-approve").exits(0)
	program.Load().end().exits(0).says("the server has changed", "Nothing to do: 3 objects are as the file says.").silent("[1/")
	h.plan("vault.hcl")
}

func TestAServerThatCannotBeUsed(t *testing.T) {
	t.Parallel()
	h := start(t, persistent)
	h.write("vault.hcl", threePolicies)
	if err := h.api.Sys().SealWithContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	h.run("plan", "-f", "vault.hcl").exits(1).says(h.server.Addr+" is sealed", "vault operator unseal")
	h.run("plan", "-f", "vault.hcl", "--wait", "1ms").exits(1).says(" is sealed")
	waiting := h.begin("plan", "-f", "vault.hcl", "--wait", "1m")
	waiting.err.await(t, "waiting for "+h.server.Addr+": it is sealed")
	if err := h.server.Stop(); err != nil {
		t.Fatal(err)
	}
	waiting.err.await(t, "it does not answer")
	if err := h.server.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	waiting.end().exits(2).says("Plan: 3 to create")
	for answer, says := range map[string]string{
		`{"initialized":false,"sealed":true,"version":"1.21.1"}`:  "is not initialised: run vault operator init first",
		`{"initialized":true,"sealed":false,"version":"1.15.6"}`:  "is Vault 1.15.6, and this needs 1.16 or later",
		`{"initialized":true,"sealed":false,"version":"0.11.99"}`: "is Vault 0.11.99, and this needs 1.16 or later",
		`{"this": "is something else"}`:                           "is VAULT_ADDR right?",
	} {
		fake := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(answer))
		}))
		h.at(fake.URL).run("plan", "-f", "vault.hcl", "--wait", "0s").exits(1).says(says)
		fake.Close()
	}
	old := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"initialized":true,"sealed":false,"version":"1.15.6"}`))
	}))
	defer old.Close()
	if r := h.at(old.URL).run("plan", "-f", "vault.hcl", "--wait", "5m").exits(1); strings.Contains(r.stderr, "waiting") {
		t.Errorf("it waits for a server to become younger:\n%s", r.stderr)
	}
}

func TestATokenThatMayNotLookAtItself(t *testing.T) {
	t.Parallel()
	h := start(t)
	h.write("vault.hcl", threePolicies)
	made, err := h.api.Auth().Token().CreateOrphanWithContext(t.Context(), &api.TokenCreateRequest{Policies: []string{"nothing"}, NoDefaultPolicy: true})
	if err != nil {
		t.Fatal(err)
	}
	h.as(made.Auth.ClientToken).run("plan", "-f", "vault.hcl").exits(1).says("the token may not look at itself")
	if err := h.api.Auth().Token().RevokeOrphanWithContext(t.Context(), made.Auth.ClientToken); err != nil {
		t.Fatal(err)
	}
	h.as(made.Auth.ClientToken).run("plan", "-f", "vault.hcl").exits(1).says("does not take the token", "vault login")
}
