package backend

import (
	"context"
	"time"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/backend/envelope"
)

func pathsRewrap(b *Backend) []*framework.Path {
	return []*framework.Path{{
		Pattern: "rewrap",
		Fields: map[string]*framework.FieldSchema{
			"new_data_key": yesno("Also start a new data key, and reseal everything with it in the background.", false),
		},
		Operations: map[logical.Operation]framework.OperationHandler{
			logical.UpdateOperation: forwarded(b.rewrap, "Wrap the data keys with transit's newest key version.", responds("What was done.", map[string]*framework.FieldSchema{
				"rewrapped": number("Data keys that are wrapped by a newer key version now."),
			})),
		},
		HelpSynopsis: "Take up a new version of the transit key.",
		HelpDescription: `
After transit/keys/<key>/rotate, this rewraps the data keys: one call to transit for
each of them, however many keys are stored. Do it before min_decryption_version is
raised past the version in use. new_data_key=true also makes a new data key and
seals everything again with it; "status" says how much is left.
`,
	}}
}

func (b *Backend) rewrap(ctx context.Context, req *logical.Request, data *framework.FieldData) (*logical.Response, error) {
	cfg, err := b.settings(ctx, req.Storage)
	if err != nil {
		return nil, err
	}
	fresh := false
	take(data, "new_data_key", &fresh)
	if cfg.Encryption != envelope.ModeTransit && !fresh {
		return nil, invalidf("encryption is %s, so nothing is wrapped by transit: see config", cfg.Encryption)
	}
	n, err := b.keyring.Rewrap(ctx, req.Storage)
	if err != nil {
		return nil, err
	}
	if fresh {
		defer func() { b.queue.at(resealItem, time.Now()) }() // a write that failed may have made the new one
		if err := b.keyring.NewDataKey(ctx, req.Storage); err != nil {
			return nil, err
		}
	}
	return &logical.Response{Data: map[string]any{"rewrapped": n}}, nil
}
