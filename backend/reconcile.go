package backend

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/hashicorp/vault/sdk/logical"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/backend/provider"
)

// orphanRules say what reconcile does about orphans.
type orphanRules struct {
	dryRun     bool
	used       bool // withdraw those in use as well
	copies     bool // and those that a copy of this mount may have made
	everywhere bool
	minAge     time.Duration
	after      string // a place in the answer: see [census.cut]
	limit      int
}

// What became of an orphan.
const (
	orphanWithdrawn   = "withdrawn"
	orphanWithdrawing = "withdrawing" // on the ledger, which goes on trying
	orphanReported    = "reported"
)

// Why an orphan was only reported. The help of the path explains them.
const (
	reasonDryRun    = "dry_run"
	reasonTooYoung  = "too_young"
	reasonNoAge     = "age_unknown"
	reasonCopy      = "made_elsewhere"
	reasonInUse     = "in_use"
	reasonHoldsKeys = "holds_keys"
	reasonKnownNow  = "known_now"
)

// An orphan bears this mount's mark at the provider, and the mount does not know it.
type orphan struct {
	provider.Found
	tag            provider.Tag
	keys           int // an owner's keys that are to go as well
	action, reason string
}

// A ghost is in service here, and the provider does not have it.
type ghost struct {
	inventoryID
	service
}

// A census is a provider's own list, beside what this mount knows.
type census struct {
	orphans          []*orphan
	ghosts           []ghost
	checked, foreign int
	next             string // where the next page begins; "": this was the last one
	narrowed         bool   // only known places were looked into, although all were asked for
}

// takeCensus reads the provider's list and judges what is on it. It changes
// nothing, there or here.
//
// The order is what makes it safe. A key is on record before the provider is
// asked for it, and until the provider has dropped it; so what the list shows is
// unknown here only if the records do not have it afterwards. (Nor before: what
// is withdrawn while the list is read is on the list and off the records.) And
// what they have had since before should be on the list.
func (b *Backend) takeCensus(ctx context.Context, s logical.Storage, account *accountEntry, rules orphanRules) (*census, error) {
	cfg, err := b.settings(ctx, s)
	if err != nil {
		return nil, err
	}
	began := time.Now()
	before, err := b.records(ctx, s)
	if err != nil {
		return nil, err
	}
	x, err := b.session(ctx, s, account)
	if err != nil {
		return nil, err
	}
	found, err := x.stock().List(ctx, before.scopes[account.Name], rules.everywhere)
	narrowed := rules.everywhere && provider.NotFound(err)
	if narrowed { // a gateway may lack the list of places that the known ones do without
		found, err = x.stock().List(ctx, before.scopes[account.Name], false)
	}
	if err != nil {
		return nil, fmt.Errorf("nothing changed: listing what %s has: %w", x.def.Title, err)
	}
	after, err := b.records(ctx, s)
	if err != nil {
		return nil, err
	}
	after.add(before)
	book, err := b.eraBook(ctx, s)
	if err != nil {
		return nil, err
	}
	j := &judge{b: b, rules: rules, config: *cfg, def: x.def, began: began, book: book}
	c := &census{checked: len(found), narrowed: narrowed}
	j.orphans(c, found, after)
	j.ghosts(c, found, after.inService[account.Name])
	c.cut(rules.after, rules.limit)
	return c, nil
}

// A judge decides what the things on a provider's list are to this mount.
type judge struct {
	b      *Backend
	rules  orphanRules
	config mountConfig
	def    provider.Definition
	began  time.Time
	book   *eraBook
}

// orphans sorts out what bears our mark and is not on record.
func (j *judge) orphans(c *census, found []provider.Found, known *records) {
	staying, leaving := map[string]int{}, map[string]int{} // keys by owner
	for _, f := range found {
		tag, era, ours := j.ours(f)
		onRecord := known.tags[tag] || known.ids[f.ID]
		spared := true
		switch {
		case ours && !onRecord:
			o := &orphan{Found: f, tag: tag, action: orphanReported, reason: j.spare(f, era)}
			c.orphans = append(c.orphans, o)
			spared = o.reason != ""
		case !ours && !onRecord:
			c.foreign++
		}
		switch {
		case f.Kind != provider.FoundKey:
		case spared:
			staying[f.Owner]++
		default:
			leaving[f.Owner]++
		}
	}
	for _, o := range c.orphans {
		o.keys = leaving[o.ID]
		switch {
		case o.reason != "":
		case o.Kind == provider.FoundOwner && staying[o.ID] > 0: // they would go with it
			o.reason = reasonHoldsKeys
		case j.rules.dryRun:
			o.reason = reasonDryRun
		}
	}
}

// ours reports whether something bears this mount's mark where the mount would
// have put it. A person's key is a person's, whatever its name; and where people
// make the keys, the names are theirs as well.
func (j *judge) ours(f provider.Found) (tag provider.Tag, era string, ours bool) {
	if j.def.Mint == nil || f.Kind == provider.FoundKey && j.def.Owner != nil && f.Owner == "" {
		return "", "", false
	}
	return j.b.marked(f.Name)
}

