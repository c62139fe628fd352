# What this replaces: a Pulumi program "Secure AI API key rotation with Vault".
#
# What was wrong in it                          What stands here
# --------------------------------------------  ---------------------------------------------
# the JWT method has no role: nobody can log in role "ci", bound to an audience and a claim
# aws without credentials, lease or roles:      root, rotated at once by Vault; lease; a role
# it hands out nothing
# mysqls=[{…}] with connection_url              {{username}} and {{password}}: a password in
# "user:password@tcp(": not a URL, and Vault    the URL comes back in clear from the API, so
# would answer it in clear                      it is refused
# allowed_roles=["my-role"], and no such role   role "my-role"
# local=True: the mount is then missing on      left out
# every other cluster
# root_rotation_statements, and nothing that    rotate_root: once, when the password is there;
# rotates                                       the old one is never sent again
# "rotates API keys": leases of AWS and the     for keys of AI providers see ../production
# database, no API key

secret "mysql_password" { from = "env:MYSQL_VAULT_PASSWORD" }
secret "aws_access_key" { from = "env:VAULT_AWS_ACCESS_KEY_ID" }
secret "aws_secret_key" { from = "env:VAULT_AWS_SECRET_ACCESS_KEY" }

policy "ci" {
  path "database/creds/my-role" { capabilities = ["read"] }
  path "aws/creds/deploy" { capabilities = ["read"] }
}

auth "jwt" "jwt" {
  description = "JWT Auth Backend"

  config {
    bound_issuer       = "https://issuer.example.com"
    jwks_url           = "https://issuer.example.com/.well-known/jwks.json"
    jwt_supported_algs = ["RS256"]
  }

  role "ci" {
    user_claim      = "sub"
    bound_audiences = ["vault"]
    bound_claims    = { project = "models" }
    token_policies  = ["ci"]
    token_ttl       = "15m"
  }
}

mount "aws" "aws" {
  description       = "AWS Secret Backend"
  default_lease_ttl = "1h"
  max_lease_ttl     = "24h"

  root {
    access_key  = secret.aws_access_key
    secret_key  = secret.aws_secret_key
    region      = "us-west-2"
    rotate_root = true
  }

  role "deploy" {
    credential_type = "iam_user"
    policy_arns     = ["arn:aws:iam::aws:policy/ReadOnlyAccess"]
  }
}

mount "database" "database" {
  description       = "Database Secrets Engine"
  default_lease_ttl = "10m"
  max_lease_ttl     = "1h"

  connection "mysql-database" {
    plugin_name              = "mysql-database-plugin"
    connection_url           = "{{username}}:{{password}}@tcp(mysql.example.com:3306)/"
    username                 = "vaulter"
    password                 = secret.mysql_password
    allowed_roles            = ["my-role"]
    root_rotation_statements = ["ALTER USER '{{username}}'@'%' IDENTIFIED BY '{{password}}';"]
    rotate_root              = true
  }

  role "my-role" {
    db_name             = "mysql-database"
    default_ttl         = "10m"
    max_ttl             = "1h"
    creation_statements = [
      "CREATE USER '{{name}}'@'%' IDENTIFIED BY '{{password}}';",
      "GRANT SELECT ON models.* TO '{{name}}'@'%';",
    ]
  }
}
