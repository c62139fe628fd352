package e2e

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/backend/provider/providertest"
	"github.com/ai-keys/vault-plugin-secrets-ai-keys/test/devvault"
	"github.com/ai-keys/vault-plugin-secrets-ai-keys/test/fakes"
)

// A story is one test's mount of the engine, with providers of its own.
type story struct {
	testing.TB

	vault  *devvault.Server
	engine devvault.Engine
	client *api.Client // of root
	fakes  *fakes.Server
	cloud  *providertest.Cloud
	caller *http.Client // of the consumer, at the providers
}

type fields = map[string]any

var mounts atomic.Int64

// begin mounts the engine on the shared server.
func begin(t *testing.T) *story {
	t.Helper()
	return beginAt(t, sharedVault(t), nil)
}

// beginAt mounts the engine on a server. At the end of the test it checks that
// no key was forgotten and withdraws all of them.
func beginAt(t *testing.T, v *devvault.Server, transit fields) *story {
	t.Helper()
	f, err := fakes.Start(t.Context(), fakes.Config{Cloud: providertest.Options{Marker: mark}})
	if err != nil {
		t.Fatal(err)
	}
	path := fmt.Sprintf("keys-%d", mounts.Add(1))
	s := &story{
		TB: t, vault: v, fakes: f, cloud: f.Cloud,
		engine: devvault.Engine{Path: path, Key: path, SecretID: mark + "-secret-id-" + path, Settings: transit},
	}
	s.client = s.as(v.RootToken)
	s.caller = &http.Client{Timeout: time.Minute, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: s.authority()},
	}}
	t.Cleanup(func() {
		s.caller.CloseIdleConnections()
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := v.Mount(t.Context(), s.engine); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.end)
	// An attempt whose outcome is unknown is looked for no longer than needed.
	s.write("config", fields{"settle_after": "1s", "provider_timeout": "2s", "verify_timeout": "2s"})
	return s
}

func (s *story) authority() *x509.CertPool {
	s.Helper()
	pem, err := os.ReadFile(s.fakes.Azure.CAFile)
	if err != nil {
		s.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	return pool
}

// end proves that the ledger knows every key, then withdraws them.
func (s *story) end() {
	s.Helper()
	if s.Failed() {
		return // more words would hide the first
	}
	s.cloud.ClearFaults()
	s.cloud.Before(nil)
	s.cloud.After(nil)
	s.allKnown()
	for _, account := range s.list("accounts") {
		// 503 while it is not known what an attempt has made.
		s.until("account "+account+" is revoked", func() bool {
			return s.try(http.MethodPut, "revoke-account/"+account, nil).status == 0
		})
	}
	for _, role := range s.list("roles") {
		s.remove("roles/" + role)
	}
	s.until("every key and service account is gone", func() bool { return len(s.minted()) == 0 && s.owners() == 0 })
	for _, account := range s.list("accounts") {
		s.until("account "+account+" can be deleted", func() bool { return s.try(http.MethodDelete, "accounts/"+account, nil).status == 0 })
	}
	if n := s.cloud.Counts(); n.RedirectsFollowed+n.SecretsInURLs != 0 {
		s.Errorf("the providers saw things that never happen: %+v", n)
	}
	s.noNameTwice()
	if err := s.client.Sys().Unmount(s.engine.Path); err != nil {
		s.Error(err)
	}
}

// allKnown waits until each live key that the engine made is in its inventory.
// A key may be at the provider a moment longer than on the ledger's way out.
func (s *story) allKnown() {
	s.Helper()
	s.until("every live key is on the ledger", func() bool {
		known := map[string]bool{}
		for _, account := range s.list("accounts") {
			for _, tag := range s.list("keys/" + account) {
				known[tag] = true
			}
		}
		return !slices.ContainsFunc(s.minted(), func(k providertest.Key) bool { return !known[k.Name] })
	})
}

// noNameTwice: a name is asked for once, whatever happened. OpenAI's own name
// for the first key of a service account is not ours.
func (s *story) noNameTwice() {
	s.Helper()
	seen := map[string]bool{}
	for _, k := range s.cloud.Keys() {
		if seen[k.Name] {
			s.Errorf("two keys were asked for under the name %s", k.Name)
		}
		seen[k.Name] = strings.HasPrefix(k.Name, "vault-")
	}
}

// minted are the live keys that the engine asked for: those of service
// accounts. People own the others, and Azure's two slots always hold a key.
func (s *story) minted() []providertest.Key {
	return slices.DeleteFunc(s.cloud.Live(providertest.ProviderOpenAI), func(k providertest.Key) bool {
		return strings.HasPrefix(k.Name, "by hand")
	})
}

// owners counts the live service accounts that the engine made.
func (s *story) owners() int {
	n := 0
	for _, o := range s.cloud.Owners() {
		if o.Live && !strings.HasPrefix(o.Name, "by hand") {
			n++
		}
	}
	return n
}

// Context outlives the test's own, which ends before the cleaning up begins.
func (s *story) Context() context.Context { return context.WithoutCancel(s.TB.Context()) }

// until polls. What it waits for takes seconds at most; the rest is for slow machines.
func (s *story) until(what string, met func() bool) {
	s.Helper()
	s.within(20*time.Second, what, met)
}

func (s *story) within(patience time.Duration, what string, met func() bool) {
	s.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	late := time.NewTimer(patience)
	defer late.Stop()
	for !met() {
		select {
		case <-tick.C:
		case <-late.C:
			status := []byte("none")
			if a := s.try(http.MethodGet, "status", nil); a.status == 0 {
				status, _ = json.Marshal(a.Data)
			}
			s.Fatalf("it never came to pass that %s; live at OpenAI: %s; status: %s", what, names(s.minted()), status)
		}
	}
}

func names(keys []providertest.Key) []string {
	list := []string{}
	for _, k := range keys {
		list = append(list, k.ID+" "+k.Name)
	}
	return list
}

// devEngine is the story's engine with another credential.
func devEngine(s *story, secretID string) devvault.Engine {
	e := s.engine
	e.SecretID = secretID
	return e
}

func toText(v any) string { return fmt.Sprint(v) }
