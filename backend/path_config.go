package backend

import (
	"context"
	"time"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/backend/envelope"
)

func pathsConfig(b *Backend) []*framework.Path {
	fields := map[string]*framework.FieldSchema{
		"encryption": {
			Type:          framework.TypeString,
			AllowedValues: []any{string(envelope.ModeTransit), string(envelope.ModeBarrier)},
			Description:   "What seals the keys: transit (default; write config/transit next), or barrier (Vault's own storage encryption only).",
		},
		"workers":          number("Rotations and withdrawals under way at once, 1 to 256. No account gets more than half of them while others have work. Default 32."),
		"provider_timeout": seconds("Longest time for one call to a provider, 1s to 5m. Default 30s."),
		"verify_timeout":   seconds("How long a new key may take to start working before it is given up, 1s to 5m. Default 30s."),
		"settle_after":     seconds("How long an attempt whose outcome is unknown is looked for at the provider before it is believed not to exist, up to 24h. Default 2m."),
	}
	return []*framework.Path{{
		Pattern: "config",
		Fields:  fields,
		Operations: map[logical.Operation]framework.OperationHandler{
			logical.ReadOperation:   &framework.PathOperation{Callback: b.readConfig, Summary: "Read the mount's settings.", Responses: responds("The settings.", fields)},
			logical.UpdateOperation: forwarded(b.writeConfig, "Change the mount's settings.", done("Saved.")),
		},
		HelpSynopsis: "Settings of the whole mount.",
		HelpDescription: `
encryption=transit is the default: nothing secret is stored before config/transit
is written. encryption=barrier is for a Vault without transit; it is never chosen
by itself. After a change, new writes are sealed the new way, and what is stored
already is resealed in the background; "status" says how much is left.
`,
	}}
}

func (b *Backend) readConfig(ctx context.Context, req *logical.Request, _ *framework.FieldData) (*logical.Response, error) {
	cfg, err := b.settings(ctx, req.Storage)
	if err != nil {
		return nil, err
	}
	return &logical.Response{Data: map[string]any{
		"encryption":       string(cfg.Encryption),
		"workers":          cfg.Workers,
		"provider_timeout": int64(cfg.ProviderTimeout.Seconds()),
		"verify_timeout":   int64(cfg.VerifyTimeout.Seconds()),
		"settle_after":     int64(cfg.SettleAfter.Seconds()),
	}}, nil
}

func (b *Backend) writeConfig(ctx context.Context, req *logical.Request, data *framework.FieldData) (*logical.Response, error) {
	b.configMu.Lock()
	defer b.configMu.Unlock()
	old, err := b.readSettings(ctx, req.Storage)
	if err != nil {
		return nil, err
	}
	cfg := *old
	if v, ok := data.GetOk("encryption"); ok {
		cfg.Encryption = envelope.Mode(fieldText(v))
		if cfg.Encryption != envelope.ModeTransit && cfg.Encryption != envelope.ModeBarrier {
			return nil, invalidf("encryption: use transit or barrier")
		}
	}
	take(data, "workers", &cfg.Workers)
	if cfg.Workers < 1 || cfg.Workers > 256 {
		return nil, invalidf("workers: between 1 and 256")
	}
	for _, d := range []struct {
		name     string
		into     *time.Duration
		min, max time.Duration
	}{
		{"provider_timeout", &cfg.ProviderTimeout, time.Second, 5 * time.Minute},
		{"verify_timeout", &cfg.VerifyTimeout, time.Second, 5 * time.Minute},
		{"settle_after", &cfg.SettleAfter, 0, 24 * time.Hour},
	} {
		takeDuration(data, d.name, d.into)
		if *d.into < d.min || *d.into > d.max {
			return nil, invalidf("%s: between %s and %s", d.name, d.min, d.max)
		}
	}
	if cfg.Encryption != old.Encryption {
		cfg.EncryptionSince = time.Now().UTC()
	}
	err = save(ctx, req.Storage, configPath, &cfg)
	b.config.Store(nil) // in either case: storage knows best
	if cfg.Encryption != old.Encryption {
		b.queue.at(resealItem, time.Now()) // in either case: asked again, it would be no change
	}
	return nil, err
}
