package vault

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestSettingsThatAreWrong(t *testing.T) {
	for _, tc := range []struct{ variable, value, want string }{
		{"VAULT_ADDR", "vault.example.com", "VAULT_ADDR"},
		{"VAULT_ADDR", "127.0.0.1:8200", "VAULT_ADDR"},
		{"VAULT_ADDR", "ftp://vault.example.com", "VAULT_ADDR"},
		{"VAULT_ADDR", "https://", "VAULT_ADDR"},
		{"VAULT_ADDR", "https://u:canary pass@vault", "VAULT_ADDR"},
		{"VAULT_ADDR", "https://u:canary@vault/v1/", "leave the /v1 out"},
		{"VAULT_ADDR", "https://vault?x=y", "query"},
		{"VAULT_CACERT", "/nonexistent/ca.pem", "/nonexistent/ca.pem"},
		{"VAULT_CLIENT_CERT", "/nonexistent/cert.pem", "VAULT_CLIENT_CERT"},
		{"VAULT_SKIP_VERIFY", "perhaps", "VAULT_SKIP_VERIFY"},
		{"VAULT_TOKEN", "hvs.canary\x00canary", "VAULT_TOKEN"},
		{"VAULT_AGENT_ADDR", "agent", "VAULT_AGENT_ADDR"},
	} {
		t.Run(tc.variable+" "+tc.value, func(t *testing.T) {
			environment(t, "https://vault.example.com:8200")
			if strings.ContainsRune(tc.value, 0) {
				tc.value = strings.ReplaceAll(tc.value, "\x00", "\x01") // which an environment can hold
			}
			t.Setenv(tc.variable, tc.value)
			_, err := Connect(Options{})
			if err == nil || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "canary") {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestTokens(t *testing.T) {
	var got string
	c := serve(t, Options{}, func(w http.ResponseWriter, r *http.Request) {
		got = r.Header.Get("X-Vault-Token")
		answer(w, 200, `{"data":{}}`)
	})
	address := c.Address()
	read := func(c *Client, want string) {
		t.Helper()
		got = "nothing came"
		if _, err := c.Read(t.Context(), "x"); err != nil || got != want {
			t.Errorf("got %q, want %q: %v", got, want, err)
		}
	}
	read(c, testToken)
	read(c.WithToken("other"), "other")
	read(c.WithoutToken(), "")
	read(c, testToken)

	tokenHelper(t, "from-the-helper")
	read(connect(t, Options{}), "from-the-helper")

	tokenHelper(t, "")
	none := connect(t, Options{})
	if none.HasToken() {
		t.Error("there is a token")
	}
	if _, err := none.Read(t.Context(), "x"); !errors.Is(err, ErrNoToken) || !strings.Contains(err.Error(), "vault login") {
		t.Errorf("without a token: %v", err)
	}
	if _, err := none.WithToken("").Read(t.Context(), "x"); !errors.Is(err, ErrNoToken) {
		t.Errorf("with an empty token: %v", err)
	}
	t.Setenv("VAULT_AGENT_ADDR", address)
	t.Setenv("VAULT_ADDR", "http://127.0.0.1:1")
	read(connect(t, Options{}), "")
}

func TestATokenHelperThatFails(t *testing.T) {
	environment(t, "https://vault.example.com:8200")
	for name, config := range map[string]string{
		"no settings": "token_helper = {{{",
		"no program":  `token_helper = "/nonexistent/helper"`,
		"no success":  `token_helper = "/bin/false"`,
	} {
		path := filepath.Join(t.TempDir(), "config")
		if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
			t.Fatal(err)
		}
		t.Setenv("VAULT_CONFIG_PATH", path)
		t.Setenv("VAULT_TOKEN", "")
		if _, err := Connect(Options{}); err == nil || !strings.Contains(err.Error(), "VAULT_TOKEN") {
			t.Errorf("%s: %v", name, err)
		}
		t.Setenv("VAULT_TOKEN", testToken)
		if _, err := Connect(Options{}); err != nil {
			t.Errorf("%s, and not asked: %v", name, err)
		}
	}
}

func TestRateLimit(t *testing.T) {
	environment(t, "http://vault.test")
	t.Setenv("VAULT_RATE_LIMIT", "1:1")
	synctest.Test(t, func(t *testing.T) {
		c := inMemory(t, Options{}, refusal(http.StatusNotFound))
		start := time.Now()
		for range 5 {
			if _, err := c.Read(t.Context(), "x"); err != nil {
				t.Error(err)
			}
		}
		if took := time.Since(start); took != 4*time.Second {
			t.Errorf("five requests at one a second took %v", took)
		}
		c.wire.timeout = time.Millisecond
		if _, err := c.Write(t.Context(), "x", nil); err == nil || errors.Is(err, ErrUnknownOutcome) || !strings.Contains(err.Error(), "VAULT_RATE_LIMIT") {
			t.Errorf("a write that never left: %v", err)
		}
	})
}

// What an operator has set for other commands must not change what is done.
func TestSettingsThatAreNotUsed(t *testing.T) {
	c := serve(t, Options{}, func(w http.ResponseWriter, r *http.Request) {
		if got := r.Header.Get("X-Vault-Wrap-Ttl"); got != "" {
			t.Errorf("wrapped for %s", got)
		}
		if got := r.Header.Get("X-Vault-Namespace"); got != "env" {
			t.Errorf("in namespace %q", got)
		}
		answer(w, 200, `{"data":{}}`)
	})
	address := c.Address()
	environment(t, address)
	t.Setenv("VAULT_WRAP_TTL", "5m")
	t.Setenv("VAULT_NAMESPACE", "env")
	t.Setenv("VAULT_CLIENT_TIMEOUT", "7")
	c = connect(t, Options{})
	if _, err := c.Write(t.Context(), "x", nil); err != nil {
		t.Error(err)
	}
	if c.wire.timeout != 7*time.Second {
		t.Errorf("VAULT_CLIENT_TIMEOUT: %v", c.wire.timeout)
	}
	if c = connect(t, Options{Timeout: time.Second}); c.wire.timeout != time.Second {
		t.Errorf("the option: %v", c.wire.timeout)
	}
}
