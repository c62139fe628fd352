package bootstrap

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/schema"
	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/vault"
)

var fieldsField = &schema.Field{Name: "fields", Type: schema.Set, Doc: "Names that must be there, with values that are not empty; left out: any."}

// revokePath is where a lease is ended, by its name in the path and not in the
// body, so that a policy can allow it for one role's leases.
const revokePath = "sys/leases/revoke"

// loanPath is where a credential is read.
func (t *target) loanPath() string {
	switch {
	case t.typ.mounts == nil:
		return strings.Trim(t.Labels[1], "/")
	case t.object != nil && (t.object.Kind == databaseStaticRoleKind || t.object.Kind == awsStaticRoleKind):
		return slashed(t.mount, "static-creds", t.name)
	}
	return slashed(t.mount, "creds", t.name)
}

func loanAccess(t *target) []Access {
	return []Access{{t.loanPath(), []string{"read"}}, {slashed(revokePath, t.loanPath(), "*"), []string{"update"}}}
}

// A loan is a credential that was issued for a proof.
type loan struct {
	data map[string]any
	// leased: it was on a lease, and so was made for the proof.
	leased bool
	life   time.Duration
}

// borrow has a credential issued and gives it back, unless it is to be kept
// because giving it back does not end it. An interrupt waits for the answer,
// or nobody could give it back.
func (s *Session) borrow(ctx context.Context, t *target, query map[string][]string, keep func(data map[string]any) bool) (*loan, error) {
	answer, err := s.Vault.Obtain(context.WithoutCancel(ctx), t.loanPath(), query)
	switch {
	case errors.Is(err, vault.ErrUnknownOutcome):
		return nil, fmt.Errorf("%w; if it did, the credential ends with its lease", err)
	case vault.StatusOf(err) == 404 && !vault.IsAbsentMount(err):
		return nil, fmt.Errorf("there is nothing at %s", t.loanPath())
	case err != nil:
		return nil, err
	}
	s.mask(answer.Data)
	l := &loan{data: answer.Data, leased: answer.Lease != "", life: answer.LeaseDuration}
	if !l.leased || keep != nil && keep(answer.Data) {
		return l, nil
	}
	if err := s.giveBack(ctx, answer.Lease); err != nil {
		return nil, fmt.Errorf("a credential was issued, and could not be taken away again; its lease %s ends in %s: %w", answer.Lease, answer.LeaseDuration, err)
	}
	return l, nil
}

// mask makes sure that nothing of a credential is printed. What is too short
// to be masked is no secret, and neither is AWS's name for an access key.
func (s *Session) mask(data map[string]any) {
	for name, v := range data {
		if text, ok := v.(string); ok && soundsSecret(name) && name != "access_key" {
			_ = s.Redactor.Add(text)
		}
	}
}

// finishing is how long giving back may take when everything else has to stop.
const finishing = time.Minute

// giveBack ends a lease, and waits until that is done.
func (s *Session) giveBack(ctx context.Context, lease string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), finishing)
	defer cancel()
	_, err := s.Vault.Write(ctx, slashed(revokePath, lease), map[string]any{"sync": true})
	return err
}

// holds is an error unless the data has one of the names, with a value.
func (l *loan) holds(names ...string) error {
	if slices.ContainsFunc(names, func(name string) bool { return textOf(l.data, name) != "" }) {
		return nil
	}
	return errors.New("the answer has no " + strings.Join(names, ", "))
}

func proveDatabase(ctx context.Context, s *Session, t *target) (string, error) {
	l, err := s.borrow(ctx, t, nil, nil)
	if err != nil {
		return "", err
	}
	if err := l.holds("password", "rsa_private_key", "private_key", "client_certificate"); err != nil {
		return "", err
	}
	if !l.leased {
		return "read the password of " + textOf(l.data, "username"), nil
	}
	return fmt.Sprintf("had the account %s made, and dropped again", textOf(l.data, "username")), nil
}

// shortestSTS is the shortest life that AWS gives to a credential of STS.
const shortestSTS = "900s"

