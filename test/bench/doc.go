// Package bench measures the engine beside Vault's own and prints one table of
// ratios: make bench. It has tests only.
//
// Everything runs in one go on one machine: a dev server, with the engine, HashiCorp's
// kv plugin and a plugin that answers a constant as external plugins, and Vault's
// own engines beside them; the fake providers and whoever asks are the test's own
// process. What is compared is measured in alternating rounds, and a ratio is the
// median of the rounds' ratios: numbers of another run, or machine, are not
// comparable, ratios more or less are.
//
//   - Reads: clients that ask again at once, over kept connections.
//   - Rotations: counted in the engine's metrics, in whose favour nothing is
//     left out: each one is asked for, tried, stored, and its elder withdrawn.
//   - Start: the mount is loaded anew, and read. Memory: the plugin's process is
//     killed, the next request starts it again, and every role is looked at once.
//
// make test runs all of it with small numbers, to see that it works; what they
// say is then worth nothing, and nothing is judged by it. AI_KEYS_BENCH=full is
// the real size.
package bench
