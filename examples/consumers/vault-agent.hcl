# Vault Agent keeps the key of a role in a file, and writes the next one there
# after each rotation: it follows "ttl" in the answer. The program that uses the
# key has the role's grace_period to take up the new one.
#
#   vault agent -config=vault-agent.hcl

vault {
  address = "https://vault.example.com:8200"
}

auto_auth {
  method "approle" {
    mount_path = "auth/approle"
    config = {
      role_id_file_path   = "/etc/search/role-id"
      secret_id_file_path = "/etc/search/secret-id" # removed once it was read
    }
  }
}

template {
  contents    = "{{ with secret \"ai-keys/creds/search\" }}{{ .Data.api_key }}{{ end }}"
  destination = "/run/search/openai-key"
  perms       = "0600"
  # exec { command = ["systemctl", "reload", "search"] }   # where the program does not look by itself
}
