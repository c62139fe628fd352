package bootstrap

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/vault"
)

// errCode is a one-time code that was not taken. It may have been used: by the
// check before this one, a moment ago.
var errCode = errors.New("the second factor was refused")

// enter logs in, with a second factor if one is asked for. A code that was
// refused is tried once more when there is another.
func (s *Session) enter(ctx context.Context, t *target, path string, body func(code string) map[string]any, factor *passcodes) (*vault.Auth, error) {
	for first := true; ; first = false {
		auth, err := s.login(ctx, t, path, body, factor)
		if !first || !errors.Is(err, errCode) || !factor.renews() {
			return auth, err
		}
		if err := pause(ctx, factor.next(time.Now())); err != nil {
			return nil, err
		}
	}
}

// oktaCodeRefused is how Okta refuses a code.
const oktaCodeRefused = "E0000068"

func (s *Session) login(ctx context.Context, t *target, path string, body func(code string) map[string]any, factor *passcodes) (*vault.Auth, error) {
	answer, err := s.Vault.WithoutToken().Write(ctx, path, body(factor.at(time.Now())))
	switch {
	case err != nil && refusesAddress(err):
		return nil, untried("logins may come from other addresses only")
	case err != nil && says(err, oktaCodeRefused):
		return nil, fmt.Errorf("%w: %w", errCode, err)
	case err != nil:
		return nil, fmt.Errorf("logging in: %w", err)
	case answer.Auth == nil:
		return nil, errors.New("logging in: Vault answers no token")
	case answer.Auth.MFARequest == "":
		return answer.Auth, nil
	}
	return s.secondFactor(ctx, t, answer.Auth, factor)
}

// secondFactor completes a login with a code for each enforcement. Without one
// the login is as far as it can come, which is all that some checks want.
func (s *Session) secondFactor(ctx context.Context, t *target, auth *vault.Auth, factor *passcodes) (*vault.Auth, error) {
	payload := make(map[string]any)
	for _, enforcement := range sortedKeys(auth.MFA) {
		methods := auth.MFA[enforcement]
		if i := slices.IndexFunc(methods, func(m vault.MFAMethod) bool { return m.Passcode }); i >= 0 && factor != nil {
			payload[methods[i].ID] = []string{factor.at(time.Now())}
			continue
		}
		if t.is("mfa") && len(t.texts("policies"))+len(t.allowed())+len(t.texts("denied")) == 0 {
			return auth, nil
		}
		way := "give totp"
		if factor != nil {
			way = "none of these takes a code"
		}
		return nil, untried(fmt.Sprintf("a second factor is asked for (%s): %s", methodsOf(auth), way))
	}
	answer, err := s.Vault.WithoutToken().Write(ctx, "sys/mfa/validate", map[string]any{"mfa_request_id": auth.MFARequest, "mfa_payload": payload})
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: %w", errCode, err)
	case answer.Auth == nil || answer.Auth.Token == "":
		return nil, errors.New("the second factor was accepted, and Vault answers no token")
	}
	answer.Auth.MFA = auth.MFA
	return answer.Auth, nil
}

// methodsOf names the methods that a login is asked for.
func methodsOf(auth *vault.Auth) string {
	var all []string
	for _, enforcement := range sortedKeys(auth.MFA) {
		var names []string
		for _, m := range auth.MFA[enforcement] {
			names = append(names, cmp.Or(m.Name, m.Type))
		}
		all = append(all, strings.Join(names, " or "))
	}
	return strings.Join(all, " and ")
}

// factorOf is what the check computes one-time codes from; nil if it has none.
func (s *Session) factorOf(ctx context.Context, t *target) (*passcodes, error) {
	if _, set := t.Values["totp"]; !set {
		return nil, nil
	}
	text, err := t.text(ctx, s, "totp")
	if err != nil {
		return nil, err
	}
	return parsePasscodes(text)
}
