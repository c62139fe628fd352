package vault

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

const testToken = "hvs.canary-token-of-the-test"

// environment sets what Connect reads, and nothing else that may stand in the
// environment of the test.
func environment(t *testing.T, address string) {
	t.Helper()
	for _, name := range []string{
		"VAULT_AGENT_ADDR", "VAULT_CACERT", "VAULT_CAPATH", "VAULT_NAMESPACE", "VAULT_SKIP_VERIFY", "VAULT_WRAP_TTL",
		"VAULT_CLIENT_TIMEOUT", "VAULT_RATE_LIMIT", "VAULT_HEADERS", "VAULT_PROXY_ADDR", "VAULT_HTTP_PROXY",
		"VAULT_TLS_SERVER_NAME", "VAULT_CLIENT_CERT", "VAULT_CLIENT_KEY", "VAULT_SRV_LOOKUP", "VAULT_CACERT_BYTES",
	} {
		t.Setenv(name, "")
	}
	t.Setenv("VAULT_ADDR", address)
	t.Setenv("VAULT_TOKEN", testToken)
}

// tokenHelper makes a token helper that knows a token.
func tokenHelper(t *testing.T, token string) {
	t.Helper()
	dir := t.TempDir()
	script, config := filepath.Join(dir, "helper"), filepath.Join(dir, "config")
	if err := os.WriteFile(script, []byte("#!/bin/sh\nprintf '%s\\n' '"+token+"'\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(config, []byte("token_helper = \""+script+"\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("VAULT_CONFIG_PATH", config)
	t.Setenv("VAULT_TOKEN", "")
}

func connect(t *testing.T, o Options) *Client {
	t.Helper()
	c, err := Connect(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.wire.client.CloseIdleConnections)
	return c
}

// serve starts a server on the loopback and returns a client of it.
func serve(t *testing.T, o Options, handler http.HandlerFunc) *Client {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	environment(t, server.URL)
	return connect(t, o)
}

// inMemory gives a client a server without a network, so that time can stand
// still while they talk.
func inMemory(t *testing.T, o Options, handler http.HandlerFunc) *Client {
	t.Helper()
	c := connect(t, o)
	listener := &pipes{conns: make(chan net.Conn), done: make(chan struct{})}
	c.wire.client.Transport.(*http.Transport).DialContext = listener.dial
	server := &http.Server{Handler: handler}
	go server.Serve(listener)
	t.Cleanup(func() {
		c.wire.client.CloseIdleConnections()
		server.Close()
	})
	return c
}

type pipes struct {
	conns chan net.Conn
	once  sync.Once
	done  chan struct{}
}

func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	near, far := net.Pipe()
	select {
	case p.conns <- far:
		return near, nil
	case <-p.done:
		return nil, errors.New("the server is gone")
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.done) })
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe"} }

func answer(w http.ResponseWriter, status int, text string) {
	w.WriteHeader(status)
	io.WriteString(w, text)
}

// refuse answers as Vault does.
func refuse(w http.ResponseWriter, status int, messages ...string) {
	text, _ := json.Marshal(map[string]any{"errors": messages})
	answer(w, status, string(text))
}