func proveAWS(ctx context.Context, s *Session, t *target) (string, error) {
	session := func(data map[string]any) bool {
		return cmp.Or(textOf(data, "session_token"), textOf(data, "security_token")) != ""
	}
	// IAM users have no such time, and Vault leaves it aside.
	query := map[string][]string{"ttl": {shortestSTS}}
	if t.object != nil && t.object.Kind == awsStaticRoleKind {
		query = nil
	}
	l, err := s.borrow(ctx, t, query, session)
	if err != nil {
		return "", err
	}
	if err := errors.Join(l.holds("access_key"), l.holds("secret_key")); err != nil {
		return "", err
	}
	key := textOf(l.data, "access_key")
	switch {
	case session(l.data):
		return fmt.Sprintf("had the credential %s issued by STS; AWS cannot take it back, and ends it in %s", key, l.life), nil
	case !l.leased:
		return "read the access key " + key, nil
	}
	return fmt.Sprintf("had an IAM user with the access key %s made, and deleted again", key), nil
}

func proveAIKeys(ctx context.Context, s *Session, t *target) (string, error) {
	var query map[string][]string
	if t.object != nil && t.object.Text("type") == "dynamic" {
		query = map[string][]string{"ttl": {"60s"}}
	}
	l, err := s.borrow(ctx, t, query, nil)
	if err != nil {
		return "", err
	}
	if err := l.holds("api_key"); err != nil {
		return "", err
	}
	key := strings.TrimSpace("the key " + textOf(l.data, "key_id"))
	if l.leased {
		return fmt.Sprintf("had %s issued by %s, and withdrawn again", key, textOf(l.data, "provider")), nil
	}
	return "read " + key, nil
}

// lacking is an error if an answer has not got what the check names.
func (t *target) lacking(data map[string]any) error {
	var lacks []string
	for _, name := range t.texts("fields") {
		if v := data[name]; v == nil || v == "" {
			lacks = append(lacks, name)
		}
	}
	switch {
	case len(lacks) > 0:
		return fmt.Errorf("these are missing, or empty: %s", quotedList(lacks))
	case len(data) == 0:
		return errors.New("there is nothing in it")
	}
	return nil
}

// found says what there was, by number.
func (t *target) found(data map[string]any) string {
	if names := t.texts("fields"); len(names) > 0 {
		return "has " + strings.Join(names, ", ")
	}
	return "has " + counted(len(data), "value")
}

func proveRead(ctx context.Context, s *Session, t *target) (string, error) {
	l, err := s.borrow(ctx, t, nil, nil)
	if err != nil {
		return "", err
	}
	return t.found(l.data), t.lacking(l.data)
}

// entry is the entry that a check is about, as an object that can be read.
func (t *target) entry() *Object {
	in := t.in
	if in == nil {
		in = &Object{Kind: &Kind{Mounts: SecretsMount}, Labels: []string{"kv", t.mount}}
	}
	return &Object{Kind: kvDataKind, Parent: in, Labels: []string{t.name}}
}

// key is the transit key that a check is about, as [target.entry] is an entry.
func (t *target) key() *Object {
	if t.object != nil {
		return t.object
	}
	in := &Object{Kind: &Kind{Mounts: SecretsMount}, Labels: []string{"transit", t.mount}}
	return &Object{Kind: transitKeyKind, Parent: in, Labels: []string{t.name}}
}

func proveTransit(ctx context.Context, s *Session, t *target) (string, error) {
	return verifyTransitKey(ctx, s, t.key())
}

func transitCheckAccess(t *target) []Access {
	o := t.key()
	proof := proofFor(o.transitType())
	return []Access{
		{o.Kind.Path(o), []string{"read"}},
		{slashed(t.mount, proof.do, t.name), []string{"update"}},
		{slashed(t.mount, proof.undo, t.name), []string{"update"}},
	}
}

func proveKV(ctx context.Context, s *Session, t *target) (string, error) {
	e, err := s.kvEntry(ctx, t.entry())
	switch {
	case err != nil:
		return "", err
	case !e.there && e.current > 0:
		return "", fmt.Errorf("its latest version, %d, is deleted: vault kv undelete -versions=%d %s", e.current, e.current, slashed(t.mount, t.name))
	case !e.there:
		return "", errors.New("there is no such entry")
	}
	s.mask(e.values)
	return t.found(e.values), t.lacking(e.values)
}

// kvCheckAccess is for either version, where the file does not tell which it is.
func kvCheckAccess(t *target) []Access {
	o := t.entry()
	var out []Access
	if t.in == nil || o.fileVersion() != "2" {
		out = append(out, Access{kvPath(o, "1", "data"), []string{"read"}})
	}
	if t.in == nil || o.fileVersion() == "2" {
		out = append(out, Access{kvPath(o, "2", "data"), []string{"read"}}, Access{kvPath(o, "2", "metadata"), []string{"read"}})
	}
	return out
}
