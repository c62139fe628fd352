package envelope

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/vault/sdk/logical"
)

// What a plugin inherits from its server's environment changes nothing.
func TestNothingComesFromTheEnvironment(t *testing.T) {
	vault := newFakeVault()
	server := httptest.NewTLSServer(vault)
	defer server.Close()
	for _, name := range []string{
		"VAULT_ADDR", "VAULT_AGENT_ADDR", "VAULT_TOKEN", "VAULT_NAMESPACE", "VAULT_SKIP_VERIFY", "VAULT_CACERT",
		"VAULT_CACERT_BYTES", "VAULT_CAPATH", "VAULT_CLIENT_CERT", "VAULT_CLIENT_KEY", "VAULT_TLS_SERVER_NAME",
		"VAULT_HEADERS", "VAULT_HTTP_PROXY", "VAULT_PROXY_ADDR", "VAULT_RATE_LIMIT", "VAULT_MAX_RETRIES",
		"VAULT_CLIENT_TIMEOUT", "VAULT_WRAP_TTL", "VAULT_MFA", "VAULT_SRV_LOOKUP", "VAULT_DISABLE_REDIRECTS",
		"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy",
	} {
		t.Setenv(name, "http://garbage.invalid:1")
	}
	set := validSettings()
	set.Address = server.URL
	set.CACert = certificate(server)
	k := NewKeyring("mount-uuid", hclog.NewNullLogger())
	k.Configure(ModeTransit, &set)
	store := &logical.InmemStorage{}
	b, err := k.Seal(t.Context(), store, "key/reader", []byte(canaryPlain))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := k.Open(t.Context(), store, "key/reader", b); err != nil || string(got) != canaryPlain {
		t.Fatal(err)
	}
	for _, h := range vault.headers {
		for name, values := range h {
			if strings.Contains(strings.Join(values, ""), "garbage") {
				t.Errorf("header %s is from the environment", name)
			}
		}
	}
	if transport := newTransport(&set); transport.Proxy != nil {
		t.Error("a proxy is looked for") // Go never uses one for loopback, so that the calls above do not show it
	}
}

func certificate(s *httptest.Server) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}))
}

func TestRequestsCarryWhatWasConfigured(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(s *Settings) { s.Namespace = "admin/team-a" })
	w.seal(t, "key/a")
	for _, h := range w.vault.headers {
		if h.Get("X-Vault-Namespace") != "admin/team-a" || h.Get("X-Vault-Request") != "true" {
			t.Errorf("headers: %v", h)
		}
	}
}

// Over real connections: each way in which a Vault cannot be reached is told apart.
func TestWhyTransitIsUnreachable(t *testing.T) {
	t.Parallel()
	secure := httptest.NewUnstartedServer(newFakeVault())
	secure.Config.ErrorLog = hclog.NewNullLogger().StandardLogger(nil)
	secure.StartTLS()
	t.Cleanup(secure.Close)
	plain := httptest.NewServer(newFakeVault())
	t.Cleanup(plain.Close)
	closed := httptest.NewServer(nil)
	closed.Close()
	babble := listen(t, canaryBody+" this is no HTTP\r\n\r\n")
	half := listen(t, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n"+canaryBody)

	for name, c := range map[string]struct {
		change func(*Settings)
		want   string
	}{
		"takes no connection": {func(s *Settings) { s.Address = closed.URL }, "takes no connection"},
		"unknown authority":   {func(s *Settings) { s.Address = secure.URL }, "unknown authority; set ca_cert"},
		"another host": {func(s *Settings) {
			s.Address, s.CACert, s.TLSServerName = secure.URL, certificate(secure), "elsewhere.invalid"
		}, "set tls_server_name"},
		"no TLS":    {func(s *Settings) { s.Address = strings.Replace(plain.URL, "http:", "https:", 1) }, "does not speak TLS"},
		"noise":     {func(s *Settings) { s.Address = strings.Replace(babble, "http:", "https:", 1) }, "does not speak TLS"},
		"no HTTP":   {func(s *Settings) { s.Address = babble }, "does not speak HTTP"},
		"cut short": {func(s *Settings) { s.Address = half }, "cut the connection"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, c.change)
			k := NewKeyring("mount-uuid", hclog.NewNullLogger())
			k.Configure(ModeTransit, &w.set)
			_, err := k.Seal(t.Context(), w.store, "key/a", []byte(canaryPlain))
			w.fails(t, err, ErrUnreachable, c.want)
		})
	}
}

// listen answers each connection with the same bytes, and gives its address.
func listen(t *testing.T, answer string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = c.Read(make([]byte, 4096))
			_, _ = io.WriteString(c, answer)
			_ = c.Close()
		}
	}()
	return "http://" + l.Addr().String()
}

