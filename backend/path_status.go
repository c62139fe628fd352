package backend

import (
	"context"
	"fmt"
	"time"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/backend/provider"
)

func pathsStatus(b *Backend) []*framework.Path {
	return []*framework.Path{
		{
			Pattern: "status/?$",
			Operations: map[logical.Operation]framework.OperationHandler{
				logical.ReadOperation: forwarded(b.readStatus, "How the mount stands.", responds("Counts, and whatever needs a person.", map[string]*framework.FieldSchema{
					"encryption": text("What seals new secrets: transit or barrier."),
					"healthy":    yesno("Nothing is failing, overdue or withdrawn, and transit works.", true),
					"accounts":   number("Accounts."),
					"roles":      {Type: framework.TypeMap, Description: "Roles by type."},
					"keys":       {Type: framework.TypeMap, Description: "Keys by state, static ones included."},
					"overdue":    {Type: framework.TypeCommaStringSlice, Description: "Static roles whose rotation or import is overdue."},
					"failing":    {Type: framework.TypeMap, Description: "Roles and keys whose last attempt failed, with the reason."},
					"withdrawn":  {Type: framework.TypeCommaStringSlice, Description: "Roles that serve nothing since revoke."},
					"held_back":  {Type: framework.TypeMap, Description: "Accounts whose provider asked to wait or does not answer, with the host, the reason and how long calls are held back."},
					"resealing":  number("Stored secrets still sealed the former way."),
					"transit":    {Type: framework.TypeMap, Description: "How transit stands."},
				})),
			},
			HelpSynopsis:    "What an operator reads at three in the morning.",
			HelpDescription: "healthy=true: nothing to do. Otherwise: failing has the reasons, held_back the accounts whose provider asked to wait or does not answer, overdue the roles whose key should have been replaced, withdrawn those that wait for a new key. It makes no call to a provider or to transit.",
		},
		{
			Pattern: "status/" + namePattern("role"),
			Fields:  map[string]*framework.FieldSchema{"role": text("Name of the role.")},
			Operations: map[logical.Operation]framework.OperationHandler{
				logical.ReadOperation: forwarded(b.readRoleStatus, "How a role stands.", responds("The role's state.", map[string]*framework.FieldSchema{
					"role": text("The role."), "type": text("dynamic or static."), "account": text("Its account."), "provider": text("Its provider."), "disabled": yesno("Role or account is disabled.", false),
					"phase":               text("Static: empty, stable, minting, overlap or withdrawn."),
					"version":             number("Static: number of the current key."),
					"key_id":              text("Static: the provider's name for the current key."),
					"last_vault_rotation": moment("Static: when the current key became current."),
					"next_rotation":       moment("Static: when it is due to be replaced."),
					"overdue":             yesno("Static: that time is over.", false),
					"last_error":          text("Why the last attempt failed."),
					"attempts":            number("Attempts that failed in a row."),
					"next_attempt":        moment("When the next attempt is made."),
					"previous_key_id":     text("Static: the key before, while its grace lasts."),
					"previous_expires":    moment("Static: when that one is withdrawn."),
					"withdrawn":           moment("Static: when revoke was used."),
					"keys":                {Type: framework.TypeMap, Description: "Keys on the ledger, by state."},
				})),
			},
			HelpSynopsis:    "How one role stands: phase, times, last error.",
			HelpDescription: "Phases of a static role: empty (no key yet), stable (one key), minting (a key was asked for and is not stored yet), overlap (two keys, until previous_expires), withdrawn (revoke was used; serves nothing until rotate-role or import).",
		},
	}
}

// overdueSlack is how late a rotation may be before it is called overdue.
const overdueSlack = time.Minute

// isOverdue: what is disabled stands still on purpose.
func isOverdue(role *roleEntry, account *accountEntry, e *keyEntry, life provider.Life) bool {
	next := firstDue(role, e)
	if next.IsZero() || role.Disabled || account.Disabled {
		return false
	}
	slack := overdueSlack
	if life == provider.LifeImport {
		slack = 0 // nobody is about to do it
	}
	return time.Now().After(next.Add(slack))
}

