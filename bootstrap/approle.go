package bootstrap

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/file"
	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/schema"
	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/vault"
)

var approleRoleKind = &Kind{
	Name: "approle role", Word: "role", Stage: StageAuthRole,
	Block: &schema.Block{
		Name: "role", Labels: []string{"name"}, Doc: "What a machine needs to log in, and what it may do then.",
		Fields: append([]*schema.Field{
			{Name: "role_id", Secrecy: schema.Sensitive, Keep: true, Doc: "The role's id in a login; left out, Vault chooses one."},
			{Name: "bind_secret_id", Type: schema.Bool, Default: true, Doc: "A login needs a secret-id too."},
			{Name: "secret_id_bound_cidrs", Type: schema.Set, Check: checkBlocks, Aliases: []string{"bound_cidr_list"}, Doc: "Blocks of addresses from which a login may come."},
			{Name: "secret_id_num_uses", Type: schema.Int, Doc: "How many logins a secret-id is good for; 0: any number."},
			{Name: "secret_id_ttl", Type: schema.Duration, Doc: "How long a secret-id is good; 0: always."},
			{Name: "local_secret_ids", Type: schema.Bool, Immutable: true, Doc: "Secret-ids are not replicated (Vault Enterprise)."},
		}, tokenFields()...),
		Blocks: []*schema.Block{issueBlock},
	},
	Path:     func(o *Object) string { return o.within("role", o.Key()) },
	ListPath: func(o *Object) string { return o.within("role") },
	Prepare:  prepareAppRole, Read: readAppRole, Access: approleAccess, Verify: verifyAppRole,
}

func prepareAppRole(o *Object, n *file.Node) file.Diagnostics {
	found := slices.Concat(prepareRoleName(o, n), checkTokens(o), checkFiles(n))
	if bind, set := o.Value("bind_secret_id"); !set || bind != false && bind != "false" {
		return found
	}
	if !o.has("secret_id_bound_cidrs") && !o.has("token_bound_cidrs") {
		found = append(found, mistake(n.At, "anybody who knows the role_id could log in", "Without bind_secret_id Vault wants secret_id_bound_cidrs or token_bound_cidrs.")...)
	}
	if len(n.Nodes) > 0 {
		found = append(found, mistake(n.Nodes[0].At, "a role without bind_secret_id has no secret-ids", "Take the block out, or bind_secret_id = false.")...)
	}
	return found
}

// readAppRole reads the role_id too, where the file sets it: it has an address
// of its own.
func readAppRole(ctx context.Context, s *Session, o *Object) (*State, error) {
	answer, err := s.Vault.Read(ctx, o.Kind.Path(o))
	if err != nil || answer == nil {
		return absent, err
	}
	if _, set := o.Value("role_id"); set {
		id, err := s.roleID(ctx, o)
		if err != nil {
			return nil, err
		}
		answer["role_id"] = id
	}
	return StateOf(o, answer)
}

func (s *Session) roleID(ctx context.Context, role *Object) (string, error) {
	answer, err := s.Vault.Read(ctx, roleIDPath(role))
	return textOf(answer, "role_id"), err
}

func roleIDPath(role *Object) string { return role.within("role", role.Key(), "role-id") }

func approleAccess(o *Object) []Access {
	path := o.Kind.Path(o)
	out := []Access{
		{path, []string{"create", "read", "update", "delete"}},
		{roleIDPath(o), []string{"read"}},
		{path + "/secret-id", []string{"update"}},
	}
	if revokedByOthers(o) {
		out = append(out, Access{"auth/token/revoke-accessor", []string{"update"}})
	}
	return out
}

// revokedByOthers tells whether a token of the role may be unable to revoke
// itself: because its policies do not say so, or it is of no use here.
func revokedByOthers(role *Object) bool {
	without, _ := role.Value("token_no_default_policy")
	return without == true || without == "true" || role.has("token_bound_cidrs")
}