func TestWhatTheNetworkSaysIsToldApart(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for want, err := range map[string]error{
		"host name that does not resolve": &net.OpError{Op: "dial", Err: &net.DNSError{Name: canaryBody}},
		"certificate that is not valid":   x509.CertificateInvalidError{Reason: x509.Expired},
		"refused the TLS handshake":       fmt.Errorf("x: %w", tls.AlertError(40)),
		"within timeout":                  &net.OpError{Op: "read", Err: os.ErrDeadlineExceeded},
		"was given up":                    context.Canceled,
	} {
		w.fails(t, unreachable("https://vault.test", err), ErrUnreachable, want)
	}
}

func TestWhatVaultAnswersIsToldApart(t *testing.T) {
	t.Parallel()
	status := func(code int, texts ...string) func(http.ResponseWriter) {
		return func(w http.ResponseWriter) {
			if code == http.StatusTemporaryRedirect {
				w.Header().Set("Location", "https://attacker.test/"+canaryBody)
			}
			w.WriteHeader(code)
			_, _ = io.WriteString(w, `{"errors":["`+strings.Join(texts, " ")+` `+canaryBody+`"]}`)
		}
	}
	body := func(text string) func(http.ResponseWriter) {
		return func(w http.ResponseWriter) { _, _ = io.WriteString(w, text) }
	}
	for name, c := range map[string]struct {
		on     string // the call that is answered so
		answer func(http.ResponseWriter)
		is     error
		want   string
	}{
		"sealed":              {"decrypt", status(503, "Vault is sealed"), ErrUnreachable, "is sealed"},
		"standby":             {"decrypt", status(503), ErrUnreachable, "status 503"},
		"internal":            {"decrypt", status(500), ErrUnreachable, "status 500"},
		"quota":               {"decrypt", status(429), ErrUnreachable, "rate limit quota"},
		"redirect":            {"decrypt", status(307), ErrUnreachable, "redirects"},
		"HTML":                {"decrypt", body("<html>" + canaryBody), ErrUnreachable, "not Vault"},
		"endless":             {"decrypt", body(strings.Repeat(canaryBody, 1<<14)), ErrUnreachable, "too long"},
		"no content":          {"decrypt", func(w http.ResponseWriter) { w.WriteHeader(http.StatusNoContent) }, ErrKey, "no transit engine at transit/"},
		"other transit key":   {"decrypt", status(400, "cipher: message authentication failed"), ErrKey, "not the key that wrapped"},
		"key deleted":         {"decrypt", status(400, "encryption key not found"), ErrKey, "does not exist"},
		"key version too old": {"decrypt", status(400, "ciphertext or signature version is disallowed by policy (too old)"), ErrKey, "min_decryption_version"},
		"mount gone":          {"decrypt", status(404, "no handler for route"), ErrKey, "no transit engine at transit/"},
		"another engine":      {"decrypt", status(405), ErrKey, "no transit engine at transit/"},
		"login sealed":        {"login", status(503, "Vault is sealed"), ErrUnreachable, "is sealed"},
		"login refused":       {"login", status(403), ErrToken, "auth/approle/login refuses the login (status 403)"},
		"login mount gone":    {"login", status(404), ErrToken, "auth_mount"},
		"login away":          {"login", body("<html>"), ErrUnreachable, "not Vault"},
		"second factor":       {"login", body(`{"auth":{"client_token":"","mfa_requirement":{}}}`), ErrToken, "second factor"},
		"no auth":             {"login", body(`{}`), ErrToken, "no token"},
		"header injection":    {"login", body(`{"auth":{"client_token":"a\nb"}}`), ErrToken, "no token"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			b := w.seal(t, "key/a")
			k := w.restart()
			w.vault.set(func(f *fakeVault) {
				f.before = func(op string, rw http.ResponseWriter, _ *http.Request) bool {
					if op == c.on {
						c.answer(rw)
					}
					return op == c.on
				}
			})
			_, err := k.Open(t.Context(), w.store, "key/a", b)
			w.fails(t, err, c.is, c.want)
			if got := k.Status(); c.on == "decrypt" && (got.LastClass != class(err) || !got.Failing) {
				t.Errorf("status = %+v", got)
			}
		})
	}
}

func TestRequestsThatCannotBeBuilt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.state.Load().transit
	for name, err := range map[string]error{
		"climbing path": c.send(t.Context(), http.MethodPost, "transit/decrypt/../../sys/seal", "", nil, nil),
		"method":        c.send(t.Context(), "NO METHOD", "sys/x", "", nil, nil),
		"body":          c.send(t.Context(), http.MethodPost, "sys/x", "", make(chan int), nil),
	} {
		if err == nil {
			t.Errorf("%s: sent", name)
		}
	}
	if text := (&refusal{status: 400, clue: clueTooOld}).Error(); text != "status 400" {
		t.Errorf("a refusal says %q", text)
	}
	if n := w.vault.count("stray"); n != 0 {
		t.Errorf("%d requests arrived", n)
	}
}
