# What this replaces: a Pulumi program "Secure AI model serving credentials with
# Vault Okta groups".
#
# What was wrong in it                          What stands here
# --------------------------------------------  ---------------------------------------------
# vault.okta.AuthMethod: no such resource       auth "okta"
# no organisation: Vault cannot know whom to    org_name
# ask
# AuthBackendGroup(auth_backend_path=…):        the group stands in its mount
# no such argument
# the policy ai-model-user-policy has to be     the policy is part of the file, so the group
# "created separately"                          cannot point at nothing
# the token "should have permissions to manage  it needs to read users and groups, no more
# users and groups"

secret "okta_token" { from = "env:OKTA_API_TOKEN" }

policy "ai-model-user-policy" {
  path "secret/data/models/*" { capabilities = ["read"] }
  path "secret/metadata/models/*" { capabilities = ["list"] }
}

auth "okta" "okta" {
  description = "Okta auth method for accessing Vault"

  config {
    org_name  = "example-organization"
    api_token = secret.okta_token
  }

  group "my-ai-model-users" { policies = ["ai-model-user-policy"] }
}

mount "kv-v2" "secret" {}
