package bootstrap

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"time"
)

// writeSecretID issues a secret-id and hands it over. The order makes up for a
// death after each step:
//
//  1. The file is opened beside its place. After it: a leftover without a
//     token, which the next run removes; nothing has happened in Vault. A file
//     that cannot be made is found here, and not when there is a secret-id.
//  2. What an earlier run issued and may not have delivered is destroyed. After
//     it: the record still says so, and there is nothing any more to destroy.
//  3. The nonce is recorded. After it: nothing was issued under it.
//  4. A wrapped secret-id is issued with the nonce in its metadata. After it:
//     nobody has the wrapping token; step 2 of the next run finds the secret-id
//     by the nonce and destroys it.
//  5. The token is written, synced, and moved to its place. After it: the token
//     may have been taken already. The next run destroys that secret-id and
//     hands over another; tokens from logins with the first one stay good.
//  6. The accessor is recorded, and the secret-id counts as handed over. The
//     file is nobody's concern any more: its taker may remove it.
//
// Were 5 after 6, a death between them would leave a secret-id that counts as
// handed over and that nobody has.
func writeSecretID(ctx context.Context, s *Session, c *Change) error {
	o := c.Object
	body, err := s.secretIDBody(ctx, c)
	if err != nil {
		return err
	}
	if err := s.leaveOthers(ctx, o); err != nil {
		return err
	}
	d, err := openDelivery(o.Text("to")) // 1
	if err != nil {
		return err
	}
	defer d.end()
	e, err := s.Entry(ctx, o)
	if err != nil {
		return err
	}
	if err := s.destroyUndelivered(ctx, o, e); err != nil { // 2
		return err
	}
	nonce := rand.Text()
	if err := s.keepIssued(ctx, o, e, Issued{Nonce: nonce, At: time.Now().UTC()}); err != nil { // 3
		return err
	}
	if err := tag(body, o.Key(), nonce); err != nil {
		return err
	}
	wrapped, err := s.Vault.Wrap(ctx, secretIDPath(o), body, wrapTTL(o)) // 4
	if err != nil {
		return err
	}
	if err := s.Redactor.Add(wrapped.Token); err != nil {
		return fmt.Errorf("masking the wrapping token: %w", err)
	}
	if wrapped.WrappedAccessor == "" {
		return errors.New("the answer does not name the secret-id: Vault 1.21 does")
	}
	if err := d.put(wrapped.Token); err != nil { // 5
		return err
	}
	return s.keepIssued(ctx, o, e, Issued{Accessor: wrapped.WrappedAccessor, At: time.Now().UTC()}) // 6
}

func (s *Session) keepIssued(ctx context.Context, o *Object, e *Entry, is Issued) error {
	e.Issued = maps.Clone(e.Issued)
	if e.Issued == nil {
		e.Issued = make(map[string]Issued)
	}
	e.Issued[o.Key()] = is
	return s.Keep(ctx, o, e)
}

// secretIDBody is what the file says of the secret-id.
func (s *Session) secretIDBody(ctx context.Context, c *Change) (map[string]any, error) {
	body, err := s.Body(ctx, c)
	if err != nil {
		return nil, err
	}
	if n, set := c.Object.Value("num_uses"); set {
		body["num_uses"] = n
	}
	return body, nil
}

// tag puts into the metadata where the secret-id comes from. Vault takes it as
// JSON in a string.
func tag(body map[string]any, name, nonce string) error {
	meta, _ := body["metadata"].(map[string]string)
	meta = maps.Clone(meta)
	if meta == nil {
		meta = make(map[string]string)
	}
	maps.Copy(meta, map[string]string{issuedBy: issuedBySelf, issuedAs: name, issueNonce: nonce})
	text, err := json.Marshal(meta)
	if err != nil {
		return fmt.Errorf("encoding the metadata: %w", err)
	}
	body["metadata"] = string(text)
	return nil
}

// leaveOthers refuses a file with a wrapping token for something else that
// nobody has unwrapped yet: it would be lost.
func (s *Session) leaveOthers(ctx context.Context, o *Object) error {
	token, err := checkDelivery(o.Text("to"))
	if err != nil || token == "" {
		return err
	}
	if err := s.Redactor.Add(token); err != nil {
		return nil //nolint:nilerr // too short for a token that is good
	}
	answer, err := s.Vault.WithoutToken().Write(ctx, "sys/wrapping/lookup", map[string]any{"token": token})
	if err != nil {
		return nil //nolint:nilerr // it is none, or no longer one
	}
	if path := textOf(answer.Data, "creation_path"); path != secretIDPath(o) {
		return fmt.Errorf("%s holds a wrapping token of %s that nobody has unwrapped yet: write another path in to", o.Text("to"), path)
	}
	return nil
}

// destroyUndelivered ends what an earlier run issued and did not record as
// handed over.
func (s *Session) destroyUndelivered(ctx context.Context, o *Object, e *Entry) error {
	is, recorded := e.Issued[o.Key()]
	if !recorded || is.Accessor != "" || is.Nonce == "" {
		return nil
	}
	return s.destroyTagged(ctx, o, issueNonce, is.Nonce)
}

func (s *Session) destroyTagged(ctx context.Context, o *Object, name, value string) error {
	found, err := s.taggedSecretIDs(ctx, o, name, value)
	if err != nil {
		return fmt.Errorf("looking for what an earlier run issued: %w", err)
	}
	for _, m := range found {
		if err := s.destroySecretID(ctx, o, textOf(m, "secret_id_accessor")); err != nil {
			return err
		}
	}
	return nil
}

// destroySecretID ends a secret-id. One that is gone is no error, though Vault
// answers one.
func (s *Session) destroySecretID(ctx context.Context, o *Object, accessor string) error {
	_, err := s.Vault.Write(ctx, accessorPath(o, "destroy"), map[string]any{"secret_id_accessor": accessor})
	if err == nil {
		return nil
	}
	if left, again := s.secretIDOf(ctx, o, accessor); again == nil && left == nil {
		return nil
	}
	return fmt.Errorf("destroying a secret-id: %w", err)
}

// deleteSecretID ends what was handed out, and what was meant to be.
func deleteSecretID(ctx context.Context, s *Session, o *Object) error {
	role, err := s.Vault.Read(ctx, o.Parent.Kind.Path(o.Parent))
	if err != nil || role == nil {
		return err
	}
	e, err := s.Entry(ctx, o)
	if err != nil {
		return err
	}
	if is := e.Issued[o.Key()]; is.Accessor != "" {
		return s.destroySecretID(ctx, o, is.Accessor)
	}
	return s.destroyTagged(ctx, o, issuedAs, o.Key())
}

func wrapTTL(o *Object) time.Duration {
	if n := amount(o, "wrap_ttl"); n > 0 {
		return time.Duration(n) * time.Second
	}
	return defaultWrap
}
