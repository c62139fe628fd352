package envelope

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
)

// unreachable says which step of a call failed. The text of err is left out:
// Go's HTTP errors quote what the other side sent.
func unreachable(address string, err error) error {
	var (
		timeout   net.Error
		dns       *net.DNSError
		op        *net.OpError
		record    tls.RecordHeaderError
		alert     tls.AlertError
		authority x509.UnknownAuthorityError
		host      x509.HostnameError
		invalid   x509.CertificateInvalidError
	)
	var why string
	switch {
	case errors.Is(err, context.Canceled):
		return fmt.Errorf("%w: the call to %s was given up: %w", ErrUnreachable, address, context.Canceled)
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		why = "did not answer within timeout"
	case errors.As(err, &dns):
		why = "has a host name that does not resolve"
	case errors.As(err, &op) && op.Op == "dial":
		why = "takes no connection"
	case errors.As(err, &authority):
		why = "shows a certificate of an unknown authority; set ca_cert"
	case errors.As(err, &host):
		why = "shows a certificate for another host; set tls_server_name"
	case errors.As(err, &invalid):
		why = "shows a certificate that is not valid (expired, or not for a server)"
	case errors.Is(err, http.ErrSchemeMismatch), errors.As(err, &record):
		why = "does not speak TLS; is it an http listener?"
	case errors.As(err, &alert):
		why = "refused the TLS handshake"
	default:
		why = "cut the connection, or does not speak HTTP"
	}
	return fmt.Errorf("%w: %s %s", ErrUnreachable, address, why)
}

// unavailable explains the refusals that mean the same on every path.
func (c *client) unavailable(r *refusal) error {
	switch {
	case r.clue == clueSealed:
		return fmt.Errorf("%w: the Vault at %s is sealed", ErrUnreachable, c.set.Address)
	case r.status == http.StatusTooManyRequests:
		return fmt.Errorf("%w: a rate limit quota at %s is used up", ErrUnreachable, c.set.Address)
	default:
		return fmt.Errorf("%w: %s answers with status %d", ErrUnreachable, c.set.Address, r.status)
	}
}

// keyUnusable explains a refusal of a transit path; nil if the key is not why.
func (c *client) keyUnusable(path string, r *refusal) error {
	key := c.set.Mount + "/keys/" + c.set.Key
	switch {
	case r.clue == clueTooOld:
		return fmt.Errorf("%w: %s no longer decrypts the key version in use; lower its min_decryption_version, use rewrap, then raise it again", ErrKey, key)
	case r.clue == clueNoKey:
		return fmt.Errorf("%w: %s does not exist; it was deleted, or config/transit names another", ErrKey, key)
	case r.clue == clueNoRoute, r.status == http.StatusNotFound, r.status == http.StatusMethodNotAllowed, r.status == http.StatusNoContent:
		return fmt.Errorf("%w: there is no transit engine at %s/ (status %d); check mount and namespace in config/transit", ErrKey, c.set.Mount, r.status)
	case r.status == http.StatusBadRequest:
		return fmt.Errorf("%w: %s refuses %s; it is not the key that wrapped this data key, or of a type that does not wrap", ErrKey, key, path)
	}
	return nil
}

func (c *client) denied(path string) error {
	return fmt.Errorf("%w: the token is alive, but its policies do not grant update on %s", ErrPolicy, path)
}

func (c *client) loginRefused(path string, r *refusal) error {
	return fmt.Errorf("%w: %s refuses the login (status %d); check auth_mount and the credential in config/transit", ErrToken, path, r.status)
}

// dead says what to do about a token that no longer works.
func (c *client) dead() error {
	if c.set.AuthMethod == AuthToken {
		return fmt.Errorf("%w: the token of config/transit is expired or revoked, or may not read auth/token/lookup-self; write another one there", ErrToken)
	}
	return fmt.Errorf("%w: the token of a fresh login is refused, and so is auth/token/lookup-self with it; the role must grant the default policy, or read on that path, and no single-use tokens", ErrToken)
}
