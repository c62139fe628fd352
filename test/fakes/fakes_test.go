package fakes_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/backend/provider"
	"github.com/ai-keys/vault-plugin-secrets-ai-keys/backend/provider/providertest"
	"github.com/ai-keys/vault-plugin-secrets-ai-keys/test/fakes"
)

// lines is a log that two servers write to.
type lines struct {
	mu sync.Mutex
	bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Buffer.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Buffer.String()
}

func start(t *testing.T, c fakes.Config) *fakes.Server {
	t.Helper()
	s, err := fakes.Start(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// TestAddressesWork gives the adapters what the addresses say, over sockets.
func TestAddressesWork(t *testing.T) {
	t.Parallel()
	log := &lines{}
	s := start(t, fakes.Config{Log: log, Cloud: providertest.Options{Marker: "XMARKX"}})
	authority, err := os.ReadFile(s.Azure.CAFile)
	if err != nil {
		t.Fatal(err)
	}
	secret := func(name, value string) map[string]provider.Secret {
		return map[string]provider.Secret{name: provider.NewSecret(value)}
	}
	for name, tt := range map[string]struct {
		base    string
		account provider.Account
		scope   provider.Scope
		secret  string
	}{
		"openai": {
			s.OpenAI.BaseURL,
			provider.Account{Secrets: secret("admin_key", s.OpenAI.AdminKey)},
			nil,
			s.Cloud.OpenAI.AddUserKey(s.OpenAI.ProjectID, "k").Secret,
		},
		"anthropic": {
			s.Anthropic.BaseURL,
			provider.Account{Secrets: secret("admin_key", s.Anthropic.AdminKey)},
			nil,
			s.Cloud.Anthropic.AddKey("k", "", 0).Secret,
		},
		"azure-openai": {
			s.Azure.BaseURL,
			provider.Account{
				Fields: map[string]string{
					"tenant_id": s.Azure.TenantID, "client_id": s.Azure.ClientID,
					"subscription_id": s.Azure.SubscriptionID, "authority_host": s.Azure.AuthorityHost,
				},
				Secrets: secret("client_secret", s.Azure.ClientSecret),
			},
			provider.Scope{"resource_group": s.Azure.ResourceGroup, "resource_name": s.Azure.ResourceName},
			s.Cloud.Live(providertest.ProviderAzure)[0].Secret,
		},
	} {
		def, ok := provider.Lookup(name)
		if !ok {
			t.Fatalf("there is no provider %q", name)
		}
		client, err := provider.NewClient(provider.Options{BaseURL: tt.base, CACert: string(authority)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(client.Close)
		keys := def.Open(client, tt.account)
		if err := keys.Check(t.Context()); err != nil {
			t.Errorf("%s: the admin credential: %v", name, err)
		}
		if err := keys.Verify(t.Context(), tt.scope, provider.NewSecret(tt.secret)); err != nil {
			t.Errorf("%s: a live key: %v", name, err)
		}
		if err := keys.Verify(t.Context(), tt.scope, provider.NewSecret("dead")); !errors.Is(err, provider.ErrDead) {
			t.Errorf("%s: an unknown key: %v", name, err)
		}
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.OpenAI.BaseURL+"/XMARKX", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{}}
	t.Cleanup(client.CloseIdleConnections)
	if resp, err := client.Do(req); err != nil || resp.Body.Close() != nil {
		t.Fatal(err)
	}
	if out := log.String(); !strings.Contains(out, `GET "/openai/v1/models": 200 OK`) || strings.Contains(out, "XMARKX") {
		t.Errorf("the log:\n%s", out)
	}
}

func TestControlOnBothPorts(t *testing.T) {
	t.Parallel()
	s := start(t, fakes.Config{})
	authority, err := os.ReadFile(s.Azure.CAFile)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(authority)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots}}}
	t.Cleanup(client.CloseIdleConnections)
	for _, address := range []string{s.Control, s.Azure.BaseURL + "/_fake/"} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address+"keys", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || !json.Valid(raw) || resp.StatusCode != http.StatusOK {
			t.Errorf("%s: status %d, %v", address, resp.StatusCode, err)
		}
	}
}

func TestStartRefuses(t *testing.T) {
	t.Parallel()
	taken := start(t, fakes.Config{})
	address := strings.TrimPrefix(taken.Azure.BaseURL, "https://")
	for _, c := range []fakes.Config{
		{Listen: "0.0.0.0:0"},
		{Listen: "localhost:0"},
		{Listen: "127.0.0.1"},
		{ListenTLS: "[::]:0"},
		{ListenTLS: address},
		{CAFile: t.TempDir()},
	} {
		s, err := fakes.Start(t.Context(), c)
		if err == nil {
			t.Errorf("%+v starts", c)
			s.Close()
		}
	}
}

func TestCloseLeavesNothing(t *testing.T) {
	t.Parallel()
	s, err := fakes.Start(t.Context(), fakes.Config{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Wait(ctx); err != nil {
		t.Errorf("waiting: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Errorf("closing: %v", err)
	}
	if _, err := os.Stat(s.Azure.CAFile); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the certificate is still there: %v", err)
	}
}
