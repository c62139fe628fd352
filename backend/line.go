package backend

import (
	"time"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/backend/provider"
)

// A line of the ledger is stored at "issued/<account>/<tag>" before anything is
// asked of a provider, and deleted when nothing is left there. It covers leased
// keys, service accounts the engine makes, and whatever of a static role is
// undecided or on its way out; a static role's own keys are in its keyEntry.
type line struct {
	Account string       `json:"-"`
	Tag     provider.Tag `json:"-"`

	Kind  lineKind       `json:"kind"`
	State lineState      `json:"state"`
	Role  string         `json:"role"`
	ID    string         `json:"id,omitempty"`
	Scope provider.Scope `json:"scope,omitempty"`
	// Created is when the intent was stored.
	Created time.Time `json:"created"`
	// Asked is when the outcome turned out to be unknown: storing the intent may have
	// taken its time.
	Asked time.Time `json:"asked,omitzero"`
	// Answered says that the call is over: see [throttled]. One look is enough then.
	Answered bool `json:"answered,omitempty"`
	// Expires is when the provider ends the key by itself; zero: never.
	Expires time.Time `json:"expires,omitzero"`
	// Deadline is when a live line is withdrawn even though no lease asked for
	// it: its lease is over by then, or was never stored.
	Deadline time.Time `json:"deadline,omitzero"`
	// Swept says that what bore the tag is withdrawn; the line only waits for more
	// of it to turn up. Erased says the same of a slot: see Quiet.
	Swept  bool `json:"swept,omitempty"`
	Erased bool `json:"erased,omitempty"`
	// Quiet is until when a call about this slot that was not answered may still
	// take effect: so long the line stays, and the slot gets no new key.
	Quiet time.Time `json:"quiet,omitzero"`
	// Request is the id of the request that asked: Vault sends a request again
	// when the plugin died under it.
	Request string `json:"request,omitempty"`
	// Orphan says that reconcile found it at the provider: no role is known for it.
	Orphan bool `json:"orphan,omitempty"`
	// EntityID and DisplayName say who holds a leased key.
	EntityID    string `json:"entity_id,omitempty"`
	DisplayName string `json:"display_name,omitempty"`
}

type lineKind string

const (
	lineKey   lineKind = "key"
	lineOwner lineKind = "owner"
	// lineRoot is an admin credential that the engine made and must not stay.
	lineRoot lineKind = "root"
)

type lineState string

const (
	// stateIntent: the provider is being asked, or was when we crashed.
	stateIntent lineState = "intent"
	// stateUnresolved: the provider was asked and the outcome is unknown.
	stateUnresolved lineState = "unresolved"
	// stateLive: it exists and its id is known.
	stateLive lineState = "live"
	// stateWithdrawing: it must go; retried until the provider says it is gone.
	stateWithdrawing lineState = "withdrawing"
)

func (l *line) path() string { return ledgerPrefix + l.Account + "/" + string(l.Tag) }

// with returns a copy in another state; stored lines are never changed in place.
func (l *line) with(state lineState) *line {
	c := *l
	c.State = state
	return &c
}

// holds reports whether a line counts for its role's max_active.
func (l *line) holds() bool { return l != nil && l.Kind == lineKey && !l.Swept && !l.Answered }
