// Package fakes serves the fake providers of
// backend/provider/providertest on this machine, for programs that need them
// on a socket: the end-to-end tests, the demo, and people who try the engine.
//
// There are two ports. One is plain HTTP and serves OpenAI and Anthropic,
// told apart by path. The other is TLS and serves Azure, because the Azure
// client library sends a client secret over nothing less; its certificate is
// made at the start and its authority is written to a file, for ca_cert.
package fakes

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/backend/provider/providertest"
)

// Config says how to serve.
type Config struct {
	// Listen and ListenTLS are loopback addresses; empty: any free port of 127.0.0.1.
	Listen, ListenTLS string
	// CAFile is where the certificate authority is written; empty: a file in a
	// new directory, which goes when the server is closed.
	CAFile string
	// Latency is added to every call.
	Latency time.Duration
	// Log gets one line for each call, without secrets; nil: none.
	Log io.Writer
	// Cloud is what the fakes start with. Azure's endpoint is set by [Start].
	Cloud providertest.Options
}

// Addresses says where the fakes are, in the engine's own field names.
type Addresses struct {
	// Control is the address of the control endpoint; a browser shows the live keys there.
	Control   string           `json:"control"`
	OpenAI    OpenAIAddress    `json:"openai"`
	Anthropic AnthropicAddress `json:"anthropic"`
	Azure     AzureAddress     `json:"azure_openai"`
}

// OpenAIAddress is what an account at the fake OpenAI, and a role, need.
type OpenAIAddress struct {
	BaseURL   string `json:"base_url"`
	AdminKey  string `json:"admin_key"`
	ProjectID string `json:"project_id"`
}

// AnthropicAddress is what an account at the fake Anthropic needs.
type AnthropicAddress struct {
	BaseURL  string `json:"base_url"`
	AdminKey string `json:"admin_key"`
}

// AzureAddress is what an account at the fake Azure, and a role, need.
type AzureAddress struct {
	BaseURL        string `json:"base_url"`
	AuthorityHost  string `json:"authority_host"`
	CAFile         string `json:"ca_file"`
	TenantID       string `json:"tenant_id"`
	ClientID       string `json:"client_id"`
	ClientSecret   string `json:"client_secret"`
	SubscriptionID string `json:"subscription_id"`
	ResourceGroup  string `json:"resource_group"`
	ResourceName   string `json:"resource_name"`
}

// A Server is the fakes, being served.
type Server struct {
	// Cloud is what is behind the sockets: a test in the same process can use
	// it directly.
	Cloud *providertest.Cloud
	Addresses

	plain, secure *http.Server
	running       sync.WaitGroup
	failed        chan error
	remove        string
}

// Start serves the fakes until [Server.Close].
func Start(ctx context.Context, c Config) (_ *Server, err error) {
	plain, err := listen(ctx, c.Listen)
	if err != nil {
		return nil, err
	}
	secure, err := listen(ctx, c.ListenTLS)
	if err != nil {
		return nil, errors.Join(err, plain.Close())
	}
	s := &Server{failed: make(chan error, 2)}
	defer func() {
		if err != nil {
			err = errors.Join(err, plain.Close(), secure.Close(), os.RemoveAll(s.remove))
		}
	}()
	authority, certificate, err := certify(time.Now())
	if err != nil {
		return nil, err
	}
	if c.CAFile == "" {
		if s.remove, err = os.MkdirTemp("", "fake-providers-"); err != nil {
			return nil, fmt.Errorf("making a directory for the certificate: %w", err)
		}
		c.CAFile = filepath.Join(s.remove, "ca.pem")
	}
	if err := os.WriteFile(c.CAFile, authority, 0o600); err != nil {
		return nil, fmt.Errorf("writing the certificate: %w", err)
	}
	base := "https://" + secure.Addr().String()
	c.Cloud.Azure.Endpoint = base + "/resources/{name}/"
	s.Cloud = providertest.New(c.Cloud)
	s.Cloud.SetLatency(c.Latency)
	s.Addresses = addresses("http://"+plain.Addr().String(), base, c.CAFile, s.Cloud.Options())

	marker := s.Cloud.Options().Marker
	s.plain = server(logged(c.Log, marker, s.Cloud))
	s.secure = server(logged(c.Log, marker, s.Cloud.Azure))
	s.secure.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{certificate}}
	s.running.Go(func() { s.serve(func() error { return s.plain.Serve(plain) }) })
	s.running.Go(func() { s.serve(func() error { return s.secure.ServeTLS(secure, "", "") }) })
	return s, nil
}

