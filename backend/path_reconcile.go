package backend

import (
	"context"
	"fmt"
	"time"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/backend/provider"
)

func pathsReconcile(b *Backend) []*framework.Path {
	return []*framework.Path{{
		Pattern: "reconcile/" + namePattern("account"),
		Fields: map[string]*framework.FieldSchema{
			"account":        text("Name of the account."),
			"dry_run":        yesno("Only report. false withdraws the orphans that nothing speaks against.", true),
			"min_age":        {Type: framework.TypeDurationSecond, Default: int(defaultMinAge.Seconds()), Description: "Report younger orphans, but leave them alone. At least 1h, and longer than settle_after of config. Default 24h."},
			"include_used":   yesno("Withdraw orphans as well that somebody uses (in_use).", false),
			"include_copies": yesno("Withdraw orphans as well that this mount's storage knows no maker of (made_elsewhere). Never while a copy of this mount is in use.", false),
			"everywhere":     yesno("Look into every place of the account (OpenAI: every project that is not archived); false: only where roles and ledger say that keys are.", true),
			"after":          text("Where to go on: next of the previous answer."),
			"limit":          {Type: framework.TypeInt, Default: defaultOrphans, Description: "At most this many orphans and ghosts in one answer, and so withdrawn at once. Default 1000."},
		},
		Operations: map[logical.Operation]framework.OperationHandler{
			logical.UpdateOperation: forwarded(b.reconcile, "Compare what a provider has with what this mount knows.", responds("What was found.", map[string]*framework.FieldSchema{
				"dry_run": yesno("Nothing was withdrawn.", true),
				"orphans": {Type: framework.TypeSlice, Description: "Ours by name and unknown here: key_id, name, kind (key, owner or root), created, last_used, action (withdrawn, withdrawing or reported) and reason."},
				"ghosts":  {Type: framework.TypeSlice, Description: "In service here and gone at the provider: tag, key_id, kind, role and state."},
				"checked": number("How many things the provider listed."),
				"foreign": number("How many of them are neither this mount's nor known to it."),
				"next":    text("There is more: give this as after. Empty: that was all."),
			})),
		},
		HelpSynopsis: "Find keys at the provider that nobody here knows, and keys here that the provider has lost.",
		HelpDescription: `
Orphans bear this mount's mark in their names, and neither the ledger nor a role nor
an account knows them: accounts that were deleted with force=true leave them, and
storage that was restored from a snapshot. Kinds: key, owner (a service account that
the engine made) and root (an admin credential). Nothing without the mark is ever
touched. dry_run=false withdraws the orphans that nothing speaks against; the others
are reported with a reason:

  too_young       younger than min_age
  made_elsewhere  made by a copy of this mount, or by this one in a time that a
                  snapshot it was restored from knows nothing of: include_copies
  in_use          used since it was made, or a service account, of which nobody can
                  tell: include_used
  holds_keys      a service account with keys on it that stay
  age_unknown     the provider does not say when it was made
  known_now       it became known here while this was under way

Look at a dry run before you give include_used or include_copies. If this mount was
copied (a restored snapshot, a cloned server) and the copy is in use, give neither:
what the copy made within fifteen minutes after the copying looks like this mount's
own, and is safe only by its use and by min_age.

Ghosts are in service here, and the provider does not have them, or has switched them
off. They are reported and stay: a lease ends by itself, and a static role needs
rotate-role/<role> or import/<role>.

If the provider's list cannot be had as a whole, nothing is withdrawn.
`,
	}}
}

const (
	defaultMinAge  = 24 * time.Hour
	leastMinAge    = time.Hour
	defaultOrphans = 1000
)

