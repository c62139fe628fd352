package bootstrap

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/schema"
	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/vault"
)

// wireTTL is how long the wrapped secret-id waits to be unwrapped, which
// happens at once.
const wireTTL = time.Minute

// wiringSecretID is the secret-id that a mount logs in with. It is an object
// only to be asked about; the record has it under the transit settings.
func wiringSecretID(o *Object) *Object {
	return &Object{Kind: secretIDKind, Parent: wiringRole(o), Labels: []string{o.Name()}, At: o.At}
}

// issuedTo is the name of the secret-id in [Entry.Issued].
const issuedTo = "engine"

// readAIKeysTransit reads the settings, and whether the engine's login still
// stands: they do not tell.
func readAIKeysTransit(ctx context.Context, s *Session, o *Object) (*State, error) {
	st, err := s.ReadAt(ctx, o, o.Kind.Path(o))
	if err != nil || !st.Exists || !isWired(o) {
		return st, err
	}
	broken, err := s.unwired(ctx, o)
	if err != nil {
		return nil, err
	}
	st.Answer["unwired"] = broken
	return st, nil
}

// unwired says why the engine needs another secret-id; "" if it does not.
func (s *Session) unwired(ctx context.Context, o *Object) (string, error) {
	role, err := s.lookUp(ctx, schema.References(o.Values["role_id"].V)[0])
	if err != nil {
		return "", err
	}
	if role == "" {
		return "the role that the engine logs in with is not there", nil
	}
	e, err := s.Entry(ctx, o)
	if err != nil {
		return "", err
	}
	switch is, recorded := e.Issued[issuedTo]; {
	case !recorded:
		return "nothing is recorded about the one that the engine has", nil
	case is.Accessor == "":
		return "the last apply was cut off while it was handed over", nil
	default:
		there, err := s.secretIDOf(ctx, wiringSecretID(o), is.Accessor)
		if err != nil || there != nil {
			return "", err
		}
		return "the one that the engine has is expired or destroyed", nil
	}
}

// reviewAIKeysTransit says when the engine gets another secret-id, and what
// there is to say of an address that the file leaves out.
func reviewAIKeysTransit(_ context.Context, s *Session, c *Change) error {
	address, _ := c.State.Values["address"].(string)
	own := trimmedURL(s.Vault.Address())
	switch _, set := c.Object.Value("address"); {
	case set:
	case c.State.Exists && trimmedURL(address) != own:
		c.Notes = append(c.Notes, fmt.Sprintf("the engine reaches transit at %s, and this program reaches Vault at %s: write address into the file to have it checked", address, own))
	case !c.State.Exists:
		if err := checkEngineAddress(own); err != nil {
			return fmt.Errorf("%s: address is left out, and %s cannot be taken for it: %w", c.Object.At, own, err)
		}
		c.Fields = append(c.Fields, FieldChange{Field: "address", New: own, Why: "where this program reaches Vault"})
	}
	if !isWired(c.Object) {
		return nil
	}
	why, _ := c.State.Answer["unwired"].(string)
	if !c.State.Exists {
		why = "issued, wrapped, and given to the engine alone"
	}
	if why != "" {
		c.Fields = append(c.Fields, FieldChange{Field: "secret_id", New: "(a new one)", Why: why})
	}
	return nil
}

// writeAIKeysTransit writes the settings, with a new secret-id if the engine
// needs one. The order makes up for a death after each step; whatever it leaves,
// the engine has settings that work, or none:
//
//  1. The nonce is recorded: from here on the login counts as cut off, and the
//     next run issues another.
//  2. A wrapped secret-id is issued. Dead after it: the wrapping expires, and
//     step 5 of the next run destroys the secret-id.
//  3. It is unwrapped, which proves that nobody else has seen it.
//  4. The engine logs in with it, makes a round trip with transit, and saves
//     it. What it had before is good until here.
//  5. Every other secret-id that was issued for this mount is destroyed.
//  6. The accessor is recorded.
//
// Were 5 before 4, a refusal or a death between them would leave the engine
// without a login; were 6 before 5, the others would stay for ever.
func writeAIKeysTransit(ctx context.Context, s *Session, c *Change) error {
	o := c.Object
	body, err := s.Body(ctx, c)
	if err != nil {
		return err
	}
	if _, set := o.Value("address"); !set && !c.State.Exists {
		body["address"] = trimmedURL(s.Vault.Address())
	}
	body["cas"] = number(c.State.Answer["version"])
	rewires := slices.ContainsFunc(c.Fields, func(f FieldChange) bool {
		return slices.Contains([]string{"secret_id", "role_id", "auth_mount", "auth_method"}, f.Field)
	})
	if !isWired(o) || !rewires {
		return s.writeSettings(ctx, c, body)
	}
	nonce := rand.Text()
	if err := s.keepWiring(ctx, o, Issued{Nonce: nonce, At: time.Now().UTC()}); err != nil { // 1
		return err
	}
	secretID, accessor, err := s.issueToEngine(ctx, wiringSecretID(o), nonce) // 2, 3
	if err != nil {
		return err
	}
	body["secret_id"] = secretID
	if err := s.writeSettings(ctx, c, body); err != nil { // 4
		if !errors.Is(err, vault.ErrUnknownOutcome) {
			err = errors.Join(err, s.destroySecretID(ctx, wiringSecretID(o), accessor))
		}
		return err
	}
	if err := s.destroyOthers(ctx, wiringSecretID(o), accessor); err != nil { // 5
		return err
	}
	return s.keepWiring(ctx, o, Issued{Accessor: accessor, At: time.Now().UTC()}) // 6
}

