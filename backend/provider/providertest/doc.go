// Package providertest holds stateful fakes of the AI providers, for tests and
// for trying the engine out without an account at a vendor.
//
// A [Cloud] is three vendors on one book: OpenAI, Anthropic and Azure OpenAI.
// Each is an [net/http.Handler] written from the vendor's own specification
// (each file names its source), never from this project's adapters, so that
// the two can disagree. They are strict: an unknown JSON field, a wrong type or
// a number out of range is refused, because a vendor may start to do so.
//
// What a test can do with a Cloud:
//
//   - reach it: [Cloud.Transport] is an in-process round tripper under the
//     vendors' real host names; over a socket, serve the handlers, or the Cloud
//     itself, which tells the vendors apart by path;
//   - make calls go wrong: [Cloud.Fault] for the ways in which networks and
//     vendors fail, [Cloud.Before] and [Cloud.After] to fail any one call
//     before or after its effect;
//   - act as a person at the vendor's console: [Anthropic.AddKey],
//     [OpenAI.AddUserKey], [Cloud.Kill];
//   - look: [Cloud.Keys], [Cloud.Owners], [Cloud.Calls], [Cloud.Counts].
//
// The same over HTTP, for programs and people, is under /_fake/: see [Cloud.ServeHTTP].
//
// The fakes know the time by [time.Now] alone and start no goroutine, so they
// work inside a testing/synctest bubble. Ids come from a counter and are the
// same in each run. Secrets are random and carry [Options].Marker, so that a
// test can search logs, errors and storage for them.
package providertest
