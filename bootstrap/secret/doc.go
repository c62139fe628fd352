// Package secret fetches the secrets that a file only names, and keeps them out
// of everything that is printed.
//
// # Sources
//
// A [Source] says where a secret comes from:
//
//	env:NAME             an environment variable
//	file:PATH            a file that its owner alone can read, or a pipe
//	stdin:               all of standard input
//	stdin:FIELD          a field of standard input, which is a JSON object of strings
//	prompt:              typed at the terminal, unseen
//	prompt:TEXT          the same, asking for TEXT
//	vault:PATH#FIELD     a field of a key-value entry in Vault: vault:secret/ai/openai#api_key
//
// One newline at the end of a file or of standard input does not count. A
// secret that is empty, shorter than 4 bytes, no UTF-8, or has a NUL in it is
// refused: it could not be masked, or would not arrive as it is.
//
// A [Store] reads each source once. Its errors hold no value, and nothing of a
// source that may be a value: whoever writes from = "sk-…" by mistake must not
// find it in a log.
//
// # Redaction
//
// A [Redactor] masks every secret it was told of, also as JSON, URLs, base64,
// hexadecimal, Go and shells would write it, and each line of a secret that has
// several. It knows nothing of a secret that was compressed, encrypted, encoded
// as a part of something longer, or cut in two.
//
// A [Writer] does that to a stream. A secret may come in pieces, so what could
// be the beginning of one is held back until the next bytes tell, or until
// [Writer.Flush]; everything else goes through at once.
package secret