// spare is why an orphan must not be withdrawn; "" if it may be.
func (j *judge) spare(f provider.Found, era string) string {
	// The engine itself tries a new key: use right after it was made tells nothing.
	tried := f.Created.Add(j.config.VerifyTimeout + j.config.ProviderTimeout)
	switch {
	case f.Created.IsZero():
		return reasonNoAge
	case f.Created.After(j.began.Add(-j.rules.minAge)):
		return reasonTooYoung
	case !j.rules.copies && !j.book.covers(era, f.Created):
		return reasonCopy
	case j.rules.used:
		return ""
	case f.LastUsed.After(tried), f.Kind == provider.FoundOwner: // of an owner nobody can tell
		return reasonInUse
	default:
		return ""
	}
}

// ghosts are what is in service and not on the list. What was only just made may
// not be listed yet.
func (j *judge) ghosts(c *census, found []provider.Found, known map[inventoryID]service) {
	alive := map[inventoryID]bool{}
	for _, f := range found {
		if !f.Ended {
			alive[inventoryID{f.Kind, f.ID}] = true
		}
	}
	settled := j.began.Add(-j.config.SettleAfter)
	for id, s := range known {
		if !alive[id] && s.created.Before(settled) {
			c.ghosts = append(c.ghosts, ghost{id, s})
		}
	}
}

func (o *orphan) place() string { return string(o.tag) + "/" + o.ID }
func (g ghost) place() string   { return string(g.tag) + "/" + g.id }

// cut leaves one page: orphans and ghosts together, by name and id.
func (c *census) cut(after string, limit int) {
	c.orphans = slices.DeleteFunc(c.orphans, func(o *orphan) bool { return o.place() <= after })
	c.ghosts = slices.DeleteFunc(c.ghosts, func(g ghost) bool { return g.place() <= after })
	slices.SortFunc(c.orphans, func(a, b *orphan) int { return cmp.Compare(a.place(), b.place()) })
	slices.SortFunc(c.ghosts, func(a, b ghost) int { return cmp.Compare(a.place(), b.place()) })
	places := make([]string, 0, len(c.orphans)+len(c.ghosts))
	for _, o := range c.orphans {
		places = append(places, o.place())
	}
	for _, g := range c.ghosts {
		places = append(places, g.place())
	}
	if len(places) <= limit {
		return
	}
	slices.Sort(places)
	c.next = places[limit-1]
	c.orphans = slices.DeleteFunc(c.orphans, func(o *orphan) bool { return o.place() > c.next })
	c.ghosts = slices.DeleteFunc(c.ghosts, func(g ghost) bool { return g.place() > c.next })
}

// withdrawOrphans withdraws those that were not spared: keys first, then owners
// that hold none any more. An error means that some were not even written down to
// be withdrawn; those that were are worked off.
func (b *Backend) withdrawOrphans(ctx context.Context, s logical.Storage, account string, orphans []*orphan) error {
	var keys, owners []*orphan
	for _, o := range orphans {
		switch {
		case o.reason != "":
		case o.Kind == provider.FoundOwner:
			owners = append(owners, o)
		default:
			keys = append(keys, o)
		}
	}
	if err := b.withdrawThese(ctx, s, account, keys); err != nil {
		return err
	}
	gone := map[string]int{} // keys by owner
	for _, o := range keys {
		if o.action == orphanWithdrawn {
			gone[o.Owner]++
		}
	}
	owners = slices.DeleteFunc(owners, func(o *orphan) bool {
		if gone[o.ID] < o.keys { // the others may be on a later page of the answer
			o.reason = reasonHoldsKeys
		}
		return o.reason != ""
	})
	return b.withdrawThese(ctx, s, account, owners)
}

// withdrawThese goes by the ledger, as for every other key: a crash, or a
// provider that is away, only delays it.
func (b *Backend) withdrawThese(ctx context.Context, s logical.Storage, account string, orphans []*orphan) error {
	var tags []provider.Tag
	for _, o := range orphans {
		if err := b.condemn(ctx, s, account, o); err != nil {
			return fmt.Errorf("writing %s down to be withdrawn: %w", o.tag, err)
		}
		if o.reason == "" {
			tags = append(tags, o.tag)
		}
	}
	_, _ = b.withdrawNow(ctx, s, tags) // each line keeps its own reason
	for _, o := range orphans {
		switch {
		case o.reason != "":
		case b.ledger.get(o.tag) == nil:
			o.action = orphanWithdrawn
		default:
			o.action, o.reason = orphanWithdrawing, cmp.Or(b.ledger.trouble(o.tag).lastError, "under way")
		}
	}
	return nil
}

// condemn puts an orphan on the ledger, unless it is known by now.
func (b *Backend) condemn(ctx context.Context, s logical.Storage, account string, o *orphan) error {
	unlock, err := b.lineLocks.lock(ctx, string(o.tag))
	if err != nil {
		return err
	}
	defer unlock()
	known, err := b.records(ctx, s)
	if err != nil {
		return err
	}
	if known.tags[o.tag] || known.ids[o.ID] {
		o.reason = reasonKnownNow
		return nil
	}
	return b.leaveLine(ctx, s, &line{
		Account: account, Tag: o.tag, Kind: lineKind(o.Kind), State: stateWithdrawing, Orphan: true,
		ID: o.ID, Scope: o.Scope, Created: time.Now().UTC(),
	})
}
