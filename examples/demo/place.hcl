locals {
  plugin    = "../../bin/vault-plugin-secrets-ai-keys"
  audit_log = "/var/log/vault/audit.log"
  openai    = "https://api.openai.com/v1"
  project   = "proj_demo"
}
