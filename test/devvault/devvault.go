// Package devvault runs real Vault servers on this machine, with the engine
// mounted and transit and an AppRole set up for it: for the end-to-end tests
// and for the demo. It is no way to run Vault for anything else.
//
// A [Server] listens on loopback, on ports that were free, keeps everything
// below one directory, and inherits nothing from the environment. There are two
// kinds: a dev server, in memory and ready at once, and one that keeps its data
// ([Options].Persistent), which can be stopped, killed and started again.
//
// Both serve sys/raw, which shows what is in storage behind Vault's own
// encryption; a production server must not.
package devvault

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/test/ports"
)

// Options say how to run a server.
type Options struct {
	// Without a Plugin the server has an empty plugin directory.
	Binaries
	// Dir is where the server keeps everything. It must exist; the caller removes it.
	Dir string
	// Persistent keeps the data, on raft storage.
	Persistent bool
	// Files keeps them in a file each instead: such a server has no cluster.
	Files bool
	// Data is where they are kept; empty: below Dir.
	Data string
	// Detached lets the server outlive the process that started it.
	Detached bool
	// LogLevel is Vault's; empty: info.
	LogLevel string
	// Env is more environment for the server, as NAME=value: a proxy, a CA.
	Env []string
}

// A Server is a running Vault. It is not safe for concurrent use, other than
// its clients.
type Server struct {
	Options

	// Addr is the server's URL.
	Addr string
	// RootToken may do everything.
	RootToken string

	cluster   string  // host:port
	node      string  // its name in the cluster
	joins     *Server // whose cluster it joins; nil: it has its own
	unsealKey string
	process   *Process
}

// How long a server may take to start or to stop. A loaded machine is slow.
const patience = time.Minute

// Start runs a server and returns when it answers. A persistent one is also
// initialised and unsealed.
func Start(ctx context.Context, o Options) (*Server, error) {
	s, err := place(ctx, o, "one")
	if err != nil {
		return nil, err
	}
	return s, s.begin(ctx)
}

// place prepares everything on disk for a server, which has a name in its cluster.
func place(ctx context.Context, o Options, node string) (*Server, error) {
	dir, err := filepath.EvalSymlinks(o.Dir) // Vault refuses a plugin directory behind a link
	if err != nil {
		return nil, fmt.Errorf("looking for the server's directory: %w", err)
	}
	o.Dir, o.LogLevel = dir, cmp.Or(o.LogLevel, "info")
	port, err := ports.Take(ctx, 2) // the server's, and its cluster's
	if err != nil {
		return nil, err
	}
	s := &Server{
		Options: o,
		node:    node,
		Addr:    "http://127.0.0.1:" + strconv.Itoa(port),
		cluster: "127.0.0.1:" + strconv.Itoa(port+1),
	}
	if !o.Persistent {
		s.RootToken = "root-" + rand.Text()
	}
	for _, d := range []string{s.pluginDir(), s.home(), s.data()} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return nil, fmt.Errorf("preparing the server's directory: %w", err)
		}
	}
	if err := s.placePlugin(); err != nil {
		return nil, err
	}
	if err := os.WriteFile(s.configFile(), []byte(s.config()), 0o600); err != nil {
		return nil, fmt.Errorf("writing the server's configuration: %w", err)
	}
	return s, nil
}

// begin runs the process and waits until it can be used.
func (s *Server) begin(ctx context.Context) (err error) {
	if s.process, err = s.run(); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Kill())
		}
	}()
	if s.Persistent {
		if err := s.open(ctx); err != nil {
			return err
		}
	}
	return s.await(ctx, "take requests", http.StatusOK)
}

// Restart starts a persistent server again after [Server.Stop] or [Server.Kill].
func (s *Server) Restart(ctx context.Context) error {
	if !s.Persistent {
		return errors.New("a dev server forgets everything when it stops: it cannot be started again")
	}
	return s.begin(ctx)
}

// open initialises a new server, and unseals it.
func (s *Server) open(ctx context.Context) error {
	c, err := s.Client("")
	if err != nil {
		return err
	}
	if s.unsealKey == "" {
		if err := s.await(ctx, "be initialised", http.StatusNotImplemented); err != nil {
			return err
		}
	}
	if s.unsealKey == "" && s.joins != nil {
		if err := s.join(ctx, c); err != nil {
			return err
		}
	} else if s.unsealKey == "" {
		made, err := c.Sys().InitWithContext(ctx, &api.InitRequest{SecretShares: 1, SecretThreshold: 1})
		if err != nil {
			return fmt.Errorf("initialising Vault: %w", err)
		}
		s.unsealKey, s.RootToken = made.KeysB64[0], made.RootToken
	}
	return s.Unseal(ctx)
}

// Unseal unseals a persistent server that is sealed.
func (s *Server) Unseal(ctx context.Context) error {
	c, err := s.Client("")
	if err != nil {
		return err
	}
	if err := s.await(ctx, "be unsealed", http.StatusServiceUnavailable); err != nil {
		return err
	}
	if _, err := c.Sys().UnsealWithContext(ctx, s.unsealKey); err != nil {
		return fmt.Errorf("unsealing Vault: %w", err)
	}
	return nil
}

