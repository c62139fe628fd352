package e2e

import (
	"bytes"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"
)

// A tap is a proxy before Vault, which the engine's calls to transit pass. Closed,
// it takes them and lets none through.
type tap struct {
	*httptest.Server

	mu   sync.Mutex
	open chan struct{} // closed while calls pass
	held chan struct{} // takes an element for each call that is held
}

// newTap is an open one.
func newTap(t *testing.T, address string) *tap {
	t.Helper()
	to, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	p := &tap{open: make(chan struct{}), held: make(chan struct{}, 1024)}
	close(p.open)
	proxy := httputil.NewSingleHostReverseProxy(to)
	proxy.ErrorLog = log.New(io.Discard, "", 0) // callers give up here
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body) // or nobody notices that the caller has gone
		if err != nil {
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		p.mu.Lock()
		open := p.open
		p.mu.Unlock()
		select {
		case <-open:
		default:
			p.held <- struct{}{}
			select {
			case <-open:
			case <-r.Context().Done():
				return
			}
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(func() {
		p.turn(true)
		p.Close()
	})
	return p
}

func (p *tap) turn(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.open:
		if !on {
			p.open = make(chan struct{})
		}
	default:
		if on {
			close(p.open)
		}
	}
}

// TestTransitDoesNotAnswer: transit takes calls and says nothing.
func TestTransitDoesNotAnswer(t *testing.T) {
	t.Parallel()
	v := sharedVault(t)
	p := newTap(t, v.Addr)
	s := beginAt(t, v, fields{"address": p.URL, "data_key_ttl": "9s", "timeout": "1s"})
	t.Cleanup(func() { p.turn(true) })
	s.openAI("main", nil)
	s.write("roles/static", s.static("main", nil))
	s.write("roles/dynamic", s.dynamic("main", nil))
	s.write("config/transit", fields{"data_key_ttl": "10s"}) // drops what is in memory, so that it has all its time
	s.creds("static")

	began := time.Now()
	p.turn(false)
	for time.Since(began) < time.Second {
		s.works(s.creds("static"), "a key read while the data key is valid")
	}
	s.outage("did not answer within timeout", "unreachable")
	asked := time.Now()
	s.refused(http.StatusServiceUnavailable, http.MethodGet, "creds/static", nil, "did not answer within timeout")
	if took := time.Since(asked); took > 4*time.Second {
		t.Errorf("a read took %s to fail, and timeout is 1s", took)
	}
	p.turn(true)
	s.recovers()
}

// TestVaultDoesNotWaitForTransit: a transit that does not answer holds up a
// step-down, a seal, an unseal and a start by its timeout at most. Requests that
// wait for transit are under way, which Vault lets end; so are rotations.
func TestVaultDoesNotWaitForTransit(t *testing.T) {
	t.Parallel()
	v := ownVault(t)
	p := newTap(t, v.Addr)
	const timeout = 3 * time.Second
	s := beginAt(t, v, fields{"address": p.URL, "data_key_ttl": "0", "timeout": timeout.String()})
	t.Cleanup(func() { p.turn(true) })
	s.openAI("main", nil)
	s.write("roles/static", s.static("main", nil))
	s.write("roles/dynamic", s.dynamic("main", nil))
	s.write("roles/busy", s.static("main", fields{"rotation_period": "2s", "grace_period": "1s"}))
	first := s.creds("static")
	for _, c := range []struct {
		what string
		do   func() error
	}{
		{"a step-down", s.stepDown},
		{"a seal and an unseal", func() error {
			if err := s.client.Sys().Seal(); err != nil {
				return err
			}
			return v.Unseal(s.Context())
		}},
		{"a restart", func() error {
			if err := v.Stop(); err != nil {
				return err
			}
			return v.Restart(s.Context())
		}},
	} {
		usual := s.takes(c.what, c.do)
		p.turn(false)
		waiting := s.askAll(p, "creds/static", "creds/dynamic")
		took := s.takes(c.what, c.do)
		t.Logf("%s takes %s, and %s while transit does not answer", c.what, usual, took)
		if late := took - usual; late > timeout+6*time.Second { // for a slow machine
			t.Errorf("%s was held up by %s, and transit's timeout is %s", c.what, late, timeout)
		}
		waiting.Wait()
		s.refused(http.StatusServiceUnavailable, http.MethodGet, "creds/static", nil, "did not answer within timeout")
		p.turn(true)
		if k := s.creds("static"); k.secret() != first.secret() {
			t.Errorf("another key after %s", c.what)
		}
		s.works(s.creds("dynamic"), "a leased key after "+c.what)
	}
	s.write("roles/busy", fields{"rotation_period": 0})
	s.until("status is healthy", func() bool { return s.read("status")["healthy"] == true })
}

// stepDown returns when the only node has given up leading.
func (s *story) stepDown() error {
	if err := s.client.Sys().StepDown(); err != nil {
		return err
	}
	s.until("Vault has stepped down", func() bool {
		l, err := s.client.Sys().Leader()
		return err != nil || !l.IsSelf
	})
	return nil
}

// takes is how long something takes until the engine answers again.
func (s *story) takes(what string, do func() error) time.Duration {
	s.Helper()
	began := time.Now()
	if err := do(); err != nil {
		s.Fatalf("%s: %v", what, err)
	}
	// After stepping down, Vault alone takes ten seconds.
	s.within(time.Minute, "the engine answers after "+what, func() bool { return s.try(http.MethodGet, "status", nil).status == 0 })
	return time.Since(began)
}

// askAll sends requests that wait for transit, and returns when all of them do.
func (s *story) askAll(p *tap, paths ...string) *sync.WaitGroup {
	s.Helper()
	var waiting sync.WaitGroup
	for len(p.held) > 0 {
		<-p.held
	}
	for _, path := range paths {
		for range 4 {
			waiting.Go(func() { s.try(http.MethodGet, path, nil) })
		}
	}
	<-p.held
	return &waiting
}

// TestTransitMountGone: the whole engine is somewhere else for a while.
func TestTransitMountGone(t *testing.T) {
	t.Parallel()
	s := away(t, "1s")
	own := "transit-" + s.engine.Path
	if err := s.client.Sys().Mount(own, &api.MountInput{Type: "transit"}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.client.Logical().Write(own+"/keys/"+s.engine.Key, nil); err != nil {
		t.Fatal(err)
	}
	policy := s.engine.Policy() + "path \"" + own + "/*\" { capabilities = [\"update\"] }\n"
	if err := s.client.Sys().PutPolicy(s.engine.Identity(), policy); err != nil {
		t.Fatal(err)
	}
	s.write("config/transit", fields{"mount": own})
	s.remount(own, own+"-elsewhere")
	s.outage("there is no transit engine at "+own, "key")
	s.remount(own+"-elsewhere", own)
	s.recovers()
}

// remount moves an engine of Vault's.
func (s *story) remount(from, to string) {
	s.Helper()
	moved, err := s.client.Sys().StartRemount(from, to)
	if err != nil {
		s.Fatal(err)
	}
	s.until(from+" is at "+to, func() bool {
		status, err := s.client.Sys().RemountStatus(moved.MigrationID)
		return err == nil && status.MigrationInfo.MigrationStatus == "success"
	})
}
