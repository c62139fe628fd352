package backend

import (
	"context"
	"maps"
	"time"

	"github.com/hashicorp/vault/sdk/logical"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/backend/provider"
)

// records are what this mount knows to be at providers, by tag and by id: the
// ledger's lines, the keys and owners of roles, and admin credentials.
type records struct {
	tags      map[provider.Tag]bool
	ids       map[string]bool
	inService map[string]map[inventoryID]service // by account
	scopes    map[string][]provider.Scope        // by account
}

// inventoryID names a thing at a provider.
type inventoryID struct {
	kind provider.FoundKind
	id   string
}

// A service is something that is in use here, so that its provider must have it.
type service struct {
	tag     provider.Tag
	role    string
	state   string
	created time.Time
}

// records gathers everything. A key moves from the ledger to a role (its first
// one) and from a role to the ledger (its last days); each move stores the new
// place before the old one is left. So the ledger is looked at before the roles
// and after them: whichever way a key moves meanwhile, one of the looks sees it.
func (b *Backend) records(ctx context.Context, s logical.Storage) (*records, error) {
	if err := b.ledger.wait(ctx); err != nil {
		return nil, err
	}
	r := newRecords()
	r.ledger(b.ledger)
	if err := r.holders(ctx, b, s); err != nil {
		return nil, err
	}
	r.ledger(b.ledger)
	return r, nil
}

func newRecords() *records {
	return &records{
		tags: map[provider.Tag]bool{}, ids: map[string]bool{},
		inService: map[string]map[inventoryID]service{}, scopes: map[string][]provider.Scope{},
	}
}

func (r *records) ledger(g *ledger) {
	for _, tag := range g.spoilt() {
		r.note(tag, "")
	}
	for _, l := range g.filter(func(*line) bool { return true }) {
		r.note(l.Tag, l.ID)
		r.scopes[l.Account] = append(r.scopes[l.Account], l.Scope)
		if l.State == stateLive {
			r.serve(l.Account, provider.FoundKind(l.Kind), l.ID, service{l.Tag, l.Role, string(l.State), l.Created})
		}
	}
}

// holders are the accounts and the roles.
func (r *records) holders(ctx context.Context, b *Backend, s logical.Storage) error {
	accounts, err := b.accounts.list(ctx, s)
	if err != nil {
		return err
	}
	for _, name := range accounts {
		a, err := b.accounts.get(ctx, s, name)
		if err != nil {
			return err
		}
		if a != nil && a.Root != nil {
			r.entry(name, "", provider.FoundRoot, a.Root)
		}
	}
	roles, err := b.roles.list(ctx, s)
	if err != nil {
		return err
	}
	for _, name := range roles {
		role, err := b.roles.get(ctx, s, name)
		if err != nil {
			return err
		}
		e, err := b.staticKeys.get(ctx, s, name)
		if err != nil {
			return err
		}
		if role != nil {
			r.role(role)
		}
		if role != nil && e != nil {
			r.entry(role.Account, name, provider.FoundKey, e)
		}
	}
	return nil
}

func (r *records) role(role *roleEntry) {
	r.scopes[role.Account] = append(r.scopes[role.Account], role.Scope)
	for _, value := range role.Scope { // one of them may name an owner
		r.note("", value)
	}
	if role.Owner != nil {
		r.note(role.Owner.Tag, role.Owner.ID)
	}
}

// entry notes what a role's or an account's state names. After the leak switch
// nothing of it is in service any more.
func (r *records) entry(account, role string, kind provider.FoundKind, e *keyEntry) {
	if e.Attempt != nil {
		r.note(e.Attempt.Tag, "")
	}
	for state, v := range map[string]*keyVersion{"current": e.Current, "previous": e.Previous} {
		if v == nil {
			continue
		}
		r.note(v.Tag, string(v.ID))
		// A previous admin credential is on its way out, whenever it is there.
		if e.Phase != phaseWithdrawn && (kind != provider.FoundRoot || state == "current") {
			r.serve(account, kind, string(v.ID), service{v.Tag, role, state, v.Created})
		}
	}
}

func (r *records) note(tag provider.Tag, id string) {
	if tag != "" {
		r.tags[tag] = true
	}
	if id != "" {
		r.ids[id] = true
	}
}

// add makes what another look has seen known as well, though not in service.
func (r *records) add(o *records) {
	maps.Copy(r.tags, o.tags)
	maps.Copy(r.ids, o.ids)
}

func (r *records) serve(account string, kind provider.FoundKind, id string, s service) {
	if id == "" {
		return // nobody knows which one it is
	}
	if r.inService[account] == nil {
		r.inService[account] = map[inventoryID]service{}
	}
	r.inService[account][inventoryID{kind, id}] = s
}

// taken reports whether an orphan's key is a role's or an account's after all: a
// person may have brought it meanwhile (import/<role>).
func (b *Backend) taken(ctx context.Context, s logical.Storage, l *line) (bool, error) {
	r := newRecords()
	err := r.holders(ctx, b, s)
	return r.tags[l.Tag] || r.ids[l.ID], err
}