func addresses(plain, secure, caFile string, o providertest.Options) Addresses {
	return Addresses{
		Control:   plain + "/_fake/",
		OpenAI:    OpenAIAddress{plain + "/openai/v1", o.OpenAI.AdminKey, providertest.MainProject},
		Anthropic: AnthropicAddress{plain + "/anthropic", o.Anthropic.AdminKey},
		Azure: AzureAddress{
			BaseURL: secure, AuthorityHost: secure, CAFile: caFile,
			TenantID: o.Azure.TenantID, ClientID: o.Azure.ClientID,
			ClientSecret: o.Azure.ClientSecret, SubscriptionID: o.Azure.SubscriptionID,
			ResourceGroup: o.Azure.Resources[0].Group, ResourceName: o.Azure.Resources[0].Name,
		},
	}
}

// listen refuses anything but loopback: the fakes hand out secrets to who asks.
func listen(ctx context.Context, address string) (net.Listener, error) {
	address = cmp.Or(address, "127.0.0.1:0")
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("%q is not an address with a port, such as 127.0.0.1:8080", address)
	}
	if ip := net.ParseIP(host); ip == nil || !ip.IsLoopback() {
		return nil, fmt.Errorf("%q is not a loopback address: the fakes serve this machine only; use 127.0.0.1 or [::1]", address)
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listening: %w", err)
	}
	return l, nil
}

func server(h http.Handler) *http.Server {
	return &http.Server{
		Handler: h, ReadHeaderTimeout: 10 * time.Second,
		// Broken connections are what the fakes are for: no log of them.
		ErrorLog: log.New(io.Discard, "", 0),
	}
}

func (s *Server) serve(run func() error) {
	if err := run(); !errors.Is(err, http.ErrServerClosed) {
		s.failed <- err
	}
}

// Wait returns when the context ends, or earlier with an error of a server
// that stopped by itself.
func (s *Server) Wait(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case err := <-s.failed:
		return fmt.Errorf("serving: %w", err)
	}
}

// Close ends the servers and every call under way.
func (s *Server) Close() error {
	err := errors.Join(s.plain.Close(), s.secure.Close())
	s.running.Wait()
	return errors.Join(err, os.RemoveAll(s.remove)) // nothing, if there is no such directory
}

// logged writes a line for each call: when, what, with which result.
func logged(to io.Writer, marker string, h http.Handler) http.Handler {
	if to == nil {
		return h
	}
	lines := log.New(to, "", log.Ltime|log.Lmicroseconds)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start, rec := time.Now(), &statusWriter{ResponseWriter: w}
		defer func() {
			status := "no reply"
			if rec.status != 0 {
				status = http.StatusText(rec.status)
			}
			path := r.URL.Path
			if strings.Contains(path, marker) {
				path = "[a secret]"
			}
			// The path without the query; %q keeps a path from making lines of its own.
			lines.Printf("%s %q: %d %s, %v", r.Method, path, rec.status, status, time.Since(start).Round(time.Microsecond))
		}()
		h.ServeHTTP(rec, r)
	})
}

// A statusWriter remembers the status that went out.
type statusWriter struct {
	http.ResponseWriter
	status int
}

// WriteHeader implements [http.ResponseWriter].
func (w *statusWriter) WriteHeader(status int) {
	w.status = cmp.Or(w.status, status)
	w.ResponseWriter.WriteHeader(status)
}

// Write implements [http.ResponseWriter].
func (w *statusWriter) Write(p []byte) (int, error) {
	w.status = cmp.Or(w.status, http.StatusOK)
	return w.ResponseWriter.Write(p)
}

// Unwrap is how [http.ResponseController] finds the rest of the writer.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
