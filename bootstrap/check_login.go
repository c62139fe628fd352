package bootstrap

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/schema"
	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/vault"
)

// loginFields are what can be said of every login: what its token must have,
// what it must be allowed, and what it must not.
var loginFields = []*schema.Field{
	{Name: "policies", Type: schema.Set, Lower: true, Doc: "Policies that the token must have; it may have others."},
	{Name: "allowed", Type: schema.Any, Check: checkAllowed, Doc: `What it must be allowed, by path, as in { "ai-keys/creds/app" = ["read"] }.`},
	{Name: "denied", Type: schema.Set, Doc: "Paths at which it must be allowed nothing."},
	{Name: "mfa", Type: schema.Bool, Doc: "Vault must ask for a second factor: a login that gets in without one fails."},
	{Name: "totp", Secrecy: schema.Secret, Doc: "What one-time codes are computed from, in base32 or as otpauth://…; or one code. For Vault's second factor and for Okta's."},
}

// checkAllowed wants lists of capabilities by path.
func checkAllowed(v any) error {
	paths, ok := v.(map[string]any)
	if v != nil && !ok {
		return errors.New(`paths with their capabilities are wanted, as in { "ai-keys/creds/app" = ["read"] }`)
	}
	for _, path := range sortedKeys(paths) {
		if _, err := capabilitiesOf(paths[path]); err != nil {
			return fmt.Errorf("%q: %w", path, err)
		}
	}
	return nil
}

func capabilitiesOf(v any) ([]string, error) {
	f, _ := (&schema.Block{Fields: ruleFields}).Field("capabilities")
	c, err := f.Canonical(v)
	if err != nil {
		return nil, err
	}
	list, _ := c.([]string)
	if len(list) == 0 {
		return nil, errors.New("a list of capabilities is wanted; what must not be allowed stands in denied")
	}
	return list, f.Check(list)
}

// loginAccess is what it takes to look at somebody else's token and to end it:
// its own rights may not be enough. To log in takes none.
func loginAccess(*target) []Access {
	return []Access{
		{"sys/capabilities-accessor", []string{"update"}},
		{"auth/token/revoke-accessor", []string{"update"}},
	}
}

func proveOkta(ctx context.Context, s *Session, t *target) (string, error) {
	password, err := t.text(ctx, s, "password")
	if err != nil {
		return "", err
	}
	return s.proveLogin(ctx, t, slashed(t.mount, "login", t.name), func(code string) map[string]any {
		body := map[string]any{"password": password}
		if code != "" {
			body["totp"] = code // Vault leaves it aside unless Okta asks
		}
		return body
	})
}

func proveJWT(ctx context.Context, s *Session, t *target) (string, error) {
	token, err := t.text(ctx, s, "token")
	if err != nil {
		return "", err
	}
	return s.proveLogin(ctx, t, slashed(t.mount, "login"), func(string) map[string]any {
		return map[string]any{"role": t.name, "jwt": token}
	})
}

// role is the AppRole that a check is about.
func (t *target) role() *Object {
	if t.object != nil {
		return t.object
	}
	in := t.in
	if in == nil {
		in = &Object{Kind: &Kind{Mounts: AuthMount}, Labels: []string{"approle", strings.TrimPrefix(t.mount, "auth/")}}
	}
	return &Object{Kind: approleRoleKind, Parent: in, Labels: []string{strings.ToLower(t.name)}}
}

func approleCheckAccess(t *target) []Access {
	role := t.role()
	return append([]Access{
		{role.Kind.Path(role), []string{"read"}},
		{roleIDPath(role), []string{"read"}},
		{role.Kind.Path(role) + "/secret-id", []string{"update"}},
	}, loginAccess(t)...)
}

func proveAppRole(ctx context.Context, s *Session, t *target) (string, error) {
	role := t.role()
	st, err := s.ReadAt(ctx, role, role.Kind.Path(role))
	switch {
	case err != nil:
		return "", err
	case !st.Exists:
		return "", errors.New("there is no such role")
	}
	login := make(map[string]any)
	if login["role_id"], err = s.roleID(ctx, role); err != nil {
		return "", err
	}
	if st.Values["bind_secret_id"] == true {
		if login["secret_id"], err = s.proofSecretID(ctx, role, st); err != nil {
			return "", fmt.Errorf("issuing a secret-id: %w", err)
		}
	}
	return s.proveLogin(ctx, t, slashed(t.mount, "login"), func(string) map[string]any { return login })
}

