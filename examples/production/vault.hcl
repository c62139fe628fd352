# A Vault for a team that uses AI providers, whole: who may log in and how,
# where the keys are, what seals them, who may read which.
#
#   ai-keys-bootstrap plan  -f examples/production/vault.hcl
#   ai-keys-bootstrap apply -f examples/production/vault.hcl
#   ai-keys-bootstrap verify -f examples/production/vault.hcl
#
# Nothing secret stands here: each secret block says where one is to be had.

locals {
  vault_address = "https://vault.acme.example:8200"
  okta_alias    = "{{identity.entity.aliases.${auth_accessor("okta")}.name}}"
}

secret "okta_api_token" { from = "env:OKTA_API_TOKEN" }
secret "openai_admin_key" { from = "env:OPENAI_ADMIN_KEY" }
secret "anthropic_admin_key" { from = "env:ANTHROPIC_ADMIN_KEY" }
secret "postgres_password" { from = "env:POSTGRES_VAULT_PASSWORD" }
secret "mysql_password" { from = "env:MYSQL_VAULT_PASSWORD" }
secret "aws_access_key" { from = "env:VAULT_AWS_ACCESS_KEY_ID" }
secret "aws_secret_key" { from = "env:VAULT_AWS_SECRET_ACCESS_KEY" }
secret "webhook_token" { from = "env:WEBHOOK_TOKEN" }

# --- What happened: on record before anything else happens -------------------

audit "file" "file" {
  file_path = "/var/log/vault/audit.log"
}

# --- The engine --------------------------------------------------------------

plugin "secret" "ai-keys" {
  command = "vault-plugin-secrets-ai-keys"
  sha256  = filesha256("../../bin/vault-plugin-secrets-ai-keys")
}

mount "transit" "transit" {
  description = "Seals what the engines store"

  key "ai-keys" {
    auto_rotate_period = "30d"
  }
}

mount "ai-keys" "ai-keys" {
  description = "Keys of AI providers: minted, rotated, withdrawn"

  # The policy, the AppRole and its secret-id that the engine needs to use this
  # key, and only it, are made from this one block.
  transit {
    key     = "transit/ai-keys"
    address = local.vault_address
  }

  account "openai" {
    provider  = "openai"
    admin_key = secret.openai_admin_key
  }

  account "anthropic" {
    provider  = "anthropic"
    admin_key = secret.anthropic_admin_key
  }

  # Shared by the services of the search team, renewed every week.
  role "search" {
    account         = "openai"
    type            = "static"
    project_id      = "proj_search"
    rotation_period = "7d"
    grace_period    = "1h"
  }

  # A key for each build, gone with its lease.
  role "ci" {
    account    = "openai"
    type       = "dynamic"
    project_id = "proj_ci"
    ttl        = "30m"
    max_ttl    = "2h"
  }
}

# --- Who may do what ---------------------------------------------------------

policy "ai-users" {
  path "ai-keys/creds/search" { capabilities = ["read"] }
  path "secret/data/ai/*" { capabilities = ["read"] }
}

policy "ci" {
  path "ai-keys/creds/ci" { capabilities = ["read"] }
  path "database/creds/app" { capabilities = ["read"] }
}

# Who holds which key, and the switch that kills it now.
policy "ai-security" {
  path "ai-keys/keys/*" { capabilities = ["read", "list"] }
  path "ai-keys/status" { capabilities = ["read"] }
  path "ai-keys/status/*" { capabilities = ["read"] }
  path "ai-keys/revoke/*" { capabilities = ["update"] }
  path "ai-keys/revoke-account/*" { capabilities = ["update"] }
}

# --- People: Okta, with a second factor --------------------------------------

auth "okta" "okta" {
  description = "People log in with Okta"

  config {
    org_name  = "acme"
    api_token = secret.okta_api_token
    base_url  = "okta.com"
    # Okta asks for its own second factor unless this is true. Here Vault asks,
    # by the enforcement below.
    bypass_okta_mfa = true
    token_ttl       = "1h"
    token_max_ttl   = "8h"
  }

  group "ml-engineers" { policies = ["ai-users"] }
}

identity_group "ai-security" {
  type     = "external"
  policies = ["ai-security"]

  alias {
    name  = "ai-security"
    mount = "okta"
  }
}

