package backend

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/vault/sdk/logical"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/backend/provider"
)

// A ledger is the mount's lines, in storage and indexed in memory. The index
// answers "how many has this role" without a storage call.
type ledger struct {
	ready chan struct{} // closed when the index holds all of storage
	once  sync.Once

	mu       sync.Mutex
	lines    map[provider.Tag]*line // tags are unique in a mount
	requests map[string]provider.Tag
	held     map[string]int // key lines by role
	// flying holds the tags that a request of this process is working on: they
	// are not taken for leftovers. A restart empties it, which is right.
	flying   map[provider.Tag]bool
	troubles map[provider.Tag]trouble
	revoked  map[string]time.Time // when the leak switch of a role was last used
	// damaged are lines that cannot be read. Their keys may be in somebody's hands.
	damaged []provider.Tag
}

// trouble is why a line could not be worked off yet. It is not stored: a
// restart tries again at once.
type trouble struct {
	attempts  int
	lastError string
}

func newLedger() *ledger {
	return &ledger{
		ready:    make(chan struct{}),
		lines:    map[provider.Tag]*line{},
		requests: map[string]provider.Tag{},
		held:     map[string]int{},
		flying:   map[provider.Tag]bool{},
		troubles: map[provider.Tag]trouble{},
		revoked:  map[string]time.Time{},
	}
}

// load fills the index from storage. Lines that this process wrote are newer,
// and stay. A damaged one is told and passed over: the others need looking after.
func (g *ledger) load(ctx context.Context, s logical.Storage, log hclog.Logger) error {
	accounts, err := s.List(ctx, ledgerPrefix)
	if err != nil {
		return storageFault("listing the ledger", err)
	}
	for _, account := range accounts {
		account = strings.TrimSuffix(account, "/")
		tags, err := s.List(ctx, ledgerPrefix+account+"/")
		if err != nil {
			return storageFault(fmt.Sprintf("listing the ledger of account %q", account), err)
		}
		for _, tag := range tags {
			l, err := load[line](ctx, s, ledgerPrefix+account+"/"+tag)
			switch {
			case errors.Is(err, errDamaged):
				log.Error("a line of the ledger cannot be read: look for its key at the provider by hand", "tag", tag, "account", account)
				g.spoil(provider.Tag(tag))
			case err != nil:
				return err
			case l != nil:
				l.Account, l.Tag = account, provider.Tag(tag)
				g.add(l)
			}
		}
	}
	g.complete()
	return nil
}

func (g *ledger) spoil(tag provider.Tag) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.damaged = append(g.damaged, tag)
}

func (g *ledger) spoilt() []provider.Tag {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.damaged)
}

// loaded reports whether the index holds all of storage. Loading it again beside
// live traffic could bring back a line that was just dropped.
func (g *ledger) loaded() bool {
	select {
	case <-g.ready:
		return true
	default:
		return false
	}
}

// complete lets those go on who wait for the index.
func (g *ledger) complete() { g.once.Do(func() { close(g.ready) }) }

func (g *ledger) add(l *line) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.lines[l.Tag] == nil && !g.flying[l.Tag] {
		g.index(l)
	}
}

// wait returns when the index is complete.
func (g *ledger) wait(ctx context.Context) error {
	select {
	case <-g.ready:
		return nil
	case <-ctx.Done():
		return problemf(statusUnavailable, "the ledger is still being read after the start: try again shortly")
	}
}

// hold counts a line in (1) or out (-1). The caller holds mu.
func (g *ledger) hold(l *line, by int) {
	if !l.holds() {
		return
	}
	if g.held[l.Role] += by; g.held[l.Role] == 0 {
		delete(g.held, l.Role)
	}
}

func (g *ledger) index(l *line) {
	g.hold(g.lines[l.Tag], -1)
	g.hold(l, 1)
	g.lines[l.Tag] = l
	if l.Request != "" {
		g.requests[l.Request] = l.Tag
	}
}

