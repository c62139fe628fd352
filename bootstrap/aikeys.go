package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/file"
	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/schema"
)

var aikeysConfigKind = &Kind{
	Name: "ai-keys config", Word: "config", Stage: StageEngine, Forever: true,
	Block: &schema.Block{
		Name: "config", Most: 1, Doc: "Settings of the whole mount.",
		Fields: []*schema.Field{
			{Name: "encryption", Default: "transit", OneOf: []string{"transit", "barrier"}, Doc: "What seals the keys: transit, or Vault's own storage encryption only."},
			{Name: "workers", Type: schema.Int, Default: 32, Doc: "Rotations and withdrawals under way at once, 1 to 256."},
			{Name: "provider_timeout", Type: schema.Duration, Default: 30, Doc: "Longest time for one call to a provider, 1s to 5m."},
			{Name: "verify_timeout", Type: schema.Duration, Default: 30, Doc: "How long a new key may take to start working, 1s to 5m."},
			{Name: "settle_after", Type: schema.Duration, Default: 120, Doc: "How long an attempt with an unknown outcome is looked for at the provider, up to 24h."},
		},
	},
	Path:   func(o *Object) string { return o.MountPath() + "/config" },
	Verify: verifyAIKeys,
	Access: func(o *Object) []Access {
		return append(statusAccess(o), Access{o.within("config"), []string{"create", "read", "update"}})
	},
}

// aikeysAccountKind has the secret fields of every provider by name, because
// secrets have to be known before the server is asked. What else a provider
// takes, the engine knows.
var aikeysAccountKind = &Kind{
	Name: "ai-keys account", Word: "account", Stage: StageAIKeysAccount,
	Block: &schema.Block{
		Name: "account", Labels: []string{"name"}, Doc: "An organisation's admin access to an AI provider.",
		Fields: []*schema.Field{
			{Name: "provider", Required: true, Immutable: true, Doc: "Which provider: openai, azure-openai, anthropic."},
			{Name: "admin_key", Secrecy: schema.Secret, Rotates: true, Doc: "openai, anthropic: admin API key of the organisation."},
			{Name: "client_secret", Secrecy: schema.Secret, Rotates: true, Doc: "azure-openai: client secret of the application."},
			{Name: "allowed_roles", Type: schema.Set, Default: []string{"*"}, Doc: "Roles that may use the account; globs are allowed."},
			{Name: "verify_connection", Type: schema.Bool, Default: true, Doc: "Ask the provider whether it accepts the credential before it is saved."},
			{Name: "base_url", Normal: trimmedURL, Doc: "The provider's admin API, if not the vendor's own."},
			{Name: "ca_cert", Normal: trimmed, Doc: "CA certificates (PEM) for base_url, if not the system's."},
			{Name: "requests_per_second", Type: schema.Any, Check: checkRate, Doc: "Limit of calls to the provider; 0: none."},
			{Name: "rotation_period", Type: schema.Duration, Doc: "The engine replaces the admin credential this long after the last time; 0: on demand only."},
			{Name: "rotation_schedule", Normal: trimmed, Doc: `The engine replaces it at these times instead, in UTC, as in "0 3 * * SAT".`},
			{Name: "rotation_window", Type: schema.Duration, Doc: "How long after each of those times it may still be done; 0: any time."},
			{Name: "disabled", Type: schema.Bool, Doc: "Serve and mint nothing from this account. Withdrawing goes on."},
		},
		Rest: providerRest,
	},
	Path:     func(o *Object) string { return slashed(o.MountPath(), "accounts", o.Key()) },
	ListPath: func(o *Object) string { return slashed(o.MountPath(), "accounts") },
	Prepare:  prepareAIKeysAccount, Read: readAIKeysAccount, Review: reviewAIKeysAccount,
	Write: writeAIKeysAccount, Delete: deleteAIKeysAccount, Verify: verifyAIKeysAccount,
	// The engine has replaced the credential: what the file names is of no use
	// any more, and would be refused or, worse, accepted.
	Rotated: func(_ context.Context, _ *Session, _ *Object, st *State) (bool, error) {
		return number(st.Answer["credential_version"]) > 0, nil
	},
	Access: func(o *Object) []Access {
		return []Access{
			{o.Kind.Path(o), []string{"create", "read", "update", "delete"}},
			{slashed(o.MountPath(), "providers", "+"), []string{"read"}},
		}
	},
}

// providerRest is what only the provider at hand has: a text or a list of them.
var providerRest = &schema.Field{Type: schema.Any, Normal: textOrList, Doc: "A field of the provider: vault read ai-keys/providers/<name>."}