func (b *Backend) readRoleStatus(ctx context.Context, req *logical.Request, data *framework.FieldData) (*logical.Response, error) {
	if err := b.ledger.wait(ctx); err != nil {
		return nil, err
	}
	role, err := b.role(ctx, req.Storage, fieldText(data.Get("role")))
	if err != nil {
		return nil, err
	}
	account, def, err := b.accountOf(ctx, req.Storage, role)
	if err != nil {
		return nil, err
	}
	states := map[string]int{}
	answer := map[string]any{
		"role": role.Name, "type": role.Type, "account": role.Account, "provider": account.Provider,
		"disabled": role.Disabled || account.Disabled,
		"keys":     states,
	}
	for _, l := range b.ledger.ofRole(role.Name) {
		if l.Kind == lineKey {
			states[string(b.ledger.shownState(l))]++
		}
		if t := b.ledger.trouble(l.Tag); t.lastError != "" {
			answer["last_error"], answer["attempts"] = t.lastError, t.attempts
		}
	}
	if role.Type == typeDynamic {
		return &logical.Response{Data: answer}, nil
	}
	e, err := b.keyEntryOf(ctx, req.Storage, role.Name)
	if err != nil {
		return nil, err
	}
	describeEntry(answer, role, account, def, e)
	return &logical.Response{Data: answer}, nil
}

func describeEntry(answer map[string]any, role *roleEntry, account *accountEntry, def provider.Definition, e *keyEntry) {
	// Every field is always there: a reader need not know which phase has which.
	for _, name := range []string{"key_id", "last_vault_rotation", "next_rotation", "last_error", "previous_key_id", "previous_expires"} {
		if answer[name] == nil {
			answer[name] = ""
		}
	}
	answer["phase"] = string(e.Phase)
	answer["version"] = e.Version
	answer["attempts"] = e.Attempts
	answer["overdue"] = isOverdue(role, account, e, def.Life())
	if e.LastError != "" {
		answer["last_error"] = e.LastError
	}
	if e.Current != nil {
		answer["key_id"] = string(e.Current.ID)
		answer["last_vault_rotation"] = e.LastRotation.Format(time.RFC3339)
	}
	if next := nextRotation(role, e); !next.IsZero() {
		answer["next_rotation"] = next.UTC().Format(time.RFC3339)
	}
	if step := nextStep(role, account, def.Life(), e); e.Attempts > 0 && !step.IsZero() {
		answer["next_attempt"] = step.UTC().Format(time.RFC3339)
	}
	if !e.Withdrawn.IsZero() {
		answer["withdrawn"] = e.Withdrawn.Format(time.RFC3339)
	}
	describePrevious(answer, e)
}

// A survey gathers the answer of status.
type survey struct {
	roles, keys        map[string]int
	overdue, withdrawn []string
	failing            map[string]any
	heldBack           map[string]any
}

func (b *Backend) readStatus(ctx context.Context, req *logical.Request, _ *framework.FieldData) (*logical.Response, error) {
	if err := b.ledger.wait(ctx); err != nil {
		return nil, err
	}
	cfg, err := b.settings(ctx, req.Storage)
	if err != nil {
		return nil, err
	}
	accounts, err := b.accounts.list(ctx, req.Storage)
	if err != nil {
		return nil, err
	}
	s := &survey{
		roles: map[string]int{typeDynamic: 0, typeStatic: 0}, keys: map[string]int{},
		overdue: []string{}, withdrawn: []string{}, failing: map[string]any{}, heldBack: map[string]any{},
	}
	if err := b.surveyAccounts(ctx, req.Storage, accounts, s); err != nil {
		return nil, err
	}
	if err := b.surveyRoles(ctx, req.Storage, s); err != nil {
		return nil, err
	}
	for _, l := range b.ledger.filter(func(*line) bool { return true }) {
		if l.Kind == lineKey {
			s.keys[string(b.ledger.shownState(l))]++
		}
		if t := b.ledger.trouble(l.Tag); t.lastError != "" {
			s.failing[string(l.Tag)] = t.lastError
		}
	}
	stale, err := b.staleEntries(ctx, req.Storage)
	if err != nil {
		return nil, err
	}
	transit := b.describeTransit()
	failing, _ := transit["failing"].(bool)
	return &logical.Response{Data: map[string]any{
		"held_back":  s.heldBack,
		"healthy":    len(s.overdue)+len(s.withdrawn)+len(s.failing) == 0 && !failing,
		"encryption": string(cfg.Encryption),
		"accounts":   len(accounts),
		"roles":      s.roles,
		"keys":       s.keys,
		"overdue":    s.overdue,
		"withdrawn":  s.withdrawn,
		"failing":    s.failing,
		"resealing":  len(stale),
		"transit":    transit,
	}}, nil
}