// proveLogin logs in, looks at the token, and revokes it.
func (s *Session) proveLogin(ctx context.Context, t *target, path string, body func(code string) map[string]any) (did string, err error) {
	factor, err := s.factorOf(ctx, t)
	if err != nil {
		return "", err
	}
	auth, err := s.enter(ctx, t, path, body, factor)
	if err != nil {
		return "", err
	}
	if auth.Token == "" {
		return "the first factor was accepted, and a second is asked for: " + methodsOf(auth), nil
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), finishing)
		defer cancel()
		err = errors.Join(err, s.revokeLogin(ctx, auth))
	}()
	if err := s.Redactor.Add(auth.Token); err != nil {
		return "", fmt.Errorf("masking the token: %w", err)
	}
	wrong, err := s.wrongWith(ctx, t, auth)
	if err != nil {
		return "", err
	}
	if len(wrong) > 0 {
		return "", errors.New("logged in; " + strings.Join(wrong, "; "))
	}
	return t.loggedIn(auth), nil
}

// loggedIn says what was proved.
func (t *target) loggedIn(auth *vault.Auth) string {
	text := "logged in; policies: " + cmp.Or(strings.Join(auth.Policies, ", "), "none")
	if n := len(t.allowed()); n > 0 {
		text += "; may do what it should at " + counted(n, "path")
	}
	if n := len(t.texts("denied")); n > 0 {
		text += "; may do nothing at " + counted(n, "path")
	}
	return text
}

func (t *target) allowed() map[string][]string {
	paths, _ := t.Values["allowed"].V.(map[string]any)
	out := make(map[string][]string, len(paths))
	for path, v := range paths {
		out[path], _ = capabilitiesOf(v) // checked when the file was read
	}
	return out
}

// wrongWith finds what a token should have, and has not, or the other way round.
func (s *Session) wrongWith(ctx context.Context, t *target, auth *vault.Auth) ([]string, error) {
	var wrong []string
	lacks := slices.DeleteFunc(t.texts("policies"), func(p string) bool { return slices.Contains(auth.Policies, strings.ToLower(p)) })
	if len(lacks) > 0 {
		wrong = append(wrong, fmt.Sprintf("the token lacks the policies %s; it has %s", quotedList(lacks), cmp.Or(quotedList(auth.Policies), "none")))
	}
	if t.is("mfa") && len(auth.MFA) == 0 {
		wrong = append(wrong, "Vault asked for no second factor: no login enforcement falls on this login")
	}
	allowed, denied := t.allowed(), t.texts("denied")
	if len(allowed)+len(denied) == 0 {
		return wrong, nil
	}
	have, err := s.capabilities(ctx, auth, slices.Concat(sortedKeys(allowed), denied))
	if err != nil {
		return nil, fmt.Errorf("asking what the token may do: %w", err)
	}
	for _, path := range sortedKeys(allowed) {
		may := have[path]
		lacks := slices.DeleteFunc(slices.Clone(allowed[path]), func(c string) bool { return slices.Contains(may, c) || slices.Contains(may, "root") })
		if len(lacks) > 0 {
			wrong = append(wrong, fmt.Sprintf("it may not %s %s", strings.Join(lacks, " or "), path))
		}
	}
	for _, path := range denied {
		if may := have[path]; !slices.Equal(may, []string{"deny"}) {
			wrong = append(wrong, fmt.Sprintf("it may %s %s, where it should be allowed nothing", strings.Join(may, " and "), path))
		}
	}
	return wrong, nil
}

// capabilities asks the server what a token may do. It is asked about the
// token, and not by it: to ask takes rights, and one of its uses, if they are
// counted. A batch token has no accessor, and asks itself.
func (s *Session) capabilities(ctx context.Context, auth *vault.Auth, paths []string) (map[string][]string, error) {
	client, path, body := s.Vault, "sys/capabilities-accessor", map[string]any{"accessor": auth.Accessor, "paths": paths}
	if auth.Accessor == "" {
		client, path, body = s.Vault.WithToken(auth.Token), "sys/capabilities-self", map[string]any{"paths": paths}
	}
	answer, err := client.Write(ctx, path, body)
	if err != nil {
		return nil, err
	}
	out := make(map[string][]string, len(paths))
	for _, path := range paths {
		out[path] = stringsOf(answer.Data[path])
	}
	return out, nil
}
