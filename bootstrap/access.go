package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/schema"
	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/vault"
)

// Rights are capabilities by path.
type Rights map[string][]string

func (r Rights) add(accesses ...Access) {
	for _, a := range accesses {
		r[a.Path] = append(r[a.Path], a.Capabilities...)
		slices.Sort(r[a.Path])
		r[a.Path] = slices.Compact(r[a.Path])
	}
}

// Policy is the rights as a policy's text.
func (r Rights) Policy() string {
	var b strings.Builder
	for _, path := range slices.Sorted(maps.Keys(r)) {
		fmt.Fprintf(&b, "path %s {\n  capabilities = %s\n}\n", jsonText(path), strings.ReplaceAll(jsonText(r[path]), ",", ", "))
	}
	return b.String()
}

// access is what an object needs.
func (o *Object) access() []Access {
	var out []Access
	if o.Kind.Access != nil {
		out = o.Kind.Access(o)
	} else if o.Kind.Path != nil {
		out = []Access{{o.Kind.Path(o), []string{"create", "read", "update", "delete"}}}
	}
	if o.Kind.ListPath != nil {
		out = append(out, Access{o.Kind.ListPath(o), []string{"list"}})
	}
	return out
}

// ownRights are those that every run needs, whatever the file says.
func ownRights() Rights {
	r := make(Rights)
	r.add(
		Access{"sys/mounts", []string{"read"}},
		Access{"sys/auth", []string{"read"}},
		Access{"auth/token/lookup-self", []string{"read"}},
		Access{"sys/capabilities-self", []string{"update"}},
		Access{"sys/mounts/" + recordMount, []string{"create", "update", "delete"}},
		Access{"sys/mounts/" + fingerprintMount, []string{"create", "update", "delete"}},
		Access{recordMount + "/data/*", []string{"create", "read", "update"}},
		Access{recordMount + "/metadata/*", []string{"read", "delete", "list"}},
		Access{slashed(fingerprintMount, "keys", fingerprintKey), []string{"create", "read", "update"}},
		Access{slashed(fingerprintMount, "hmac", fingerprintKey), []string{"update"}},
	)
	return r
}

// Needs is the least that a token must be allowed to plan, apply, verify and
// destroy a file.
func Needs(d *Desired) Rights {
	r := ownRights()
	for _, o := range d.Objects {
		r.add(o.access()...)
	}
	for _, c := range d.Checks {
		r.add(c.access(d.Objects)...)
	}
	for _, name := range d.Ownership.Prune {
		r.add(pruneAccess(d, name)...)
	}
	for _, secret := range d.Secrets {
		if path, ok := strings.CutPrefix(secret.From, "vault:"); ok {
			r.add(sourceAccess(path)...)
		}
	}
	return r
}

// sourceAccess is what reading a secret from a kv of this server takes. Which
// version it is, and where its mount ends, only the server knows.
func sourceAccess(source string) []Access {
	path, _, _ := strings.Cut(source, "#")
	path = strings.Trim(path, "/")
	out := []Access{{"sys/internal/ui/mounts/" + path, []string{"read"}}, {path, []string{"read"}}}
	for i, r := range path {
		if r == '/' {
			out = append(out, Access{path[:i] + "/data" + path[i:], []string{"read"}})
		}
	}
	return out
}

// pruneAccess is what finding and deleting the objects of a kind takes, those
// that are in no file too.
func pruneAccess(d *Desired, name string) []Access {
	i := slices.IndexFunc(kinds, func(k *Kind) bool { return k.Name == name })
	if i < 0 {
		return nil
	}
	kind := kinds[i]
	probes := []*Object{{Kind: kind}}
	if kind.Block != nil && nested(kind) {
		probes = nil
		for _, o := range d.Objects {
			if slices.Contains(o.block().Blocks, kind.Block) {
				probes = append(probes, &Object{Kind: kind, Parent: o})
			}
		}
	}
	var out []Access
	for _, probe := range probes {
		list := kind.ListPath(probe)
		out = append(out, Access{list, []string{"list", "read"}}, Access{list + "/*", []string{"read", "delete", "sudo"}})
	}
	return out
}

// A DeniedError is a token that may not do what is needed.
type DeniedError struct {
	// Doing is what was under way.
	Doing string
	// Missing are the rights that the token lacks.
	Missing Rights
}

func (e *DeniedError) Error() string {
	return fmt.Sprintf("the token may not do what %s needs. These policy lines are missing:\n\n%s", e.Doing, e.Missing.Policy())
}

// denied turns the refusals among errors into one error that names every right
// that is missing; other errors come first.
func denied(doing string, errs []error) error {
	missing := make(Rights)
	for _, err := range errs {
		switch {
		case err == nil:
		case vault.StatusOf(err) != 403:
			return err
		default:
			missing.add(refused(err))
		}
	}
	if len(missing) > 0 {
		return &DeniedError{Doing: doing, Missing: missing}
	}
	return nil
}

// refused is the right that would have helped.
func refused(err error) Access {
	e, ok := errors.AsType[*vault.Error](err)
	if !ok {
		return Access{}
	}
	switch e.Operation {
	case "reading":
		return Access{e.Path, []string{"read"}}
	case "listing":
		return Access{e.Path, []string{"list"}}
	case "deleting":
		return Access{e.Path, []string{"delete"}}
	}
	return Access{e.Path, []string{"create", "update"}}
}

func only(capabilities []string, wanted ...string) []string {
	var out []string
	for _, c := range capabilities {
		if slices.Contains(wanted, c) {
			out = append(out, c)
		}
	}
	return out
}

