package backend

import (
	"context"
	"errors"
	"maps"
	"time"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/backend/provider"
)

// accountFieldNames are the account fields that every provider has.
var accountFieldNames = []string{
	"name", "provider", "allowed_roles", "verify_connection", "base_url", "ca_cert",
	"requests_per_second", "rotation_period", "rotation_schedule", "rotation_window", "disabled", "cas", "force",
}

func pathsAccounts(b *Backend) []*framework.Path {
	answer := withProviderFields(map[string]*framework.FieldSchema{
		"name":                text("Name of the account."),
		"provider":            text("Which provider: see the list at providers. Cannot change."),
		"allowed_roles":       {Type: framework.TypeCommaStringSlice, Default: []string{"*"}, Description: "Roles that may use the account; globs are allowed. Default: all."},
		"verify_connection":   yesno("Ask the provider whether it accepts the credential before saving it.", true),
		"base_url":            text("The provider's admin API, version segment included, if not the vendor's own; https, or http on loopback."),
		"ca_cert":             text("CA certificates (PEM) for base_url, if not the system's."),
		"requests_per_second": {Type: framework.TypeFloat, Description: "Limit of calls to the provider with this account; 0: none."},
		"rotation_period":     seconds("Replace the admin credential this long after the last time; 0: on demand only (rotate-root/<account>)."),
		"rotation_schedule":   text("Replace the admin credential at these times instead: five cron fields, UTC."),
		"rotation_window":     seconds("How long after each of those times it may still be done; at least an hour. 0: any time after."),
		"disabled":            yesno("Serve and mint nothing from this account. Withdrawing goes on.", false),
	}, func(d provider.Definition) []provider.Field { return d.Account })
	fields := maps.Clone(answer)
	fields["cas"] = casField
	fields["force"] = yesno("Delete: give up on keys that could not be withdrawn yet.", false)
	for name, f := range answer {
		if f.DisplayAttrs != nil && f.DisplayAttrs.Sensitive {
			delete(answer, name) // never returned
		}
	}
	answer["version"] = number("Version of the account, for cas.")
	answer["credential_version"] = number("How often the engine has replaced the admin credential.")
	answer["credential_id"] = text("The provider's name for the present admin credential, where it is known.")
	answer["last_vault_rotation"] = moment("When the engine last replaced the admin credential.")
	answer["next_rotation"] = moment("When it is due to be replaced.")
	answer["last_error"] = text("Why it could not be replaced, or the old one not be withdrawn.")
	answer["attempts"] = number("How often that failed.")
	return []*framework.Path{
		listPath("accounts/?$", b.accounts.list, "List the accounts.", "Accounts: one organisation's admin access to a provider each."),
		{
			Pattern:        "accounts/" + namePattern("name"),
			Fields:         fields,
			ExistenceCheck: exists(b.accounts),
			Operations: map[logical.Operation]framework.OperationHandler{
				logical.CreateOperation: forwarded(b.writeAccount, "Create an account.", done("Saved.")),
				logical.UpdateOperation: forwarded(b.writeAccount, "Change an account.", done("Saved.")),
				logical.ReadOperation:   &framework.PathOperation{Callback: b.readAccount, Summary: "Read an account, without its credentials.", Responses: responds("The account.", answer)},
				logical.DeleteOperation: forwarded(b.deleteAccount, "Delete an account that no role uses.", done("Deleted.")),
			},
			HelpSynopsis: "An organisation's admin access to an AI provider.",
			HelpDescription: `
Give the provider and its own fields (see providers/<name>), the admin credential
among them. It is tried at the provider, sealed, and never returned by any path.
Writing only some fields keeps the others; but who changes base_url or ca_cert must
give the credential again, since it would be sent there. A credential that is replaced here is
not withdrawn at the provider: that is yours to do, unless the engine made it
(rotate-root/<account>, or by rotation_period), since nobody else has it then.

An account with roles cannot be deleted, nor one with keys that are still to be
withdrawn; force=true gives up on those, and lists them in the answer. An admin
credential that the engine made is withdrawn with its account.
`,
		},
	}
}

func (b *Backend) readAccount(ctx context.Context, req *logical.Request, data *framework.FieldData) (*logical.Response, error) {
	a, err := b.accounts.get(ctx, req.Storage, fieldText(data.Get("name")))
	if err != nil || a == nil {
		return nil, err
	}
	answer := map[string]any{
		"name":                a.Name,
		"provider":            a.Provider,
		"allowed_roles":       a.AllowedRoles,
		"verify_connection":   a.VerifyConnection,
		"base_url":            a.BaseURL,
		"ca_cert":             a.CACert,
		"requests_per_second": a.RequestsPerSecond,
		"disabled":            a.Disabled,
		"version":             a.Version,
	}
	if def, ok := provider.Lookup(a.Provider); ok {
		answer["base_url"] = baseURL(def, a)
		shown(def.Account, a.Fields, answer)
	}
	describeRoot(answer, a)
	return &logical.Response{Data: answer}, nil
}

