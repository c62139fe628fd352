package backend

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"time"

	"github.com/hashicorp/vault/sdk/logical"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/backend/provider"
)

// A rootHolder is an account whose admin credential is being replaced. It is
// the issuer of the same state machine that rotates a role's key ([rotation]):
// the new credential is tried and stored before the old one is withdrawn, the
// old one by its id, and an attempt whose outcome is unknown is looked for by
// its tag. The whole state is in the account's entry, the sealed credential and
// the phase together, so that each arrow is one Put there too.
//
// It is made under the account's lock, and used under it.
type rootHolder struct {
	b       *Backend
	storage logical.Storage
	account *accountEntry // as it is stored
	def     provider.Definition
	config  mountConfig
	began   time.Time
}

// rootOf finds what replacing an account's admin credential needs.
func (b *Backend) rootOf(ctx context.Context, s logical.Storage, account *accountEntry) (*rootHolder, error) {
	def, ok := provider.Lookup(account.Provider)
	if !ok {
		return nil, problemf(statusConflict, "account %q is for provider %q, which this build does not have", account.Name, account.Provider)
	}
	if def.Root == nil {
		return nil, invalidf("provider %s has no API that replaces an admin credential: make a new one in its console, write it to accounts/%s, and disable the old one there", def.Name, account.Name)
	}
	cfg, err := b.settings(ctx, s)
	if err != nil {
		return nil, err
	}
	return &rootHolder{b: b, storage: s, account: account, def: def, config: *cfg, began: time.Now()}, nil
}

// rotation is the state machine over the account's entry. There is no grace:
// nobody but this mount has the old credential.
func (h *rootHolder) rotation() *rotation { return &rotation{issuer: h, save: h.save} }

// entry is the account's state, as one that the machine may change.
func (h *rootHolder) entry() *keyEntry {
	if h.account.Root != nil {
		return h.account.Root.clone()
	}
	return &keyEntry{Phase: phaseStable, Current: &keyVersion{Created: time.Now().UTC()}}
}

// save stores the state, and with a new current credential its sealed form.
func (h *rootHolder) save(ctx context.Context, e *keyEntry) error {
	a := *h.account
	state := e.clone()
	if e.Current != nil && e.Current.Secret != "" {
		a.Sealed = e.Current.Secret
		state.Current = e.Current.bare()
	}
	if e.Previous != nil {
		state.Previous = e.Previous.bare()
	}
	a.Root = state
	if err := h.b.accounts.put(ctx, h.storage, a.Name, &a); err != nil {
		return err
	}
	h.account = &a
	e.Current, e.Previous = state.Current, state.Previous
	return nil
}

// bare is a version without its sealed secret, which is kept elsewhere.
func (v *keyVersion) bare() *keyVersion {
	c := *v
	c.Secret = ""
	return &c
}

// session opens the account as it is stored now. It does not count as use, or
// a rotation would wait for itself.
func (h *rootHolder) session(ctx context.Context) (*session, error) {
	secrets, err := h.b.accountSecrets(ctx, h.storage, h.account)
	if err != nil {
		return nil, fmt.Errorf("opening account %q: %w", h.account.Name, err)
	}
	return h.b.newSession(ctx, h.storage, h.account, secrets, func(o provider.Options) (*provider.Client, error) { return h.b.clients.get(h.account.Name, o) })
}

// with is the account's secrets with another admin credential.
func (h *rootHolder) with(ctx context.Context, secret provider.Secret) (map[string]string, error) {
	secrets, err := h.b.accountSecrets(ctx, h.storage, h.account)
	if err != nil {
		return nil, fmt.Errorf("opening account %q: %w", h.account.Name, err)
	}
	secrets = maps.Clone(secrets)
	secrets[h.def.Root.Field] = secret.Reveal()
	return secrets, nil
}

// identify finds the id of the present credential, so that it can be withdrawn
// later. Nothing was asked for yet: a failure costs nothing.
func (h *rootHolder) identify(ctx context.Context, e *keyEntry) error {
	if e.Current == nil || e.Current.ID != "" {
		return nil
	}
	x, err := h.session(ctx)
	if err != nil {
		return err
	}
	id, err := x.roots().Self(ctx)
	if err != nil {
		return fmt.Errorf("looking for the present credential of account %q: %w", h.account.Name, err)
	}
	current := *e.Current
	current.ID = id
	e.Current = &current
	return nil
}

func (h *rootHolder) newTag(ctx context.Context) (provider.Tag, error) {
	return h.b.newTag(ctx, h.storage, &roleEntry{Name: "root-" + h.account.Name}, h.def, "")
}

func (h *rootHolder) plan(ctx context.Context, _ *keyEntry) (attempt, error) {
	tag, err := h.newTag(ctx)
	return attempt{Tag: tag, Asked: time.Now().UTC()}, err
}

