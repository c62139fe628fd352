# A small Vault for a first try: the engine, what seals its storage, an account
# of a provider, two roles, and who may read their keys. make demo applies it to
# a dev Vault with fake providers.
#
# What is particular to a place stands in place.hcl beside it.

secret "openai_admin_key" { from = "env:OPENAI_ADMIN_KEY" }

audit "file" "file" {
  file_path = local.audit_log
}

plugin "secret" "ai-keys" {
  command = "vault-plugin-secrets-ai-keys"
  sha256  = filesha256(local.plugin)
}

mount "transit" "transit" {
  key "ai-keys" {}
}

mount "ai-keys" "ai-keys" {
  description = "Keys of AI providers"

  # From this one block: a policy for this key, an AppRole with it, and its
  # secret-id, which nobody sees.
  transit { key = "transit/ai-keys" }

  account "openai" {
    provider  = "openai"
    base_url  = local.openai
    admin_key = secret.openai_admin_key
  }

  # One key that many share, renewed every day.
  role "app" {
    account         = "openai"
    type            = "static"
    project_id      = local.project
    rotation_period = "24h"
    grace_period    = "3s"
  }

  # A key of one's own, on a lease.
  role "ci" {
    account    = "openai"
    type       = "dynamic"
    project_id = local.project
    ttl        = "10m"
  }
}

policy "app" {
  path "ai-keys/creds/app" { capabilities = ["read"] }
}

policy "security" {
  path "ai-keys/keys/*" { capabilities = ["read", "list"] }
  path "ai-keys/status" { capabilities = ["read"] }
  path "ai-keys/revoke/*" { capabilities = ["update"] }
}

auth "approle" "approle" {
  role "app" {
    token_policies = ["app"]
    token_ttl      = "1h"
  }
}
