package bootstrap_test

import (
	"bytes"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"
)

// through puts something between the program and the server: look is called
// for every request, and forward sends it on.
func (h *harness) through(look func(r *http.Request, forward func())) *harness {
	h.t.Helper()
	to, err := url.Parse(h.server.Addr)
	if err != nil {
		h.t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(to)
	proxy.ErrorLog = log.New(io.Discard, "", 0) // programs go away on purpose here
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body) // or nobody notices that the program has gone
		if err != nil {
			h.t.Error(err)
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		look(r, func() { proxy.ServeHTTP(w, r) })
	}))
	h.t.Cleanup(server.Close)
	return h.at(server.URL)
}

// at is the same harness with another address for the program.
func (h *harness) at(address string) *harness {
	other := *h
	other.env = map[string]string{"VAULT_ADDR": address}
	for name, value := range h.env {
		if name != "VAULT_ADDR" {
			other.env[name] = value
		}
	}
	return &other
}

// A running program.
type running struct {
	h    *harness
	cmd  *exec.Cmd
	out  *lines
	err  *lines
	done chan error
}

// begin starts the program and does not wait.
func (h *harness) begin(args ...string) *running {
	h.t.Helper()
	cmd := h.command(args...)
	r := &running{h: h, cmd: cmd, out: newLines(), err: newLines(), done: make(chan error, 1)}
	cmd.Stdout, cmd.Stderr = r.out, r.err
	if err := cmd.Start(); err != nil {
		h.t.Fatal(err)
	}
	go func() { r.done <- cmd.Wait() }()
	return r
}

// end waits for the program, and ends it if that takes too long.
func (r *running) end() result {
	r.h.t.Helper()
	select {
	case <-r.done:
	case <-time.After(patience):
		_ = r.cmd.Process.Kill()
		<-r.done
		r.h.t.Errorf("the program did not end:\n%s%s", r.out, r.err)
	}
	r.h.keep([]byte(r.out.String()), []byte(r.err.String()))
	return result{r.h.t, r.cmd.Args[1:], r.cmd.ProcessState.ExitCode(), r.out.String(), r.err.String()}
}

// patience is for what takes a moment; a loaded machine is slow.
const patience = time.Minute

// lines keep what a program writes, and tell who waits for it.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
	more chan struct{}
}

func newLines() *lines { return &lines{more: make(chan struct{})} }

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.more)
	l.more = make(chan struct{})
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// await waits until a text was written.
func (l *lines) await(t *testing.T, text string) {
	t.Helper()
	deadline := time.After(patience)
	for {
		l.mu.Lock()
		there, more := strings.Contains(l.text.String(), text), l.more
		l.mu.Unlock()
		if there {
			return
		}
		select {
		case <-more:
		case <-deadline:
			t.Errorf("nobody wrote %q:\n%s", text, l)
			return
		}
	}
}
