# What this replaces: a Pulumi program "Securing AI model secrets with Vault".
#
# What was wrong in it                          What stands here
# --------------------------------------------  ---------------------------------------------
# Provider(token="your-root-token"): a root     VAULT_TOKEN, or the Vault CLI's login; and
# token in the program text                     `ai-keys-bootstrap policy` prints what a token
#                                               needs at least, so it need not be root
# an AppRole method without a role              role "model-server", and its secret-id, handed
#                                               over wrapped
# the secret is written before secret/ is       the order follows from what things are
# mounted (nothing says that one needs the
# other)
# type="kv" is version 1                        kv-v2: versions, and check-and-set
# api_key and db_creds in one JSON literal      each from its own source; the database user's
#                                               password belongs into the database engine

secret "api_key" { from = "env:MODEL_API_KEY" }
secret "db_creds" { from = "env:MODEL_DB_CREDENTIALS" }

policy "model-server" {
  path "secret/data/ai/model/credentials" { capabilities = ["read"] }
}

auth "approle" "approle" {
  description = "Authentication backend for AI models"

  role "model-server" {
    token_policies = ["model-server"]
    token_ttl      = "1h"
    secret_id_ttl  = "30d"

    issue_secret_id "model-server-1" {
      wrap_ttl = "1h"
      to       = "model-server-1.wrapped"
    }
  }
}

mount "kv-v2" "secret" {
  description = "Key/Value secret backend for AI models"

  data "ai/model/credentials" {
    values = {
      api_key  = secret.api_key
      db_creds = secret.db_creds
    }
  }
}
