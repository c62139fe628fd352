# What this replaces: a Pulumi program "Secure AI API keys with Vault and Okta".
#
# What was wrong in it                          What stands here
# --------------------------------------------  ---------------------------------------------
# token="sensitive-token" in the program text,  secret blocks: the values come from the
# and in Pulumi's state                         environment, and are kept nowhere
# the API key as a literal                      the same
# AuthBackendGroup(groups=[…]): that resource   one group block for each group
# takes one group_name
# policies=["default"]: the group gives nothing a policy that lets its members read the key,
#                                               and nothing else
# secret/ai/api-key written before anything     the kv mount is part of the file
# mounts secret/
# "optionally MFA", and nothing for it          Okta's own factor at login (bypass_okta_mfa is
#                                               false), and an enforcement in Vault besides
# the key is pasted once and never rotated      see ../production for the engine, which mints
#                                               and rotates it
#
# organization and token are Pulumi's names. They are taken, with a warning
# that says Vault's: org_name and api_token.

secret "okta_token" { from = "env:OKTA_API_TOKEN" }
secret "ai_api_key" { from = "env:AI_API_KEY" }

policy "ai-key-reader" {
  path "secret/data/ai/api-key" { capabilities = ["read"] }
}

auth "okta" "okta" {
  description = "Okta auth backend for secure AI API keys"

  config {
    organization = "example-organization"
    token        = secret.okta_token
  }

  group "MyOktaGroup" { policies = ["ai-key-reader"] }
}

mount "kv-v2" "secret" {
  data "ai/api-key" {
    values = { api_key = secret.ai_api_key }
  }
}

mfa "okta" "push" {
  org_name        = "example-organization"
  api_token       = secret.okta_token
  username_format = "{{identity.entity.aliases.${auth_accessor("okta")}.name}}"
}

login_enforcement "okta-users" {
  mfa_methods  = ["push"]
  auth_methods = ["okta"]
}
