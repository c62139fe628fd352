// Command vault-plugin-secrets-ai-keys is the Vault secrets engine for AI
// provider API keys. Vault starts it; run by hand it only says so.
package main

import (
	"os"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/vault/api"
	"github.com/hashicorp/vault/sdk/plugin"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/backend"
)

func main() {
	meta := &api.PluginAPIClientMeta{}
	log := hclog.New(&hclog.LoggerOptions{})
	if err := meta.FlagSet().Parse(os.Args[1:]); err != nil {
		log.Error("reading the flags that Vault passed", "error", err)
		os.Exit(2)
	}
	err := plugin.ServeMultiplex(&plugin.ServeOpts{
		BackendFactoryFunc: backend.Factory,
		TLSProviderFunc:    api.VaultPluginTLSProvider(meta.GetTLSConfig()),
	})
	if err != nil {
		log.Error("the plugin ends", "error", err)
		os.Exit(1)
	}
}