// surveyAccounts looks for admin credentials whose rotation fails or is late.
func (b *Backend) surveyAccounts(ctx context.Context, st logical.Storage, names []string, s *survey) error {
	for _, name := range names {
		if h := longest(b.clients.holds(name)); h.Reason != "" {
			s.heldBack[name] = fmt.Sprintf("%s: %s; %s left", h.Host, h.Reason, h.Left.Round(time.Second))
		}
		a, err := b.accounts.get(ctx, st, name)
		if err != nil {
			return err
		}
		if a == nil || a.Root == nil {
			continue
		}
		// Without a next step, what failed was asked for by a caller, who was told.
		if pending := !rootDue(a).IsZero(); a.Root.LastError != "" && (pending || a.Root.Attempts == 0) {
			s.failing["accounts/"+name] = a.Root.LastError
		}
		if due := a.first(a.Root.LastRotation); !due.IsZero() && !a.Disabled && time.Now().After(due.Add(overdueSlack)) {
			s.overdue = append(s.overdue, "accounts/"+name)
		}
	}
	return nil
}

func (b *Backend) surveyRoles(ctx context.Context, st logical.Storage, s *survey) error {
	names, err := b.roles.list(ctx, st)
	if err != nil {
		return err
	}
	for _, name := range names {
		role, err := b.roles.get(ctx, st, name)
		if err != nil {
			return err
		}
		if role == nil || role.Deleting {
			continue
		}
		s.roles[role.Type]++
		if role.Type != typeStatic {
			continue
		}
		account, def, err := b.accountOf(ctx, st, role)
		if err != nil {
			s.failing[name] = err.Error()
			continue
		}
		e, err := b.keyEntryOf(ctx, st, name)
		if err != nil {
			return err
		}
		s.add(role, account, def, e)
	}
	return nil
}

func (s *survey) add(role *roleEntry, account *accountEntry, def provider.Definition, e *keyEntry) {
	if e.Current != nil {
		s.keys["current"]++
	}
	if e.Previous != nil {
		s.keys["previous"]++
	}
	// Without a next step, what failed was asked for by a caller, who was told.
	pending := !nextStep(role, account, def.Life(), e).IsZero()
	if e.LastError != "" && (pending || e.Attempts == 0) {
		s.failing[role.Name] = e.LastError
	}
	if e.Phase == phaseWithdrawn {
		s.withdrawn = append(s.withdrawn, role.Name)
	}
	if isOverdue(role, account, e, def.Life()) || e.Phase == phaseEmpty && !role.Disabled && !account.Disabled {
		s.overdue = append(s.overdue, role.Name)
	}
}

func (b *Backend) describeTransit() map[string]any {
	st := b.keyring.Status()
	answer := map[string]any{"configured": st.Key != "", "data_keys_in_memory": st.Held, "failing": st.Failing}
	if st.Key != "" {
		answer["key"] = st.Mount + "/" + st.Key
		answer["address"] = st.Address
	}
	if st.LastError != "" {
		answer["last_error"], answer["last_error_class"] = st.LastError, st.LastClass
		answer["last_failed"] = st.LastFailed.UTC().Format(time.RFC3339)
	}
	return answer
}
