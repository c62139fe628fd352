package backend

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/backend/provider"
)

// takeAccount merges into a what every provider's accounts have.
func takeAccount(data *framework.FieldData, a, old *accountEntry) (provider.Definition, error) {
	if v, ok := data.GetOk("provider"); ok {
		if old != nil && fieldText(v) != old.Provider {
			return provider.Definition{}, invalidf("provider is %q and cannot change: make another account", old.Provider)
		}
		a.Provider = fieldText(v)
	}
	if a.Provider == "" {
		return provider.Definition{}, invalidf("provider is required: one of %s", strings.Join(providerNames(), ", "))
	}
	def, ok := provider.Lookup(a.Provider)
	if !ok {
		return def, invalidf("provider: no provider named %q: %s", a.Provider, didYouMean(a.Provider))
	}
	take(data, "allowed_roles", &a.AllowedRoles)
	take(data, "verify_connection", &a.VerifyConnection)
	take(data, "disabled", &a.Disabled)
	take(data, "requests_per_second", &a.RequestsPerSecond)
	if a.RequestsPerSecond < 0 || a.RequestsPerSecond > 0 && a.RequestsPerSecond < 0.001 {
		return def, invalidf("requests_per_second: 0 for no limit, or at least 0.001")
	}
	if err := a.take(data); err != nil {
		return def, err
	}
	takeText(data, "base_url", &a.BaseURL)
	a.BaseURL = strings.TrimRight(a.BaseURL, "/")
	if a.BaseURL == def.BaseURL {
		a.BaseURL = ""
	}
	takeText(data, "ca_cert", &a.CACert)
	return def, nil
}

// reconnects reports whether a write touches how the provider is reached. One
// that does not needs neither the provider nor transit: an account must be
// disabled when both are away.
func reconnects(data *framework.FieldData) bool {
	for name := range data.Raw {
		ours := slices.Contains(accountFieldNames, name)
		if !ours || name == "base_url" || name == "ca_cert" || name == "verify_connection" || name == "provider" {
			return true
		}
	}
	return false
}

// connect merges the provider's own fields into a, tries the account at the
// provider, and seals its secrets. What the operator should know goes into resp.
// fresh says that the admin credential is another one than before: a program that
// writes the same settings every hour does not begin a new rotation period.
func (b *Backend) connect(ctx context.Context, s logical.Storage, data *framework.FieldData, def provider.Definition, a, old *accountEntry, resp *logical.Response) (fresh bool, err error) {
	var was stored
	moved := false
	if old != nil {
		was = stored{exists: true, plain: old.Fields}
		if was.secrets, err = b.accountSecrets(ctx, s, old); err != nil {
			return false, err
		}
		if moved = steered(data, def, a, old); moved {
			if err := givenAnew(data, def); err != nil {
				return false, err
			}
		}
	}
	fields, secrets, err := providerFields(data, def, def.Account, accountFieldNames, was)
	if err != nil {
		return false, err
	}
	a.Fields = fields
	x, err := b.newSession(ctx, s, a, secrets, b.clients.connect)
	if err != nil {
		return false, err
	}
	defer x.client.Close()
	if a.VerifyConnection {
		switch err := x.keys.Check(ctx); {
		case errors.Is(err, provider.ErrUnproven) && moved: // its keys must stay within reach
			return false, invalidf("not saved: the provider did not confirm the account (is the version segment in base_url? verify_connection=false skips this check): %w", err)
		case errors.Is(err, provider.ErrUnproven):
			resp.AddWarning("the provider did not refuse the credential, but did not confirm it either (" + err.Error() + "): check that base_url includes the version segment")
		case err != nil:
			return false, problemWith(err, "not saved: the provider did not accept the account (verify_connection=false skips this check): %w", err)
		}
	}
	sealed, err := json.Marshal(secrets)
	if err != nil {
		return false, err
	}
	defer clear(sealed)
	fresh = def.Root != nil && secrets[def.Root.Field] != was.secrets[def.Root.Field]
	a.Sealed, err = b.keyring.Seal(ctx, s, a.storagePath(), sealed)
	return fresh, err
}

// steered reports whether a write changes where the account's secrets are sent.
func steered(data *framework.FieldData, def provider.Definition, a, old *accountEntry) bool {
	if a.BaseURL != old.BaseURL || a.CACert != old.CACert {
		return true
	}
	for _, f := range def.Account {
		v, given := data.GetOk(f.Name)
		if f.Steers && given && fieldText(v) != old.Fields[f.Name] {
			return true
		}
	}
	return false
}

// givenAnew asks for every secret of an account: what is stored goes nowhere else
// than where it was meant to go.
func givenAnew(data *framework.FieldData, def provider.Definition) error {
	for _, f := range def.Account {
		if _, given := data.GetOk(f.Name); f.Secret && !given {
			return invalidf("%s: give it again, since this write changes where it is sent", f.Name)
		}
	}
	return nil
}

// problemWith answers err's own status with a text around it.
func problemWith(err error, format string, args ...any) error {
	if errors.Is(err, provider.ErrRejected) {
		return invalidf(format, args...)
	}
	return problemf(statusUnavailable, format, args...)
}

func providerNames() []string {
	names := make([]string, 0, len(provider.All))
	for _, d := range provider.All {
		names = append(names, d.Name)
	}
	return names
}

func didYouMean(name string) string {
	if near, ok := nearest(name, providerNames()); ok {
		return "did you mean " + near + "?"
	}
	return "this build has " + strings.Join(providerNames(), ", ")
}

// wakeAccount has the roles and leftovers of an account looked at again: what
// failed with the old settings may work with the new ones.
func (b *Backend) wakeAccount(ctx context.Context, s logical.Storage, account string) {
	for _, l := range b.ledger.ofAccount(account) {
		if l.State != stateLive {
			b.queue.at(lineItem(l.Tag), time.Now())
		}
	}
	roles, err := b.rolesOf(ctx, s, account)
	if err != nil {
		b.Logger().Warn("roles of a changed account wait for their next turn", "account", account, "error", err)
	}
	for _, r := range roles {
		if r.Type == typeStatic {
			b.queue.at(roleItem(r.Name), time.Now())
		}
	}
}

// rolesOf returns the roles of an account, in order.
func (b *Backend) rolesOf(ctx context.Context, s logical.Storage, account string) ([]*roleEntry, error) {
	names, err := b.roles.list(ctx, s)
	if err != nil {
		return nil, err
	}
	var roles []*roleEntry
	for _, name := range names {
		r, err := b.roles.get(ctx, s, name)
		if err != nil {
			return nil, err
		}
		if r != nil && r.Account == account {
			roles = append(roles, r)
		}
	}
	return roles, nil
}

// unused refuses to let an account go that has roles.
func (b *Backend) unused(ctx context.Context, s logical.Storage, account string) error {
	roles, err := b.rolesOf(ctx, s, account)
	if err != nil || len(roles) == 0 {
		return err
	}
	return invalidf("account %q is used by %s (%s): delete them first", account, plural(len(roles), "role", "roles"), firstNames(roles))
}

func firstNames(roles []*roleEntry) string {
	names := make([]string, 0, len(roles))
	for _, r := range roles {
		names = append(names, r.Name)
	}
	slices.Sort(names)
	if len(names) > 5 {
		names = append(names[:5], "…")
	}
	return strings.Join(names, ", ")
}