func (h *rootHolder) issue(ctx context.Context, a attempt) (*keyVersion, provider.Secret, error) {
	x, err := h.session(ctx)
	if err != nil {
		return nil, provider.Secret{}, err
	}
	k, err := x.roots().Mint(ctx, a.Tag)
	if err != nil {
		return nil, provider.Secret{}, fmt.Errorf("making a new admin credential for account %q: %w", h.account.Name, err)
	}
	secrets, err := h.with(ctx, k.Secret)
	if err != nil {
		return nil, k.Secret, err
	}
	raw, err := json.Marshal(secrets)
	if err != nil {
		return nil, k.Secret, err
	}
	defer clear(raw)
	blob, err := h.b.keyring.Seal(ctx, h.storage, h.account.storagePath(), raw)
	if err != nil {
		return nil, k.Secret, fmt.Errorf("sealing the new admin credential: %w", err)
	}
	return &keyVersion{Tag: a.Tag, ID: k.ID, Secret: blob, Created: time.Now().UTC(), Expires: k.Expires}, k.Secret, nil
}

func (h *rootHolder) verify(ctx context.Context, _ *keyVersion, secret provider.Secret) error {
	secrets, err := h.with(ctx, secret)
	if err != nil {
		return err
	}
	x, err := h.b.newSession(ctx, h.storage, h.account, secrets, h.b.clients.connect)
	if err != nil {
		return err
	}
	defer x.client.Close()
	return untilWorks(ctx, h.config.VerifyTimeout, "admin credential", x.keys.Check)
}

func (h *rootHolder) settle(ctx context.Context, a attempt) (bool, error) {
	x, err := h.session(ctx)
	if err != nil {
		return false, err
	}
	_, err = sweepRoots(ctx, x, a.Tag)
	return h.b.over(a, h.config.unheard()), err
}

func (h *rootHolder) lasting() time.Duration { return 0 }

// sweepRoots withdraws every admin credential named tag. found false means that
// there was none.
func sweepRoots(ctx context.Context, x *session, tag provider.Tag) (found bool, err error) {
	ids, err := x.roots().Find(ctx, tag)
	if err != nil {
		return false, fmt.Errorf("looking for %s: %w", tag, err)
	}
	for _, id := range ids {
		if err := x.roots().Revoke(ctx, id); err != nil {
			return true, fmt.Errorf("withdrawing %s: %w", tag, err)
		}
	}
	return len(ids) > 0, nil
}

func (h *rootHolder) watch(ctx context.Context, a attempt) error {
	return h.b.leaveLine(ctx, h.storage, &line{
		Account: h.account.Name, Tag: a.Tag, Kind: lineRoot, State: stateUnresolved, Created: a.Asked, Asked: h.b.sent(a), Answered: a.Answered,
	})
}

// retire withdraws a credential with the one that is stored. Operations that
// began with the old one are let finish first.
func (h *rootHolder) retire(ctx context.Context, v *keyVersion) error {
	if v.ID == "" {
		return fmt.Errorf("withdrawing an admin credential whose id is not known: %w", provider.ErrUnsupported)
	}
	if h.account.Root != nil && h.account.Root.Current != nil && h.account.Root.Current.ID == v.ID {
		return fmt.Errorf("the admin credential %s is the one in use: %w", v.ID, provider.ErrRejected)
	}
	h.b.sessions.idle(ctx, h.account.Name, h.config.ProviderTimeout)
	x, err := h.session(ctx)
	if err != nil {
		return err
	}
	return x.roots().Revoke(ctx, v.ID)
}

func (h *rootHolder) shed(ctx context.Context, v *keyVersion, _ time.Time) error {
	if v.ID == "" {
		return fmt.Errorf("withdrawing an admin credential whose id is not known: %w", provider.ErrUnsupported)
	}
	tag := v.Tag
	if tag == "" { // a person made it; the line needs a name
		var err error
		if tag, err = h.newTag(ctx); err != nil {
			return err
		}
	}
	return h.b.withdrawLater(ctx, h.storage, &line{
		Account: h.account.Name, Tag: tag, Kind: lineRoot, ID: string(v.ID), Created: time.Now().UTC(), Expires: v.Expires,
	})
}

// renew replaces the admin credential.
func (h *rootHolder) renew(ctx context.Context, e *keyEntry, request string) error {
	if err := h.identify(ctx, e); err != nil {
		return h.rotation().failed(ctx, e, err)
	}
	return h.rotation().rotate(ctx, e, request, nil)
}

// patient is a context for a rotation that is brought to its end even if the
// caller hangs up; it ends with the mount, and when the account is to be disabled.
func (h *rootHolder) patient(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), h.config.VerifyTimeout+5*h.config.ProviderTimeout)
	detach := context.AfterFunc(h.b.life, cancel)
	h.b.accountLocks.interruptible(h.account.Name, cancel)
	return ctx, func() { detach(); cancel() }
}
