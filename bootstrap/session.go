package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/schema"
	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/secret"
	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/vault"
)

// A Session is one run of the program against one server. Its methods may be
// used side by side.
type Session struct {
	Vault    *vault.Client
	Secrets  *secret.Store
	Redactor *secret.Redactor
	Options  Options

	record *record

	mu    sync.Mutex
	views map[string]map[string]any   // sys/mounts, sys/auth
	ids   map[schema.Reference]string // references that were looked up
}

// Options are what an operator may ask for beyond the file.
type Options struct {
	// Targets limits a plan to the objects of these names; empty: all.
	Targets []string `json:"targets,omitempty"`
	// Prune deletes what is unmanaged and of a kind that the file's ownership names.
	Prune bool `json:"prune,omitempty"`
	// Resend are secrets that are sent although a root rotation has replaced them.
	Resend []string `json:"resend,omitempty"`
	// AllowLockout lets an MFA enforcement fall on the operator's own login.
	AllowLockout bool `json:"allow_lockout,omitempty"`
}

// NewSession starts a session. It sends nothing.
func NewSession(c *vault.Client, secrets *secret.Store, r *secret.Redactor, o Options) *Session {
	s := &Session{Vault: c, Secrets: secrets, Redactor: r, Options: o}
	s.record = newRecord(s)
	s.forget()
	return s
}

// forget drops what was learned about the server, after something was changed.
func (s *Session) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.views = make(map[string]map[string]any)
	s.ids = make(map[schema.Reference]string)
}

// view is sys/mounts or sys/auth, read once: by path with its slash.
func (s *Session) view(ctx context.Context, path string) (map[string]any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if v, ok := s.views[path]; ok {
		return v, nil
	}
	v, err := s.Vault.Read(ctx, path)
	if err != nil {
		return nil, err
	}
	s.views[path] = v
	return v, nil
}

// MountOf is what the server says of a mount ("transit", "auth/okta"); nil if
// there is none at that path.
func (s *Session) MountOf(ctx context.Context, path string) (map[string]any, error) {
	view := "sys/mounts"
	if auth, ok := strings.CutPrefix(path, "auth/"); ok {
		view, path = "sys/auth", auth
	}
	all, err := s.view(ctx, view)
	if err != nil {
		return nil, err
	}
	m, _ := all[strings.Trim(path, "/")+"/"].(map[string]any)
	return m, nil
}

// Read looks at an object. What is in a mount that is not there is not there.
func (s *Session) Read(ctx context.Context, o *Object) (*State, error) {
	if o.Parent != nil {
		if path := o.Parent.MountPath(); path != "" {
			m, err := s.MountOf(ctx, path)
			if err != nil {
				return nil, err
			}
			if m == nil || o.Parent.isMount() && textOf(m, "type") != o.Parent.Labels[0] {
				return absent, nil // what is there is another's, and the mount's own line says so
			}
		}
	}
	if o.Kind.Read != nil {
		return o.Kind.Read(ctx, s, o)
	}
	return s.ReadAt(ctx, o, o.Kind.Path(o))
}

// ReadAt is the default way to look: one GET.
func (s *Session) ReadAt(ctx context.Context, o *Object, path string) (*State, error) {
	answer, err := s.Vault.Read(ctx, path)
	if err != nil {
		return nil, err
	}
	if answer == nil {
		return absent, nil
	}
	return StateOf(o, answer)
}

// StateOf takes an answer of Vault's apart.
func StateOf(o *Object, answer map[string]any) (*State, error) {
	st := &State{Exists: true, Answer: answer, Values: make(map[string]any)}
	for _, f := range o.fields() {
		if f.Local || f.Secrecy == schema.Secret {
			continue
		}
		v, err := f.Canonical(dig(answer, f.Answered()))
		if err != nil {
			return nil, fmt.Errorf("%s: Vault answers %s in a form that is not expected: %w", o.Name(), f.Answered(), err)
		}
		st.Values[f.Name] = v
	}
	return st, nil
}

// dig follows a dotted name into an answer.
func dig(answer map[string]any, name string) any {
	if v, ok := answer[name]; ok {
		return v
	}
	first, rest, dotted := strings.Cut(name, ".")
	inner, ok := answer[first].(map[string]any)
	if !dotted || !ok {
		return nil
	}
	return dig(inner, rest)
}

// Resolve puts values in the place of references. What the server or a source
// does not have (yet) is returned as unknown, and stays in the value.
func (s *Session) Resolve(ctx context.Context, v any) (any, []schema.Reference, error) {
	var failed error
	out, unknown := schema.Expand(v, func(r schema.Reference) (string, bool) {
		if r.Of == schema.RefSecret {
			return s.Secrets.Value(r.Name)
		}
		id, err := s.lookUp(ctx, r)
		if err != nil {
			failed = errors.Join(failed, err)
		}
		return id, id != ""
	})
	return out, unknown, failed
}

