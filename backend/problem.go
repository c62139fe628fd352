package backend

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/hashicorp/vault/sdk/logical"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/backend/envelope"
	"github.com/ai-keys/vault-plugin-secrets-ai-keys/backend/provider"
)

// The statuses that the engine answers with. Everything else is a 500.
const (
	statusInvalid     = http.StatusBadRequest         // the caller's mistake: says which field and the way out
	statusForbidden   = http.StatusForbidden          // disabled by an operator
	statusMissing     = http.StatusNotFound           // no such account, role or key
	statusConflict    = http.StatusConflict           // not in this state: withdrawn, no key yet, cas mismatch, still in use
	statusExhausted   = http.StatusTooManyRequests    // max_active is reached
	statusUnavailable = http.StatusServiceUnavailable // provider or transit cannot be reached, or throttle: try again
)

// A problem is an error with the HTTP status it is answered with.
type problem struct {
	status int
	text   string
	cause  error
}

func (p *problem) Error() string { return p.text }
func (p *problem) Unwrap() error { return p.cause }

// problemf makes a problem. A wrapped error (%w) stays reachable by errors.Is.
func problemf(status int, format string, args ...any) error {
	err := fmt.Errorf(format, args...)
	return &problem{status: status, text: err.Error(), cause: errors.Unwrap(err)}
}

func invalidf(format string, args ...any) error {
	return problemf(statusInvalid, format, args...)
}

// answer gives an error its status. It is the only place where errors meet the
// wire: whatever a handler returns passes through here once.
func answer(err error) error {
	text := strings.ReplaceAll(err.Error(), "\n", "; ") // of joined errors
	if p, ok := errors.AsType[*problem](err); ok {
		return logical.CodedError(p.status, text)
	}
	switch {
	case errors.Is(err, provider.ErrThrottled):
		if after := provider.RetryAfter(err); after > 0 {
			text += fmt.Sprintf("; it asks to wait %s", after)
		}
		return logical.CodedError(statusUnavailable, text)
	case errors.Is(err, provider.ErrUnreachable), errors.Is(err, provider.ErrUnknown):
		return logical.CodedError(statusUnavailable, text)
	case errors.Is(err, provider.ErrRejected), errors.Is(err, provider.ErrDead), errors.Is(err, provider.ErrUnsupported):
		return logical.CodedError(statusInvalid, text)
	case errors.Is(err, envelope.ErrNotConfigured):
		return logical.CodedError(statusInvalid, text)
	case errors.Is(err, envelope.ErrUnreachable), errors.Is(err, envelope.ErrToken),
		errors.Is(err, envelope.ErrPolicy), errors.Is(err, envelope.ErrKey):
		return logical.CodedError(statusUnavailable, text)
	}
	return err
}