func (b *Backend) writeAccount(ctx context.Context, req *logical.Request, data *framework.FieldData) (*logical.Response, error) {
	name := fieldText(data.Get("name"))
	if err := checkName("account", name); err != nil {
		return nil, err
	}
	lock, disabling := b.accountLocks.lock, false
	if take(data, "disabled", &disabling); disabling { // it must not wait for a provider that does not answer
		lock = b.accountLocks.seize
	}
	unlock, err := lock(ctx, name)
	if err != nil {
		return nil, err
	}
	defer unlock()
	old, err := b.accounts.get(ctx, req.Storage, name)
	if err != nil {
		return nil, err
	}
	a := &accountEntry{Name: name, AllowedRoles: []string{"*"}, VerifyConnection: true}
	if old != nil {
		clone := *old
		a = &clone
	}
	if err := checkCAS(data, a.Version, "account "+name); err != nil {
		return nil, err
	}
	a.Version++
	def, err := takeAccount(data, a, old)
	if err != nil {
		return nil, err
	}
	resp, fresh := &logical.Response{}, false
	if old == nil || reconnects(data) {
		if fresh, err = b.connect(ctx, req.Storage, data, def, a, old, resp); err != nil {
			return nil, err
		}
	}
	if err := b.takeRoot(ctx, req.Storage, def, a, old, fresh); err != nil {
		return nil, err
	}
	if err := b.accounts.put(ctx, req.Storage, name, a); err != nil {
		return nil, err
	}
	if reconnects(data) {
		b.clients.drop(name) // what held calls back may be over now
	}
	b.queue.at(accountItem(name), time.Now())
	b.wakeAccount(ctx, req.Storage, name)
	if len(resp.Warnings) == 0 {
		return nil, nil //nolint:nilnil // the framework's way to say done
	}
	return resp, nil
}

// deleteAccount refuses while anything at the provider still needs the account.
func (b *Backend) deleteAccount(ctx context.Context, req *logical.Request, data *framework.FieldData) (*logical.Response, error) {
	name := fieldText(data.Get("name"))
	if err := b.ledger.wait(ctx); err != nil {
		return nil, err
	}
	force := false
	take(data, "force", &force)
	if err := b.unused(ctx, req.Storage, name); err != nil {
		return nil, err
	}
	if err := b.relieve(ctx, req.Storage, name); err != nil {
		return nil, err
	}
	// Not under the account's lock: it is the last one to be taken.
	_, reason := b.withdrawNow(ctx, req.Storage, tagsOf(b.ledger.ofAccount(name)))
	unlock, err := b.accountLocks.lock(ctx, name)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := b.unused(ctx, req.Storage, name); err != nil {
		return nil, err
	}
	if err := b.relieveRoot(ctx, req.Storage, name); err != nil { // a rotation may have come in between
		return nil, err
	}
	left := b.ledger.ofAccount(name)
	if len(left) > 0 && !force {
		return nil, problemf(statusConflict, "account %q still has %s to be withdrawn (see keys/%s): the engine goes on trying; force=true gives up on them. Reason: %v",
			name, plural(len(left), "key", "keys"), name, orPending(reason))
	}
	resp := &logical.Response{}
	for _, l := range left {
		resp.AddWarning(givenUp + string(l.Tag) + " " + l.ID)
		if err := b.ledger.drop(ctx, req.Storage, l); err != nil {
			return nil, err
		}
	}
	if id, err := b.endRoot(ctx, req.Storage, name); err != nil && !force {
		return nil, problemWith(err, "account %q stays: its admin credential %s, which the engine made and nobody else has, could not be withdrawn (force=true gives up on it): %w", name, id, err)
	} else if err != nil {
		resp.AddWarning(givenUp + "the admin credential " + id)
	}
	if err := b.accounts.delete(ctx, req.Storage, name); err != nil {
		return nil, err
	}
	b.clients.drop(name)
	if len(resp.Warnings) == 0 {
		return nil, nil //nolint:nilnil // the framework's way to say done
	}
	return resp, nil
}

const givenUp = "given up, may still be live at the provider: "

func orPending(reason error) error {
	if reason != nil {
		return reason
	}
	return errors.New("a key that was asked for may still appear at the provider")
}