// The engine takes names that fit into its own paths and the providers' names.
var aikeysName = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_.-]{0,62}[A-Za-z0-9_])?$`)

func prepareAIKeysName(o *Object, n *file.Node) file.Diagnostics {
	if name := o.Key(); !aikeysName.MatchString(name) || strings.Contains(name, "..") {
		return mistake(n.At, o.Name()+": the engine does not take this name", "Use up to 64 letters, digits, '-', '_' and '.', beginning and ending with a letter, a digit or '_'.")
	}
	return nil
}

func prepareAIKeysAccount(o *Object, n *file.Node) file.Diagnostics {
	found := prepareAIKeysName(o, n)
	if o.has("rotation_period") && o.has("rotation_schedule") {
		found = append(found, mistake(o.Values["rotation_period"].At, o.Name()+": rotation_period does not go with rotation_schedule", "Keep one of them.")...)
	}
	if name := o.Text("provider"); !slices.Contains(knownProviders, name) && len(schema.References(name)) == 0 {
		detail := "These do: " + quotedList(knownProviders) + ". Another build of it may have it."
		if near := file.Nearest(name, knownProviders); near != "" {
			detail = fmt.Sprintf("Did you mean %q? ", near) + detail
		}
		found = append(found, file.Diagnostic{Severity: file.Warning, At: o.Values["provider"].At, Summary: fmt.Sprintf("%s: the provider %q does not come with the engine", o.Name(), name), Detail: detail})
	}
	return found
}

// knownProviders come with the engine. Only a server can tell which ones the
// plugin has that it runs.
var knownProviders = []string{"anthropic", "azure-openai", "openai"}

func trimmedURL(v any) any {
	text, _ := v.(string)
	return strings.TrimRight(strings.TrimSpace(text), "/")
}

func checkRate(v any) error {
	switch n := v.(type) {
	case nil:
		return nil
	case int64:
		if n > 0 {
			return nil
		}
	case float64:
		if n >= 0.001 {
			return nil
		}
	}
	return errors.New("a number is wanted: at least 0.001, or 0 for no limit")
}

// textOrList brings a list of texts, or one with commas, to one form: which of
// them a field is, only the engine knows.
func textOrList(v any) any {
	f := schema.Field{Type: schema.Set}
	list, err := f.Canonical(v)
	items, ok := list.([]string)
	switch {
	case err != nil || !ok:
		return v
	case len(items) == 1:
		return items[0]
	}
	return items
}

// readAIKeysAccount leaves out the vendor's own address, which the engine
// answers where none was given.
func readAIKeysAccount(ctx context.Context, s *Session, o *Object) (*State, error) {
	answer, err := s.Vault.Read(ctx, o.Kind.Path(o))
	if err != nil || answer == nil {
		return absent, err
	}
	if _, set := o.Value("base_url"); !set {
		def, err := s.Vault.Read(ctx, slashed(o.MountPath(), "providers", textOf(answer, "provider")))
		if err != nil {
			return nil, err
		}
		if answer["base_url"] == def["base_url"] {
			delete(answer, "base_url")
		}
	}
	return StateOf(o, answer)
}

func reviewAIKeysAccount(ctx context.Context, s *Session, c *Change) error {
	def, err := s.providerOf(ctx, c.Object, c.Object.Text("provider"))
	if err != nil || def == nil {
		return err
	}
	return def.review(c, "account_fields")
}

// writeAIKeysAccount sends of an account that exists what has changed: only
// what has to do with the provider makes the engine ask it, and an account must
// be disabled while it is away.
func writeAIKeysAccount(ctx context.Context, s *Session, c *Change) error {
	o := c.Object
	body, err := s.Body(ctx, c)
	if err != nil {
		return err
	}
	resets(body, c)
	if c.State.Exists && !reconnects(c) {
		changed := make(map[string]any)
		for _, f := range c.Fields {
			changed[f.Field] = body[f.Field]
		}
		body = changed
	}
	_, err = s.Vault.Write(ctx, o.Kind.Path(o), body)
	return err
}

// reconnects tells whether a change is about how the provider is reached.
func reconnects(c *Change) bool {
	for _, f := range c.Fields {
		switch f.Field {
		case "allowed_roles", "requests_per_second", "disabled", "rotation_period", "rotation_schedule", "rotation_window":
		default:
			return true
		}
	}
	return false
}

// deleteAIKeysAccount waits for the keys that are on their way out: of roles
// that were deleted just before.
func deleteAIKeysAccount(ctx context.Context, s *Session, o *Object) error {
	ctx, cancel := context.WithTimeout(ctx, withdrawTime)
	defer cancel()
	for {
		err := s.Vault.Delete(ctx, o.Kind.Path(o))
		if err == nil || !says(err, "to be withdrawn") {
			return err
		}
		if pause(ctx, withdrawPause) != nil {
			return fmt.Errorf("its keys are not all withdrawn at the provider after %s. The engine goes on trying: apply again later. See vault list -detailed %s: %w",
				withdrawTime, slashed(o.MountPath(), "keys", o.Key()), err)
		}
	}
}
