package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap"
	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/file"
	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/secret"
	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/vault"
)

// defaultFiles are what is read when no file is named.
var defaultFiles = []string{"bootstrap.hcl", "bootstrap.yaml", "bootstrap.yml", "bootstrap.json"}

// files are the files of this run.
func (p *program) files() ([]string, error) {
	if len(p.flags.files) > 0 {
		return p.flags.files, nil
	}
	var found []string
	for _, name := range defaultFiles {
		if info, err := os.Stat(name); err == nil && !info.IsDir() {
			found = append(found, name)
		}
	}
	switch len(found) {
	case 1:
		return found, nil
	case 0:
		return nil, usageError{errors.New("there is no bootstrap.hcl or bootstrap.yaml here: name a file or a folder with -f")}
	}
	return nil, usageError{fmt.Errorf("there are %s here: name the one that is meant with -f", strings.Join(found, " and "))}
}

// load reads the files, and shows what is wrong with them.
func (p *program) load() (*bootstrap.Desired, error) {
	files, err := p.files()
	if err != nil {
		return nil, err
	}
	d, diags := bootstrap.Load(files)
	return d, p.found(diags)
}

// found shows diagnostics, and is an error if there is one among them.
func (p *program) found(diags file.Diagnostics) error {
	p.diags = append(p.diags, diags...)
	if !p.flags.json {
		p.tell().Diagnostics(diags)
	}
	if diags.HasErrors() {
		return &invalidError{diags}
	}
	return nil
}

// session connects to the server, looks whether it and the token can be used,
// and says where secrets come from. None is read yet.
func (p *program) session(ctx context.Context, d *bootstrap.Desired, o bootstrap.Options) (*bootstrap.Session, error) {
	if err := knownSecrets(d, o.Resend); err != nil {
		return nil, err
	}
	client, err := vault.Connect(vault.Options{
		Namespace: p.flags.namespace, Redact: p.redactor.String, UserAgent: "ai-keys-bootstrap/" + version(),
	})
	if err != nil {
		return nil, err
	}
	p.server = client.Address()
	if ns := cmp.Or(p.flags.namespace, os.Getenv("VAULT_NAMESPACE")); ns != "" {
		p.server += " (namespace " + strings.Trim(ns, "/") + ")"
	}
	if err := p.await(ctx, client); err != nil {
		return nil, err
	}
	if err := p.lookUp(ctx, client); err != nil {
		return nil, err
	}
	store := secret.NewStore(secret.World{
		Env: os.LookupEnv, Stdin: p.in, Prompt: secret.Terminal(),
		Vault: func(ctx context.Context, path string) (map[string]any, error) { return readKV(ctx, client, path) },
	}, p.redactor)
	s := bootstrap.NewSession(client, store, p.redactor, o)
	found := s.Declare(d)
	if p.task != "destroy" {
		found = append(found, s.Doubts(ctx, d)...)
	}
	return s, p.found(found)
}

// knownSecrets refuses --resend-secret with a name that the file does not have.
func knownSecrets(d *bootstrap.Desired, names []string) error {
	for _, name := range names {
		if !slices.ContainsFunc(d.Secrets, func(s file.Secret) bool { return s.Name == name }) {
			known := make([]string, len(d.Secrets))
			for i, s := range d.Secrets {
				known[i] = s.Name
			}
			return usageError{fmt.Errorf("--resend-secret %q: the file has no such secret%s", name, meant(name, "", known))}
		}
	}
	return nil
}

// await looks whether the server can be used; with --wait until it can.
func (p *program) await(ctx context.Context, client *vault.Client) error {
	deadline := time.Now().Add(p.flags.wait)
	said := ""
	for {
		err := p.look(ctx, client)
		if err == nil || ctx.Err() != nil || errors.Is(err, errTooOld) || time.Now().After(deadline) {
			return err
		}
		if why := waitingFor(err); why != said {
			p.tell().Line("waiting for %s: %s", p.server, why)
			said = why
		}
		if err := pause(ctx, time.Second); err != nil {
			return err
		}
	}
}