// await polls sys/health until it answers with a status.
func (s *Server) await(ctx context.Context, what string, status int) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	tick := time.NewTicker(25 * time.Millisecond)
	defer tick.Stop()
	for s.health(ctx) != status {
		select {
		case <-tick.C:
		case <-s.process.done:
			return fmt.Errorf("the server ended before it could %s:\n%s", what, s.logTail())
		case <-ctx.Done():
			return fmt.Errorf("the server could not %s: %w; its log ends so:\n%s", what, context.Cause(ctx), s.logTail())
		}
	}
	return nil
}

// health is the status of sys/health; 0: no answer.
func (s *Server) health(ctx context.Context) int {
	url := s.Addr + "/v1/sys/health"
	if s.joins != nil {
		url += "?standbyok=true" // it forwards
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return 0
	}
	resp, err := (&http.Client{Timeout: patience}).Do(req)
	if err != nil {
		return 0
	}
	_ = resp.Body.Close() // nothing of it is read
	return resp.StatusCode
}

// Client makes a client that takes nothing from the environment and repeats no
// request. Empty: without a token.
func (s *Server) Client(token string) (*api.Client, error) {
	c, err := api.NewClient(&api.Config{
		Address: s.Addr,
		Timeout: 2 * patience,
		HttpClient: &http.Client{
			Transport:     &http.Transport{},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	})
	if err != nil {
		return nil, fmt.Errorf("making a client of Vault: %w", err)
	}
	c.SetToken(token)
	c.ClearNamespace()
	return c, nil
}

// Environment is what a program needs to talk to the server, and no more.
// Empty: without a token.
func (s *Server) Environment(token string) []string {
	env := []string{"VAULT_ADDR=" + s.Addr, "HOME=" + s.home(), "PATH=" + filepath.Dir(s.Vault) + ":/usr/bin:/bin"}
	if token != "" {
		env = append(env, "VAULT_TOKEN="+token)
	}
	return env
}

// Where things are below Dir.
func (s *Server) configFile() string { return filepath.Join(s.Dir, "vault.hcl") }
func (s *Server) data() string       { return cmp.Or(s.Data, filepath.Join(s.Dir, "data")) }
func (s *Server) home() string       { return filepath.Join(s.Dir, "home") }
func (s *Server) pluginDir() string  { return filepath.Join(s.Dir, "plugins") }

// LogFile is where the server and the plugin log.
func (s *Server) LogFile() string { return filepath.Join(s.Dir, "vault.log") }

// AuditFile is where [Server.EnableAudit] logs.
func (s *Server) AuditFile() string { return filepath.Join(s.Dir, "audit.log") }

func (s *Server) host() string { return strings.TrimPrefix(s.Addr, "http://") }

// run starts the process.
func (s *Server) run() (*Process, error) {
	args := []string{"server", "-config=" + s.configFile(), "-log-level=" + s.LogLevel}
	env := append(s.Environment(""), s.Env...)
	if !s.Persistent {
		args = append(args, "-dev", "-dev-no-store-token", "-dev-listen-address="+s.host())
		env = append(env, "VAULT_DEV_ROOT_TOKEN_ID="+s.RootToken) // out of the list of processes
	}
	log, err := os.OpenFile(s.LogFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening Vault's log: %w", err)
	}
	defer log.Close() //nolint:errcheck // the child has its own
	// It ends by Stop or Kill, which say how; a context would only know how to kill.
	cmd := exec.Command(s.Vault, args...) //nolint:gosec,noctx // the caller's own binary; see above
	cmd.Env, cmd.Dir, cmd.Stdout, cmd.Stderr = env, s.Dir, log, log
	return Spawn(cmd, s.Detached)
}

// Stop ends the server as an operator would.
func (s *Server) Stop() error { return s.process.End(syscall.SIGINT) }

// Kill ends the server and its plugins as a crash of the machine would.
func (s *Server) Kill() error {
	plugins, err := s.PluginProcesses()
	if errors.Is(err, errors.ErrUnsupported) {
		err = nil
	}
	err = errors.Join(err, s.process.End(syscall.SIGKILL))
	for _, pid := range plugins { // they do not end with their parent
		if gone := syscall.Kill(pid, syscall.SIGKILL); gone != nil && !errors.Is(gone, syscall.ESRCH) {
			err = errors.Join(err, fmt.Errorf("ending the plugin: %w", gone))
		}
	}
	return err
}

// Ended reports whether the server's process has ended, however that came.
func (s *Server) Ended() bool {
	select {
	case <-s.process.done:
		return true
	default:
		return false
	}
}

// PID is the server's process.
func (s *Server) PID() int { return s.process.PID() }

func (s *Server) logTail() string {
	log, err := os.ReadFile(s.LogFile())
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(log)), "\n")
	return strings.Join(lines[max(0, len(lines)-12):], "\n")
}
