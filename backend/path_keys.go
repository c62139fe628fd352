package backend

import (
	"context"
	"time"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"
)

func pathsKeys(b *Backend) []*framework.Path {
	return []*framework.Path{
		{
			Pattern: "keys/" + namePattern("account") + "/?$",
			Fields:  map[string]*framework.FieldSchema{"account": text("Name of the account."), "after": afterField, "limit": limitField},
			Operations: map[logical.Operation]framework.OperationHandler{
				logical.ListOperation: forwarded(b.listKeys, "List the keys of an account.", nil),
			},
			HelpSynopsis: "The inventory: every live or unresolved key this mount made or was brought.",
			HelpDescription: `
Names are tags: what a key is called at the provider. key_info tells of each its
key_id, role, state, when it was created and when it ends. States: current and
previous (static), live (leased), intent (being asked for), unresolved (asked for,
outcome unknown: being looked for), withdrawing (on its way out).
`,
		},
		{
			Pattern: "keys/" + namePattern("account") + "/" + namePattern("tag"),
			Fields:  map[string]*framework.FieldSchema{"account": text("Name of the account."), "tag": text("Name of the key at the provider.")},
			Operations: map[logical.Operation]framework.OperationHandler{
				logical.ReadOperation: forwarded(b.readKey, "Read what is known of a key, but not the key.", responds("The key.", map[string]*framework.FieldSchema{
					"tag":          text("Name of the key at the provider."),
					"key_id":       text("The provider's id of the key; empty while unknown."),
					"role":         text("The role it was made for."),
					"state":        text("intent, live, current, previous, withdrawing or unresolved."),
					"created":      moment("When it was asked for."),
					"expires":      moment("When it ends: a lease's longest life, the end of a grace, or the provider's own expiry. Empty: not by itself."),
					"imported":     yesno("A person brought it.", false),
					"entity_id":    text("Leased keys: the identity that asked for it."),
					"display_name": text("Leased keys: the display name of the token that asked for it."),
					"last_error":   text("Why it could not be withdrawn yet."),
					"attempts":     number("How often that failed."),
				})),
			},
			HelpSynopsis:    "What is known of one key: role, state, holder, end. Never the key itself.",
			HelpDescription: "keys/<account> lists the tags, and its help tells the states. An absent key was withdrawn, or never made by this mount.",
		},
	}
}

func (b *Backend) listKeys(ctx context.Context, req *logical.Request, data *framework.FieldData) (*logical.Response, error) {
	account := fieldText(data.Get("account"))
	inventory, err := b.inventory(ctx, req.Storage, account)
	if err != nil {
		return nil, err
	}
	names, err := page(data, sortedNames(inventory))
	if err != nil {
		return nil, err
	}
	info := make(map[string]any, len(names))
	for _, name := range names {
		info[name] = inventory[name]
	}
	return logical.ListResponseWithInfo(names, info), nil
}

func (b *Backend) readKey(ctx context.Context, req *logical.Request, data *framework.FieldData) (*logical.Response, error) {
	inventory, err := b.inventory(ctx, req.Storage, fieldText(data.Get("account")))
	if err != nil {
		return nil, err
	}
	tag := fieldText(data.Get("tag"))
	key, ok := inventory[tag]
	if !ok {
		return nil, problemf(statusMissing, "no key %q of this mount in that account: it was withdrawn, or never made here", tag)
	}
	key["tag"] = tag
	return &logical.Response{Data: key}, nil
}

// inventory is every key of an account that may be live at the provider: the
// ledger's, and those of static roles.
func (b *Backend) inventory(ctx context.Context, s logical.Storage, account string) (map[string]map[string]any, error) {
	if err := b.ledger.wait(ctx); err != nil {
		return nil, err
	}
	a, err := b.accounts.get(ctx, s, account)
	if err != nil {
		return nil, err
	}
	if a == nil {
		return nil, problemf(statusMissing, "no account named %q: see the list of accounts", account)
	}
	inventory := map[string]map[string]any{}
	for _, l := range b.ledger.ofAccount(account) {
		if l.Kind != lineOwner {
			inventory[string(l.Tag)] = b.describeLine(l)
		}
	}
	roles, err := b.rolesOf(ctx, s, account)
	if err != nil {
		return nil, err
	}
	for _, role := range roles {
		e, err := b.staticKeys.get(ctx, s, role.Name)
		if err != nil {
			return nil, err
		}
		if e != nil && role.Type == typeStatic {
			addStatic(inventory, role, e)
		}
	}
	return inventory, nil
}

func (b *Backend) describeLine(l *line) map[string]any {
	expires := l.Expires
	if expires.IsZero() {
		expires = l.Deadline
	}
	d := map[string]any{
		"key_id":  l.ID,
		"role":    l.Role,
		"state":   string(b.ledger.shownState(l)),
		"created": rfc3339(l.Created),
		"expires": rfc3339(expires),
	}
	if l.DisplayName != "" {
		d["display_name"] = l.DisplayName
	}
	if l.EntityID != "" {
		d["entity_id"] = l.EntityID
	}
	if t := b.ledger.trouble(l.Tag); t.lastError != "" {
		d["last_error"], d["attempts"] = t.lastError, t.attempts
	}
	return d
}

// addStatic adds the keys of a static role, and the attempt under way.
func addStatic(inventory map[string]map[string]any, role *roleEntry, e *keyEntry) {
	add := func(v *keyVersion, state string, expires time.Time) {
		if v == nil {
			return
		}
		inventory[string(v.Tag)] = map[string]any{
			"key_id": string(v.ID), "role": role.Name, "state": state,
			"created": rfc3339(v.Created), "expires": rfc3339(expires), "imported": v.Brought,
		}
	}
	if e.Current != nil {
		add(e.Current, "current", e.Current.Expires)
	}
	add(e.Previous, "previous", e.Until)
	if e.Attempt != nil {
		state := stateIntent
		if e.Attempts > 0 {
			state = stateUnresolved
		}
		inventory[string(e.Attempt.Tag)] = map[string]any{
			"key_id": string(e.Attempt.Slot), "role": role.Name, "state": string(state),
			"created": rfc3339(e.Attempt.Asked), "expires": "",
		}
	}
}

func rfc3339(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}
