// Package oracle holds this project's idea of the providers' APIs against the
// vendors' official Go SDKs. It has tests only.
//
//   - The SDKs drive the fake providers, and find in every reply all fields
//     that their types require, and none that they do not know.
//   - The adapters send what the SDKs send: for each call of an adapter, the
//     same call is made through the SDK, and the two requests are compared.
//   - The replies in the adapters' fixtures are read into the SDKs' types.
//
// After an SDK's version is raised, a change at the vendor shows here. The SDKs
// are not used by the engine itself: they retry calls that create keys, read
// the environment, and can print bodies.
package oracle