// proofTTL is the life of a secret-id that only a proof uses, in seconds.
const proofTTL = 60

// verifyAppRole logs in with a secret-id that is good for one login and a
// minute, looks at the policies, and revokes the token.
func verifyAppRole(ctx context.Context, s *Session, o *Object) (string, error) {
	role, err := s.Vault.Read(ctx, o.Kind.Path(o))
	if err != nil {
		return "", err
	}
	st, err := StateOf(o, copyOf(role))
	if err != nil {
		return "", err
	}
	login := make(map[string]any)
	if login["role_id"], err = s.roleID(ctx, o); err != nil {
		return "", err
	}
	if st.Values["bind_secret_id"] == true {
		if login["secret_id"], err = s.proofSecretID(ctx, o, st); err != nil {
			return "", fmt.Errorf("issuing a secret-id: %w", err)
		}
	}
	answer, err := s.Vault.WithoutToken().Write(ctx, o.within("login"), login)
	switch {
	case err != nil && st.Values["secret_id_bound_cidrs"] != nil && refusesAddress(err):
		return "", untried("logins may come from other addresses only")
	case err != nil:
		return "", fmt.Errorf("logging in: %w", err)
	case answer.Auth == nil:
		return "", errors.New("logging in: Vault answers no token")
	case answer.Auth.MFARequest != "":
		return "", untried("a login needs a second factor")
	}
	if err := s.Redactor.Add(answer.Auth.Token); err != nil {
		return "", fmt.Errorf("masking the token: %w", err)
	}
	undone := s.revokeLogin(ctx, answer.Auth)
	if missing := missingPolicies(st, answer.Auth.Policies); len(missing) > 0 {
		return "", errors.Join(fmt.Errorf("logged in, and the token lacks the policies %s", quotedList(missing)), undone)
	}
	return "logged in; policies: " + cmp.Or(strings.Join(answer.Auth.Policies, ", "), "none"), undone
}

// proofSecretID issues a secret-id within the limits of the role.
func (s *Session) proofSecretID(ctx context.Context, o *Object, st *State) (string, error) {
	ttl := int64(proofTTL)
	if most, limited := st.Values["secret_id_ttl"].(int64); limited {
		ttl = min(ttl, most)
	}
	answer, err := s.Vault.Write(ctx, o.Kind.Path(o)+"/secret-id", map[string]any{"num_uses": 1, "ttl": ttl})
	if err != nil {
		return "", err
	}
	id := textOf(answer.Data, "secret_id")
	if err := s.Redactor.Add(id); err != nil {
		return "", fmt.Errorf("masking it: %w", err)
	}
	return id, nil
}

// refusesAddress tells whether Vault refused a login for where it came from.
func refusesAddress(err error) bool {
	e, ok := errors.AsType[*vault.Error](err)
	return ok && slices.ContainsFunc(e.Messages, func(m string) bool { return strings.Contains(m, "CIDR restrictions") })
}

// missingPolicies are those of the role that a login did not get.
func missingPolicies(st *State, have []string) []string {
	want, _ := st.Values["token_policies"].([]string)
	if st.Values["token_no_default_policy"] == nil {
		want = append(slices.Clone(want), "default")
	}
	return slices.DeleteFunc(slices.Clone(want), func(p string) bool { return slices.Contains(have, p) })
}

// revokeLogin ends the token of a proof: by itself, or, where its policies do
// not let it, by its accessor. A batch token has none, and ends with its time.
func (s *Session) revokeLogin(ctx context.Context, auth *vault.Auth) error {
	if auth.Accessor == "" {
		return nil
	}
	_, err := s.Vault.WithToken(auth.Token).Write(ctx, "auth/token/revoke-self", nil)
	if vault.StatusOf(err) == 403 {
		_, err = s.Vault.Write(ctx, "auth/token/revoke-accessor", map[string]any{"accessor": auth.Accessor})
	}
	if err != nil {
		return fmt.Errorf("revoking the token of the proof: %w", err)
	}
	return nil
}
