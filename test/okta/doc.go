// Package okta is an Okta organisation on this machine, for tests that let a
// real Vault log people in. It keeps state as Okta does: users, groups, enrolled
// factors, an API token, and the transactions of logins under way.
//
// [New] makes an organisation without a socket, an [http.Handler]. [Start] serves
// one. Vault reaches Okta at https://ORG.BASE and nowhere else, so the server has
// a certificate for that name from an authority of its own, and beside it stands a
// proxy that leads that name to it and refuses every other. A Vault that is
// started with [Server.Environment] is configured as in production (org_name
// "acme", base_url "okta.com") and cannot tell. That environment works on Linux:
// elsewhere Go programs take their authorities from the system alone.
//
// People do not tap on telephones here. [Org.AnswerPushes] says what a user
// does with each push, at once or while one is waiting. One-time codes are
// real: [Code] computes them, and a code that was used is refused afterwards.
//
// # What it is written from
//
// Okta's own documents, and not from what Vault happens to accept:
//   - primary authentication, verification of a push and of a TOTP factor, states
//     and tokens: https://developer.okta.com/docs/reference/api/authn/
//   - users: https://developer.okta.com/docs/api/openapi/okta-management/management/tag/User/
//   - factors, and the transactions of a push:
//     https://developer.okta.com/docs/api/openapi/okta-management/management/tag/UserFactor/
//   - errors: https://developer.okta.com/docs/reference/error-codes/
//   - tokens in requests: https://developer.okta.com/docs/reference/core-okta-api/#authentication
//   - one-time codes: RFC 6238 on top of RFC 4226
//
// # What it leaves out
//
// Enrolment over the API, number challenges, recovery, sessions, rate limits,
// paging (all comes in one page) and the lock after too many wrong passwords,
// which [Org.SetStatus] makes. Of filters it knows one comparison with eq.
//
// [Issuer] is separate: an OpenID provider that signs tokens, for Vault's JWT
// auth method.
package okta
