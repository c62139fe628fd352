package backend

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/vault/sdk/logical"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/backend/provider"
)

// A holder is a static role with everything a step of its rotation needs. It
// is made under the role's lock and used under it.
type holder struct {
	b       *Backend
	storage logical.Storage
	role    *roleEntry
	account *accountEntry
	def     provider.Definition
	config  mountConfig
	session *session // nil until opened: handing keys to the ledger needs none
}

// hold finds what belongs to a static role. The caller holds the role's lock.
func (b *Backend) hold(ctx context.Context, s logical.Storage, role *roleEntry) (*holder, error) {
	account, def, err := b.accountOf(ctx, s, role)
	if err != nil {
		return nil, err
	}
	cfg, err := b.settings(ctx, s)
	if err != nil {
		return nil, err
	}
	return &holder{b: b, storage: s, role: role, account: account, def: def, config: *cfg}, nil
}

// patient is a context for an operation that is brought to its end even if the
// caller hangs up: long enough for its calls and for a new key to start working.
// It ends with the mount, and when the leak switch interrupts.
func (h *holder) patient(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), h.config.VerifyTimeout+3*h.config.ProviderTimeout)
	detach := context.AfterFunc(h.b.life, cancel)
	h.b.roleLocks.interruptible(h.role.Name, cancel)
	return ctx, func() { detach(); cancel() }
}

// open unseals the account's admin credential, makes the owner of the role's
// keys if it has none yet, and holds the slots of a two-slot role against
// leftovers of earlier ones. The caller stores h.role, and calls land at the end.
func (h *holder) open(ctx context.Context) (land func(), err error) {
	h.session, err = h.b.session(ctx, h.storage, h.account)
	if err != nil {
		return nil, err
	}
	if resource := resourceOf(h.def, h.account, h.role.Scope); resource != "" {
		return h.b.slotLocks.lock(ctx, resource)
	}
	if h.role.Owner != nil || !h.session.makesOwner(h.role) {
		return func() {}, nil
	}
	owner, land, err := h.b.makeOwner(ctx, h.storage, h.session, h.role)
	if err != nil {
		return nil, err
	}
	role := *h.role
	role.Owner = owner
	h.role = &role
	return land, nil
}

// openStored is open for a role that is stored already.
func (h *holder) openStored(ctx context.Context) (land func(), err error) {
	before := h.role
	land, err = h.open(ctx)
	if err != nil || h.role == before {
		return land, err
	}
	if err := h.b.roles.put(ctx, h.storage, h.role.Name, h.role); err != nil {
		land()
		return nil, err
	}
	return land, nil
}

// onKey runs a caller's operation on a static role's key: under the role's lock,
// with its account open, and to its end even if the caller hangs up.
func (b *Backend) onKey(ctx context.Context, s logical.Storage, name, what string, do func(context.Context, *holder, *keyEntry) (*logical.Response, error)) (*logical.Response, error) {
	unlock, err := b.roleLocks.lock(ctx, name)
	if err != nil {
		return nil, err
	}
	defer unlock()
	role, err := b.staticRole(ctx, s, name, what)
	if err != nil {
		return nil, err
	}
	h, err := b.hold(ctx, s, role)
	if err != nil {
		return nil, err
	}
	if err := mayServe(role, h.account); err != nil {
		return nil, err
	}
	e, err := b.keyEntryOf(ctx, s, name)
	if err != nil {
		return nil, err
	}
	defer func() { b.queue.at(roleItem(name), time.Now()) }()
	ctx, cancel := h.patient(ctx)
	defer cancel()
	land, err := h.openStored(ctx)
	if err != nil {
		return nil, err
	}
	defer land()
	return do(ctx, h, e)
}

// rotation is the state machine over this role's stored entry.
func (h *holder) rotation() *rotation {
	r := &rotation{grace: h.role.GracePeriod, save: h.save}
	switch h.def.Life() {
	case provider.LifeMint:
		r.issuer = minted{h}
	case provider.LifeTwoSlot:
		r.issuer = slotted{h}
	case provider.LifeImport:
		r.issuer = brought{h}
	}
	return r
}

// save stores a copy, so that readers never see an entry being changed.
func (h *holder) save(ctx context.Context, e *keyEntry) error {
	return h.b.staticKeys.put(ctx, h.storage, h.role.Name, e.clone())
}

// seal makes a key version of what a provider or a person gave.
func (h *holder) seal(ctx context.Context, k provider.Key, tag provider.Tag) (*keyVersion, error) {
	blob, err := h.b.keyring.Seal(ctx, h.storage, keyPrefix+h.role.Name, []byte(k.Secret.Reveal()))
	if err != nil {
		return nil, fmt.Errorf("sealing the new key: %w", err)
	}
	return &keyVersion{
		Tag: tag, ID: k.ID, Secret: blob, Base: k.Base,
		Created: time.Now().UTC(), Expires: k.Expires,
		Scope: h.role.place(h.def),
	}, nil
}

// verify asks the provider whether a key works until it says yes or the mount's
// verify_timeout is over: new keys take time to be known everywhere.
func (h *holder) verify(ctx context.Context, v *keyVersion, secret provider.Secret) error {
	err := untilWorks(ctx, h.config.VerifyTimeout, "key", func(ctx context.Context) error {
		return h.session.keys.Verify(ctx, v.Scope, secret)
	})
	h.session.count.dead(err)
	return err
}

