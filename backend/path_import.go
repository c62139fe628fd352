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
			"key_id":  text("The provider's name for the key. Default: looked up by the key's visible ends, where the provider can."),
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
API for that and the key's id is known. Importing the current key again changes
nothing. Give api_key=- and the key on standard input, to keep it out of your
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

// bring verifies a key, finds out which one it is, and makes it current.
func (h *holder) bring(ctx context.Context, e *keyEntry, secret provider.Secret, data *framework.FieldData) (*logical.Response, error) {
	r := h.rotation()
	if err := r.endWithdrawal(ctx, e); err != nil {
		return nil, err
	}
	same, err := h.serves(ctx, e.Current, secret)
	if err != nil {
		return nil, err
	}
	if same {
		return rotated(e), nil // this request was sent twice, or there is nothing to change
	}
	version := 0
	if e.Current != nil {
		version = e.Current.Version
	}
	if err := checkCAS(data, version, "the key of role "+h.role.Name); err != nil {
		return nil, err
	}
	scope := h.role.place(h.def)
	// First that nothing here is about to end the key, then that it works: the
	// other way round, it could be withdrawn between the two.
	k, err := h.identify(ctx, scope, secret, provider.KeyID(fieldText(data.Get("key_id"))))
	if err != nil {
		return nil, err
	}
	switch err := h.session.keys.Verify(ctx, scope, secret); {
	case errors.Is(err, provider.ErrDead):
		return nil, invalidf("api_key: the provider refuses this key: %w", err)
	case err != nil:
		return nil, fmt.Errorf("nothing changed: verifying the key: %w", err)
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
	resp := rotated(e)
	if v.ID == "" {
		resp.AddWarning("the provider did not tell which key this is, so the engine cannot withdraw it later: give key_id, or be ready to disable it by hand")
	}
	return resp, nil
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

// serves reports whether v is this very key.
func (h *holder) serves(ctx context.Context, v *keyVersion, secret provider.Secret) (bool, error) {
	if v == nil {
		return false, nil
	}
	raw, err := h.b.keyring.Open(ctx, h.storage, keyPrefix+h.role.Name, v.Secret)
	if err != nil {
		return false, err
	}
	defer clear(raw)
	return string(raw) == secret.Reveal(), nil
}

// identify finds the id of a brought key, and refuses one that contradicts the
// caller, or that is on its way out.
func (h *holder) identify(ctx context.Context, scope provider.Scope, secret provider.Secret, given provider.KeyID) (provider.Key, error) {
	k, err := h.session.keys.Identify(ctx, scope, secret)
	if err != nil && given == "" {
		return k, fmt.Errorf("nothing changed: looking for the key at the provider (key_id tells which it is, without looking): %w", err)
	}
	k.Secret = secret
	switch {
	case given == "":
	case k.ID != "" && k.ID != given:
		return k, invalidf("key_id: the provider says that this key is %s", k.ID)
	default:
		k.ID = given
	}
	if h.def.Life() == provider.LifeTwoSlot && k.ID != h.def.Slots[0] && k.ID != h.def.Slots[1] {
		return k, invalidf("api_key: it is neither %s nor %s of this resource", h.def.Slots[0], h.def.Slots[1])
	}
	return k, h.belongsHere(ctx, k.ID)
}

// belongsHere refuses a key that another role or a lease of this mount holds,
// or that is on its way out: its end there would be the end of it here.
func (h *holder) belongsHere(ctx context.Context, id provider.KeyID) error {
	if h.def.Life() == provider.LifeTwoSlot { // slots have the same names everywhere, and a resource has one role
		pending, err := h.pendingSlot(ctx, id)
		if pending > 0 {
			err = problemf(statusConflict, "%s of this resource is still being withdrawn: try again when keys/%s no longer lists it", id, h.role.Account)
		}
		return err
	}
	if id == "" {
		return nil
	}
	held := h.b.ledger.filter(func(l *line) bool { return l.Account == h.role.Account && l.ID == string(id) && l.Kind == lineKey })
	if len(held) > 0 {
		return problemf(statusConflict, "key %s is %s on the ledger of this mount, for role %q: bring another one", id, held[0].State, held[0].Role)
	}
	roles, err := h.b.rolesOf(ctx, h.storage, h.role.Account)
	if err != nil {
		return err
	}
	for _, other := range roles {
		e, err := h.b.staticKeys.get(ctx, h.storage, other.Name)
		if err != nil {
			return err
		}
		if e == nil || other.Name == h.role.Name {
			continue
		}
		for _, v := range []*keyVersion{e.Current, e.Previous} {
			if v != nil && v.ID == id {
				return problemf(statusConflict, "key %s is held by role %q: its rotation would withdraw it here too", id, other.Name)
			}
		}
	}
	return nil
}
