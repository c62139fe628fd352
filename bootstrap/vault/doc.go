// Package vault is a narrow client of a Vault server: read, list, write,
// delete, wrap. It is told where the server is by the same environment as
// Vault's command line: VAULT_ADDR, VAULT_TOKEN or else the token helper,
// VAULT_CACERT, VAULT_CAPATH, VAULT_CLIENT_CERT and _KEY, VAULT_TLS_SERVER_NAME,
// VAULT_SKIP_VERIFY, VAULT_NAMESPACE, VAULT_PROXY_ADDR, VAULT_CLIENT_TIMEOUT,
// VAULT_RATE_LIMIT and VAULT_HEADERS. VAULT_MAX_RETRIES and VAULT_WRAP_TTL are
// not used: what is tried again and what is wrapped is decided here.
//
// # Paths
//
// A path is that of the API without "/v1/": "auth/okta/config". Every character
// stands for itself, so a name may hold "?", "#" or "%". A path with an empty,
// "." or ".." segment is refused: it would reach something else.
//
// # What is absent
//
// [Client.Read] and [Client.List] answer nil and no error when there is
// nothing at a path. That there is no mount at all is an error, for which
// [IsAbsentMount] is true.
//
// # What is tried again
//
// A read, three times, when the connection breaks or the server has a problem
// of its own (5xx). A write, never, and neither [Client.Obtain], which makes
// something: except that the server says it did nothing, because of a rate
// limit (429) or because a new key-value mount is still getting ready. When the
// answer to a write does not come, or is a 5xx, the error matches
// [ErrUnknownOutcome]: it may or may not have happened, and only a read can tell.
//
// # Errors
//
// An answer that is no success is an [Error]. Vault's messages may echo what
// was sent, secrets too: they go through [Options.Redact] before anything else
// happens to them, are stripped of what a terminal would obey, and are cut at
// 4 KB. A server that cannot be reached gives an error that matches
// [ErrUnreachable] and names the setting that is likely wrong.
//
// Tokens stand in no error, and [Client], [Answer], [Auth] and [Wrapped] do not
// print what they hold.
package vault