// writeSettings writes the settings. With another key the engine moves its data
// keys there, and then needs the former one no more. Killed before the policy
// says so, the next plan finds it too wide.
func (s *Session) writeSettings(ctx context.Context, c *Change, body map[string]any) error {
	if _, err := s.Vault.Write(ctx, c.Object.Kind.Path(c.Object), body); err != nil {
		return err
	}
	was, wasKey := textOf(c.State.Answer, "mount"), textOf(c.State.Answer, "key")
	if !isWired(c.Object) || wasKey == "" {
		return nil
	}
	return s.narrow(ctx, newWiringPolicy(c.Object), wiringPolicy(was, wasKey))
}

// narrow takes the former key out of the policy, if the policy has it and is
// otherwise ours: the file may have one of that name.
func (s *Session) narrow(ctx context.Context, policy *Object, former string) error {
	now, err := s.Vault.Read(ctx, policy.Kind.Path(policy))
	only := policy.Text("document")
	if err != nil || only == former || canonicalPolicy(textOf(now, "policy")) != canonicalPolicy(only+former) {
		return err
	}
	_, err = s.Vault.Write(ctx, policy.Kind.Path(policy), map[string]any{"policy": only})
	return err
}

func (s *Session) keepWiring(ctx context.Context, o *Object, is Issued) error {
	e, err := s.Entry(ctx, o)
	if err != nil {
		return err
	}
	e.Issued = map[string]Issued{issuedTo: is}
	return s.Keep(ctx, o, e)
}

// issueToEngine issues a secret-id so that its only way is through this process.
func (s *Session) issueToEngine(ctx context.Context, id *Object, nonce string) (secretID, accessor string, err error) {
	body := make(map[string]any)
	if err := tag(body, id.Key(), nonce); err != nil {
		return "", "", err
	}
	wrapped, err := s.Vault.Wrap(ctx, secretIDPath(id), body, wireTTL)
	if err != nil {
		return "", "", err
	}
	if err := s.Redactor.Add(wrapped.Token); err != nil {
		return "", "", fmt.Errorf("masking the wrapping token: %w", err)
	}
	if wrapped.CreationPath != secretIDPath(id) {
		return "", "", fmt.Errorf("the wrapped secret-id comes from %s, and not from %s: somebody has replaced it on its way", wrapped.CreationPath, secretIDPath(id))
	}
	answer, err := s.Vault.Unwrap(ctx, wrapped.Token)
	if err != nil {
		return "", "", fmt.Errorf("unwrapping the engine's secret-id (if somebody else was faster, it is no secret any more; apply again for another): %w", err)
	}
	secretID, accessor = textOf(answer, "secret_id"), textOf(answer, "secret_id_accessor")
	if err := s.Redactor.Add(secretID); err != nil {
		return "", "", fmt.Errorf("masking the engine's secret-id: %w", err)
	}
	if secretID == "" || accessor == "" {
		return "", "", errors.New("the answer holds no secret-id")
	}
	return secretID, accessor, nil
}

// destroyOthers destroys what was issued for the same mount before.
func (s *Session) destroyOthers(ctx context.Context, id *Object, accessor string) error {
	others, err := s.taggedSecretIDs(ctx, id, issuedAs, id.Key())
	if err != nil {
		return fmt.Errorf("looking for the engine's former secret-ids: %w", err)
	}
	for _, other := range others {
		if former := textOf(other, "secret_id_accessor"); former != accessor {
			if err := s.destroySecretID(ctx, id, former); err != nil {
				return err
			}
		}
	}
	return nil
}