// put stores a line, then indexes it. A Put that fails may have taken effect:
// the index keeps the line, so that it is looked after in either case.
func (g *ledger) put(ctx context.Context, s logical.Storage, l *line) error {
	err := save(ctx, s, l.path(), l)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.index(l)
	return err
}

// open stores the first line of an attempt, unless the role holds limit keys
// already (0: no limit). Counting and indexing are one step, so that requests
// side by side cannot pass the limit together.
func (g *ledger) open(ctx context.Context, s logical.Storage, l *line, limit int) error {
	g.mu.Lock()
	if held := g.held[l.Role]; limit > 0 && held >= limit {
		g.mu.Unlock()
		return problemf(statusExhausted, "role %q has %d keys and max_active is %d: revoke a lease, wait for one to end, or raise max_active", l.Role, held, limit)
	}
	g.index(l)
	g.mu.Unlock()
	return save(ctx, s, l.path(), l)
}

// drop deletes a line: nothing of it is left at the provider.
func (g *ledger) drop(ctx context.Context, s logical.Storage, l *line) error {
	if err := remove(ctx, s, l.path()); err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.hold(g.lines[l.Tag], -1)
	delete(g.lines, l.Tag)
	if g.requests[l.Request] == l.Tag {
		delete(g.requests, l.Request)
	}
	delete(g.troubles, l.Tag)
	return nil
}

// fly marks a tag as being worked on by this request until land is called.
func (g *ledger) fly(tag provider.Tag) (land func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.flying[tag] = true
	return func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		delete(g.flying, tag)
	}
}

// revoke notes that the leak switch of a role was used: keys being asked for at
// that moment go as well, as soon as they are known.
func (g *ledger) revoke(role string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.revoked[role] = time.Now()
}

func (g *ledger) revokedSince(role string, t time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.revoked[role].After(t)
}

func (g *ledger) inFlight(tag provider.Tag) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.flying[tag]
}

func (g *ledger) get(tag provider.Tag) *line {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.lines[tag]
}

// ofRequest is the line that an earlier run of the same request left, or nil.
func (g *ledger) ofRequest(id string) *line {
	g.mu.Lock()
	defer g.mu.Unlock()
	if id == "" {
		return nil
	}
	return g.lines[g.requests[id]]
}

// filter returns the lines that match, oldest first.
func (g *ledger) filter(match func(*line) bool) []*line {
	g.mu.Lock()
	defer g.mu.Unlock()
	var out []*line
	for _, l := range g.lines {
		if match(l) {
			out = append(out, l)
		}
	}
	slices.SortFunc(out, func(a, b *line) int {
		return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.Tag, b.Tag))
	})
	return out
}

func (g *ledger) ofRole(role string) []*line {
	return g.filter(func(l *line) bool { return l.Role == role })
}

func (g *ledger) ofAccount(account string) []*line {
	return g.filter(func(l *line) bool { return l.Account == account })
}

// A ledgerPart is the lines of one account in one state.
type ledgerPart struct {
	account string
	state   lineState
}

// count says how many lines there are of each sort.
func (g *ledger) count() map[ledgerPart]int {
	g.mu.Lock()
	defer g.mu.Unlock()
	counts := map[ledgerPart]int{}
	for tag, l := range g.lines {
		state := l.State
		if state == stateIntent && !g.flying[tag] {
			state = stateUnresolved
		}
		counts[ledgerPart{l.Account, state}]++
	}
	return counts
}

// outcome records how working on a line went; a success ends its troubles.
func (g *ledger) outcome(tag provider.Tag, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if err == nil {
		delete(g.troubles, tag)
		return
	}
	t := g.troubles[tag]
	t.attempts++
	t.lastError = err.Error()
	g.troubles[tag] = t
}

func (g *ledger) trouble(tag provider.Tag) trouble {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.troubles[tag]
}

// shownState is the state as the inventory tells it: an intent that nobody is
// working on is one whose outcome is unknown.
func (g *ledger) shownState(l *line) lineState {
	if l.State == stateIntent && !g.inFlight(l.Tag) {
		return stateUnresolved
	}
	return l.State
}