// Preflight looks, before anything is written, whether what a plan needs is
// there: the secrets, and the token's rights.
func (s *Session) Preflight(ctx context.Context, p *Plan) error {
	var blocked []string
	for _, c := range p.Pending() {
		if c.Action == Blocked {
			blocked = append(blocked, c.Object.Name())
		}
	}
	if len(blocked) > 0 {
		return fmt.Errorf("%s cannot be changed in place (see ! in the plan), so nothing was written: change the file, or delete the object in Vault by hand and apply again", strings.Join(blocked, ", "))
	}
	for _, c := range p.Pending() {
		if c.Refused != "" {
			return fmt.Errorf("%s: nothing was written: %s", c.Object.Name(), c.Refused)
		}
	}
	if err := s.needParents(ctx, p); err != nil {
		return err
	}
	if err := s.needReferences(ctx, p); err != nil {
		return err
	}
	if err := s.needSecrets(p); err != nil {
		return err
	}
	want, err := s.ownNeeds(ctx, p)
	if err != nil {
		return err
	}
	for _, c := range p.Pending() {
		for _, a := range c.Object.access() {
			if c.Action == Delete {
				a.Capabilities = only(a.Capabilities, "delete", "read", "list")
			} else {
				a.Capabilities = slices.DeleteFunc(slices.Clone(a.Capabilities), func(c string) bool { return c == "delete" })
			}
			want.add(a)
		}
	}
	missing, err := s.lacks(ctx, want)
	if err != nil {
		return err
	}
	if len(missing) > 0 {
		return &DeniedError{Doing: "this apply", Missing: missing}
	}
	return s.ready(ctx, p)
}

// ready asks the kinds what else may stand in the way.
func (s *Session) ready(ctx context.Context, p *Plan) error {
	for _, c := range p.Pending() {
		if c.Action == Delete || c.Object.Kind.Ready == nil {
			continue
		}
		if err := c.Object.Kind.Ready(ctx, s, c); err != nil {
			return fmt.Errorf("nothing was written: %s: %w", c.Object.Name(), err)
		}
	}
	return nil
}

// lacks asks the server which of the rights the token does not have.
func (s *Session) lacks(ctx context.Context, want Rights) (Rights, error) {
	missing := make(Rights)
	for paths := range slices.Chunk(slices.Sorted(maps.Keys(want)), 256) {
		answer, err := s.Vault.Write(ctx, "sys/capabilities-self", map[string]any{"paths": paths})
		if err != nil {
			return nil, fmt.Errorf("asking what the token may do: %w", err)
		}
		for _, path := range paths {
			have := stringsOf(answer.Data[path])
			if slices.Contains(have, "root") {
				continue
			}
			for _, c := range want[path] {
				if !slices.Contains(have, c) {
					missing.add(Access{path, []string{c}})
				}
			}
		}
	}
	return missing, nil
}

// needReferences refuses a plan that refers to what is neither on the server nor
// made by it: an enforcement that cannot be made would leave logins without a
// second factor.
func (s *Session) needReferences(ctx context.Context, p *Plan) error {
	made := make(map[string]bool)
	for _, c := range p.Pending() {
		if c.Action != Delete {
			made[c.Object.Name()] = true
		}
	}
	var lines []string
	for _, c := range p.Pending() {
		if c.Action == Delete {
			continue
		}
		for _, field := range sortedKeys(c.Object.Values) {
			v := c.Object.Values[field]
			_, unknown, err := s.Resolve(ctx, v.V)
			if err != nil {
				return err
			}
			for _, r := range unknown {
				if r.Of != schema.RefSecret && !slices.ContainsFunc(makers(r), func(name string) bool { return made[name] }) {
					lines = append(lines, fmt.Sprintf("  %s: %s: %s: there is no %s %q on the server, and none in the plan", v.At, c.Object.Name(), field, referenceWords[r.Of], r.Name))
				}
			}
		}
	}
	if len(lines) > 0 {
		return fmt.Errorf("nothing was written, because what the file refers to is not there:\n%s", strings.Join(lines, "\n"))
	}
	return nil
}

// makers are the names of the objects that bring about what is referred to.
func makers(r schema.Reference) []string {
	switch r.Of {
	case schema.RefAccessor:
		return []string{"mount auth/" + r.Name}
	case schema.RefMFAMethod:
		var names []string
		for _, of := range []string{"okta", "totp", "duo", "pingid"} {
			names = append(names, (&Object{Kind: mfaKind, Labels: []string{of, r.Name}}).Name())
		}
		return names
	case schema.RefGroup:
		return []string{(&Object{Kind: groupKind, Labels: []string{strings.ToLower(r.Name)}}).Name()}
	case schema.RefRoleID:
		mount, role, _ := strings.Cut(r.Name, "/role/")
		return []string{"auth/" + mount + " role " + role}
	case schema.RefEntity, schema.RefSecret:
	}
	return nil
}

// needSecrets refuses a plan whose secrets are not all there.
func (s *Session) needSecrets(p *Plan) error {
	var lines []string
	seen := make(map[string]bool)
	for _, c := range p.Pending() {
		if c.Action == Delete {
			continue
		}
		for _, name := range c.Object.secrets(c.Withheld) {
			if _, ok := s.Secrets.Value(name); ok || seen[name] {
				continue
			}
			seen[name] = true
			lines = append(lines, fmt.Sprintf("  secret %q, for %s: %v", name, c.Object.Name(), s.Secrets.Why(name)))
		}
	}
	if len(lines) > 0 {
		return fmt.Errorf("nothing was written, because secrets are missing:\n%s", strings.Join(lines, "\n"))
	}
	return nil
}

func stringsOf(v any) []string {
	items, _ := v.([]any)
	out := make([]string, 0, len(items))
	for _, item := range items {
		if s, ok := item.(string); ok {
			out = append(out, s)
		}
	}
	return out
}
