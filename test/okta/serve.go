package okta

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

// A Server is an organisation on two loopback sockets: its own, and that of the
// proxy which leads to it.
type Server struct {
	*Org

	// Proxy is the URL of the proxy.
	Proxy string
	// CAFile holds the authority that signed the organisation's certificate.
	CAFile string

	authority     *x509.CertPool
	secure, proxy *http.Server
	behind        string // the organisation's socket, host:port
	running       sync.WaitGroup

	mu      sync.Mutex
	refused []string
}

// Start serves a new organisation until [Server.Close].
func Start(ctx context.Context, o Options) (_ *Server, err error) {
	s := &Server{Org: New(o), authority: x509.NewCertPool()}
	root, certificate, err := certify(s.options.Host, time.Now())
	if err != nil {
		return nil, err
	}
	s.authority.AppendCertsFromPEM(root)
	dir, err := os.MkdirTemp("", "okta-")
	if err != nil {
		return nil, fmt.Errorf("making a directory for the certificate: %w", err)
	}
	s.CAFile = filepath.Join(dir, "ca.pem")
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(dir))
		}
	}()
	if err := os.WriteFile(s.CAFile, root, 0o600); err != nil {
		return nil, fmt.Errorf("writing the certificate: %w", err)
	}
	behind, err := listen(ctx)
	if err != nil {
		return nil, err
	}
	front, err := listen(ctx)
	if err != nil {
		return nil, errors.Join(err, behind.Close())
	}
	s.behind, s.Proxy = behind.Addr().String(), "http://"+front.Addr().String()
	s.secure = server(s.Org)
	s.secure.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{certificate}}
	s.proxy = server(http.HandlerFunc(s.connect))
	// Both end with ErrServerClosed, and earlier only if loopback fails.
	s.running.Go(func() { _ = s.secure.ServeTLS(behind, "", "") })
	s.running.Go(func() { _ = s.proxy.Serve(front) })
	return s, nil
}

func listen(ctx context.Context) (net.Listener, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listening: %w", err)
	}
	return l, nil
}

func server(h http.Handler) *http.Server {
	return &http.Server{
		Handler: h, ReadHeaderTimeout: 10 * time.Second,
		// Clients that do not trust the authority are part of the tests.
		ErrorLog: log.New(io.Discard, "", 0),
	}
}

// Environment leads a Vault server to the organisation: its HTTPS goes through
// the proxy, other than to loopback, and it trusts this authority and no other
// file's.
func (s *Server) Environment() []string {
	return []string{"HTTPS_PROXY=" + s.Proxy, "SSL_CERT_FILE=" + s.CAFile}
}

// Client makes a client that reaches the organisation as Vault does.
func (s *Server) Client() (*http.Client, error) {
	proxy, err := url.Parse(s.Proxy)
	if err != nil {
		return nil, fmt.Errorf("reading the proxy's address: %w", err)
	}
	return &http.Client{Timeout: time.Minute, Transport: &http.Transport{
		Proxy:           http.ProxyURL(proxy),
		TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: s.authority},
		// Nothing is left open for Close to wait for.
		DisableKeepAlives: true,
	}}, nil
}

// Refused are the addresses that somebody asked the proxy for in vain.
func (s *Server) Refused() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.refused)
}

// connect is the proxy: it joins two connections, if they ask for the
// organisation.
func (s *Server) connect(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodConnect || r.Host != net.JoinHostPort(s.options.Host, "443") {
		s.mu.Lock()
		s.refused = append(s.refused, r.Host)
		s.mu.Unlock()
		http.Error(w, "this proxy leads to "+s.options.Host+":443 only", http.StatusForbidden)
		return
	}
	to, err := (&net.Dialer{}).DialContext(r.Context(), "tcp", s.behind)
	if err != nil {
		http.Error(w, "the organisation does not answer", http.StatusBadGateway)
		return
	}
	defer to.Close() //nolint:errcheck // both ways have ended
	from, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, "this connection cannot be handed over", http.StatusInternalServerError)
		return
	}
	defer from.Close() //nolint:errcheck // both ways have ended
	if _, err := io.WriteString(from, "HTTP/1.1 200 Connection established\r\n\r\n"); err != nil {
		return
	}
	// Either end closing ends both. The organisation's end closes with its server.
	ended := make(chan struct{}, 2)
	go func() {
		_, _ = io.Copy(to, buffered) // errors are how it ends
		ended <- struct{}{}
	}()
	go func() {
		_, _ = io.Copy(from, to) // errors are how it ends
		ended <- struct{}{}
	}()
	<-ended
}

// Close ends the servers and every call under way.
func (s *Server) Close() error {
	err := errors.Join(s.proxy.Close(), s.secure.Close())
	s.running.Wait()
	return errors.Join(err, os.RemoveAll(filepath.Dir(s.CAFile)))
}