mfa "okta" "okta-push" {
  org_name        = "acme"
  api_token       = secret.okta_api_token
  base_url        = "okta.com"
  username_format = local.okta_alias
}

mfa "totp" "authenticator" {
  issuer    = "Acme Vault"
  period    = 30
  algorithm = "SHA256"
  digits    = 6
}

# Either factor will do.
login_enforcement "people" {
  mfa_methods  = ["okta-push", "authenticator"]
  auth_methods = ["okta"]
}

# --- Machines: JWT for CI, AppRole for services ------------------------------

auth "jwt" "jwt" {
  config {
    jwks_url           = "https://token.actions.githubusercontent.com/.well-known/jwks"
    bound_issuer       = "https://token.actions.githubusercontent.com"
    jwt_supported_algs = ["RS256"]
  }

  role "ci" {
    user_claim      = "sub"
    bound_audiences = ["https://vault.acme.example"]
    bound_claims    = { repository_owner = "acme" }
    token_policies  = ["ci"]
    token_ttl       = "15m"
  }
}

auth "approle" "approle" {
  role "search" {
    token_policies     = ["ai-users"]
    token_ttl          = "1h"
    secret_id_ttl      = "30d"
    secret_id_num_uses = 0

    # Issued once; the file holds a wrapping token, which works once.
    issue_secret_id "search-1" {
      wrap_ttl = "1h"
      to       = "search-1.wrapped"
    }
  }
}

# --- Other secrets -----------------------------------------------------------

mount "kv" "secret" {
  description = "What has no engine of its own"
  options     = { version = "2" }

  config { max_versions = 10 }

  data "ai/webhook" {
    values = {
      url   = "https://hooks.acme.example/ai"
      token = secret.webhook_token
    }
  }
}

mount "aws" "aws" {
  default_lease_ttl = "1h"
  max_lease_ttl     = "24h"

  root {
    access_key  = secret.aws_access_key
    secret_key  = secret.aws_secret_key
    region      = "us-west-2"
    rotate_root = true
  }

  lease {
    lease     = "1h"
    lease_max = "24h"
  }

  role "deploy" {
    credential_type = "assumed_role"
    role_arns       = ["arn:aws:iam::123456789012:role/deploy"]
  }

  role "uploader" {
    credential_type = "iam_user"
    policy_document = jsonencode({
      Version   = "2012-10-17"
      Statement = [{ Effect = "Allow", Action = ["s3:PutObject"], Resource = "arn:aws:s3:::acme-models/*" }]
    })
  }
}

mount "database" "database" {
  default_lease_ttl = "10m"
  max_lease_ttl     = "1h"

  connection "app" {
    plugin_name    = "postgresql-database-plugin"
    connection_url = "postgresql://{{username}}:{{password}}@db.acme.example:5432/app?sslmode=verify-full"
    username       = "vault"
    password       = secret.postgres_password
    allowed_roles  = ["app"]
    # Vault changes the password as soon as it is there: from then on nobody
    # knows it.
    rotate_root = true
  }

  connection "warehouse" {
    plugin_name              = "mysql-database-plugin"
    connection_url           = "{{username}}:{{password}}@tcp(mysql.acme.example:3306)/"
    username                 = "vaulter"
    password                 = secret.mysql_password
    allowed_roles            = ["reports"]
    root_rotation_statements = ["ALTER USER '{{username}}'@'%' IDENTIFIED BY '{{password}}';"]
    rotate_root              = true
  }

  role "app" {
    db_name     = "app"
    default_ttl = "10m"
    max_ttl     = "1h"
    creation_statements = [
      "CREATE ROLE \"{{name}}\" LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}';",
      "GRANT SELECT ON ALL TABLES IN SCHEMA public TO \"{{name}}\";",
    ]
  }

  static_role "reports" {
    db_name         = "warehouse"
    username        = "reports"
    rotation_period = "24h"
  }
}

quota "logins" {
  path = "auth/okta"
  rate = 50
}

# --- What must be true when all of it is there -------------------------------

check "database" "database/app" {}

check "kv" "secret/ai/webhook" {
  fields = ["url", "token"]
}

ownership {
  prune   = ["policy", "okta group", "okta user"]
  protect = ["policy break-glass"]
}
