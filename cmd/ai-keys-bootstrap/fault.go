package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap"
	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/file"
	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/vault"
)

// The exit codes.
const (
	exitDone        = 0 // nothing to do, or done
	exitError       = 1
	exitDifferences = 2 // plan, verify: there are differences
	exitStopped     = 3 // apply: stopped part-way
	exitChecks      = 4 // verify, apply: a proof failed
)

// An outcome ends a command with an exit code, when everything has been said.
type outcome int

func (o outcome) Error() string { return fmt.Sprintf("exit code %d", int(o)) }

// An invalidError is a file with mistakes.
type invalidError struct{ diags file.Diagnostics }

func (e *invalidError) Error() string {
	n := 0
	for _, d := range e.diags {
		if d.Severity == file.Error {
			n++
		}
	}
	if n == 1 {
		return "there is a mistake in the file"
	}
	return fmt.Sprintf("there are %d mistakes in the file", n)
}

// A usageError is a command line that cannot be followed.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// A fault is an error as --json shows it.
type fault struct {
	// Kind is for programs: usage, file, server, token, denied, changed,
	// interrupted, stopped, or other.
	Kind    string `json:"kind"`
	Message string `json:"message"`
	// MissingPolicy is what the token would need, for denied.
	MissingPolicy string `json:"missing_policy,omitempty"`
}

func faultOf(err error) *fault {
	f := &fault{Kind: "other", Message: err.Error()}
	if denied, ok := errors.AsType[*bootstrap.DeniedError](err); ok {
		f.Kind, f.MissingPolicy = "denied", denied.Missing.Policy()
		return f
	}
	if _, ok := errors.AsType[*invalidError](err); ok {
		f.Kind = "file"
		return f
	}
	if _, ok := errors.AsType[usageError](err); ok {
		f.Kind = "usage"
		return f
	}
	switch {
	case errors.Is(err, bootstrap.ErrChanged):
		f.Kind = "changed"
	case errors.Is(err, errToken), errors.Is(err, vault.ErrNoToken):
		f.Kind = "token"
	case errors.Is(err, errInterrupted), errors.Is(err, context.Canceled):
		f.Kind = "interrupted"
	case errors.Is(err, errServer), errors.Is(err, vault.ErrUnreachable), vault.StatusOf(err) != 0:
		f.Kind = "server"
	}
	return f
}

var (
	errToken       = errors.New("the token is no good")
	errServer      = errors.New("the server cannot be used")
	errInterrupted = errors.New("interrupted, before anything that the file says was written")
)

// A reason is an error of one of these kinds that says more than its name.
type reason struct {
	kind error
	text string
}

func (r *reason) Error() string { return r.text }

// Unwrap is the kind.
func (r *reason) Unwrap() error { return r.kind }

func because(kind error, format string, args ...any) error {
	return &reason{kind, fmt.Errorf(format, args...).Error()}
}