// oneLook is how long one look may take while there is time for another.
const oneLook = 10 * time.Second

func (p *program) look(ctx context.Context, client *vault.Client) error {
	if p.flags.wait > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, min(max(p.flags.wait, time.Second), oneLook))
		defer cancel()
	}
	health, err := client.Health(ctx)
	if err != nil {
		return err
	}
	return usable(health, p.server)
}

func waitingFor(err error) string {
	if r, ok := errors.AsType[*state](err); ok {
		return r.short
	}
	return "it does not answer"
}

// A state is one in which a server cannot be used.
type state struct {
	short, whole string
	kind         error
}

func (s *state) Error() string { return s.whole }

// Unwrap is the kind.
func (s *state) Unwrap() error { return s.kind }

var errTooOld = fmt.Errorf("%w: it is too old", errServer)

// The oldest Vault whose API has everything that is used here.
const oldestMajor, oldestMinor = 1, 16

// usable is nil for a server that can be used.
func usable(h vault.Health, server string) error {
	switch {
	case !h.Initialised:
		return &state{"it is not initialised", server + " is not initialised: run vault operator init first", errServer}
	case h.Sealed:
		return &state{"it is sealed", server + " is sealed: unseal it with vault operator unseal, or give --wait 5m to wait for it", errServer}
	case tooOld(h.Version):
		return &state{"it is too old", fmt.Sprintf("%s is Vault %s, and this needs %d.%d or later", server, h.Version, oldestMajor, oldestMinor), errTooOld}
	}
	return nil
}

// tooOld tells whether a version is one from before; what is no version is not.
func tooOld(v string) bool {
	parts := strings.SplitN(strings.TrimPrefix(v, "v"), ".", 3)
	if len(parts) < 2 {
		return false
	}
	major, err := strconv.Atoi(parts[0])
	minor, err2 := strconv.Atoi(parts[1])
	if err != nil || err2 != nil {
		return false
	}
	return major < oldestMajor || major == oldestMajor && minor < oldestMinor
}

// shortestMasked is the length from which a token is masked in what is
// printed: a development server's "root" is a word in every other line.
const shortestMasked = 8

// lookUp looks whether the server takes the token.
func (p *program) lookUp(ctx context.Context, client *vault.Client) error {
	self, err := client.Read(ctx, "auth/token/lookup-self")
	if vault.StatusOf(err) == 403 {
		if strings.Contains(err.Error(), "invalid token") {
			return because(errToken, "%s does not take the token: it has ended, or is of another server or namespace; set VAULT_TOKEN, or log in with `vault login`", p.server)
		}
		return because(errToken, "%s does not take the token, or the token may not look at itself, which the policy \"default\" allows; set VAULT_TOKEN, or log in with `vault login`", p.server)
	}
	if err != nil {
		return err
	}
	if id, _ := self["id"].(string); len(id) >= shortestMasked {
		return p.redactor.Add(id)
	}
	return nil
}

// readKV reads an entry of a key-value mount of either version. Which mount it
// is in can be asked by every token that may use it.
func readKV(ctx context.Context, client *vault.Client, path string) (map[string]any, error) {
	path = strings.Trim(path, "/")
	mount, err := client.Read(ctx, "sys/internal/ui/mounts/"+path)
	if err != nil {
		return nil, err
	}
	at, _ := mount["path"].(string)
	options, _ := mount["options"].(map[string]any)
	if version, _ := options["version"].(string); version != "2" {
		return client.Read(ctx, path)
	}
	answer, err := client.Read(ctx, strings.TrimSuffix(at, "/")+"/data/"+strings.TrimPrefix(path, at))
	if err != nil {
		return nil, err
	}
	entry, _ := answer["data"].(map[string]any)
	return entry, nil
}

// pause waits, unless the context ends before.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// process tells the lock who holds it.
func process() bootstrap.Process {
	host, _ := os.Hostname() // unknown is none
	return bootstrap.Process{
		Holder: bootstrap.Holder{Host: host, Place: place(), PID: os.Getpid(), Began: began(os.Getpid())},
		Alive:  func(pid int, then string) bool { return began(pid) == then },
	}
}
