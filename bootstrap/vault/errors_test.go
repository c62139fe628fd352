package vault

import (
	"crypto/tls"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestErrorsSayWhatAndWhere(t *testing.T) {
	status, text := 0, ""
	c := serve(t, Options{Redact: func(s string) string { return strings.ReplaceAll(s, "hunter2-hunter2", "(secret x)") }},
		func(w http.ResponseWriter, _ *http.Request) { answer(w, status, text) })
	for _, tc := range []struct {
		status     int
		text, want string
	}{
		{403, `{"errors":["1 error occurred:\n\t* permission denied\n\n"]}`, "deleting auth/okta/config: 403: permission denied"},
		{403, `{"errors":["2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n"]}`, "deleting auth/okta/config: 403: permission denied; invalid token"},
		{400, `{"errors":["one","two"]}`, "deleting auth/okta/config: 400: one; two"},
		{400, `{"errors":["a\u001b]0;title\u0007b\u202ec\r\nd"]}`, "deleting auth/okta/config: 400: a]0;titlebc d"},
		{400, `{"errors":["bad value: hunter2-hunter2"]}`, "deleting auth/okta/config: 400: bad value: (secret x)"},
		{502, "<html>bad\ngateway</html>", "deleting auth/okta/config: 502: <html>bad gateway</html>; it may or may not have happened"},
		{418, "", "deleting auth/okta/config: 418: i'm a teapot"},
		{503, `{"errors":["Vault is sealed"]}`, "deleting auth/okta/config: 503: Vault is sealed (unseal it: vault operator unseal; a new server first needs: vault operator init)"},
		{501, `{"errors":["Vault is not initialized"]}`, "deleting auth/okta/config: 501: Vault is not initialized (it has to be initialised first: vault operator init)"},
	} {
		status, text = tc.status, tc.text
		if err := c.Delete(t.Context(), "auth/okta/config"); err == nil || err.Error() != tc.want {
			t.Errorf("got  %v\nwant %s", err, tc.want)
		}
	}
}

// Half a secret at the end of a message that was cut could not be masked.
func TestSecretsAreMaskedBeforeMessagesAreCut(t *testing.T) {
	const secret = "hunter2-hunter2"
	long := strings.Repeat("x", messageLimit-5) + secret + strings.Repeat("y", 100)
	got := clean(long, func(s string) string { return strings.ReplaceAll(s, secret, "***") })
	if strings.Contains(got, "hunt") || !strings.HasSuffix(got, "***yy …") {
		t.Errorf("ends in %q", got[messageLimit-10:])
	}
}

func TestLargeAnswersAreRefused(t *testing.T) {
	c := serve(t, Options{}, func(w http.ResponseWriter, _ *http.Request) {
		chunk := []byte(strings.Repeat(" ", 1<<20))
		for range bodyLimit>>20 + 1 {
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
	})
	if _, err := c.Read(t.Context(), "x"); err == nil || !strings.Contains(err.Error(), "larger than 32 MB") {
		t.Errorf("%v", err)
	}
}

func TestUnreachable(t *testing.T) {
	quiet := log.New(io.Discard, "", 0) // of handshakes that are meant to fail
	secure := httptest.NewUnstartedServer(refusal(500))
	secure.Config.ErrorLog = quiet
	secure.StartTLS()
	t.Cleanup(secure.Close)
	mutual := httptest.NewUnstartedServer(refusal(500))
	mutual.Config.ErrorLog = quiet
	mutual.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert, MaxVersion: tls.VersionTLS12}
	mutual.StartTLS()
	t.Cleanup(mutual.Close)
	plain := httptest.NewServer(refusal(500))
	t.Cleanup(plain.Close)
	authority := filepath.Join(t.TempDir(), "ca.pem")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw})
	if err := os.WriteFile(authority, block, 0o600); err != nil {
		t.Fatal(err)
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	free.Close()

	for _, tc := range []struct {
		name, address, want string
		environment         map[string]string
	}{
		{"nobody there", "http://" + free.Addr().String(), "is the server running?", nil},
		{"unknown authority", secure.URL, "VAULT_CACERT", nil},
		{"another name", secure.URL, "VAULT_TLS_SERVER_NAME", map[string]string{"VAULT_CACERT": authority, "VAULT_TLS_SERVER_NAME": "else.test"}},
		{"client certificate", mutual.URL, "VAULT_CLIENT_CERT", map[string]string{"VAULT_SKIP_VERIFY": "true"}},
		{"no TLS there", strings.Replace(plain.URL, "http:", "https:", 1), "begin with http://", nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			environment(t, tc.address)
			for name, value := range tc.environment {
				t.Setenv(name, value)
			}
			c := connect(t, Options{Timeout: 10 * time.Second})
			_, err := c.Write(t.Context(), "x", nil)
			if !errors.Is(err, ErrUnreachable) || errors.Is(err, ErrUnknownOutcome) {
				t.Fatalf("%v", err)
			}
			if text := err.Error(); !strings.Contains(text, tc.want) || !strings.Contains(text, tc.address) {
				t.Errorf("%s\nsays nothing of %s", text, tc.want)
			}
		})
	}
	t.Run("TLS there", func(t *testing.T) {
		environment(t, strings.Replace(secure.URL, "https:", "http:", 1))
		if _, err := connect(t, Options{}).Read(t.Context(), "x"); err == nil || !strings.Contains(err.Error(), "begin with https://") {
			t.Errorf("%v", err)
		}
	})
	t.Run("the right authority", func(t *testing.T) {
		environment(t, secure.URL)
		t.Setenv("VAULT_CACERT", authority)
		if _, err := connect(t, Options{}).Write(t.Context(), "x", nil); StatusOf(err) != 500 {
			t.Errorf("%v", err)
		}
	})
}

