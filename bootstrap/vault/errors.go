package vault

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

var (
	// ErrUnknownOutcome says that a write may or may not have happened.
	ErrUnknownOutcome = errors.New("it may or may not have happened")
	// ErrUnreachable says that no connection to the server came about.
	ErrUnreachable = errors.New("the Vault server cannot be reached")
	// ErrNoToken says that a token is needed and there is none.
	ErrNoToken = errors.New("there is no Vault token: set VAULT_TOKEN, or log in with `vault login`")
)

// An Error is an answer that is no success.
type Error struct {
	// Operation is "reading", "listing", "writing", "deleting", "wrapping" or
	// "unwrapping".
	Operation, Path string
	// Status is the HTTP status.
	Status int
	// Messages are what the server said, cleaned and cut.
	Messages []string
}

// Error is for people: what was done, where, and what the server said.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Operation + " " + e.Path)
	if e.Status != 0 {
		b.WriteString(": " + strconv.Itoa(e.Status))
	}
	text := strings.Join(e.Messages, "; ")
	if text == "" {
		text = strings.ToLower(http.StatusText(e.Status))
	}
	if text != "" {
		b.WriteString(": " + text)
	}
	if advice := e.advice(); advice != "" {
		b.WriteString(" (" + advice + ")")
	}
	return b.String()
}

// advice is the way out, where the server does not say it.
func (e *Error) advice() string {
	switch {
	case IsSealed(e):
		return "unseal it: vault operator unseal; a new server first needs: vault operator init"
	case e.says("security barrier not initialized"), e.Status == http.StatusNotImplemented && e.says("not initialized"):
		return "it has to be initialised first: vault operator init"
	case e.Status == http.StatusBadRequest && e.says("HTTP request to an HTTPS server"):
		return "the server wants TLS: VAULT_ADDR has to begin with https://"
	}
	return ""
}

// says tells whether a message of the server holds a text.
func (e *Error) says(text string) bool {
	return slices.ContainsFunc(e.Messages, func(m string) bool { return strings.Contains(m, text) })
}

// StatusOf is the HTTP status of an [Error], or 0.
func StatusOf(err error) int {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Status
	}
	return 0
}

// IsAbsentMount tells whether the server said that nothing is mounted where
// the path begins.
func IsAbsentMount(err error) bool {
	e, ok := errors.AsType[*Error](err)
	if !ok || e.Status != http.StatusBadRequest && e.Status != http.StatusNotFound {
		return false
	}
	return slices.ContainsFunc([]string{
		"no handler for route", "No secret engine mount at", "No auth engine at", "cannot fetch sysview for path",
	}, e.says)
}

// IsSealed tells whether the server said that it is sealed.
func IsSealed(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.Status == http.StatusServiceUnavailable && e.says("Vault is sealed")
}

// absence takes away the error of a server that has nothing at the path. A
// path that the server does not know is no absence, but a mistake of ours.
func absence(err error) error {
	e, ok := errors.AsType[*Error](err)
	if ok && e.Status == http.StatusNotFound && !IsAbsentMount(e) && !e.says("unsupported path") {
		return nil
	}
	return err
}

// An OutcomeUnknownError wraps the reason why it is not known whether a write
// happened. It matches [ErrUnknownOutcome].
type OutcomeUnknownError struct {
	Err error
}

func (e *OutcomeUnknownError) Error() string { return e.Err.Error() + "; " + ErrUnknownOutcome.Error() }

// Unwrap returns the sentinel and the reason.
func (e *OutcomeUnknownError) Unwrap() []error { return []error{ErrUnknownOutcome, e.Err} }

// unanswered is a request to which no answer came. The URL in net/http's error
// says nothing new.
func unanswered(c call, address string, sent bool, err error) *failure {
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err
	}
	sent = sent && !strings.HasPrefix(err.Error(), turnedAway)
	return &failure{err: describe(c, address, sent, err), sent: sent}
}

func describe(c call, address string, sent bool, err error) error {
	if errors.Is(err, context.Canceled) {
		return fmt.Errorf("%s %s: %w", c.operation, c.path, err)
	}
	if sent {
		if errors.Is(err, context.DeadlineExceeded) {
			return fmt.Errorf("%s %s: no answer from %s in time: %w", c.operation, c.path, address, err)
		}
		return fmt.Errorf("%s %s: the connection to %s broke: %w", c.operation, c.path, address, err)
	}
	return fmt.Errorf("%s %s: %w at %s: %w (%s)", c.operation, c.path, ErrUnreachable, address, err, wayIn(err))
}

// turnedAway is how crypto/tls begins the error of a server that ends the
// handshake. With TLS 1.3 it comes after the request was written, and the
// server still has not read any of it.
const turnedAway = "remote error: tls: "

// wayIn says which setting is likely wrong when a connection does not come
// about.
func wayIn(err error) string {
	if _, ok := errors.AsType[*net.DNSError](err); ok {
		return "is the name in VAULT_ADDR right?"
	}
	if _, ok := errors.AsType[x509.HostnameError](err); ok {
		return "the certificate is for another name: VAULT_ADDR has to have a name it is for, or VAULT_TLS_SERVER_NAME"
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return "set VAULT_CACERT to the file of the authority that signed the server's certificate"
	}
	switch text := err.Error(); {
	case strings.Contains(text, "server gave HTTP response to HTTPS client"):
		return "the server has no TLS: VAULT_ADDR has to begin with http://"
	case strings.HasPrefix(text, turnedAway):
		return "the server may want another client certificate: set VAULT_CLIENT_CERT and VAULT_CLIENT_KEY"
	}
	return "set VAULT_ADDR to the server's address; is the server running?"
}

// messageLimit is how much of what the server says is kept.
const messageLimit = 4 << 10

// several is how Vault begins a list of errors, of which one is a list as well.
var several = regexp.MustCompile(`^\d+ errors? occurred:\s+\* `)

// clean makes a server's message fit for one line on a terminal. What it hides
// must be hidden before it is cut, or half a secret would stand at the end.
func clean(text string, redact func(string) string) string {
	if redact != nil {
		text = redact(text)
	}
	text = strings.ToValidUTF8(text, "\uFFFD")
	if several.MatchString(text) {
		text = strings.ReplaceAll(strings.TrimSpace(several.ReplaceAllString(text, "")), "\n\t* ", "; ")
	}
	text = strings.Join(strings.Fields(text), " ")
	text = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, text)
	if len(text) > messageLimit {
		text = strings.ToValidUTF8(text[:messageLimit], "") + " …"
	}
	return text
}
