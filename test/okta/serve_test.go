package okta

import (
	"crypto/x509"
	"errors"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
)

// serve runs an organisation with alice in it.
func serve(t *testing.T) *Server {
	t.Helper()
	s, err := Start(t.Context(), Options{})
	must(t, err)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(s.CAFile); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the certificate is still there: %v", err)
		}
	})
	_, err = s.AddUser(User{Login: alice, Password: secret, Groups: []string{"AI-Developers"}})
	must(t, err)
	return s
}

func TestProxy(t *testing.T) {
	t.Parallel()
	s := serve(t)
	client, err := s.Client()
	must(t, err)
	c := caller{t, client, "https://acme.okta.com", ""}
	if a := c.expect(http.StatusOK, "", "POST", "/api/v1/authn", password(alice, secret)); a.Status != "SUCCESS" {
		t.Errorf("%+v", a)
	}
	for _, address := range []string{"https://other.okta.com/", "https://acme.okta.com:8443/", "http://acme.okta.com/"} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, http.NoBody)
		must(t, err)
		resp, err := client.Do(req)
		if err == nil { // plain HTTP: the proxy's own answer
			resp.Body.Close()
			if resp.StatusCode != http.StatusForbidden {
				t.Errorf("%s: %s", address, resp.Status)
			}
		}
	}
	if want := []string{"other.okta.com:443", "acme.okta.com:8443", "acme.okta.com"}; !slices.Equal(s.Refused(), want) {
		t.Errorf("the proxy refused %q, want %q", s.Refused(), want)
	}
}

func TestStranger(t *testing.T) {
	t.Parallel()
	s := serve(t)
	client, err := s.Client()
	must(t, err)
	client.Transport.(*http.Transport).TLSClientConfig.RootCAs = x509.NewCertPool()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://acme.okta.com/", http.NoBody)
	must(t, err)
	resp, err := client.Do(req)
	if err == nil {
		resp.Body.Close()
		t.Fatal("the certificate was trusted without its authority")
	}
	if _, unknown := errors.AsType[x509.UnknownAuthorityError](err); !unknown {
		t.Error(err)
	}
}

func TestEnvironment(t *testing.T) {
	t.Parallel()
	s := serve(t)
	env := strings.Join(s.Environment(), " ")
	if env != "HTTPS_PROXY="+s.Proxy+" SSL_CERT_FILE="+s.CAFile || !strings.HasPrefix(s.Proxy, "http://127.0.0.1:") {
		t.Error(env)
	}
	file, err := os.ReadFile(s.CAFile)
	must(t, err)
	if !x509.NewCertPool().AppendCertsFromPEM(file) {
		t.Errorf("no certificate in %s", file)
	}
}