// lookUp finds an id on the server; "" if there is none.
func (s *Session) lookUp(ctx context.Context, r schema.Reference) (string, error) {
	s.mu.Lock()
	id, known := s.ids[r]
	s.mu.Unlock()
	if known {
		return id, nil
	}
	id, err := s.ask(ctx, r)
	if err != nil {
		return "", fmt.Errorf("looking up the %s: %w", r, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ids[r] = id
	return id, nil
}

func (s *Session) ask(ctx context.Context, r schema.Reference) (string, error) {
	switch r.Of {
	case schema.RefAccessor:
		m, err := s.MountOf(ctx, "auth/"+r.Name)
		return textOf(m, "accessor"), err
	case schema.RefMFAMethod:
		methods, err := s.mfaMethods(ctx)
		return methods[r.Name], err
	case schema.RefGroup:
		return s.idAt(ctx, "identity/group/name/"+r.Name, "id")
	case schema.RefEntity:
		return s.idAt(ctx, "identity/entity/name/"+r.Name, "id")
	case schema.RefRoleID:
		mount, role, _ := strings.Cut(r.Name, "/role/")
		return s.idAt(ctx, slashed("auth", mount, "role", role, "role-id"), "role_id")
	case schema.RefSecret:
	}
	return "", fmt.Errorf("nobody knows how to look up %q", r.Of)
}

func (s *Session) idAt(ctx context.Context, path, field string) (string, error) {
	answer, err := s.Vault.Read(ctx, path)
	if vault.IsAbsentMount(err) {
		return "", nil
	}
	return textOf(answer, field), err
}

// accessors are the accessors of every auth mount, with their paths.
func (s *Session) accessors(ctx context.Context) (map[string]string, error) {
	all, err := s.view(ctx, "sys/auth")
	if err != nil {
		return nil, err
	}
	out := make(map[string]string, len(all))
	for path, m := range all {
		if m, ok := m.(map[string]any); ok {
			out[textOf(m, "accessor")] = "auth/" + strings.TrimSuffix(path, "/")
		}
	}
	return out, nil
}

// Body is what a default write sends: what the file sets, and the default for
// what it leaves out where the server has something else.
func (s *Session) Body(ctx context.Context, c *Change) (map[string]any, error) {
	body := make(map[string]any)
	changed := make(map[string]bool, len(c.Fields))
	for _, f := range c.Fields {
		changed[f.Field] = true
	}
	for _, f := range c.Object.fields() {
		if f.Local || f.Immutable && c.Action != Create || slices.Contains(c.Withheld, f.Name) {
			continue
		}
		v, set := c.Object.Value(f.Name)
		if !set {
			if changed[f.Name] || f.Default != nil && c.Object.Kind.FullReplace {
				body[f.Written()] = f.Unset()
			}
			continue
		}
		sent, err := s.Sent(ctx, c.Object, f, v)
		if err != nil {
			return nil, err
		}
		body[f.Written()] = sent
	}
	return body, nil
}

// Sent is a value in the form in which Vault takes it, with every reference
// resolved.
func (s *Session) Sent(ctx context.Context, o *Object, f *schema.Field, v any) (any, error) {
	v, unknown, err := s.Resolve(ctx, v)
	if err != nil {
		return nil, err
	}
	if len(unknown) > 0 {
		return nil, s.missing(o, f, unknown[0])
	}
	return f.Wire(v)
}

// missing says why a reference has no value.
func (s *Session) missing(o *Object, f *schema.Field, r schema.Reference) error {
	if r.Of == schema.RefSecret {
		if why := s.Secrets.Why(r.Name); why != nil {
			return fmt.Errorf("%s: %s: %w", o.Name(), f.Name, why)
		}
		return fmt.Errorf("%s: %s: secret %q was not loaded", o.Name(), f.Name, r.Name)
	}
	return fmt.Errorf("%s: %s: the server has no %s", o.Name(), f.Name, r)
}

// mfaMethods are the ids of the MFA methods by their names.
func (s *Session) mfaMethods(ctx context.Context) (map[string]string, error) {
	ids, info, err := s.Vault.ListInfo(ctx, "identity/mfa/method")
	if err != nil {
		return nil, err
	}
	out := make(map[string]string, len(ids))
	for _, id := range ids {
		m, _ := info[id].(map[string]any)
		if name := textOf(m, "name"); name != "" {
			out[name] = id
		}
	}
	return out, nil
}

// textOf is a string of an answer, or "".
func textOf(m map[string]any, name string) string {
	s, _ := m[name].(string)
	return s
}

func copyOf(m map[string]any) map[string]any {
	if m == nil {
		return make(map[string]any)
	}
	return maps.Clone(m)
}