func (b *Backend) reconcile(ctx context.Context, req *logical.Request, data *framework.FieldData) (*logical.Response, error) {
	name := fieldText(data.Get("account"))
	account, err := b.accounts.get(ctx, req.Storage, name)
	if err != nil {
		return nil, err
	}
	if account == nil {
		return nil, problemf(statusMissing, "no account named %q: see the list of accounts", name)
	}
	def, ok := provider.Lookup(account.Provider)
	if !ok {
		return nil, problemf(statusConflict, "account %q is for provider %q, which this build does not have", name, account.Provider)
	}
	cfg, err := b.settings(ctx, req.Storage)
	if err != nil {
		return nil, err
	}
	rules, err := takeRules(data, cfg)
	if err != nil {
		return nil, err
	}
	c := &census{}
	if def.Inventory != nil {
		if c, err = b.takeCensus(ctx, req.Storage, account, rules); err != nil {
			return nil, err
		}
	}
	if !rules.dryRun {
		if err := b.withdrawOrphans(ctx, req.Storage, name, c.orphans); err != nil {
			return nil, err
		}
	}
	resp := c.response(rules.dryRun)
	if c.narrowed {
		resp.AddWarning("the provider answered 404 to the question which places there are: only those that roles and ledger know were looked into, as with everywhere=false")
	}
	if def.Inventory == nil {
		resp.AddWarning(fmt.Sprintf("there is nothing to compare: %s has no list of keys that are made and withdrawn (life: %s)", def.Title, def.Life()))
	}
	return resp, nil
}

func takeRules(data *framework.FieldData, cfg *mountConfig) (orphanRules, error) {
	r := orphanRules{dryRun: true, everywhere: true, minAge: defaultMinAge, limit: defaultOrphans, after: fieldText(data.Get("after"))}
	take(data, "dry_run", &r.dryRun)
	take(data, "include_used", &r.used)
	take(data, "include_copies", &r.copies)
	take(data, "everywhere", &r.everywhere)
	take(data, "limit", &r.limit)
	if r.limit < 1 {
		return r, invalidf("limit: at least 1")
	}
	// Whatever is not settled by then is on the ledger, and known.
	least := max(leastMinAge, cfg.SettleAfter+cfg.ProviderTimeout)
	if _, given := data.GetOk("min_age"); !given {
		r.minAge = max(r.minAge, least)
		return r, nil
	}
	takeDuration(data, "min_age", &r.minAge)
	if r.minAge < least {
		return r, invalidf("min_age: at least %s (an hour, and longer than settle_after and provider_timeout of config): what is younger may still be on its way", least)
	}
	return r, nil
}

func (c *census) response(dryRun bool) *logical.Response {
	orphans := make([]map[string]any, 0, len(c.orphans))
	for _, o := range c.orphans {
		orphans = append(orphans, map[string]any{
			"key_id": o.ID, "name": o.Name, "kind": string(o.Kind),
			"created": rfc3339(o.Created), "last_used": rfc3339(o.LastUsed),
			"action": o.action, "reason": o.reason,
		})
	}
	ghosts := make([]map[string]any, 0, len(c.ghosts))
	resp := &logical.Response{}
	for _, g := range c.ghosts {
		ghosts = append(ghosts, map[string]any{
			"tag": string(g.tag), "key_id": g.id, "kind": string(g.kind), "role": g.role, "state": g.state,
		})
		if warning := g.warning(); warning != "" {
			resp.AddWarning(warning)
		}
	}
	resp.Data = map[string]any{
		"dry_run": dryRun, "orphans": orphans, "ghosts": ghosts,
		"checked": c.checked, "foreign": c.foreign, "next": c.next,
	}
	return resp
}

// warning is for ghosts that consumers are served, or that stop a role.
func (g ghost) warning() string {
	switch {
	case g.kind == provider.FoundRoot:
		return fmt.Sprintf("the provider does not list the account's own admin credential, %s: is it the right organisation?", g.id)
	case g.kind == provider.FoundOwner:
		return fmt.Sprintf("the service account %s of role %q is gone at the provider, so the role can have no new key: revoke-account, or delete the role and write it again", g.id, g.role)
	case g.state == "current":
		return fmt.Sprintf("role %q serves key %s, which is gone at the provider or switched off there: rotate-role/%s, or import/%s", g.role, g.id, g.role, g.role)
	default:
		return ""
	}
}