// A handshake of TLS 1.3 may end after the request was written. Whether the
// alert or a reset arrives first is a race, so it is not left to a server here.
func TestTurnedAwayAfterTheRequest(t *testing.T) {
	t.Parallel()
	alert := &url.Error{Op: "Post", URL: "https://v/v1/x", Err: &net.OpError{Op: "remote error", Err: errors.New("tls: certificate required")}}
	f := unanswered(call{operation: "writing", path: "x", write: true}, "https://v", true, alert)
	if err := f.final(call{write: true}); !errors.Is(err, ErrUnreachable) || errors.Is(err, ErrUnknownOutcome) || !strings.Contains(err.Error(), "VAULT_CLIENT_CERT") {
		t.Errorf("%v", err)
	}
}

func TestStandbySendsOn(t *testing.T) {
	active := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		if r.Header.Get("X-Vault-Token") != testToken || string(text) != `{"a":"b"}` || r.Method != http.MethodPost {
			t.Errorf("%s with %s", r.Method, text)
		}
		answer(w, 200, `{"data":{"from":"active"}}`)
	}))
	t.Cleanup(active.Close)
	c := serve(t, Options{}, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, active.URL+r.URL.Path, http.StatusTemporaryRedirect)
	})
	if got, err := c.Write(t.Context(), "x", map[string]any{"a": "b"}); err != nil || got.Data["from"] != "active" {
		t.Errorf("%v", err)
	}
}

func TestRedirectionsThatAreNotFollowed(t *testing.T) {
	requests := 0
	circle := serve(t, Options{}, func(w http.ResponseWriter, r *http.Request) {
		requests++
		http.Redirect(w, r, r.URL.Path, http.StatusTemporaryRedirect)
	})
	if _, err := circle.Write(t.Context(), "x", nil); StatusOf(err) != 307 || requests != 2 {
		t.Errorf("a circle: %d requests, %v", requests, err)
	}
	secure := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, circle.Address()+"/v1/leak", http.StatusTemporaryRedirect)
	}))
	t.Cleanup(secure.Close)
	environment(t, secure.URL)
	t.Setenv("VAULT_SKIP_VERIFY", "true")
	requests = 0
	if _, err := connect(t, Options{}).Read(t.Context(), "x"); err == nil || !strings.Contains(err.Error(), "without TLS") || requests != 0 {
		t.Errorf("from TLS to none: %d requests, %v", requests, err)
	}
}
