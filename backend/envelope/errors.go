package envelope

import "errors"

// What can stand between a sealed value and its plaintext. Each error of this
// package that comes from transit wraps exactly one of the first five, and says
// what an operator can do. None carries a byte of a reply's text or a secret.
var (
	// ErrNotConfigured: there is no usable config/transit.
	ErrNotConfigured = errors.New("transit is not configured")
	// ErrUnreachable: no answer from transit, or not one of a working Vault. Try later.
	ErrUnreachable = errors.New("transit unreachable")
	// ErrToken: the login was refused, or the token is dead.
	ErrToken = errors.New("no valid token for transit")
	// ErrPolicy: the token is alive, and its policies do not allow the call.
	ErrPolicy = errors.New("transit call denied by policy")
	// ErrKey: the transit key or its mount is gone, or cannot unwrap a data key.
	ErrKey = errors.New("transit key unusable")
	// ErrCorrupt: what is stored is damaged, or was sealed for another place.
	ErrCorrupt = errors.New("sealed value damaged or out of place")
)

var errClosed = errors.New("the keyring is closed")

// class names the sentinel that err wraps, for status; "" if there is none.
func class(err error) string {
	for _, c := range []struct {
		is   error
		name string
	}{
		{ErrNotConfigured, "not_configured"},
		{ErrUnreachable, "unreachable"},
		{ErrToken, "token"},
		{ErrPolicy, "policy"},
		{ErrKey, "key"},
		{ErrCorrupt, "corrupt"},
	} {
		if errors.Is(err, c.is) {
			return c.name
		}
	}
	return ""
}
