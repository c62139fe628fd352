// Command constant-plugin is a Vault secrets engine that answers a constant: no
// external engine can be faster. make bench measures ai-keys against it.
package main

import (
	"context"
	"os"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/vault/api"
	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/hashicorp/vault/sdk/plugin"
)

func main() {
	meta := &api.PluginAPIClientMeta{}
	err := meta.FlagSet().Parse(os.Args[1:])
	if err == nil {
		err = plugin.ServeMultiplex(&plugin.ServeOpts{
			BackendFactoryFunc: factory,
			TLSProviderFunc:    api.VaultPluginTLSProvider(meta.GetTLSConfig()),
		})
	}
	if err != nil {
		hclog.Default().Error("the plugin ends", "error", err)
		os.Exit(1)
	}
}

func factory(ctx context.Context, conf *logical.BackendConfig) (logical.Backend, error) {
	lease := &framework.Secret{
		Type:   "constant",
		Fields: map[string]*framework.FieldSchema{"api_key": {Type: framework.TypeString}},
		Revoke: func(context.Context, *logical.Request, *framework.FieldData) (*logical.Response, error) {
			return nil, nil //nolint:nilnil // the framework's way to say done
		},
	}
	b := &framework.Backend{
		BackendType: logical.TypeLogical,
		Secrets:     []*framework.Secret{lease},
		Paths: []*framework.Path{
			answering("static", func() *logical.Response { return &logical.Response{Data: answer()} }),
			answering("leased", func() *logical.Response {
				resp := lease.Response(answer(), map[string]any{"tag": "none"})
				resp.Secret.TTL = 30 * time.Minute
				return resp
			}),
		},
	}
	return b, b.Setup(ctx, conf)
}

func answering(pattern string, response func() *logical.Response) *framework.Path {
	return &framework.Path{
		Pattern: pattern,
		Operations: map[logical.Operation]framework.OperationHandler{
			logical.ReadOperation: &framework.PathOperation{
				Callback: func(context.Context, *logical.Request, *framework.FieldData) (*logical.Response, error) {
					return response(), nil
				},
			},
		},
	}
}

// answer is the least that a consumer can do with.
func answer() map[string]any {
	return map[string]any{"api_key": "sk-svcacct-0123456789012345678901234567890123456789", "key_id": "key_0123456789"}
}
