package backend

import (
	"context"
	"errors"
	"fmt"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/backend/provider"
)

func pathsImport(b *Backend) []*framework.Path {
	return []*framework.Path{{
		Pattern: "import/" + namePattern("role"),
		Fields: map[string]*framework.FieldSchema{
			"role":    text("Name of a static role."),
			"api_key": secretText("The key. Verified at the provider, then sealed."),
			"key_id":  text("The provider's name for the key; its list must bear it out. Default: looked up by the key's visible ends, where the provider can."),
			"cas":     {Type: framework.TypeInt, Description: "The version that this key must replace, as creds/<role> shows it; 0: the role must have none."},
		},
		Operations: map[logical.Operation]framework.OperationHandler{
			logical.UpdateOperation: forwarded(b.importKey, "Bring a key for a static role.", responds("The new key's number.", map[string]*framework.FieldSchema{
				"version":          number("Number of the key."),
				"key_id":           text("The provider's name for the key, if it is known."),
				"previous_key_id":  text("The key it replaces, while that still works."),
				"previous_expires": moment("When that one is withdrawn."),
			})),
		},
		HelpSynopsis: "Bring a key that a person made.",
		HelpDescription: `
The key is verified at the provider and becomes the role's next version; the one
it replaces is withdrawn after the role's grace_period, where the provider has an
API for that and the key's id is known. key_id tells keys apart that look alike;
one that the provider's list does not show, or shows to be another key, is
refused. The list may lag behind: it is looked at for verify_timeout. Importing
the current key again changes nothing, but for an id that was not known before.
Give api_key=- and the key on standard input, to keep it out of your
shell's history.
`,
	}}
}

func (b *Backend) importKey(ctx context.Context, req *logical.Request, data *framework.FieldData) (*logical.Response, error) {
	name := fieldText(data.Get("role"))
	secret := provider.NewSecret(fieldText(data.Get("api_key")))
	if secret.Reveal() == "" {
		return nil, invalidf("api_key is required: the key to bring")
	}
	if err := b.ledger.wait(ctx); err != nil {
		return nil, err
	}
	return b.onKey(ctx, req.Storage, name, "import", func(ctx context.Context, h *holder, e *keyEntry) (*logical.Response, error) {
		return h.bring(ctx, e, secret, data)
	})
}

// bring finds out which key it is, verifies it, and makes it current.
func (h *holder) bring(ctx context.Context, e *keyEntry, secret provider.Secret, data *framework.FieldData) (*logical.Response, error) {
	r := h.rotation()
	if err := r.endWithdrawal(ctx, e); err != nil {
		return nil, err
	}
	given := provider.KeyID(fieldText(data.Get("key_id")))
	same, err := h.serves(ctx, e.Current, secret)
	if err != nil {
		return nil, err
	}
	if same {
		return h.bringAgain(ctx, e, secret, given)
	}
	version := 0
	if e.Current != nil {
		version = e.Current.Version
	}
	if err := checkCAS(data, version, "the key of role "+h.role.Name); err != nil {
		return nil, err
	}
	k, err := h.identify(ctx, secret, given)
	if err != nil {
		return nil, err
	}
	// From here on no other role of the account can bring the same key.
	unlock, err := h.b.importLocks.lock(ctx, h.role.Account)
	if err != nil {
		return nil, err
	}
	defer unlock()
	// First that nothing here is about to end the key, then that it works: the
	// other way round, it could be withdrawn between the two.
	if err := h.belongsHere(ctx, k); err != nil {
		return nil, err
	}
	if err := h.works(ctx, secret); err != nil {
		return nil, err
	}
	tag, err := h.b.newTag(ctx, h.storage, h.role, h.def, "")
	if err != nil {
		return nil, err
	}
	v, err := h.seal(ctx, k, tag)
	if err != nil {
		return nil, err
	}
	back, err := h.makeRoom(ctx, r, e, secret)
	if err != nil {
		return nil, err
	}
	v.Brought = true
	if back != nil { // it keeps the name it has at the provider
		v.Tag, v.Brought = back.Tag, back.Brought
	}
	if err := r.adopt(ctx, e, v, nil); err != nil {
		return nil, err
	}
	return broughtAnswer(e), nil
}

// broughtAnswer is the answer of an import.
func broughtAnswer(e *keyEntry) *logical.Response {
	resp := rotated(e)
	if e.Current.ID == "" {
		resp.AddWarning("the provider did not tell which key this is, so the engine cannot withdraw it: import it once more when the provider lists it, with key_id where several look alike, or be ready to disable it by hand")
	}
	return resp
}

// bringAgain answers for the key that the role has already: either the request was
// sent twice, or the provider can tell only now which key it is.
func (h *holder) bringAgain(ctx context.Context, e *keyEntry, secret provider.Secret, given provider.KeyID) (*logical.Response, error) {
	if e.Current.ID != "" {
		return broughtAnswer(e), nil
	}
	k, err := h.identify(ctx, secret, given)
	switch {
	case err != nil && given != "":
		return nil, err
	case err != nil, k.ID == "": // nothing was asked for, and nothing is worse than it was
		return broughtAnswer(e), nil
	}
	unlock, err := h.b.importLocks.lock(ctx, h.role.Account)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := h.belongsHere(ctx, k); err != nil {
		return nil, err
	}
	v := *e.Current
	v.ID = k.ID
	e.Current = &v
	if err := h.save(ctx, e); err != nil {
		return nil, err
	}
	resp := broughtAnswer(e)
	resp.AddWarning(fmt.Sprintf("the role had this key already; now it is known to be %s, and the engine can withdraw it", k.ID))
	return resp, nil
}

// works refuses a key that the provider does not accept now.
func (h *holder) works(ctx context.Context, secret provider.Secret) error {
	switch err := h.session.keys.Verify(ctx, h.role.place(h.def), secret); {
	case errors.Is(err, provider.ErrDead):
		return invalidf("api_key: the provider refuses this key: %w", err)
	case err != nil:
		return fmt.Errorf("nothing changed: verifying the key: %w", err)
	default:
		return nil
	}
}

// makeRoom settles what is under way and leaves at most one key beside the one
// that is brought. If that is the previous key, called back, it is returned
// instead of being withdrawn.
func (h *holder) makeRoom(ctx context.Context, r *rotation, e *keyEntry, secret provider.Secret) (back *keyVersion, err error) {
	if e.Phase == phaseMinting {
		if err := r.resolve(ctx, e); err != nil {
			return nil, err
		}
	}
	same, err := h.serves(ctx, e.Previous, secret)
	switch {
	case err != nil:
		return nil, err
	case same:
		back, e.Previous = e.Previous, nil
		return back, nil
	default:
		return nil, r.clearPrevious(ctx, e)
	}
}

// serves reports whether v, a version of this role's, is this very key.
func (h *holder) serves(ctx context.Context, v *keyVersion, secret provider.Secret) (bool, error) {
	return h.opens(ctx, h.role.Name, v, secret)
}

// opens reports whether v, a version of a role's, is this very key.
func (h *holder) opens(ctx context.Context, role string, v *keyVersion, secret provider.Secret) (bool, error) {
	if v == nil {
		return false, nil
	}
	raw, err := h.b.keyring.Open(ctx, h.storage, keyPrefix+role, v.Secret)
	if err != nil {
		return false, err
	}
	defer clear(raw)
	return string(raw) == secret.Reveal(), nil
}