// untilWorks asks again and again whether something new works. While the provider
// wants to be left alone, or is, nobody can know: that time does not count.
func untilWorks(ctx context.Context, patience time.Duration, what string, works func(context.Context) error) error {
	end := time.Now().Add(patience)
	wait := 100 * time.Millisecond
	for {
		try, cancel := context.WithDeadline(ctx, end)
		err := works(try)
		cancel()
		if err == nil {
			return nil
		}
		asked := provider.RetryAfter(err)
		end = end.Add(asked)
		wait = min(2*wait, 5*time.Second)
		if !sleep(ctx, max(wait, asked), end) {
			return problemf(statusUnavailable, "the new %s did not work within %s (verify_timeout in config): %w", what, patience, notProven(err))
		}
	}
}

// sleep reports false at once if it would last beyond end or the deadline of ctx,
// and when ctx ends.
func sleep(ctx context.Context, d time.Duration, end time.Time) bool {
	if deadline, ok := ctx.Deadline(); ok {
		end = earlier(end, deadline)
	}
	if !time.Now().Add(d).Before(end) {
		return false
	}
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}

// notProven keeps a refusal and turns everything else, our own deadline
// included, into "could not be found out".
func notProven(err error) error {
	if errors.Is(err, provider.ErrDead) {
		return err
	}
	return fmt.Errorf("%w: %v", provider.ErrUnreachable, err) //nolint:errorlint // one kind only, or the caller could not tell
}

func (h *holder) retire(ctx context.Context, v *keyVersion) error {
	if v.ID == "" {
		return fmt.Errorf("withdrawing a key without key_id: %w", provider.ErrUnsupported)
	}
	return h.session.keys.Revoke(ctx, v.Scope, v.ID)
}

func (h *holder) shed(ctx context.Context, v *keyVersion, quiet time.Time) error {
	if v.ID == "" {
		return fmt.Errorf("withdrawing a key without key_id: %w", provider.ErrUnsupported)
	}
	l := leftover(h.role, v)
	l.Quiet = quiet
	return h.b.withdrawLater(ctx, h.storage, l)
}

// lasting is for lives whose keys each have a name of their own.
func (h *holder) lasting() time.Duration { return 0 }

// leftover is the ledger line of a key that leaves its role.
func leftover(role *roleEntry, v *keyVersion) *line {
	return &line{
		Account: role.Account, Tag: v.Tag, Kind: lineKey, State: stateWithdrawing,
		Role: role.Name, ID: string(v.ID), Scope: v.Scope, Created: time.Now().UTC(), Expires: v.Expires,
	}
}

// sent is the last moment at which an attempt may have been under way: see [Backend.asked].
func (b *Backend) sent(a attempt) time.Time { return later(a.Asked, b.began) }

// over reports whether an attempt's call can take effect no more.
func (b *Backend) over(a attempt, unheard time.Duration) bool {
	return a.Answered || time.Since(b.sent(a)) > unheard
}

// watch is for lives whose attempts are found by their tag.
func (h *holder) watch(ctx context.Context, a attempt) error {
	l := &line{
		Account: h.role.Account, Tag: a.Tag, Kind: lineKey, State: stateUnresolved,
		Role: h.role.Name, Scope: h.role.place(h.def), Created: a.Asked, Asked: h.b.sent(a), Answered: a.Answered,
	}
	return h.b.leaveLine(ctx, h.storage, l)
}

// minted issues keys of providers that create any number of them.
type minted struct{ *holder }

func (m minted) plan(ctx context.Context, _ *keyEntry) (attempt, error) {
	tag, err := m.b.newTag(ctx, m.storage, m.role, m.def, "")
	return attempt{Tag: tag, Asked: time.Now().UTC()}, err
}

func (m minted) issue(ctx context.Context, a attempt) (*keyVersion, provider.Secret, error) {
	k, err := m.session.minter().Mint(ctx, provider.Order{Tag: a.Tag, Scope: m.role.place(m.def)})
	if err != nil {
		err = m.b.ownerLost(ctx, m.storage, m.session, m.role, err)
		return nil, provider.Secret{}, fmt.Errorf("minting for role %q: %w", m.role.Name, err)
	}
	v, err := m.seal(ctx, k, a.Tag)
	return v, k.Secret, err
}

// settle withdraws what is there by now. There may be more, until the time is over
// in which a call may take effect.
func (m minted) settle(ctx context.Context, a attempt) (bool, error) {
	_, err := m.b.sweep(ctx, m.session, m.role.place(m.def), a.Tag)
	return m.b.over(a, m.config.unheard()), err
}

// brought keeps keys that people make: it never asks for one.
type brought struct{ *holder }

var errBrought = problemf(statusConflict, "this provider has no API that makes keys: make one in its console and bring it with import/<role>")

func (m brought) plan(context.Context, *keyEntry) (attempt, error) { return attempt{}, errBrought }

func (m brought) issue(context.Context, attempt) (*keyVersion, provider.Secret, error) {
	return nil, provider.Secret{}, errBrought
}

func (m brought) settle(context.Context, attempt) (bool, error) { return true, nil }
